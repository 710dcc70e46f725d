/** From a parsed event to a stored one: verifies it, finds duplicates, and applies it to its portal's record. */
import { type B24Event, wireName } from "../bitrix24/events.ts";
import { type Incoming, parseStored, withoutSecrets } from "../bitrix24/parse.ts";
import { defined } from "../defined.ts";
import { CannotVerifyError, InboxFullError, InputError, NotAuthenticError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import { type AppRuntime, eventLog, notify } from "../plugin/runtime.ts";
import {
  applyOrDefer,
  isOfEarlierInstallation,
  isStartedByOpening,
  storeEvent,
  tryApplyEvent,
} from "../portal/apply_event.ts";
import { type EventFacts, factsOf, type StoredVerification } from "../portal/event_facts.ts";
import { targetOfEvent, versionInEvent } from "../portal/event_versions.ts";
import {
  type AcceptedDelivery,
  type Delivery,
  DELIVERY_FORMAT,
  deliveryId,
  isDone,
  type Receipt,
} from "../portal/inbox.ts";
import { deliveryKey, portalKey, receiptKey } from "../portal/keys.ts";
import { type PortalRecord, readRecord } from "../portal/record.ts";
import { commitEntry, reserveEntry, withNextDelivery } from "../portal/schedule.ts";
import { assertRoom, countDelivery, type Counted, makeRoom } from "../portal/waiting.ts";
import type { Entry } from "../storage/storage.ts";
import { compareVersions } from "../version.ts";
import type { Postponed, Verifier } from "../verify/verifier.ts";
import { verifyEvent } from "../verify/verify_event.ts";

/** The outcome of receiving an event. */
export type Accepted =
  /** Its delivery is stored, and its work is to be done. */
  | { readonly state: "accepted"; readonly delivery: AcceptedDelivery }
  /** It is stored and causes no work, or is a duplicate. */
  | { readonly state: "done" }
  /** It waits for its verification. */
  | { readonly state: "unverified"; readonly firstAttempt: Postponed["firstAttempt"] };

/** The parts of an app that {@linkcode acceptEvent} uses. */
export interface AcceptParts {
  readonly verifier: Verifier;
  /** Called if an event is refused as not authentic and its portal is stored. */
  readonly onRefused: (memberId: string) => void;
}

/**
 * Accepts an event, or has it verified later. Resolves once the event is durable.
 *
 * @throws {NotAuthenticError} if a plugin refuses the event
 * @throws {CannotVerifyError} if the event cannot be verified now, and no more events can wait
 * @throws {StorageError} if the event cannot be stored
 * @throws {InboxFullError} if too many ordinary events of the portal wait
 * @throws {InputError} if a version cannot be read, or is missing where it is needed, or an event of the app's life cycle is
 *   larger than any that Bitrix24 sends
 */
export async function acceptEvent(
  runtime: AppRuntime,
  incoming: Incoming,
  { verifier, onRefused }: AcceptParts,
): Promise<Accepted> {
  assertSize(incoming);
  const stored = await readStored(runtime, incoming);
  const record = readRecord(stored.entry);
  try {
    const verified = await verifyOrPostpone(runtime, incoming, record, verifier);
    if ("postponed" in verified) return { state: "unverified", ...verified.postponed };
    return await acceptVerified(runtime, incoming, verified.verification, stored);
  } catch (error) {
    if (record !== undefined && error instanceof NotAuthenticError) onRefused(record.memberId);
    throw error;
  }
}

async function verifyOrPostpone(
  runtime: AppRuntime,
  incoming: Incoming,
  record: PortalRecord | undefined,
  verifier: Verifier,
): Promise<{ readonly verification: StoredVerification } | { readonly postponed: Postponed }> {
  const { event, receivedAt } = incoming;
  try {
    return { verification: await verifyEvent(runtime, event, { receivedAt, record, stage: "received" }) };
  } catch (error) {
    if (!(error instanceof CannotVerifyError)) throw error;
    return { postponed: await verifier.postpone(incoming, record !== undefined) };
  }
}

/** Maximum size of an event of the app's life cycle, in characters. Bitrix24 sends about 2,000. */
const MAX_LIFE_CYCLE_SIZE = 65_536;

/** Events of the life cycle are never refused, however many wait: large ones, which only forgers send, would fill the storage. */
function assertSize({ event, body }: Incoming): void {
  const { length } = body.text;
  if (event.name === "UNKNOWN" || event.name === "ONAPPTEST" || length <= MAX_LIFE_CYCLE_SIZE) return;
  const wanted = `at most ${MAX_LIFE_CYCLE_SIZE} for ${event.name}`;
  throw new InputError([{ path: "body", saw: `${length} characters`, wanted }]);
}

/** The stored entries of an event and its portal. */
interface Stored {
  /** Id of the event's delivery; `undefined` if the event causes no work. */
  readonly id: string | undefined;
  readonly entry: Entry<PortalRecord> | null;
  readonly receipt: Entry<Receipt> | null;
}

async function readStored(runtime: AppRuntime, { event, tree }: Incoming): Promise<Stored> {
  const { storage, digest } = runtime;
  const { memberId } = event.auth;
  const id = causesWork(runtime, event) ? await deliveryId(event, tree, digest) : undefined;
  const [entry, receipt] = await Promise.all([
    storage.get<PortalRecord>(portalKey(memberId)),
    id === undefined ? null : storage.get<Receipt>(receiptKey(memberId, id)),
  ]);
  return { id, entry, receipt };
}

/**
 * Stores a verified event and raises its portal's target. `stored` is what was just read.
 *
 * @throws {StorageError} if the event cannot be stored
 * @throws {InboxFullError} if too many ordinary events of the portal wait
 * @throws {InputError} if a version cannot be read, or is missing where it is needed
 */
export async function acceptVerified(
  runtime: AppRuntime,
  incoming: Incoming,
  verification: StoredVerification,
  stored?: Stored,
): Promise<Accepted> {
  const { storage } = runtime;
  const { tree, event, receivedAt } = incoming;
  const log = eventLog(runtime, event);
  const { id, entry: known, receipt } = stored ?? await readStored(runtime, incoming);
  const record = readRecord(known);
  log.debug("event verified", {
    event: "event.verified",
    ...defined({ installedVersion: verification.installedVersion }),
    hasTokens: verification.tokens !== undefined,
  });
  const facts = factsOf(runtime, verification, receivedAt);
  const next = tryApplyEvent(record, event, facts);
  // Verification may have found a version that no other event announced, or Bitrix24 is to be asked about a claim.
  const raises = record === undefined ||
    (next !== undefined && next.status === "installed" &&
      (next.target !== record.target || next.claims !== record.claims || isUnblocked(record, next)));
  // Somebody else may have posted a copy first: what is verified of a duplicate is applied too.
  const isDuplicate = isDone(receipt) || isStartedByOpening(record, event, verification);
  const isOver = isOfEarlierInstallation(record, event, facts) ||
    (record?.status === "uninstalled" && next?.status === "uninstalled");
  if ((id === undefined || isDuplicate || isOver) && !raises) {
    if (next !== undefined) await storeEvent(storage, event, facts, known);
    if (isDuplicate) return reportDuplicate(runtime, log, event);
    reportAccepted(runtime, log, event);
    return { state: "done" };
  }
  const name = id ?? await deliveryId(event, tree, runtime.digest);
  const delivery = await storeDelivery(runtime, incoming, facts, name, known).catch(async (error) => {
    if (error instanceof InboxFullError) await storeTokens(runtime, event, facts, known);
    throw error;
  });
  if (delivery === undefined) return reportDuplicate(runtime, log, event);
  reportDowngrade(runtime, log, event, facts, record);
  reportAccepted(runtime, log, event);
  return { state: "accepted", delivery };
}

/**
 * Stores the delivery of an event and applies the event to its portal's record; `undefined` if it is a duplicate.
 *
 * @throws {InboxFullError} if too many ordinary events of the portal wait
 */
export async function storeDelivery(
  runtime: AppRuntime,
  incoming: Incoming,
  facts: EventFacts,
  id: string,
  entry: Entry<PortalRecord> | null,
): Promise<AcceptedDelivery | undefined> {
  const { storage } = runtime;
  const { body, event, receivedAt } = withoutRemovalSecrets(incoming);
  const { memberId } = event.auth;
  const key = deliveryKey(memberId, id);
  const { status, generation } = applyOrDefer(readRecord(entry), event, facts);
  const value: Delivery = {
    ...{ format: DELIVERY_FORMAT, body, receivedAt },
    ...{ verification: facts.verification, attempts: 0 },
    ...(status === "installed" ? { generation } : {}),
  };
  const delivery = { key, value };
  const dropped = await dropOldest(runtime, memberId, delivery, entry);
  // If this process crashes before the work is done, another one resumes it when a lease would have expired.
  const [stored, reservation] = await Promise.all([
    storage.put(key, value, { ifVersion: null }),
    reserveEntry(runtime, memberId, runtime.clock() + runtime.leaseMs, entry),
  ]);
  let isAlone = false;
  const [isFinished, raised] = await Promise.all([
    // Again: another copy may have been finished meanwhile. A receipt is written before its delivery is deleted.
    storage.get<Receipt>(receiptKey(memberId, id)).then(isDone),
    commitEntry(runtime, reservation, (current, due) => {
      isAlone = current?.due === undefined && current?.lease === undefined;
      const waiting = countDelivery(current?.waiting, delivery, (stored.ok ? 1 : 0) - dropped);
      return withNextDelivery({ ...applyOrDefer(current, event, facts), ...defined({ waiting }) }, due);
    }),
  ]);
  if (stored.ok && !isFinished) {
    return { delivery: { ...delivery, version: stored.version }, event, record: raised!, isAlone };
  }
  if (stored.ok) await storage.delete(key);
  return undefined;
}

/**
 * Applies an event that the inbox has no room for, if its access token is verified: a portal whose events pile up needs
 * working tokens most. An event without one is not worth a write.
 */
async function storeTokens(
  runtime: AppRuntime,
  event: B24Event,
  facts: EventFacts,
  entry: Entry<PortalRecord> | null,
): Promise<void> {
  if (facts.verification.tokens === undefined) return;
  const reservation = await reserveEntry(runtime, event.auth.memberId, runtime.clock() + runtime.leaseMs, entry);
  // The event may have raised the target.
  await commitEntry(runtime, reservation, (current, due) => withNextDelivery(applyOrDefer(current, event, facts), due));
}

/** Returns a removal without its tokens: none of a removed portal may stay, however long its handlers fail. */
function withoutRemovalSecrets(incoming: Incoming): Incoming {
  const { event, body, receivedAt } = incoming;
  return event.name === "ONAPPUNINSTALL" ? parseStored(withoutSecrets(body), receivedAt) : incoming;
}

/**
 * Keeps the inbox within its bounds, before a delivery is added. Resolves to the number of deliveries of its kind that the
 * record counts, and that are gone.
 */
async function dropOldest(
  { storage, log }: AppRuntime,
  memberId: string,
  delivery: Counted,
  entry: Entry<PortalRecord> | null,
): Promise<number> {
  const waiting = readRecord(entry)?.waiting;
  assertRoom(memberId, waiting, delivery);
  const room = await makeRoom(storage, memberId, waiting, delivery);
  if (room === undefined) return 0;
  for (const deliveryId of room.dropped) {
    log.warn("event dropped: others of its kind wait", { event: "inbox.dropped", memberId, deliveryId });
  }
  return room.counted - room.left;
}

/** Returns whether an event ends a block before the target, or brings the first tokens, so that checks can ask Bitrix24. */
function isUnblocked(record: PortalRecord, next: PortalRecord): boolean {
  const canResume = record.blocked !== undefined && next.blocked === undefined && next.version !== next.target;
  return canResume || (record.tokens === undefined && next.tokens !== undefined);
}

function reportAccepted(runtime: AppRuntime, log: Logger, event: B24Event): void {
  log.info("event accepted", { event: "event.accepted" });
  notify(runtime, "eventReceived", { event });
}

function reportDuplicate(runtime: AppRuntime, log: Logger, event: B24Event): Accepted {
  log.debug("event is a duplicate", { event: "event.duplicate" });
  notify(runtime, "duplicateReceived", { event });
  return { state: "done" };
}

function reportDowngrade(
  runtime: AppRuntime,
  log: Logger,
  event: B24Event,
  facts: EventFacts,
  before: PortalRecord | undefined,
): void {
  const from = before?.status === "installed" ? before.version : undefined;
  const isApplied = tryApplyEvent(before, event, facts) !== undefined;
  const to = isApplied ? targetOfEvent(event, facts) ?? versionInEvent(event, facts)?.version : undefined;
  if (to === undefined || from === undefined || compareVersions(to, from) >= 0) return;
  log.warn("downgrade ignored", { event: "downgrade.ignored", from, to });
  notify(runtime, "downgradeIgnored", { memberId: event.auth.memberId, from, to });
}

function causesWork(runtime: AppRuntime, event: B24Event): boolean {
  return event.name === "ONAPPUPDATE" || event.name === "ONAPPINSTALL" || event.name === "ONAPPUNINSTALL" ||
    runtime.versions.deployed !== undefined ||
    runtime.handlers.has(wireName(event));
}
