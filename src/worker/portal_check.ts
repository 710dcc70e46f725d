/** One check of one portal: asks Bitrix24 for its version, scopes and payment, and plugins for problems. */
import { delay } from "../async/time.ts";
import { B24Error } from "../bitrix24/b24_error.ts";
import type { AppCredentials } from "../credentials/provider.ts";
import { defined } from "../defined.ts";
import { NoCredentialsError } from "../errors.ts";
import { withExtensions } from "../plugin/pipeline.ts";
import type { Plugin } from "../plugin/plugin.ts";
import { type AppRuntime, makeHandlerContext } from "../plugin/runtime.ts";
import { withPortalLease } from "../portal/exclusive.ts";
import { loadPortal, type PortalRecord } from "../portal/record.ts";
import { redactError } from "../redact.ts";
import { blockedReasonOf } from "../retry.ts";
import { raiseTarget, syntheticUpdateEvent } from "./missed_updates.ts";

/** A reason why a portal gets no events, or does not reach its target. */
export interface CheckProblem {
  /**
   * `uninstalled`; `not_installed` (Bitrix24 sends no events before the app's installer calls `installFinish`); a
   * `BlockedReason` such as `payment`; or the name of the plugin that found the problem.
   */
  readonly code: string;
  /** Description for people, without tokens. */
  readonly message: string;
}

/** The result of `app.check`. */
export interface CheckReport {
  /** The `member_id` of the portal. */
  readonly memberId: string;
  /**
   * Version that Bitrix24 reports as installed, read by the app's version scheme; absent if it is unknown. For local apps
   * with `deployed()`, the version of the running code.
   */
  readonly installed?: string;
  /** Version that the portal is on; absent while it is unknown. */
  readonly version?: string;
  /** Version that the portal should be on; absent while it is unknown. */
  readonly target?: string;
  /** Whether this check has raised the target. */
  readonly isRaised: boolean;
  /** `L` local, `F` free, `D` demo, `T` trial, `P` paid, `S` subscription; absent if it is unknown. */
  readonly status?: string;
  /** Scopes that the portal has granted; absent if they are unknown. */
  readonly scope?: readonly string[];
  /** Reasons why the portal gets no events, or does not reach its target; empty if there are none. */
  readonly problems: readonly CheckProblem[];
}

/** The parts of an app that check portals. */
export interface PortalCheckOptions {
  readonly runtime: AppRuntime;
  readonly credentials: AppCredentials;
  /** Makes the worker process a portal. */
  readonly wake: (memberId: string) => void;
}

/**
 * Checks a portal, and raises its target to the installed version. `isLeased`: the caller holds the lease of the portal.
 *
 * @throws {UnknownPortalError} if the portal is not stored
 * @throws {UnreachableError} if no OAuth host answers
 */
export async function checkPortal(
  options: PortalCheckOptions,
  memberId: string,
  isLeased: boolean,
): Promise<CheckReport> {
  const { runtime: { storage }, wake } = options;
  const before = await loadPortal(storage, memberId);
  if (before.status === "uninstalled") {
    return makeReport(before, [{ code: "uninstalled", message: "the app was removed from the portal" }]);
  }
  try {
    const info = await options.credentials.inspect(memberId);
    const installed = info.version === undefined ? undefined : parseInstalled(options.runtime, info.version);
    const isRaised = installed !== undefined && await raiseTarget(options.runtime, memberId, installed);
    const record = await loadPortal(storage, memberId);
    // Under a lease: a worker must not change what plugins compare.
    const found = isLeased
      ? await findProblems(options.runtime, record)
      : await findProblemsUnderLease(options, memberId);
    if (isRaised || (before.blocked !== undefined && record.blocked === undefined)) wake(memberId);
    const after = await loadPortal(storage, memberId);
    const problems: CheckProblem[] = [];
    if (!info.isInstalled) {
      const message =
        "the installation is not finished: Bitrix24 sends no events before the installer calls installFinish";
      problems.push({ code: "not_installed", message });
    }
    if (after.blocked !== undefined) problems.push({ code: after.blocked.on, message: after.blocked.message });
    // A plugin may have found what the portal is blocked on.
    problems.push(...found.filter(({ code }) => code !== after.blocked?.on));
    return makeReport(after, problems, {
      isRaised,
      scope: info.scope,
      ...defined({ installed, status: info.status }),
    });
  } catch (error) {
    if (!(error instanceof NoCredentialsError || error instanceof B24Error) || error.blockedOn === undefined) {
      throw error;
    }
    return makeReport(await loadPortal(storage, memberId), [{ code: error.blockedOn, message: error.message }]);
  }
}

function makeReport(
  { memberId, version, target }: PortalRecord,
  problems: readonly CheckProblem[],
  found: Partial<CheckReport> = {},
): CheckReport {
  return { memberId, ...defined({ version, target }), isRaised: false, ...found, problems };
}

/** Reads the version that Bitrix24 reports. For a local app it is meaningless: the version of the code counts. */
function parseInstalled({ versions, log }: AppRuntime, raw: string): string | undefined {
  if (versions.deployed !== undefined) return versions.deployed;
  try {
    return versions.parse(raw);
  } catch (err) {
    log.warn("installed version not readable", { event: "check.version_unreadable", err });
    return undefined;
  }
}

/** Number of attempts to acquire the lease of a portal for its plugins, and the delay (ms) between two of them. */
const LEASE_ATTEMPTS = 20;
const LEASE_RETRY_MS = 100;

/** Asks plugins while no worker holds the lease. Returns no problems if a worker keeps it: the run reports its own. */
async function findProblemsUnderLease(
  { runtime, wake }: PortalCheckOptions,
  memberId: string,
): Promise<readonly CheckProblem[]> {
  if (checkingPlugins(runtime).length === 0) return [];
  for (let attempt = 0; attempt < LEASE_ATTEMPTS; attempt++) {
    if (attempt > 0) await delay(runtime.time, LEASE_RETRY_MS);
    const found = await withPortalLease(
      { ...runtime, wake },
      memberId,
      (lease) => findProblems(runtime, lease.record(), lease.signal),
    );
    if (found !== undefined) return found.result;
  }
  runtime.log.info("plugin checks skipped: the portal is being processed", { event: "check.skipped", memberId });
  return [];
}

/** Asks plugins, in the context of an update that was missed. */
async function findProblems(
  runtime: AppRuntime,
  record: PortalRecord,
  leaseSignal?: AbortSignal,
): Promise<readonly CheckProblem[]> {
  const event = syntheticUpdateEvent(record, record.target ?? record.version ?? "", runtime.clock());
  const context = makeHandlerContext(runtime, event, record, defined({ leaseSignal }));
  const problems: CheckProblem[] = [];
  await withExtensions(runtime.plugins, context, async (context) => {
    for (const { name, check } of checkingPlugins(runtime)) {
      try {
        for (const message of await check!(context)) problems.push({ code: name, message });
      } catch (error) {
        const { message } = redactError(error, []);
        problems.push({ code: blockedReasonOf(error) ?? name, message: `check of ${name} failed: ${message}` });
      }
    }
  });
  return problems;
}

function checkingPlugins({ plugins }: AppRuntime): readonly Plugin[] {
  return plugins.filter(({ check }) => check !== undefined);
}
