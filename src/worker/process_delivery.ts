/** The work of one delivery: the portal's upgrades for an update or installation, then the handlers of its event. */
import { type B24Event, wireName } from "../bitrix24/events.ts";
import { parseStored } from "../bitrix24/parse.ts";
import { defined } from "../defined.ts";
import { FormatError } from "../errors.ts";
import { createHandlerRun } from "../plugin/handler_run.ts";
import { runPipeline } from "../plugin/pipeline.ts";
import type { TracedWork, WorkEnd } from "../plugin/tracing.ts";
import { type AppRuntime, makeHandlerContext, notify, safeError } from "../plugin/runtime.ts";
import { applyEvent, isOfEarlierInstallation, mayReinstall, tryApplyEvent } from "../portal/apply_event.ts";
import { claimState, withConfirmedVersion } from "../portal/event_claims.ts";
import { type EventFacts, factsOf } from "../portal/event_facts.ts";
import { versionInEvent } from "../portal/event_versions.ts";
import {
  assertReadable,
  type Delivery,
  type DeliveryOutcome,
  runsUpgrades,
  type WaitingDelivery,
} from "../portal/delivery.ts";
import { isHandled, withoutDelivery } from "../portal/inbox.ts";
import { isInstaller } from "../portal/installer.ts";
import type { PortalLease } from "../portal/lease.ts";
import { LeaseLostError } from "../portal/lease_lost.ts";
import { purgeTokens } from "../portal/purge.ts";
import { type PortalRecord, snapshot } from "../portal/record.ts";
import type { Upgrade } from "../upgrade/definition.ts";
import { Suspended } from "../upgrade/interruptions.ts";
import { isDue, NEWER_CODE_RETRY_MS, nextAction } from "../upgrade/next_action.ts";
import { runUpgrades } from "../upgrade/run.ts";
import { recordFailure } from "./delivery_failure.ts";
import { tell } from "./tell.ts";
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
  readonly waiting: WaitingDelivery;
  /** When this attempt began, in milliseconds since 1970. */
  readonly startedAt: number;
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
  waiting: WaitingDelivery,
  parsed: B24Event | undefined,
): Promise<Outcome> {
  const { clock, signal, log } = runtime;
  const { memberId } = lease.record();
  const { id: deliveryId, delivery } = waiting;
  const work: DeliveryWork = { runtime, upgrades, lease, waiting, startedAt: clock() };
  let event = parsed;
  let confirmed: B24Event;
  try {
    signal.throwIfAborted();
    assertReadable(memberId, waiting);
    const { body, receivedAt } = delivery;
    // A crash came before the delivery was deleted.
    if (isHandled(lease.record(), deliveryId)) {
      remove(work, "handled");
      return { result: "deferred" };
    }
    if (lease.record().uninstalledTs !== undefined && body !== undefined) {
      // Also if it is parked: no token of a removed portal may stay.
      event ??= parseStored(body, receivedAt).event;
      if (isOver(work, event)) return finishWithoutHandlers(work, event);
    }
    const nextAt = isUnblockedInstaller(work) ? -Infinity : nextAttemptAt(delivery);
    if (nextAt > clock()) return { result: "deferred", ...(nextAt === Infinity ? {} : { nextAt }) };
    event ??= eventOf(delivery, lease.record());
    const deferred = body === undefined ? undefined : await applyToRecord(work, event);
    if (deferred !== undefined) return deferred;
    if (lease.record().status === "uninstalled" && event.name !== "ONAPPUNINSTALL") {
      return finishWithoutHandlers(work, event);
    }
    const facts = factsOf(runtime, delivery.verification, receivedAt);
    const state = claimState(lease.record(), event, facts);
    // Its claim is asked about after the deliveries that do not wait.
    if (state === "wait") return { result: "deferred", ...whenNewerCodeMayKnow(work, event, facts) };
    if (state === "drop") {
      log.warn("event dropped: Bitrix24 did not confirm it", { event: "event.unconfirmed", memberId, deliveryId });
      remove(work, "unconfirmed");
      return { result: "handled" };
    }
    const waits = await waitForUpgrades(work);
    if (waits !== undefined) return waits;
    confirmed = withConfirmedVersion(event, lease.record(), facts);
  } catch (error) {
    return await workFailed(work, event, error);
  }
  return await attemptWork(work, event, confirmed);
}

/** Runs the handlers of a delivery, and records how that ends. `confirmed`: the event as handlers receive it. */
async function attemptWork(work: DeliveryWork, event: B24Event, confirmed: B24Event): Promise<Outcome> {
  const { runtime: { log, tracer }, lease, waiting: { id: deliveryId } } = work;
  return await tracer.trace(tracedWork(work, event), async (note) => {
    log.debug("delivery started", { event: "delivery.started", memberId: lease.record().memberId, deliveryId });
    try {
      const outcome = await runHandlers(work, confirmed);
      note(() => ({ outcome }));
      finish(work, event, outcome);
      return { result: "handled" };
    } catch (error) {
      note(() => failedEnd(work, event, error));
      return await workFailed(work, event, error);
    }
  });
}

