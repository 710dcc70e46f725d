/** One check of one portal: asks Bitrix24 for its version, scopes and payment, and plugins for problems. */
import { delay } from "../async/time.ts";
import { defined } from "../defined.ts";
import { UnreachableError } from "../errors.ts";
import { withExtensions } from "../plugin/pipeline.ts";
import type { Plugin } from "../plugin/plugin.ts";
import { type AppRuntime, makeHandlerContext } from "../plugin/runtime.ts";
import { describeClaims } from "../portal/claims.ts";
import { withPortalLease } from "../portal/exclusive.ts";
import { blockOf, type PortalRecord, portalState } from "../portal/record.ts";
import { storedRecord } from "../portal/record_access.ts";
import { loadPortal } from "../portal/record_store.ts";
import { redactError } from "../redact.ts";
import { blockedReasonOf } from "../retry.ts";
import { askBitrix24, type AskOptions } from "./ask_portal.ts";
import { syntheticUpdateEvent } from "./missed_updates.ts";

/** A reason why a portal gets no events, or does not reach its target. */
export interface CheckProblem {
  /**
   * `uninstalled`; `not_installed` (Bitrix24 sends no events before the app's installer calls `installFinish`);
   * `unconfirmed` (an event claims what Bitrix24 does not confirm); `parked` (an upgrade has failed for good); a
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
export interface PortalCheckOptions extends AskOptions {
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
  const { runtime } = options;
  const { storage } = runtime;
  // The caller that holds the lease goes on by itself.
  const wake: (memberId: string) => void = isLeased ? () => {} : options.wake;
  const before = await loadPortal(storage, memberId);
  if (before.status === "uninstalled") return makeReport(before, [UNINSTALLED]);
  const { info, installed, error, isRaised, hasWork } = await askBitrix24(options, storedRecord(storage, memberId));
  const record = await loadPortal(storage, memberId);
  const isUnblocked = before.blocked !== undefined && record.blocked === undefined;
  if (record.status === "uninstalled") {
    wake(memberId);
    return makeReport(record, [UNINSTALLED]);
  }
  if (info === undefined) {
    if (hasWork) wake(memberId);
    if (error instanceof UnreachableError || error?.blockedOn === undefined) throw error;
    const problems = [{ code: error.blockedOn, message: error.message }, ...parkedProblems(record)];
    return makeReport(record, [...problems, ...claimProblems(record)]);
  }
  // Under a lease: a worker must not change what plugins compare.
  const found = isLeased ? await findProblems(runtime, record) : await findProblemsUnderLease(options, memberId);
  if (hasWork || isUnblocked) wake(memberId);
  const after = await loadPortal(storage, memberId);
  const problems: CheckProblem[] = info.isInstalled ? [] : [NOT_INSTALLED];
  const blocked = blockOf(after);
  if (blocked !== undefined) problems.push({ code: blocked.on, message: blocked.message });
  problems.push(...parkedProblems(after));
  // A plugin may have found what the portal is blocked on.
  problems.push(...found.filter(({ code }) => code !== blocked?.on), ...claimProblems(after));
  const { scope, status } = info;
  return makeReport(after, problems, { isRaised, scope, ...defined({ installed, status }) });
}

const UNINSTALLED: CheckProblem = { code: "uninstalled", message: "the app was removed from the portal" };

const NOT_INSTALLED: CheckProblem = {
  code: "not_installed",
  message: "the installation is not finished: Bitrix24 sends no events before the installer calls installFinish",
};

/** Returns the failure that has parked the portal. */
function parkedProblems(record: PortalRecord): CheckProblem[] {
  if (portalState(record) !== "parked") return [];
  const { upgradeId, message = "a rollback has not ended" } = record.failure ?? {};
  return [{ code: "parked", message: upgradeId === undefined ? message : `upgrade ${upgradeId}: ${message}` }];
}

/** Returns the claims that Bitrix24 has contradicted, or never confirmed. */
function claimProblems({ claims = {} }: PortalRecord): CheckProblem[] {
  return describeClaims(claims).filter(({ state, isContradicted }) => state === "unconfirmed" || isContradicted)
    .map(({ kind, version, since }) => {
      const what = kind === "version" ? `version ${version}` : kind === "removal" ? "a removal" : "an unpaid period";
      const message = `an event of ${new Date(since).toISOString()} claims ${what}, which Bitrix24 does not confirm`;
      return { code: "unconfirmed", message };
    });
}

function makeReport(
  { memberId, version, target }: PortalRecord,
  problems: readonly CheckProblem[],
  found: Partial<CheckReport> = {},
): CheckReport {
  return { memberId, ...defined({ version, target }), isRaised: false, ...found, problems };
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
        const { message } = redactError(error, runtime.issuedTokens(record.memberId));
        problems.push({ code: blockedReasonOf(error) ?? name, message: `check of ${name} failed: ${message}` });
      }
    }
  });
  return problems;
}

function checkingPlugins({ plugins }: AppRuntime): readonly Plugin[] {
  return plugins.filter(({ check }) => check !== undefined);
}
