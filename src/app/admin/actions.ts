/** Operators' actions on a portal. */
import { defined } from "../../defined.ts";
import { OnAppUpdateError, UnknownPortalError } from "../../errors.ts";
import type { RollbackReport } from "../../plugin/admin_reports.ts";
import { compareVersions, parseVersion } from "../../version.ts";
import { withExtensions } from "../../plugin/pipeline.ts";
import { type AppRuntime, makeHandlerContext } from "../../plugin/runtime.ts";
import { askNow } from "../../portal/claims.ts";
import { withPortalLease } from "../../portal/exclusive.ts";
import { inRecord, withHandled } from "../../portal/inbox.ts";
import type { Delivery, StoredDelivery } from "../../portal/delivery.ts";
import { waitingInstaller, withInstallerRetried } from "../../portal/installer.ts";
import { DELIVERIES, portalKey } from "../../portal/keys.ts";
import { withoutRolloutBlock } from "../../portal/block.ts";
import { withInitialVersion } from "../../portal/origin.ts";
import type { PortalRecord } from "../../portal/record.ts";
import { loadPortal } from "../../portal/record_store.ts";
import { isMarked, withMark } from "../../portal/batch_marks.ts";
import { schedulePortal } from "../../portal/schedule.ts";
import { askableUntil } from "../../portal/stored_credentials.ts";
import type { Upgrade } from "../../upgrade/definition.ts";
import { isBelowTarget } from "../../upgrade/next_action.ts";
import { isUpgradeDue } from "../../upgrade/plan.ts";
import { withRun } from "../../upgrade/run_record.ts";
import { rollBack } from "../../upgrade/rollback.ts";
import { syntheticUpdateEvent } from "../../worker/missed_updates.ts";

/** The parts of an app that the actions use. */
export interface ActionParts {
  readonly runtime: AppRuntime;
  readonly upgrades: readonly Upgrade[];
  /** Starts the work of a portal in this process, if the app is running. Resolves once it is under way. */
  readonly wake: (memberId: string) => Promise<void>;
}

/** Options of an action. */
export interface ActionOptions {
  /** The batch operation that the action is a part of. It marks the record, and nothing is done to a record that is marked. */
  readonly batchId?: string;
  /** An operator has retried this portal: it passes a pause of its rollout. */
  readonly passesPause?: boolean;
}

/** Retries a portal and its events now; see `Admin.retry`. */
export async function retry(parts: ActionParts, memberId: string, options: ActionOptions = {}): Promise<void> {
  const { storage } = parts.runtime;
  assertNotRollingBack(await loadPortal(storage, memberId));
  for await (const { key, value, version } of storage.list<StoredDelivery>([...DELIVERIES, memberId])) {
    if (hasFailed(value)) await storage.put(key, untried(value), { ifVersion: version });
  }
  await changeAndWake(parts, memberId, options, (record) => {
    assertNotRollingBack(record);
    const { inbox, ...rest } = withoutAttempts(askedNow(record, parts.runtime), parts.runtime);
    const passes = parts.runtime.rollout !== undefined && options.passesPause === true && isBelowTarget(record);
    return {
      ...rest,
      ...(passes && { mayPassPause: true }),
      ...defined({ inbox: inbox?.map((item) => hasFailed(item) ? untried(item) : item) }),
    };
  });
}

function assertNotRollingBack({ memberId, run }: PortalRecord): void {
  if (!run?.isRollingBack) return;
  const problem = "its rollback is not finished; call rollback() again to continue it";
  throw new OnAppUpdateError("rollback_unfinished", `cannot retry portal ${memberId}: ${problem}`);
}

function hasFailed({ attempts, retryAt }: Delivery): boolean {
  return attempts > 0 || retryAt !== undefined;
}

/** Returns the delivery as if it had never been tried. */
function untried<T extends Delivery>(
  { error: _error, retryAt: _retryAt, ...delivery }: T,
): Omit<T, "error" | "retryAt"> {
  return { ...delivery, attempts: 0 };
}

/** Marks a due upgrade as done; see `Admin.skip`. */
export async function skip(
  parts: ActionParts,
  memberId: string,
  upgradeId: string,
  options: ActionOptions = {},
): Promise<void> {
  const { runtime, upgrades } = parts;
  await changeAndWake(parts, memberId, options, (record) => {
    const waiting = waitingInstaller(record);
    if (upgradeId === "ONAPPINSTALL" && waiting !== undefined) {
      // The worker deletes what is recorded as handled.
      const at = runtime.clock();
      const { receivedAt = at } = inRecord(record, waiting.id) ?? {};
      return withHandled(record, waiting.id, receivedAt, { outcome: "skipped", at });
    }
    const { version, target } = record;
    if (version === undefined || target === undefined || !isUpgradeDue(upgrades, record, upgradeId)) {
      throw new OnAppUpdateError("not_due", `cannot skip upgrade "${upgradeId}" of portal ${memberId}: it is not due`);
    }
    const skipped = { id: upgradeId, from: version, to: target, at: runtime.clock(), skipped: true } as const;
    const { failure, ...rest } = withRun(record, skipped.at);
    const otherFailure = failure?.upgradeId === upgradeId ? undefined : failure;
    return { ...rest, ...defined({ failure: otherFailure }), applied: [...record.applied, skipped] };
  });
}

