/** The work of one delivery: the portal's upgrades for an update or installation, then the handlers of its event. */
import { type B24Event, wireName } from "../bitrix24/events.ts";
import { parseStored } from "../bitrix24/parse.ts";
import { defined } from "../defined.ts";
import { FormatError, UpgradeError } from "../errors.ts";
import { runPipeline } from "../plugin/pipeline.ts";
import { type AppRuntime, makeHandlerContext, notify, safeError } from "../plugin/runtime.ts";
import { applyEvent, isOfEarlierInstallation, mayReinstall, tryApplyEvent } from "../portal/apply_event.ts";
import { claimState, withConfirmedVersion } from "../portal/event_claims.ts";
import { type EventFacts, factsOf } from "../portal/event_facts.ts";
import { versionInEvent } from "../portal/event_versions.ts";
import { type Delivery, DELIVERY_FORMAT, isDone, readDelivery, type Receipt, RECEIPT_MS } from "../portal/inbox.ts";
import { receiptKey } from "../portal/keys.ts";
import { LeaseLostError, type PortalLease } from "../portal/lease.ts";
import { purgeTokens } from "../portal/purge.ts";
import type { PortalFailure } from "../portal/portal.ts";
import { type PortalRecord, snapshot } from "../portal/record.ts";
import { redactError } from "../redact.ts";
import { blockedReasonOf, countsAsAttempt, nextRetryDelay, unitHash } from "../retry.ts";
import type { Entry } from "../storage/storage.ts";
import { recordBlock } from "../upgrade/block.ts";
import type { Upgrade } from "../upgrade/definition.ts";
import { Suspended } from "../upgrade/interruptions.ts";
import { isBelowTarget, NEWER_CODE_RETRY_MS, nextAction } from "../upgrade/next_action.ts";
import { runUpgrades } from "../upgrade/run.ts";
import { syntheticRemovalEvent, syntheticUpdateEvent } from "./missed_updates.ts";

/** The result of the work of a delivery. `deferred`: it is done later, or by another worker, or was done before. */
export type WorkResult = "handled" | "failed" | "deferred";

/** The result of the work of a delivery, and when its work is due again. */
export interface Outcome {
  readonly result: WorkResult;
  /** In milliseconds since 1970; absent if it is done or parked. */
  readonly nextAt?: number;
}

/** One delivery under the lease of its portal. */
interface DeliveryWork {
  readonly runtime: AppRuntime;
  readonly upgrades: readonly Upgrade[];
  readonly lease: PortalLease;
  readonly entry: Entry<Delivery>;
}

/** Returns whether the portal's upgrades are part of the delivery's work. All other deliveries do not wait for them. */
export function runsUpgrades({ key }: Entry<Delivery>): boolean {
  return /^ONAPP(UPDATE|INSTALL):/.test(key.at(-1)!);
}

/**
 * Does the work of one delivery. `parsed` is its event if this process has just received it.
 *
 * @throws {LeaseLostError} if another worker has taken the lease
 * @throws the reason of `runtime.signal` if the app closes
 */
export async function processDelivery(
  runtime: AppRuntime,
  upgrades: readonly Upgrade[],
  lease: PortalLease,
  entry: Entry<Delivery>,
  parsed: B24Event | undefined,
): Promise<Outcome> {
  const { storage, clock, signal, log } = runtime;
  const [, memberId, deliveryId] = entry.key as [string, string, string];
  const work: DeliveryWork = { runtime, upgrades, lease, entry };
  let event = parsed;
  try {
    signal.throwIfAborted();
    const { body, receivedAt, ...delivery } = readDelivery(entry.key, entry.value);
    // A crash came before the delivery was deleted, or a copy was stored while this one was processed.
    if (parsed === undefined && isDone(await storage.get<Receipt>(receiptKey(memberId, deliveryId)))) {
      await storage.delete(entry.key);
      return { result: "deferred" };
    }
    if (lease.record().uninstalledTs !== undefined && body !== undefined) {
      // Also if it is parked: no token of a removed portal may stay.
      event ??= parseStored(body, receivedAt).event;
      if (isOver(work, event)) return await finishWithoutHandlers(work, event);
    }
    const nextAt = nextAttemptAt(delivery);
    if (nextAt > clock()) return { result: "deferred", ...(nextAt === Infinity ? {} : { nextAt }) };
    event ??= eventOf(entry.value, lease.record());
    const deferred = body === undefined ? undefined : await applyToRecord(work, event);
    if (deferred !== undefined) return deferred;
    if (lease.record().status === "uninstalled" && event.name !== "ONAPPUNINSTALL") {
      return await finishWithoutHandlers(work, event);
    }
    const facts = factsOf(runtime, delivery.verification, receivedAt);
    const state = claimState(lease.record(), event, facts);
    // Its claim is asked about after the deliveries that do not wait.
    if (state === "wait") return { result: "deferred", ...whenNewerCodeMayKnow(work, event, facts) };
    if (state === "drop") {
      log.warn("event dropped: Bitrix24 did not confirm it", { event: "event.unconfirmed", memberId, deliveryId });
      await remove(work);
      return { result: "handled" };
    }
    const waiting = waitForUpgrades(work);
    if (waiting !== undefined) return waiting;
    log.debug("delivery started", { event: "delivery.started", memberId, deliveryId });
    await runHandlers(work, withConfirmedVersion(event, lease.record(), facts));
    await finish(work, event);
    return { result: "handled" };
  } catch (error) {
    if (signal.aborted || error instanceof LeaseLostError) throw error;
    if (error instanceof Suspended) return { result: "deferred", nextAt: error.until };
    if (error instanceof FormatError) {
      log.warn("delivery left to newer code", { event: "delivery.deferred", memberId, deliveryId, err: error });
      return { result: "failed", nextAt: clock() + NEWER_CODE_RETRY_MS };
    }
    return await recordFailure(work, event, error);
  }
}

