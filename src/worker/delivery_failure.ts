/** Records that the work of a delivery failed: the delivery is retried, blocked or parked. */
import { type B24Event, wireName } from "../bitrix24/events.ts";
import { defined } from "../defined.ts";
import { UpgradeError } from "../errors.ts";
import { type AppRuntime, notify, safeError } from "../plugin/runtime.ts";
import {
  type Delivery,
  DELIVERY_FORMAT,
  isLifeCycle,
  runsUpgrades,
  type StoredDelivery,
  type WaitingDelivery,
} from "../portal/delivery.ts";
import { type FailedAttempt, stageFailedAttempt } from "../portal/failed_attempts.ts";
import { fingerprintOf } from "../portal/fingerprint.ts";
import { withChangedDelivery } from "../portal/inbox.ts";
import { isInstaller, withInstallerParked } from "../portal/installer.ts";
import { deliveryKey } from "../portal/keys.ts";
import type { PortalLease } from "../portal/lease.ts";
import type { PortalFailure } from "../portal/portal.ts";
import { failedWith, type PortalRecord } from "../portal/record.ts";
import { storedText } from "../portal/stored_text.ts";
import { redactError } from "../redact.ts";
import { blockedReasonOf, countsAsAttempt, nextRetryDelay, unitHash } from "../retry.ts";
import { recordBlock } from "../upgrade/block.ts";
import { isBelowTarget } from "../upgrade/next_action.ts";

/** A delivery whose work failed, under the lease of its portal. */
interface FailedDelivery {
  readonly runtime: AppRuntime;
  readonly lease: PortalLease;
  readonly waiting: WaitingDelivery;
  /** When the attempt began, in milliseconds since 1970. */
  readonly startedAt: number;
}

/** The outcome of a failed delivery. */
interface FailureOutcome {
  /** `deferred`: its portal is blocked, which is no failure. */
  readonly result: "failed" | "deferred";
  /** When its work is due again, in milliseconds since 1970; absent if it is parked. */
  readonly nextAt?: number;
}

/** Records why the work of a delivery failed, and when it is retried. */
export async function recordFailure(
  work: FailedDelivery,
  event: B24Event | undefined,
  thrown: unknown,
): Promise<FailureOutcome> {
  const { runtime, lease, waiting: { id: deliveryId } } = work;
  const { clock } = runtime;
  const { memberId } = lease.record();
  const error = event === undefined ? redactError(thrown, []) : safeError(runtime, thrown, event, lease.record());
  const name = event === undefined ? deliveryId : wireName(event);
  // The failure is in the portal's record already, and observers know of it.
  if (thrown instanceof UpgradeError) {
    return { result: "failed", ...defined({ nextAt: lease.record().failure?.retryAt }) };
  }
  const { retryAt: _, error: _e, ...delivery } = work.waiting.delivery;
  const blockedOn = blockedReasonOf(thrown);
  if (blockedOn !== undefined) {
    await stageAttempt(work, name, error, { attempt: delivery.attempts + 1, blockedOn });
    const nextAt = await recordBlock(runtime, lease, blockedOn, `${name}: ${error.message}`);
    await keep(work, { ...delivery, retryAt: nextAt });
    return { result: "deferred", nextAt };
  }
  const attempt = delivery.attempts + 1;
  const attempts = countsAsAttempt(thrown) ? attempt : attempt - 1;
  const delay = nextRetryDelay(thrown, attempt, runtime.retry, unitHash(runtime.random()));
  const retry = defined({ retryAt: delay === undefined ? undefined : clock() + delay });
  const fields = { memberId, eventName: name, attempt, ...retry, err: error };
  if (retry.retryAt === undefined) runtime.log.error("event parked", { event: "event.parked", ...fields });
  else runtime.log.warn("event failed", { event: "event.failed", ...fields });
  const failed: Delivery = { ...delivery, attempts, error: storedText(error.message), ...retry };
  const failure = { attempts, at: clock(), ...retry };
  await stageAttempt(work, name, error, { attempt, ...retry });
  if (isInstaller(lease.record(), deliveryId)) await keepInstaller(work, failed, error);
  else if (runsUpgrades(deliveryId)) await keepWithFailure(work, failed, failure, error);
  else await keep(work, failed);
  reportFailure(work, name, error, attempt, retry.retryAt);
  return { result: "failed", ...defined({ nextAt: retry.retryAt }) };
}

