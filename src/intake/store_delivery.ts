/** Stores the delivery of a verified event, and applies the event to its portal's record. */
import { type B24Event, wireName } from "../bitrix24/events.ts";
import { type Incoming, parseStored, withoutSecrets } from "../bitrix24/parse.ts";
import { defined } from "../defined.ts";
import type { AppRuntime, ReservedSlot, ReserveSlot } from "../plugin/runtime.ts";
import { applyOrDefer, isOfEarlierInstallation, tryApplyEvent } from "../portal/apply_event.ts";
import { type Delivery, isLifeCycle } from "../portal/delivery.ts";
import { claimState } from "../portal/event_claims.ts";
import type { EventFacts } from "../portal/event_facts.ts";
import {
  type AcceptedDelivery,
  fitsRecord,
  inRecord,
  isHandled,
  withDelivery,
  withHandled,
  withoutItem,
} from "../portal/inbox.ts";
import { withInstaller } from "../portal/installer.ts";
import { holdLease, isLeased, takeLease, type Taking } from "../portal/lease.ts";
import { factsAfter } from "../portal/receipt.ts";
import { type PortalRecord, readRecord } from "../portal/record.ts";
import {
  type ChangeRecord,
  ConditionError,
  type CredentialsNeed,
  inOrder,
  writeRecord,
} from "../portal/record_store.ts";
import { logScheduled, withLookout, withWork } from "../portal/schedule.ts";
import { assertRoom, countDelivery, deleteSurplus, kindOf, surplusInRecord } from "../portal/waiting.ts";
import type { Entry } from "../storage/storage.ts";

/** Options of {@linkcode storeDelivery}. */
export interface DeliveryOptions {
  /** Id of the delivery. */
  readonly id: string;
  /** The portal's record, as it was just read. */
  readonly entry: Entry<PortalRecord> | null;
  /** See {@linkcode writeRecord}. */
  readonly need?: CredentialsNeed;
  readonly reserve: ReserveSlot;
}

/**
 * Stores the delivery of an event and applies the event to its portal's record, in one ordered write; `undefined` if it is a
 * duplicate. Takes the lease of the portal in the same write if nobody holds it and a slot of the worker is free: it stays
 * reserved with the lease. `"done"`: the event causes no work, and is recorded as handled.
 *
 * @throws {InboxFullError} if too many ordinary events of the portal wait
 */
export async function storeDelivery(
  runtime: AppRuntime,
  incoming: Incoming,
  facts: EventFacts,
  options: DeliveryOptions,
): Promise<AcceptedDelivery | "done" | undefined> {
  const kept = withoutRemovalSecrets(incoming);
  const surplus = await makeRoom(runtime, options);
  const record = readRecord(options.entry);
  const isBusy = record !== undefined && isLeased(runtime.storage, record, runtime.clock());
  // Before the write, so that events that arrive together do not take leases for the same slot.
  const slot = isBusy ? undefined : options.reserve(kept.event.auth.memberId);
  const arrival = createArrival(runtime, kept, facts, options.id, { surplus, slot });
  let isLeaseTaken = false;
  try {
    const stored = await writeDelivery(runtime, kept, facts, arrival, options);
    isLeaseTaken = typeof stored === "object" && stored.lease !== undefined;
    return stored;
  } finally {
    if (!isLeaseTaken) slot?.release();
  }
}

/** Writes a delivery that arrives. Resolves as {@linkcode storeDelivery} does. */
async function writeDelivery(
  runtime: AppRuntime,
  incoming: Incoming,
  facts: EventFacts,
  arrival: Arrival,
  { entry, need }: DeliveryOptions,
): Promise<AcceptedDelivery | "done" | undefined> {
  const { storage, log } = runtime;
  const { event } = incoming;
  const { memberId } = event.auth;
  let written: Entry<PortalRecord> | null;
  try {
    written = await writeRecord(storage, memberId, arrival.change, entry, need);
  } catch (error) {
    if (!(error instanceof ConditionError)) throw error;
    await writeRecord(storage, memberId, createRecount(runtime, incoming, facts, arrival.result().id!));
    return undefined;
  }
  const { id, taking, dropped, isIdle } = arrival.result();
  for (const deliveryId of dropped) {
    log.warn("event dropped: others of its kind wait", { event: "inbox.dropped", memberId, deliveryId });
  }
  if (isIdle) return "done";
  logScheduled(runtime, written!.value);
  if (id === undefined) return undefined;
  const lease = written!.value.lease?.owner === taking.owner ? holdLease(runtime, written!, taking) : undefined;
  return { id, event, record: written!.value, ...defined({ lease }) };
}

/** The change of a record by a delivery that arrives, and what it did when it was last called. */
interface Arrival {
  readonly change: ChangeRecord;
  readonly result: () => {
    /** Id of the delivery; `undefined` if it is a duplicate. */
    readonly id: string | undefined;
    /** The lease, if it was taken. */
    readonly taking: Taking;
    /** Ids of deliveries that were dropped. */
    readonly dropped: readonly string[];
    /** The event causes no work, and is recorded as handled. */
    readonly isIdle: boolean;
  };
}

