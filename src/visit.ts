/** One look at a portal: takes it, does what is due, upgrades first and then the handlers of each event, and leaves. */
import { storeUnannounced, unannounced } from "./announce.ts";
import type { Checks } from "./check.ts";
import { type Core, eventLog, notify, safeError } from "./core.ts";
import { FormatError, UpgradeError } from "./errors.ts";
import { runPipeline } from "./pipeline/pipeline.ts";
import type { HandlerContext } from "./pipeline/context.ts";
import {
  type Delivery,
  DELIVERY_FORMAT,
  INBOX,
  isDone,
  readDelivery,
  type Receipt,
  RECEIPT_MS,
  receiptKey,
} from "./portal/inbox.ts";
import { censusOf, enter } from "./portal/census.ts";
import { type HeldPortal, holdPortal, LeaseLostError } from "./portal/lease.ts";
import { purge, purged } from "./portal/purge.ts";
import { portalKey, type PortalRecord, snapshot } from "./portal/record.ts";
import { dueAt, schedule, timeOf, unschedule } from "./portal/schedule.ts";
import { nextRecord } from "./portal/transition.ts";
import { firstNext, type Fresh, raise } from "./receive.ts";
import { chanceOf, waitAfter, waitReasonOf } from "./retry.ts";
import { redactError } from "./secret.ts";
import type { Entry, Key } from "./storage/storage.ts";
import type { Upgrade } from "./upgrade/definition.ts";
import { missingScope, NEWER_MS, readiness, runUpgrades, waitFor } from "./upgrade/run.ts";
import { Suspended } from "./upgrade/steps.ts";
import { type B24Event, wireName } from "./wire/events.ts";
import { decodeBody, parseTree } from "./wire/parse.ts";
import type { DecodeLimits } from "./wire/tree.ts";

/** How the work of a delivery ended; `left`: it waits, or another worker does it. */
export type WorkResult = "handled" | "failed" | "left";

/** What was done of the work of one portal. */
export interface Visit {
  readonly handled: number;
  readonly failed: number;
  /** How the portal was left; absent where another worker has it, where it is left to newer code, and after an error. */
  readonly left?: { readonly due: string | undefined };
}

/** Tells how the work of a delivery ended. */
export type Settle = (deliveryId: string, result: WorkResult) => void;