/** Returns the event of a delivery. */
export function eventOf({ body, announced, removal, receivedAt }: Delivery, record: PortalRecord): B24Event {
  if (body !== undefined) return parseStored(body, receivedAt).event;
  return removal === undefined
    ? syntheticUpdateEvent(record, announced!, receivedAt)
    : syntheticRemovalEvent(record, removal);
}

/** Returns when a delivery is tried, in milliseconds since 1970; `Infinity` if it is parked. */
function nextAttemptAt({ attempts, retryAt }: Pick<Delivery, "attempts" | "retryAt">): number {
  return retryAt ?? (attempts === 0 ? -Infinity : Infinity);
}

/**
 * Applies the event again: a crash or an unknown version may have prevented it. Applying is idempotent. Returns an outcome
 * if the version is still unknown.
 */
async function applyToRecord({ runtime, lease, entry }: DeliveryWork, event: B24Event): Promise<Outcome | undefined> {
  const { verification, receivedAt } = entry.value;
  const facts = factsOf(runtime, verification, receivedAt);
  let problem: unknown;
  const next = tryApplyEvent(lease.record(), event, facts, (error) => problem = error);
  if (next === undefined) {
    // Not a failure: it must not be parked, however long it takes.
    const err = safeError(runtime, problem, event, lease.record());
    const [, memberId, deliveryId] = entry.key;
    runtime.log.warn("version not known yet", { event: "delivery.deferred", memberId, deliveryId, err });
    return { result: "deferred", nextAt: runtime.clock() + NEWER_CODE_RETRY_MS };
  }
  if (next !== lease.record()) await lease.update((record) => applyEvent(record, event, facts));
  return undefined;
}

/**
 * Returns when newer code may know the version that an event claims; nothing if this code does, or the claim waits for a
 * token whatever the version is.
 */
function whenNewerCodeMayKnow(
  { runtime, lease }: DeliveryWork,
  event: B24Event,
  facts: EventFacts,
): Pick<Outcome, "nextAt"> {
  const named = versionInEvent(event, facts);
  const isKnown = named === undefined || named.version !== undefined;
  const waitsForToken = facts.verification.claims === "always" &&
    lease.record().claims?.version?.nextAskAt === undefined;
  return isKnown || waitsForToken ? {} : { nextAt: runtime.clock() + NEWER_CODE_RETRY_MS };
}

/** Returns an outcome if the delivery has to wait for upgrades of its portal that cannot run now. */
function waitForUpgrades({ runtime, upgrades, lease, entry }: DeliveryWork): Outcome | undefined {
  if (!runsUpgrades(entry)) return undefined;
  const next = nextAction(lease.record(), upgrades, runtime.clock(), runtime.versions.latest);
  if (next.action === "parked") return { result: "deferred" };
  return next.action === "wait" ? { result: "deferred", nextAt: next.until } : undefined;
}

/** Runs plugins around the portal's upgrades and the handlers of the event. */
async function runHandlers({ runtime, upgrades, lease, entry }: DeliveryWork, event: B24Event): Promise<void> {
  const { receivedAt } = entry.value;
  const context = makeHandlerContext(runtime, event, lease.record(), { receivedAt, leaseSignal: lease.signal });
  if (event.name === "ONAPPUNINSTALL" && lease.record().status === "installed") {
    // Its handlers would delete data of the newer installation.
    context.log.warn("late removal ignored: the app was reinstalled", { event: "removal.ignored" });
    return;
  }
  if (event.name === "ONAPPUNINSTALL") {
    // A reinstallation may have been received since.
    const [, memberId, deliveryId] = entry.key as [string, string, string];
    const { parked, unverified } = await purgeTokens(runtime, memberId, receivedAt, deliveryId);
    if (unverified > 0) notify(runtime, "eventsDropped", { memberId, count: unverified, reason: "removed" });
    if (parked > 0) {
      context.log.warn("parked events of the removed portal deleted", { event: "removal.purged", parked });
    }
  }
  const plugins = runtime.plugins.filter(({ phase }) => phase !== "verify");
  await runPipeline(plugins, context, async (ctx) => {
    if (runsUpgrades(entry)) await runUpgrades(runtime, upgrades, lease, ctx);
    const portal = snapshot(lease.record());
    for (const handler of runtime.handlers.get(wireName(event)) ?? []) await handler({ ...ctx, portal });
  });
  lease.signal.throwIfAborted();
}