function createArrival(
  runtime: AppRuntime,
  { body, event, trace }: Incoming,
  received: EventFacts,
  id: string,
  { surplus, slot }: { readonly surplus: Surplus; readonly slot: ReservedSlot | undefined },
): Arrival {
  const { clock, random, time, leaseMs } = runtime;
  const [unique, owner] = [random(), random()];
  let stored: string | undefined;
  let dropped: readonly string[] = [];
  let isIdle = false;
  let takenAt = 0;

  const change: ChangeRecord = (current) => {
    const now = clock();
    takenAt = time.monotonic();
    [stored, dropped, isIdle] = [undefined, [], false];
    // What was stored since the event was received came before it.
    const facts = factsAfter(current, event, received);
    const known = tryApplyEvent(current, event, facts);
    const applied = known ?? applyOrDefer(current, event, facts);
    const isBusy = current !== undefined && isLeased(runtime.storage, current, now);
    if (isHandled(current, id) || (inRecord(current, id) !== undefined && (isLifeCycle(id) || !isBusy))) {
      return withWork(applied, now + leaseMs, random);
    }
    isIdle = isIdleEvent(runtime, event, facts, current, known);
    if (isIdle) return { record: withHandled(applied, id, facts.receivedAt, { outcome: "handled", at: now }) };
    // The work of an equal event may have begun: this one is not a copy of it.
    const installing = withInstaller(current, applied, event, id, facts);
    stored = isBusy && !isLifeCycle(id) ? `${id}~${unique}` : id;
    const name = stored;
    const { status, generation } = applied;
    const delivery: Delivery = {
      ...{ body, receivedAt: facts.receivedAt, verification: facts.verification, attempts: 0 },
      ...(status === "installed" ? { generation } : {}),
      ...defined({ trace }),
    };
    assertRoom(applied, name, delivery);
    const oldest = surplusInRecord(applied, name);
    dropped = oldest === undefined ? surplus.dropped : [...surplus.dropped, oldest];
    const roomy = surplus.apply(oldest === undefined ? installing : withoutItem(installing, oldest));
    const taken = slot?.isHeld() ? takeLease(runtime, roomy, owner) : undefined;
    // If this process crashes before the work is done, another one resumes it when a lease would have expired.
    const at = now + leaseMs;
    const next = inOrder(taken ?? roomy, [
      (record) => withWork(record, at, random),
      (record) => withDelivery(record, name, delivery),
    ])!;
    return fitsRecord(roomy, delivery) ? next : withLookout(next, at, random);
  };
  return { change, result: () => ({ id: stored, taking: { owner, takenAt }, dropped, isIdle }) };
}

/**
 * Returns the change for a delivery whose own key is taken: by a copy that waits, or by one that no record counts, because a
 * crash came before its record, or because this process has put it itself and its record was refused then.
 */
function createRecount(
  { clock, random }: AppRuntime,
  { body, event }: Incoming,
  facts: EventFacts,
  id: string,
): ChangeRecord {
  return (current) => {
    const applied = applyOrDefer(current, event, facts);
    if (isHandled(applied, id)) return { record: applied };
    const record = withInstaller(current, applied, event, id, facts);
    // If it was counted before, the count is too high until the next pass over the inbox; too low, it would hide the delivery.
    const overflow = countDelivery(record.overflow, id, { body }, 1);
    return withWork({ ...record, ...defined({ overflow }) }, clock(), random);
  };
}

/**
 * Returns whether an event causes no work: it leaves the portal on its target, and no handler or plugin wants it. `next`: the
 * record after it; `undefined` if this code does not know its version.
 */
export function isIdleEvent(
  runtime: AppRuntime,
  event: B24Event,
  facts: EventFacts,
  record: PortalRecord | undefined,
  next: PortalRecord | undefined,
): boolean {
  if (record === undefined || next === undefined || hasCode(runtime, event)) return false;
  // Deliveries may wait for the claims that it settles.
  const settlesNothing = next.claims === record.claims || (record.inbox === undefined && record.overflow === undefined);
  return settlesNothing && isSettled(next, event, facts);
}

/** Returns whether a plugin or a handler does something with an event of this kind. */
function hasCode({ plugins, handlers }: AppRuntime, event: B24Event): boolean {
  const hasPlugin = plugins.some(({ phase, around, extend }) =>
    phase !== "verify" && (around !== undefined || extend !== undefined)
  );
  return hasPlugin || handlers.has(wireName(event));
}

/** Returns whether an event leaves an installed portal on its target, and nothing to ask about. */
function isSettled(record: PortalRecord, event: B24Event, facts: EventFacts): boolean {
  const { status, version, target } = record;
  return event.name !== "ONAPPUNINSTALL" && status === "installed" && version !== undefined && version === target &&
    !isOfEarlierInstallation(record, event, facts) && claimState(record, event, facts) === "work";
}

/** Returns a removal without its tokens: none of a removed portal may stay, however long its handlers fail. */
function withoutRemovalSecrets(incoming: Incoming): Incoming {
  const { event, body, receivedAt, trace } = incoming;
  return event.name === "ONAPPUNINSTALL"
    ? { ...parseStored(withoutSecrets(body), receivedAt), ...defined({ trace }) }
    : incoming;
}

/** Deliveries with keys of their own that were deleted to make room. */
interface Surplus {
  readonly dropped: readonly string[];
  /** Returns the record without them. */
  readonly apply: (record: PortalRecord) => PortalRecord;
}

async function makeRoom({ storage }: AppRuntime, { id, entry }: DeliveryOptions): Promise<Surplus> {
  const record = readRecord(entry);
  const kind = kindOf(id);
  const deleted = record && await deleteSurplus(storage, record, id);
  if (deleted === undefined || kind === undefined) return { dropped: [], apply: (record) => record };
  const { dropped, left } = deleted;
  const apply = (current: PortalRecord): PortalRecord => {
    const { overflow } = current;
    if (overflow === undefined || overflow.lifeCycle[kind] !== record?.overflow?.lifeCycle[kind]) return current;
    return { ...current, overflow: { ...overflow, lifeCycle: { ...overflow.lifeCycle, [kind]: left } } };
  };
  return { dropped, apply };
}