/** Returns an attempt at the work of a delivery, as it is traced. */
function tracedWork({ lease, waiting: { id: deliveryId, delivery } }: DeliveryWork, event: B24Event): TracedWork {
  const { memberId, run, blocked } = lease.record();
  const { receivedAt, trace, attempts, retryAt } = delivery;
  // Attempts that were suspended, or whose process ended, are not counted.
  const hasBegun = runsUpgrades(deliveryId) && (run !== undefined || blocked !== undefined);
  return {
    ...{ kind: "delivery", memberId, event: wireName(event), deliveryId, receivedAt },
    isFirst: attempts === 0 && retryAt === undefined && !hasBegun,
    ...defined({ trace }),
  };
}

/** Returns how an attempt ends that has thrown an error. */
function failedEnd({ runtime, lease }: DeliveryWork, event: B24Event, thrown: unknown): WorkEnd {
  if (thrown instanceof Suspended) return { outcome: "suspended" };
  if (runtime.signal.aborted || lease.signal.aborted) return { outcome: "interrupted" };
  return { outcome: "failed", error: safeError(runtime, thrown, event, lease.record()) };
}

/** Records why the work of a delivery has not ended, unless that must be left to another process. */
async function workFailed(work: DeliveryWork, event: B24Event | undefined, error: unknown): Promise<Outcome> {
  const { runtime: { clock, signal, log }, lease, waiting: { id: deliveryId } } = work;
  if (signal.aborted || error instanceof LeaseLostError) throw error;
  if (error instanceof Suspended) return { result: "deferred", nextAt: error.until };
  if (error instanceof FormatError) {
    const { memberId } = lease.record();
    log.warn("delivery left to newer code", { event: "delivery.deferred", memberId, deliveryId, err: error });
    return { result: "failed", nextAt: clock() + NEWER_CODE_RETRY_MS };
  }
  return await recordFailure(work, event, error);
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

/** Returns whether the installer was blocked, and an event has ended the block: it is tried at once, for upgrades wait for it. */
function isUnblockedInstaller({ lease, waiting: { id, delivery } }: DeliveryWork): boolean {
  const wasBlocked = delivery.retryAt !== undefined && delivery.error === undefined;
  return wasBlocked && isInstaller(lease.record(), id) && lease.record().blocked === undefined;
}

/**
 * Applies the event again: a crash or an unknown version may have prevented it. Applying is idempotent. Returns an outcome
 * if the version is still unknown.
 */
async function applyToRecord({ runtime, lease, waiting }: DeliveryWork, event: B24Event): Promise<Outcome | undefined> {
  const { id: deliveryId, delivery: { verification, receivedAt } } = waiting;
  const facts = factsOf(runtime, verification, receivedAt);
  let problem: unknown;
  const next = tryApplyEvent(lease.record(), event, facts, (error) => problem = error);
  if (next === undefined) {
    // Not a failure: it must not be parked, however long it takes.
    const err = safeError(runtime, problem, event, lease.record());
    const { memberId } = lease.record();
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

/** Returns an outcome if the delivery has to wait for upgrades of its portal that cannot run now, or must not. */
async function waitForUpgrades(work: DeliveryWork): Promise<Outcome | undefined> {
  const { runtime, upgrades, lease, waiting } = work;
  if (!runsUpgrades(waiting.id)) return undefined;
  const next = nextAction(lease.record(), upgrades, runtime.clock(), runtime.versions.latest);
  if (next.action === "parked") return { result: "deferred" };
  if (next.action === "install") return isInstaller(lease.record(), waiting.id) ? undefined : { result: "deferred" };
  if (next.action === "wait") return { result: "deferred", nextAt: next.until };
  // Before plugins and handlers: what they do is a part of the run.
  const admission = isDue(next) ? await runtime.rollout?.admit(lease) : undefined;
  if (admission?.state === "waits") return { result: "deferred", nextAt: admission.nextAt };
  // The rollout does not let the portal go on: there is nothing to run, and nothing to notify handlers of.
  if (admission?.state !== "lowered" || waiting.delivery.body !== undefined) return undefined;
  remove(work, "outdated");
  return { result: "handled" };
}

/** Runs plugins around the portal's upgrades and the handlers of the event. Resolves to what became of the delivery. */
async function runHandlers(work: DeliveryWork, event: B24Event): Promise<DeliveryOutcome> {
  const { runtime, upgrades, lease, waiting } = work;
  const { id: deliveryId, delivery: { receivedAt } } = waiting;
  const context = makeHandlerContext(runtime, event, lease.record(), { receivedAt, leaseSignal: lease.signal });
  if (event.name === "ONAPPUNINSTALL" && lease.record().status === "installed") {
    // Its handlers would delete data of the newer installation.
    context.log.warn("late removal ignored: the app was reinstalled", { event: "removal.ignored" });
    return "outdated";
  }
  if (event.name === "ONAPPUNINSTALL") {
    // A reinstallation may have been received since.
    const { memberId } = lease.record();
    const { parked, unverified } = await purgeTokens(runtime, lease, receivedAt, deliveryId);
    if (unverified > 0) notify(runtime, "eventsDropped", { memberId, count: unverified, reason: "removed" });
    if (parked > 0) {
      context.log.warn("parked events of the removed portal deleted", { event: "removal.purged", parked });
    }
  }
  const plugins = runtime.plugins.filter(({ phase }) => phase !== "verify");
  const handlers = runtime.handlers.get(wireName(event)) ?? [];
  // Before code of the app or of a plugin runs: a crash in it must not undo what was done before, and another process may have
  // taken over if this one was paused.
  const flush = async (hasCode: boolean): Promise<void> => {
    if (!hasCode) return;
    await lease.flush();
    await lease.ensureHeld();
  };
  await flush(plugins.length > 0);
  let outcome: DeliveryOutcome = "skipped";
  await runPipeline(plugins, context, async (ctx) => {
    if (runsUpgrades(deliveryId)) {
      await runUpgrades(runtime, upgrades, lease, ctx);
      await tell(runtime, lease);
    }
    await flush(handlers.length > 0 || plugins.some(({ around }) => around !== undefined));
    outcome = runsUpgrades(deliveryId) && hasEnded(work, event) ? "outdated" : "handled";
    if (outcome === "outdated") {
      return ctx.log.info("event of a removed portal ignored", { event: "event.outdated", eventName: wireName(event) });
    }
    const portal = snapshot(lease.record());
    const name = { memberId: portal.memberId, event: wireName(event) };
    for (const { handle, timeoutMs } of handlers) {
      await lease.ensureHeld();
      const { signal, run } = createHandlerRun(runtime, name, ctx.signal, timeoutMs);
      await run(() => handle({ ...ctx, portal, signal }));
    }
  });
  lease.signal.throwIfAborted();
  return outcome;
}

/** Returns whether the app was removed, or installed again, while the portal's upgrades ran. */
function hasEnded(work: DeliveryWork, event: B24Event): boolean {
  return work.lease.record().status === "uninstalled" || isOver(work, event);
}

/** Returns whether an event belongs to an installation that is over, and cannot begin another one. */
function isOver({ lease, waiting: { delivery } }: DeliveryWork, event: B24Event): boolean {
  if (event.name === "ONAPPUNINSTALL") return false;
  if (isOfEarlierInstallation(lease.record(), event, delivery)) return true;
  const { status, generation } = lease.record();
  // It was verified before the removal.
  const wasPartOfIt = delivery.generation === generation;
  return status === "uninstalled" && (wasPartOfIt || !mayReinstall(event, delivery.verification));
}

/** Ends a delivery of an installation that is over: its handlers would work on a portal that has removed the app. */
function finishWithoutHandlers(work: DeliveryWork, event: B24Event): Outcome {
  const { memberId } = event.auth;
  work.runtime.log.info("event of a removed portal ignored", {
    ...{ event: "event.outdated", memberId, eventName: wireName(event) },
  });
  finish(work, event, "outdated");
  return { result: "handled" };
}

/** Removes the delivery, which is done, with the next write of the record. */
function finish(work: DeliveryWork, event: B24Event, outcome: DeliveryOutcome): void {
  const { runtime, waiting: { id: deliveryId, delivery } } = work;
  const { memberId } = event.auth;
  remove(
    work,
    outcome,
    // The delivery itself was blocked.
    ({ blocked, ...record }) => delivery.retryAt === undefined ? { ...record, ...defined({ blocked }) } : record,
    () => {
      runtime.log.debug("event handled", { event: "event.handled", memberId, deliveryId });
      notify(runtime, "eventHandled", { event });
    },
  );
}

/** Removes the delivery, with `change`, with the next write of the record. */
function remove(
  { runtime, lease, waiting }: DeliveryWork,
  outcome: DeliveryOutcome,
  change: (record: PortalRecord) => PortalRecord = (record) => record,
  onStored?: () => void,
): void {
  const end = { outcome, at: runtime.clock() };
  lease.stage((record) => withoutDelivery(change(record), waiting, end), onStored);
}