/** Returns whether an event belongs to an installation that is over, and cannot begin another one. */
function isOver({ lease, entry: { value } }: DeliveryWork, event: B24Event): boolean {
  if (event.name === "ONAPPUNINSTALL") return false;
  if (isOfEarlierInstallation(lease.record(), event, value)) return true;
  const { status, generation } = lease.record();
  // What verified it came before the removal.
  const wasPartOfIt = value.generation === generation;
  return status === "uninstalled" && (wasPartOfIt || !mayReinstall(event, value.verification));
}

/** Ends a delivery of an installation that is over: its handlers would work on a portal that has removed the app. */
async function finishWithoutHandlers(work: DeliveryWork, event: B24Event): Promise<Outcome> {
  const { memberId } = event.auth;
  work.runtime.log.info("event of a removed portal ignored", {
    ...{ event: "event.outdated", memberId, eventName: wireName(event) },
  });
  await finish(work, event);
  return { result: "handled" };
}

/** Marks the delivery as done, and removes it from the inbox. */
async function finish(work: DeliveryWork, event: B24Event): Promise<void> {
  const { runtime, lease, entry } = work;
  const [, memberId, deliveryId] = entry.key as [string, string, string];
  // The delivery itself was blocked.
  if (entry.value.retryAt !== undefined && lease.record().blocked !== undefined) {
    await lease.update(({ blocked: _, ...record }) => record);
  }
  await remove(work);
  runtime.log.debug("event handled", { event: "event.handled", memberId, deliveryId });
  notify(runtime, "eventHandled", { event });
}

/** Removes the delivery from the inbox. */
async function remove({ runtime: { storage }, entry }: DeliveryWork): Promise<void> {
  const [, memberId, deliveryId] = entry.key as [string, string, string];
  // The receipt first: a crash in between must not run the handlers again.
  const receipt: Receipt = { format: DELIVERY_FORMAT };
  await storage.put(receiptKey(memberId, deliveryId), receipt, { ifVersion: null, ttlMs: RECEIPT_MS });
  await storage.delete(entry.key);
}

/** Records why the work of a delivery failed, and when it is retried. */
async function recordFailure(work: DeliveryWork, event: B24Event | undefined, thrown: unknown): Promise<Outcome> {
  const { runtime, lease, entry } = work;
  const { storage, clock } = runtime;
  const { memberId } = lease.record();
  const error = event === undefined ? redactError(thrown, []) : safeError(runtime, thrown, event, lease.record());
  const name = event === undefined ? entry.key.at(-1)! : wireName(event);
  if (thrown instanceof UpgradeError) {
    // The failure is in the portal's record already.
    notify(runtime, "eventFailed", { memberId, event: name, error, attempt: thrown.attempt });
    return { result: "failed", ...defined({ nextAt: lease.record().failure?.retryAt }) };
  }
  const { retryAt: _, ...delivery } = entry.value;
  const blockedOn = blockedReasonOf(thrown);
  if (blockedOn !== undefined) {
    const nextAt = await recordBlock(runtime, lease, blockedOn, `${name}: ${error.message}`);
    await storage.put(entry.key, { ...delivery, retryAt: nextAt } satisfies Delivery, { ifVersion: entry.version });
    return { result: "deferred", nextAt };
  }
  const attempt = delivery.attempts + 1;
  const attempts = countsAsAttempt(thrown) ? attempt : attempt - 1;
  const delay = nextRetryDelay(thrown, attempt, runtime.retry, unitHash(runtime.random()));
  const retry = defined({ retryAt: delay === undefined ? undefined : clock() + delay });
  const fields = { memberId, eventName: name, attempt, ...retry, err: error };
  if (retry.retryAt === undefined) runtime.log.error("event parked", { event: "event.parked", ...fields });
  else runtime.log.error("event failed", { event: "event.failed", ...fields });
  notify(runtime, "eventFailed", { memberId, event: name, error, attempt });
  const failed: Delivery = { ...delivery, attempts, error: error.message, ...retry };
  await storage.put(entry.key, failed, { ifVersion: entry.version });
  if (runsUpgrades(entry)) await recordPortalFailure(work, { attempts, at: clock(), ...retry }, error, attempt);
  return { result: "failed", ...defined({ nextAt: retry.retryAt }) };
}

/** Records in the portal's record that a plugin or a handler, and not an upgrade, keeps it below its target. */
async function recordPortalFailure(
  { runtime, lease }: DeliveryWork,
  failure: Pick<PortalFailure, "attempts" | "at" | "retryAt">,
  error: Error,
  attempt: number,
): Promise<void> {
  await lease.update((record) =>
    isBelowTarget(record) ? { ...record, failure: { to: record.target, message: error.message, ...failure } } : record
  );
  const record = lease.record();
  if (!isBelowTarget(record)) return;
  const report = { memberId: record.memberId, from: record.version, to: record.target, attempt, error };
  if (failure.retryAt === undefined) notify(runtime, "portalParked", report);
  else notify(runtime, "upgradeRetryScheduled", { ...report, at: failure.retryAt });
}