/** Records a failed attempt at a life-cycle event with the next write of the record; ordinary events may be many. */
async function stageAttempt(
  { runtime: { storage, clock, digest }, lease, waiting: { id }, startedAt }: FailedDelivery,
  event: string,
  error: Error,
  failed: Pick<FailedAttempt, "attempt" | "blockedOn" | "retryAt">,
): Promise<void> {
  if (!isLifeCycle(id)) return;
  const fingerprint = await fingerprintOf(digest, { error });
  const { message } = error;
  await stageFailedAttempt(storage, lease, { event, startedAt, failedAt: clock(), message, fingerprint, ...failed });
}

/** Keeps the installer, which has failed. If it is parked, it blocks the upgrades of its portal. */
async function keepInstaller(work: FailedDelivery, failed: Delivery, error: Error): Promise<void> {
  const isParked = failed.retryAt === undefined;
  const now = work.runtime.clock();
  await keep(work, failed, (record) => isParked ? withInstallerParked(record, error.message, now) : record);
}

/** Records a failure, and that a plugin, and not an upgrade, keeps the portal below its target if that is so. */
async function keepWithFailure(
  work: FailedDelivery,
  failed: Delivery,
  failure: Pick<PortalFailure, "attempts" | "at" | "retryAt">,
  error: Error,
): Promise<void> {
  const fingerprint = await fingerprintOf(work.runtime.digest, { error });
  await keep(
    work,
    failed,
    (record) =>
      isBelowTarget(record)
        ? {
          ...withoutPass(record),
          failure: {
            to: record.target,
            message: storedText(error.message),
            error: failedWith(error),
            fingerprint,
            ...failure,
          },
        }
        : record,
  );
}

/** Returns the record of a portal that no longer passes a pause of its rollout. */
function withoutPass({ mayPassPause: _, ...record }: PortalRecord): PortalRecord {
  return record;
}

/**
 * Notifies observers of a failure, once: of that of the portal's upgrades if it is still below its target. If the portal is
 * parked, or blocked because its installer is, the worker tells that from the record.
 */
function reportFailure(
  { runtime, lease, waiting: { id: deliveryId } }: FailedDelivery,
  event: string,
  error: Error,
  attempt: number,
  at: number | undefined,
): void {
  const record = lease.record();
  const { memberId } = record;
  const isInstalling = isInstaller(record, deliveryId);
  if (at === undefined && isInstalling && isBelowTarget(record)) return;
  if (isInstalling || !runsUpgrades(deliveryId) || !isBelowTarget(record)) {
    return notify(runtime, "eventFailed", { memberId, event, error, attempt, ...defined({ at }) });
  }
  if (at === undefined) return;
  const { version: from, target: to } = record;
  notify(runtime, "upgradeRetryScheduled", { memberId, from, to, attempt, error, at });
}

/** Changes the delivery, which is not done, and `record` with it. */
async function keep(
  { runtime: { storage }, lease, waiting: { id, delivery, version } }: FailedDelivery,
  changed: Delivery,
  change: (record: PortalRecord) => PortalRecord = (record) => record,
): Promise<void> {
  // An operator may have reset its attempts meanwhile: that stays.
  if (version !== undefined) {
    const value: StoredDelivery = { format: DELIVERY_FORMAT, ...changed };
    await storage.put(deliveryKey(lease.record().memberId, id), value, { ifVersion: version });
  }
  await lease.update((record) =>
    withChangedDelivery(
      change(record),
      id,
      (current) => current.attempts === delivery.attempts && current.retryAt === delivery.retryAt ? changed : current,
    )
  );
}
