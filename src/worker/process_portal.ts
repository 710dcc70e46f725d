/** One look at a portal: takes it, does what is due, upgrades first and then the handlers of each event, and leaves. */
import type { B24Event } from "../bitrix24/events.ts";
import { FormatError } from "../errors.ts";
import type { AcceptedDelivery } from "../portal/inbox.ts";
import { storeEvent } from "../portal/apply_event.ts";
import type { AppRuntime } from "../plugin/runtime.ts";
import { whenReleased } from "../portal/exclusive.ts";
import { type Delivery, readDelivery } from "../portal/inbox.ts";
import { INBOX, portalKey } from "../portal/keys.ts";
import { acquireLease, LeaseLostError, type PortalLease } from "../portal/lease.ts";
import { purgeRecord, purgeRuns } from "../portal/purge.ts";
import type { PortalRecord } from "../portal/record.ts";
import { addEntry, entryId, rescheduleEntry, withNextDelivery } from "../portal/schedule.ts";
import { indexKeyOf, updateIndex } from "../portal/state_index.ts";
import type { Entry, Key } from "../storage/storage.ts";
import type { Upgrade } from "../upgrade/definition.ts";
import { isDue, nextAction } from "../upgrade/next_action.ts";
import type { Checks } from "./checks.ts";
import { enqueueMissedUpdate } from "./missed_updates.ts";
import { eventIn, type Outcome, processDelivery, tellsVersion, type WorkResult } from "./process_delivery.ts";

/** What was done of the work of one portal. */
export interface ProcessedPortal {
  readonly handled: number;
  readonly failed: number;
  /** How the portal was left; absent where another worker has it, where it is left to newer code, and after an error. */
  readonly left?: { readonly due: string | undefined };
}

/** Tells how the work of a delivery ended. */
export type Settle = (deliveryId: string, result: WorkResult) => void;

/** Does what a portal has to do, if no other worker is at it. Never rejects. */
export async function processPortal(
  core: AppRuntime,
  upgrades: readonly Upgrade[],
  checks: Checks,
  memberId: string,
  known: AcceptedDelivery | undefined,
  settle: Settle,
): Promise<ProcessedPortal> {
  let handled = 0;
  let failed = 0;
  let left: ProcessedPortal["left"];
  let held: PortalLease | undefined;
  try {
    if (core.signal.aborted) return { handled, failed };
    await whenReleased(core.storage, memberId);
    // What is known of it is what it was then: whoever had it may have given it back since.
    held = await acquireLease(core, memberId, known?.record.value.lease === undefined ? known?.record : undefined);
    if (held === undefined && await recreateRecord(core, memberId)) held = await acquireLease(core, memberId);
    if (held === undefined) return { handled, failed };
    if (isToBeChecked(core, upgrades, checks, held.record())) {
      await checks.underLease(memberId);
      // What the check has written.
      await held.update((record) => record);
    }
    let isFree = false;
    const isAlone = known?.isAlone && held.record().inboxSequence === known.record.value.inboxSequence;
    for (let first = isAlone ? known : undefined; !isFree; first = undefined) {
      const { inboxSequence } = held.record();
      const { outcomes, isTold } = await processDeliveries(core, upgrades, held, first);
      const journey = nextAction(held.record(), upgrades, core.clock(), core.versions.latest);
      // A portal below its target is work, also when what told of the target is done.
      if (isDue(journey) && !isTold()) await enqueueMissedUpdate(core, held.record());
      else {
        const next = [
          await purgeIfExpired(core, held),
          journey.action === "wait" ? journey.until : undefined,
          checks.dueAt(held.record()),
          ...Array.from(outcomes.values(), ({ at }) => at),
        ];
        isFree = await releaseIfIdle(core, held, inboxSequence, earliest(next));
        if (isFree) left = { due: held.record().due };
      }
      // After the portal is free: some hosts stop a program once it has answered.
      for (const [deliveryId, { result }] of outcomes) {
        if (result === "handled") handled++;
        if (result === "failed") failed++;
        settle(deliveryId, result);
      }
    }
  } catch (error) {
    if (error instanceof LeaseLostError) {
      core.log.warn("another worker has taken a portal over; this one stops", { memberId });
    } else if (core.signal.aborted) {
      core.log.info("the app is closing; the work of a portal is left for the next tick", { memberId });
      // Without this, it is taken up when the lease has run out.
      if (held !== undefined) await releaseUnfinished(core, held).catch(() => {});
    } else if (error instanceof FormatError) {
      core.log.warn("a portal is left for newer code", { memberId, error });
    } else {
      core.log.error("the work of a portal failed; it is taken up again", { memberId, error });
      failed++;
    }
  } finally {
    held?.stop();
  }
  return { handled, failed, ...(left === undefined ? {} : { left }) };
}

/** What became of the deliveries of a portal. */
interface Handled {
  /** By their ids. */
  readonly outcomes: ReadonlyMap<string, Outcome>;
  /** Whether one whose work the upgrades are was worked on, or can be by now. */
  readonly isTold: () => boolean;
}

