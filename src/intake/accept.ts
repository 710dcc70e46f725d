/** From a parsed event to a stored one: verifies it, finds duplicates, and applies it to its portal's record. */
import { type B24Event, wireName } from "../bitrix24/events.ts";
import type { Incoming } from "../bitrix24/parse.ts";
import { defined } from "../defined.ts";
import { CannotVerifyError, InboxFullError, InputError, NotAuthenticError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import { type AppRuntime, eventLog, notify, type ReserveSlot, safeError } from "../plugin/runtime.ts";
import { applyOrDefer, isOfEarlierInstallation, isStartedByOpening, tryApplyEvent } from "../portal/apply_event.ts";
import { prefetchCredentials } from "../portal/credentials_record.ts";
import { deliveryId } from "../portal/delivery.ts";
import { type EventFacts, factsOf, type StoredVerification } from "../portal/event_facts.ts";
import { targetOfEvent, versionInEvent } from "../portal/event_versions.ts";
import { type AcceptedDelivery, isHandled } from "../portal/inbox.ts";
import { portalKey } from "../portal/keys.ts";
import { factsAfter, receivedAfter } from "../portal/receipt.ts";
import { type PortalRecord, readRecord } from "../portal/record.ts";
import { type ChangeRecord, type CredentialsNeed, writeRecord } from "../portal/record_store.ts";
import { withWork } from "../portal/schedule.ts";
import { hasTokens } from "../portal/stored_credentials.ts";
import type { Entry, Storage } from "../storage/storage.ts";
import { compareVersions } from "../version.ts";
import type { Postponed, Verifier } from "../verify/verifier.ts";
import { verifyEvent } from "../verify/verify_event.ts";
import { isIdleEvent, storeDelivery } from "./store_delivery.ts";

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
  readonly reserve: ReserveSlot;
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
  received: Incoming,
  { verifier, reserve, onRefused }: AcceptParts,
): Promise<Accepted> {
  assertSize(received);
  const stored = await readStored(runtime, received);
  const record = readRecord(stored.entry);
  const incoming: Incoming = {
    ...{ ...received, receivedAt: receivedAfter(record, received.receivedAt) },
    ...defined({ trace: runtime.tracer.context() }),
  };
  try {
    const verified = await verifyOrPostpone(runtime, incoming, record, verifier);
    if ("postponed" in verified) return { state: "unverified", ...verified.postponed };
    return await acceptVerified(runtime, incoming, verified.verification, { reserve, stored });
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
  const { event, receivedAt, clientAddress } = incoming;
  try {
    const facts = { receivedAt, clientAddress, record, stage: "received" } as const;
    return { verification: await tracedVerification(runtime, event, () => verifyEvent(runtime, event, facts)) };
  } catch (error) {
    if (!(error instanceof CannotVerifyError)) throw error;
    return { postponed: await verifier.postpone(incoming, record !== undefined) };
  }
}

/** Traces a verification while the request is answered. */
function tracedVerification(
  runtime: AppRuntime,
  event: B24Event,
  verify: () => Promise<StoredVerification>,
): Promise<StoredVerification> {
  const { auth: { memberId } } = event;
  const work = { kind: "verification", memberId, event: wireName(event), stage: "received", attempt: 1 } as const;
  return runtime.tracer.trace(work, async (note) => {
    try {
      const verification = await verify();
      note(() => ({ outcome: "verified" }));
      return verification;
    } catch (thrown) {
      note(() =>
        thrown instanceof CannotVerifyError ? { outcome: "postponed" } : {
          outcome: thrown instanceof NotAuthenticError ? "refused" : "failed",
          error: safeError(runtime, thrown, event),
        }
      );
      throw thrown;
    }
  });
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

/** What is known of an event before it is accepted. */
interface Stored {
  /** Id of the event's delivery; `undefined` if the event causes no work. */
  readonly id: string | undefined;
  /** The portal's record. */
  readonly entry: Entry<PortalRecord> | null;
}

async function readStored(runtime: AppRuntime, { event, tree }: Incoming): Promise<Stored> {
  const { storage, digest } = runtime;
  const [entry, id] = await Promise.all([
    storage.get<PortalRecord>(portalKey(event.auth.memberId)),
    causesWork(runtime, event) ? deliveryId(event, tree, digest) : undefined,
  ]);
  return { id, entry };
}

/** Options of {@linkcode acceptVerified}. */
export interface AcceptOptions {
  readonly reserve: ReserveSlot;
  /** Absent: it is read. */
  readonly stored?: Stored;
}

/**
 * Stores a verified event and raises its portal's target.
 *
 * @throws {StorageError} if the event cannot be stored
 * @throws {InboxFullError} if too many ordinary events of the portal wait
 * @throws {InputError} if a version cannot be read, or is missing where it is needed
 */
export async function acceptVerified(
  runtime: AppRuntime,
  incoming: Incoming,
  verification: StoredVerification,
  { reserve, stored }: AcceptOptions,
): Promise<Accepted> {
  const { storage } = runtime;
  const { tree, event, receivedAt } = incoming;
  const log = eventLog(runtime, event);
  const { id, entry: known } = stored ?? await readStored(runtime, incoming);
  const record = readRecord(known);
  log.debug("event verified", {
    event: "event.verified",
    ...defined({ installedVersion: verification.installedVersion }),
    hasTokens: verification.tokens !== undefined,
  });
  const facts = factsAfter(record, event, factsOf(runtime, verification, receivedAt));
  const next = tryApplyEvent(record, event, facts);
  // Somebody else may have posted a copy first: what is verified of a duplicate is applied too.
  const isDuplicate = (id !== undefined && isHandled(record, id)) || isStartedByOpening(record, event, verification);
  const isOver = isOfEarlierInstallation(record, event, facts) ||
    (record?.status === "uninstalled" && next?.status === "uninstalled");
  const isWithoutWork = (id === undefined || isDuplicate || isOver) && !bringsWork(record, next);
  if (isWithoutWork && await storeWithoutWork(storage, event, facts, known, needOf(next))) {
    if (isDuplicate) return reportDuplicate(runtime, log, event);
    reportAccepted(runtime, log, event, receivedAt);
    return { state: "done" };
  }
  const name = id ?? await deliveryId(event, tree, runtime.digest);
  // While the delivery is written: the worker asks about the claim with them.
  if (record !== undefined && next?.claims !== record.claims) prefetchCredentials(storage, record);
  const need = isIdleEvent(runtime, event, facts, record, next) ? needOf(next) : undefined;
  const delivery = await storeDelivery(runtime, incoming, facts, { id: name, entry: known, need, reserve })
    .catch(async (error) => {
      if (error instanceof InboxFullError) await storeTokens(runtime, event, facts, known);
      throw error;
    });
  if (delivery === undefined) return reportDuplicate(runtime, log, event);
  if (next !== undefined) reportDowngrade(runtime, log, event, facts, record);
  reportAccepted(runtime, log, event, receivedAt);
  if (delivery !== "done") return { state: "accepted", delivery };
  log.debug("event handled", { event: "event.handled", deliveryId: name });
  notify(runtime, "eventHandled", { event });
  return { state: "done" };
}

/**
 * Returns whether an event causes work on the portal, whatever its handlers do: verification may have found a version that no
 * other event announced, or Bitrix24 is to be asked about a claim. `next`: the record after it; `undefined` if this code does
 * not know its version.
 */
function bringsWork(record: PortalRecord | undefined, next: PortalRecord | undefined): boolean {
  return record === undefined ||
    (next !== undefined && next.status === "installed" &&
      (next.target !== record.target || next.claims !== record.claims || isUnblocked(record, next)));
}

/** Applies an event to the stored record, unless it causes work there. Resolves to whether it does not. */
async function storeWithoutWork(
  storage: Storage,
  event: B24Event,
  facts: EventFacts,
  known: Entry<PortalRecord> | null,
  need: CredentialsNeed,
): Promise<boolean> {
  let isStored = true;
  const change: ChangeRecord = (current) => {
    const next = tryApplyEvent(current, event, factsAfter(current, event, facts));
    // Another event may have changed the portal since `known`.
    isStored = !bringsWork(current, next);
    return isStored && next !== undefined ? { record: next } : undefined;
  };
  await writeRecord(storage, event.auth.memberId, change, known, need);
  return isStored;
}

/**
 * Returns what the write of an event without work needs: its token pair can stay in the record. One that waits for an
 * administrator's proof may take effect at once, with the other pairs.
 */
function needOf(next: PortalRecord | undefined): CredentialsNeed {
  return next?.tokens?.some(({ pending }) => pending !== undefined) ? undefined : "unopened";
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
  const { storage, clock, random, leaseMs } = runtime;
  // The event may have raised the target.
  const change: ChangeRecord = (record) =>
    withWork(applyOrDefer(record, event, factsAfter(record, event, facts)), clock() + leaseMs, random);
  await writeRecord(storage, event.auth.memberId, change, entry);
}

/** Returns whether an event ends a block before the target, or brings the first tokens, so that checks can ask Bitrix24. */
function isUnblocked(record: PortalRecord, next: PortalRecord): boolean {
  const canResume = record.blocked !== undefined && next.blocked === undefined && next.version !== next.target;
  return canResume || (!hasTokens(record) && hasTokens(next));
}

function reportAccepted(runtime: AppRuntime, log: Logger, event: B24Event, receivedAt: number): void {
  log.info("event accepted", { event: "event.accepted" });
  notify(runtime, "eventReceived", { event, receivedAt });
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
  const to = targetOfEvent(event, facts) ?? versionInEvent(event, facts)?.version;
  if (to === undefined || from === undefined || compareVersions(to, from) >= 0) return;
  log.warn("downgrade ignored", { event: "downgrade.ignored", from, to });
  notify(runtime, "downgradeIgnored", { memberId: event.auth.memberId, from, to });
}

function causesWork(runtime: AppRuntime, event: B24Event): boolean {
  return event.name === "ONAPPUPDATE" || event.name === "ONAPPINSTALL" || event.name === "ONAPPUNINSTALL" ||
    runtime.versions.deployed !== undefined ||
    runtime.handlers.has(wireName(event));
}