/** Does what a portal has to do, if no other worker is at it. Never rejects. */
export async function visitPortal(
  core: Core,
  upgrades: readonly Upgrade[],
  checks: Checks,
  memberId: string,
  known: Fresh | undefined,
  settle: Settle,
): Promise<Visit> {
  let handled = 0;
  let failed = 0;
  let left: Visit["left"];
  let held: HeldPortal | undefined;
  try {
    if (core.signal.aborted) return { handled, failed };
    held = await holdPortal(core, memberId, known?.record);
    if (held === undefined && await adopt(core, memberId)) held = await holdPortal(core, memberId);
    if (held === undefined) return { handled, failed };
    if (isToBeChecked(core, upgrades, checks, held.record())) {
      await checks.atVisit(memberId);
      // What the check has written.
      await held.update((record) => record);
    }
    let isFree = false;
    const isAlone = known?.isAlone && held.record().arrivals === known.record.value.arrivals;
    for (let first = isAlone ? known : undefined; !isFree; first = undefined) {
      const { arrivals } = held.record();
      const outcomes = new Map<string, Outcome>();
      for await (const item of first === undefined ? inboxOf(core, memberId) : [first.delivery]) {
        outcomes.set(item.key.at(-1)!, await handle(core, upgrades, held, item, first?.event));
      }
      const journey = readiness(core, upgrades, held.record());
      // A portal below its target is work, also when what told of the target is done.
      if (journey.state === "ready" && outcomes.size === 0) {
        await storeUnannounced(core, held.record());
        continue;
      }
      const next = [
        await keepHouse(core, held),
        journey.state === "waiting" ? journey.until : undefined,
        checks.dueAt(held.record()),
        ...Array.from(outcomes.values(), ({ at }) => at),
      ];
      isFree = await leave(core, held, arrivals, earliest(next));
      if (isFree) left = { due: held.record().due };
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
      if (held !== undefined) await leave(core, held, undefined, core.clock()).catch(() => {});
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

/**
 * Makes the record of a portal of which a delivery was stored, and the record was not: a crash came between the two.
 * Resolves to whether it did.
 */
async function adopt(core: Core, memberId: string): Promise<boolean> {
  if (await core.storage.get(portalKey(memberId)) !== null) return false;
  let isThere = false;
  for await (const { key, value } of inboxOf(core, memberId)) {
    const { body, proof, receivedAt } = readDelivery(key, value);
    if (body === undefined) continue;
    const event = parseTree(decodeBody(body, UNLIMITED), receivedAt);
    await raise(core, event, { proof, receivedAt, versions: core.versions });
    isThere = true;
  }
  return isThere;
}

/** Not more often than this a portal is asked for a scope that an upgrade needs, in milliseconds. */
const SCOPE_MS = 15 * 60 * 1000;

/** Whether Bitrix24 is to be asked about a portal before it is worked on. */
function isToBeChecked(core: Core, upgrades: readonly Upgrade[], checks: Checks, record: PortalRecord): boolean {
  const now = core.clock();
  if ((checks.dueAt(record) ?? Infinity) <= now) return true;
  const { waits, check } = record;
  const mayHaveChanged = waits === undefined ? missingScope(upgrades, record).length > 0 : waits.until <= now;
  return mayHaveChanged && now - (check?.at ?? -Infinity) >= SCOPE_MS;
}

/** The deliveries of a portal; those that are read together in the order in which they came. */
async function* inboxOf({ storage }: Core, memberId: string): AsyncGenerator<Entry<Delivery>> {
  const prefix: Key = [...INBOX, memberId];
  let after: Key | undefined;
  while (true) {
    const page: Entry<Delivery>[] = [];
    const options = after === undefined ? { limit: AT_ONCE } : { limit: AT_ONCE, after };
    for await (const entry of storage.list<Delivery>(prefix, options)) page.push(entry);
    yield* page.toSorted((a, b) => a.value.receivedAt - b.value.receivedAt);
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

/** Gives the portal back, unless deliveries have come since `arrivals`. `nextAt`: when there is work again. */
async function leave(
  { storage, random }: Core,
  held: HeldPortal,
  arrivals: number | undefined,
  nextAt: number | undefined,
): Promise<boolean> {
  const { memberId, due } = held.record();
  const census = censusOf(held.record());
  if (census !== held.record().census) await enter(storage, held.record());
  const isSame = due !== undefined && nextAt !== undefined && timeOf(due) === Math.floor(nextAt);
  const next = isSame || nextAt === undefined ? due : dueAt(nextAt, random());
  if (next !== undefined && next !== due) await schedule(storage, next, memberId);
  const isFree = await held.release((record) => {
    if (arrivals !== undefined && record.arrivals !== arrivals) return undefined;
    const { due: _, ...rest } = record;
    return { ...rest, census, ...(nextAt === undefined ? {} : { due: next! }) };
  });
  if (isFree && due !== undefined && (nextAt === undefined || due !== next)) await unschedule(storage, due, memberId);
  return isFree;
}

/** Sees to what a removed portal leaves; gives the time of the next look, if there is to be one. */
async function keepHouse(core: Core, held: HeldPortal): Promise<number | undefined> {
  const { status, purgeAt, memberId } = held.record();
  if (status === "installed") return undefined;
  const at = purgeAt ?? core.clock() + core.retentionMs;
  if (at <= core.clock()) {
    await purge(core.storage, memberId);
    await held.update(purged);
    return undefined;
  }
  if (purgeAt === undefined) {
    await held.update((record) => record.status === "installed" ? record : { ...record, purgeAt: at });
  }
  return at;
}

/** What is in the inbox was let in once: limits that have become tighter since must not keep it there. */
const UNLIMITED: DecodeLimits = { fields: Infinity, depth: Infinity, keyLength: Infinity, valueLength: Infinity };

interface Outcome {
  readonly result: WorkResult;
  /** When it is to be looked at again. */
  readonly at?: number;
}

async function handle(
  core: Core,
  upgrades: readonly Upgrade[],
  held: HeldPortal,
  entry: Entry<Delivery>,
  parsed: B24Event | undefined,
): Promise<Outcome> {
  const { storage } = core;
  const [, memberId, deliveryId] = entry.key as [string, string, string];
  let event = parsed;
  try {
    core.signal.throwIfAborted();
    const delivery = readDelivery(entry.key, entry.value);
    // Done, but a crash came before its end; or stored once more while another copy was being done.
    if (parsed === undefined && isDone(await storage.get<Receipt>(receiptKey(memberId, deliveryId)))) {
      await storage.delete(entry.key);
      return { result: "left" };
    }
    const wait = waitOf(delivery);
    if (wait !== undefined && wait > core.clock()) {
      return { result: "left", ...(wait === Infinity ? {} : { at: wait }) };
    }
    const { body, proof, receivedAt } = delivery;
    event ??= body === undefined
      ? unannounced(held.record(), delivery.announced!, receivedAt)
      : parseTree(decodeBody(body, UNLIMITED), receivedAt);
    const facts = { proof, receivedAt, versions: core.versions };
    // Again, for a crash or a scheme that was not ready may have kept it out: taken in twice is taken in once.
    const sent = event;
    if (body !== undefined) {
      const next = firstNext(held.record(), sent, facts);
      if (next === undefined) {
        // However long that takes: it is no failure, and must not be parked.
        core.log.warn("an event waits for code that knows its version", { memberId, deliveryId });
        return { result: "left", at: core.clock() + NEWER_MS };
      }
      if (next !== held.record()) await held.update((record) => nextRecord(record, sent, facts));
    }
    const blocked = readiness(core, upgrades, held.record());
    // What waits for its upgrades is not begun; other events go on without them.
    if (event.name === "ONAPPUPDATE" || event.name === "ONAPPINSTALL") {
      if (blocked.state === "parked") return { result: "left" };
      if (blocked.state === "waiting") return { result: "left", at: blocked.until };
    }
    await run(core, upgrades, held, event, receivedAt);
    // It was what this event waited for.
    if (entry.value.retryAt !== undefined && held.record().waits !== undefined) {
      await held.update(({ waits: _, ...record }) => record);
    }
    // In this order: whoever comes between finds the one or the other.
    const receipt: Receipt = { format: DELIVERY_FORMAT };
    await storage.put(receiptKey(memberId, deliveryId), receipt, { ifVersion: null, ttlMs: RECEIPT_MS });
    await storage.delete(entry.key);
    notify(core, "handled", { event });
    return { result: "handled" };
  } catch (error) {
    if (core.signal.aborted || error instanceof LeaseLostError) throw error;
    if (error instanceof Suspended) return { result: "left", at: error.until };
    if (error instanceof FormatError) {
      core.log.warn("an event is left for newer code", { memberId, deliveryId, error });
      return { result: "failed", at: core.clock() + NEWER_MS };
    }
    return await fail(core, held, entry, event, error);
  }
}

/** Until when a delivery waits, in milliseconds since 1970; for ever when it is parked. */
function waitOf({ attempts, retryAt }: Delivery): number | undefined {
  return attempts === 0 ? retryAt : retryAt ?? Infinity;
}

async function run(
  core: Core,
  upgrades: readonly Upgrade[],
  held: HeldPortal,
  event: B24Event,
  receivedAt: number,
): Promise<void> {
  const plugins = core.plugins.filter(({ phase }) => phase !== "verify");
  const context: HandlerContext = {
    event,
    receivedAt,
    portal: snapshot(held.record()),
    log: eventLog(core, event),
    signal: AbortSignal.any([core.signal, held.signal]),
  };
  if (event.name === "ONAPPUNINSTALL" && held.record().status === "installed") {
    // Its handlers would wipe what the newer installation has.
    context.log.warn("the removal of an earlier installation came late; its handlers are not run");
    return;
  }
  await runPipeline(plugins, context, async (ctx) => {
    await runUpgrades(core, upgrades, held, ctx);
    const handlers = core.handlers.get(wireName(event)) ?? [];
    const portal = snapshot(held.record());
    for (const handler of handlers) await handler({ ...ctx, portal });
  });
  held.signal.throwIfAborted();
}

async function fail(
  core: Core,
  held: HeldPortal,
  entry: Entry<Delivery>,
  event: B24Event | undefined,
  thrown: unknown,
): Promise<Outcome> {
  const { memberId } = held.record();
  const error = event === undefined ? redactError(thrown, []) : safeError(core, thrown, event, held.record());
  const name = event === undefined ? entry.key.at(-1)! : wireName(event);
  const fields = { memberId, event: name, error };
  if (thrown instanceof UpgradeError) {
    // What is to be known of it is in the portal's record.
    notify(core, "failed", { ...fields, attempt: thrown.attempt });
    const blocked = held.record().failure?.retryAt;
    return { result: "failed", ...(blocked === undefined ? {} : { at: blocked }) };
  }
  const { retryAt: _, ...delivery } = entry.value;
  const reason = waitReasonOf(thrown);
  if (reason !== undefined) {
    await waitFor(core, held, reason, `${name}: ${error.message}`);
    const { until } = held.record().waits!;
    await core.storage.put(entry.key, { ...delivery, retryAt: until } satisfies Delivery, { ifVersion: entry.version });
    return { result: "left", at: until };
  }
  const attempt = entry.value.attempts + 1;
  const wait = waitAfter(thrown, attempt, core.retry, chanceOf(core.random()));
  const retryAt = wait === undefined ? undefined : core.clock() + wait;
  core.log.error(retryAt === undefined ? "an event is parked" : "the work of an event failed; it is tried again", {
    ...fields,
    attempt,
  });
  notify(core, "failed", { ...fields, attempt });
  const failed: Delivery = {
    ...delivery,
    attempts: attempt,
    error: error.message,
    ...(retryAt === undefined ? {} : { retryAt }),
  };
  await core.storage.put(entry.key, failed, { ifVersion: entry.version });
  return { result: "failed", ...(retryAt === undefined ? {} : { at: retryAt }) };
}