/** Sets the target of a portal; see `Admin.setTarget`. */
export async function setTarget(
  parts: ActionParts,
  memberId: string,
  version: string,
  options: ActionOptions = {},
): Promise<void> {
  const { clock, log, versions } = parts.runtime;
  const target = parseVersion(version);
  const refused = (why: string): OnAppUpdateError =>
    new OnAppUpdateError("invalid_target", `cannot set the target of portal ${memberId} to ${target}: ${why}`);
  if (versions.deployed !== undefined) throw refused("with deployed(), the version of the code is the target");
  let from: string | undefined;
  await changeAndWake(parts, memberId, options, (record) => {
    // It may have waited for the rollout of another target.
    const { isTargetUnconfirmed: _, ...rest } = withoutRolloutBlock(record);
    if (record.status === "uninstalled") throw refused("the app was removed from it");
    if (record.version === undefined) throw refused("its version is not known; see admin.setInitialVersion()");
    if (compareVersions(target, record.version) < 0) {
      throw refused(`it is below its version ${record.version}; roll it back instead`);
    }
    from = record.target;
    return { ...rest, target, targetSetAt: clock() };
  });
  log.info("target set by an operator", { event: "target.set", memberId, ...defined({ from }), to: target });
}

/** Sets the version of a portal that is not known; see `Admin.setInitialVersion`. */
export async function setInitialVersion(
  parts: ActionParts,
  memberId: string,
  version: string,
  options: ActionOptions = {},
): Promise<void> {
  const initial = parseVersion(version);
  const refused = (why: string): OnAppUpdateError =>
    new OnAppUpdateError("invalid_version", `cannot set the version of portal ${memberId} to ${initial}: ${why}`);
  await changeAndWake(parts, memberId, options, (record) => {
    const { target = initial } = record;
    if (record.status === "uninstalled") throw refused("the app was removed from it");
    if (record.version !== undefined) throw refused(`it is known, and is ${record.version}`);
    if (compareVersions(initial, target) > 0) throw refused(`it is above its target ${target}`);
    return { ...withInitialVersion(record, initial), target };
  });
  parts.runtime.log.info("initial version set by an operator", {
    event: "version.initial_set",
    ...{ memberId, version: initial },
  });
}

/** Rolls a portal back; see `Admin.rollback`. */
export async function rollback(
  parts: ActionParts,
  memberId: string,
  { batchId }: ActionOptions = {},
): Promise<RollbackReport> {
  const { runtime, upgrades, wake } = parts;
  await loadPortal(runtime.storage, memberId);
  const finished = await withPortalLease({ ...runtime, wake }, memberId, async (lease) => {
    const record = lease.record();
    if (batchId !== undefined && isMarked(record, batchId)) return { undone: [], without: [] };
    if (record.status === "uninstalled") {
      const why = "the app was removed from it";
      throw new OnAppUpdateError("nothing_to_roll_back", `cannot roll back portal ${memberId}: ${why}`);
    }
    const event = syntheticUpdateEvent(record, record.target ?? "", runtime.clock());
    const context = makeHandlerContext(runtime, event, record, { leaseSignal: lease.signal });
    let report: RollbackReport = { undone: [], without: [] };
    await withExtensions(runtime.plugins, context, async (ctx) => {
      report = await rollBack(runtime, upgrades, lease, ctx, batchId);
    });
    return report;
  });
  if (finished === undefined) {
    throw new OnAppUpdateError(
      "busy",
      `cannot roll back portal ${memberId}: a worker is processing it; try again later`,
    );
  }
  return finished.result;
}

/** Changes a record, schedules its portal for now, and waits until the worker has taken it up. */
async function changeAndWake(
  { runtime, wake }: ActionParts,
  memberId: string,
  { batchId }: ActionOptions,
  change: (record: PortalRecord) => PortalRecord,
): Promise<void> {
  const entry = await runtime.storage.get<PortalRecord>(portalKey(memberId));
  if (entry === null) throw new UnknownPortalError(memberId);
  const changeOnce = (record: PortalRecord): PortalRecord | undefined => {
    if (batchId === undefined) return change(record);
    return isMarked(record, batchId) ? undefined : withMark(change(record), batchId);
  };
  await schedulePortal(runtime, memberId, { at: runtime.clock(), change: changeOnce, entry });
  await wake(memberId);
}

/** Returns the record with its open claims asked about now, if there is a token to ask with. */
function askedNow(record: PortalRecord, { clock, canRefresh }: AppRuntime): PortalRecord {
  const { claims } = record;
  const now = clock();
  if (claims === undefined || askableUntil(record, canRefresh) <= now) return record;
  return { ...record, claims: askNow(claims, now, { all: true }) };
}

/**
 * Returns the record without failure, block and wake time, and with all attempts at zero. A missing installation is over
 * only if Bitrix24 says so.
 */
function withoutAttempts(record: PortalRecord, { clock, canRefresh }: AppRuntime): PortalRecord {
  const { failure: _failure, blocked, endedBlock: _ended, ...others } = withInstallerRetried(record);
  const { run } = record;
  const now = clock();
  const isKept = blocked?.on === "installation" && askableUntil(record, canRefresh) > now;
  const rest = { ...others, ...(isKept ? { blocked: { ...blocked, nextTryAt: now } } : {}) };
  if (run === undefined) return rest;
  const { wakeAt: _wakeAt, underWay, ...kept } = run;
  // An upgrade that is running now continues.
  return { ...rest, run: { ...kept, ...defined({ underWay: underWay && { ...underWay, deathsAlone: 0 } }) } };
}