/** Does the work of all deliveries, or of the `first` if it is alone. */
async function processDeliveries(
  core: AppRuntime,
  upgrades: readonly Upgrade[],
  held: PortalLease,
  first: AcceptedDelivery | undefined,
): Promise<Handled> {
  const outcomes = new Map<string, Outcome>();
  const told: Outcome[] = [];
  const handle = async (item: Entry<Delivery>, event?: B24Event): Promise<void> => {
    const outcome = await processDelivery(core, upgrades, held, item, event);
    outcomes.set(item.key.at(-1)!, outcome);
    if (tellsVersion(item)) told.push(outcome);
  };
  // One that is left alone, such as a parked one, brings the portal nowhere.
  const isTold = (): boolean => told.some(({ result, at }) => result !== "left" || (at ?? Infinity) <= core.clock());
  const { memberId } = held.record();
  for await (const item of first === undefined ? inboxOf(core, memberId) : [first.delivery]) {
    // Its handlers are those of a version that the portal is not on yet.
    if (
      !isTold() && !tellsVersion(item) && isDue(nextAction(held.record(), upgrades, core.clock(), core.versions.latest))
    ) {
      const update = await enqueueMissedUpdate(core, held.record());
      if (update !== undefined) await handle(update);
    }
    await handle(item, first?.event);
  }
  return { outcomes, isTold };
}

/**
 * Makes the record of a portal of which a delivery was stored, and the record was not: a crash came between the two.
 * Resolves to whether it did.
 */
async function recreateRecord(core: AppRuntime, memberId: string): Promise<boolean> {
  if (await core.storage.get(portalKey(memberId)) !== null) return false;
  let isThere = false;
  for await (const { key, value } of inboxOf(core, memberId)) {
    const { body, verification, receivedAt } = readDelivery(key, value);
    if (body === undefined) continue;
    const event = eventIn(body, receivedAt);
    await storeEvent(core.storage, event, { verification, receivedAt, versions: core.versions });
    isThere = true;
  }
  return isThere;
}

/** Not more often than this a portal is asked for a scope that an upgrade needs, in milliseconds. */
const SCOPE_MS = 15 * 60 * 1000;

/** Whether Bitrix24 is to be asked about a portal before it is worked on. */
function isToBeChecked(core: AppRuntime, upgrades: readonly Upgrade[], checks: Checks, record: PortalRecord): boolean {
  const now = core.clock();
  if ((checks.dueAt(record) ?? Infinity) <= now) return true;
  const { blocked, check } = record;
  const mayHaveChanged = blocked === undefined
    ? nextAction(record, upgrades, now, core.versions.latest).action === "block"
    : blocked.nextTryAt <= now;
  return mayHaveChanged && now - (check?.at ?? -Infinity) >= SCOPE_MS;
}

/** The deliveries of a portal; of those that are read together the ones that tell of versions first, then as they came. */
async function* inboxOf({ storage }: AppRuntime, memberId: string): AsyncGenerator<Entry<Delivery>> {
  const prefix: Key = [...INBOX, memberId];
  let after: Key | undefined;
  while (true) {
    const page: Entry<Delivery>[] = [];
    const options = after === undefined ? { limit: AT_ONCE } : { limit: AT_ONCE, after };
    for await (const entry of storage.list<Delivery>(prefix, options)) page.push(entry);
    yield* page.toSorted((a, b) =>
      Number(tellsVersion(b)) - Number(tellsVersion(a)) || a.value.receivedAt - b.value.receivedAt
    );
    if (page.length < AT_ONCE) return;
    after = page.at(-1)!.key;
  }
}

/** How many deliveries of a portal are in memory at once. */
const AT_ONCE = 100;

function earliest(times: readonly (number | undefined)[]): number | undefined {
  const known = times.filter((at) => at !== undefined);
  return known.length === 0 ? undefined : Math.min(...known);
}

/** Gives the portal back, unless deliveries have come since `inboxSequence`. `nextAt`: when there is work again. */
async function releaseIfIdle(
  core: AppRuntime,
  held: PortalLease,
  inboxSequence: number | undefined,
  nextAt: number | undefined,
): Promise<boolean> {
  const indexedAs = indexKeyOf(held.record());
  if (indexedAs !== held.indexedAs) await updateIndex(core.storage, held.record());
  return await rescheduleEntry(core, held.record(), nextAt, (due) =>
    held.release((record) => {
      if (record.inboxSequence !== inboxSequence) return undefined;
      const { due: _, supersededDue: _l, ...rest } = record;
      return { ...rest, indexedAs, ...(due === undefined ? {} : { due }) };
    }));
}

/** Gives the portal back with its work not done, to be looked at now. */
async function releaseUnfinished(core: AppRuntime, held: PortalLease): Promise<void> {
  const due = entryId(core.clock(), core.random());
  await addEntry(core.storage, due, held.record().memberId);
  await held.release((record) => withNextDelivery(record, due));
}

/** Sees to what a removed portal leaves; gives the time of the next look, if there is to be one. */
async function purgeIfExpired(core: AppRuntime, held: PortalLease): Promise<number | undefined> {
  const { status, purgeAt, memberId } = held.record();
  if (status === "installed") return undefined;
  const at = purgeAt ?? core.clock() + core.retentionMs;
  if (at <= core.clock()) {
    await purgeRuns(core.storage, memberId);
    await held.update(purgeRecord);
    return undefined;
  }
  if (purgeAt === undefined) {
    await held.update((record) => record.status === "installed" ? record : { ...record, purgeAt: at });
  }
  return at;
}
