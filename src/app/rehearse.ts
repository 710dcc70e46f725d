/** `app.rehearse`: runs the upgrades of a portal as a run would, and changes nothing. */
import { checkOptions, option, type OptionRules } from "../check_options.ts";
import type { PortalCredentialsProvider } from "../credentials/contract.ts";
import { defined } from "../defined.ts";
import { OnAppUpdateError } from "../errors.ts";
import { withFields } from "../logger.ts";
import { canRehearse, runInRehearsal } from "../plugin/rehearsal.ts";
import type { AppRuntime } from "../plugin/runtime.ts";
import { chargeUnhandledRejections } from "../plugin/unhandled_rejections.ts";
import { isLeased } from "../portal/lease.ts";
import type { PortalRecord } from "../portal/record.ts";
import { loadPortal } from "../portal/record_store.ts";
import type { Upgrade } from "../upgrade/definition.ts";
import { nextAction } from "../upgrade/next_action.ts";
import { dueUpgrades } from "../upgrade/plan.ts";
import { createPortalAnswers } from "../upgrade/rehearsal/portal_answers.ts";
import { createRecorder, type Recorder } from "../upgrade/rehearsal/recorder.ts";
import { createTape, recordingRule, type Tape } from "../upgrade/rehearsal/recording.ts";
import { type RehearsedRun, rehearseRun, type RunRehearsal } from "../upgrade/rehearsal/rehearse_run.ts";
import type { RehearsalRecording, RehearsalReport } from "../upgrade/rehearsal/report.ts";
import { reportText } from "../upgrade/rehearsal/text.ts";
import { compareVersions, parseVersion } from "../version.ts";
import { syntheticUpdateEvent } from "../worker/missed_updates.ts";
import type { PauseSwitch } from "../worker/pause.ts";

/** Options of `app.rehearse`. */
export interface RehearsalOptions {
  /**
   * The version to rehearse up to, read as `coerced()` reads versions: for an update that no portal has yet.
   *
   * @default the target of the portal
   */
  readonly target?: string;
  /**
   * The recording of an earlier rehearsal of the same portal: its answers are used again, and only reads that it lacks go to the
   * portal.
   *
   * @default none: all reads go to the portal
   */
  readonly recording?: RehearsalRecording;
  /** If it is aborted, the rehearsal rejects with its reason. */
  readonly signal?: AbortSignal;
}

const OPTION_RULES: OptionRules<RehearsalOptions> = {
  target: option.value('a version such as "2.1.0"', (text) => typeof text === "string"),
  recording: recordingRule,
  signal: option.signal(),
};

const MEMBER_RULES = { memberId: option.required(option.text("the member_id of a portal")) };

/** Time (ms) after which a rehearsal ends. */
const MAX_MS = 60_000;

const UNKNOWN_METHOD = "the method is not known; it counts as a write and was answered with true";

/** A portal whose version and target are known. */
type LocatedRecord = RunRehearsal["record"];

/** The parts of an app that rehearsals use. */
export interface RehearsalParts {
  readonly runtime: AppRuntime;
  readonly upgrades: readonly Upgrade[];
  readonly pauseSwitch: Pick<PauseSwitch, "current">;
  /** Returns the credentials of one rehearsal. */
  readonly credentialsFor: (memberId: string) => PortalCredentialsProvider;
}

/** Rehearses the run of a portal; see `App.rehearse`. The plugins are set up. */
export async function rehearse(
  parts: RehearsalParts,
  memberId: string,
  options: RehearsalOptions = {},
): Promise<RehearsalReport> {
  const { runtime, upgrades } = parts;
  checkOptions("cannot rehearse", { memberId }, MEMBER_RULES);
  checkOptions(`cannot rehearse portal ${memberId}`, options, OPTION_RULES);
  if (!canRehearse()) throw new TypeError("cannot rehearse: this runtime has no node:async_hooks");
  const { clock } = runtime;
  const secrets = () => runtime.issuedTokens(memberId);
  const wanted = options.target === undefined ? undefined : parseVersion(options.target);
  const tape = createTape({ memberId, now: clock(), secrets }, options.recording);
  const stored = await loadPortal(runtime.storage, memberId);
  assertIdle(runtime, stored);
  const record = withTarget(stored, wanted);
  const limit = new AbortController();
  const recorder = createRecorder(secrets, (why) => limit.abort(new DOMException(why, "AbortError")));
  const due = record.status === "installed" ? dueUpgrades(upgrades, record) : [];
  const held = await runtime.rollout?.heldBlock(stored);
  const obstacle = held === undefined
    ? await obstacleOf(parts, record)
    : `the portal is blocked on rollout: ${held.message}`;
  const report = (run: RehearsedRun): RehearsalReport => makeReport(record, obstacle, run, { recorder, tape });
  if (!isLocated(record) || record.status !== "installed" || compareVersions(record.version, record.target) >= 0) {
    return report({ upgrades: [], sleepMs: 0 });
  }
  const outer = AbortSignal.any([runtime.signal, ...(options.signal === undefined ? [] : [options.signal])]);
  outer.throwIfAborted();
  const signal = AbortSignal.any([outer, limit.signal]);
  const run = await runLimited(parts, recorder, { record, due, signal }, tape);
  outer.throwIfAborted();
  const { fencingToken } = await loadPortal(runtime.storage, memberId);
  if (fencingToken !== stored.fencingToken) {
    recorder.addNotRehearsed({ what: "the state of the portal", why: "a worker has processed the portal meanwhile" });
  }
  return report(run);
}

/** Rehearses a run for as long as a rehearsal may take. */
async function runLimited(
  { runtime, credentialsFor }: RehearsalParts,
  recorder: Recorder,
  { record, due, signal }: Pick<RunRehearsal, "record" | "due" | "signal">,
  tape: Tape,
): Promise<RehearsedRun> {
  const { memberId, target } = record;
  const { portalFetch, refuseFetch, answers } = createPortalAnswers({ recorder, tape });
  const scope = { memberId, answers, setRate: recorder.setRate, reportChanges: recorder.reportChanges };
  const quiet: AppRuntime = { ...runtime, log: withFields(runtime.log, { isRehearsal: true }) };
  const event = syntheticUpdateEvent(record, target, runtime.clock());
  const cancel = runtime.time.setTimer(() => recorder.stop(`it has taken ${MAX_MS / 1000} seconds`), MAX_MS);
  const stopCharging = chargeUnhandledRejections();
  try {
    return await runInRehearsal(
      { scope, credentials: credentialsFor(memberId), portalFetch, refuseFetch },
      () => rehearseRun({ runtime: quiet, recorder, record, due, event, fetch: refuseFetch, signal }),
    );
  } finally {
    cancel();
    stopCharging();
    // Whatever the handlers have left behind.
    recorder.stop("it is over");
  }
}

/** @throws {OnAppUpdateError} if a worker is processing the portal, or its rollback is not finished */
function assertIdle({ storage, clock }: AppRuntime, record: PortalRecord): void {
  const { memberId, run } = record;
  if (isLeased(storage, record, clock())) {
    const problem = "a worker is processing it; try again later";
    throw new OnAppUpdateError("busy", `cannot rehearse portal ${memberId}: ${problem}`);
  }
  if (run?.isRollingBack) {
    const problem = "its rollback is not finished; call rollback() again to continue it";
    throw new OnAppUpdateError("rollback_unfinished", `cannot rehearse portal ${memberId}: ${problem}`);
  }
}

/** @throws {OnAppUpdateError} with code `invalid_target`, if the wanted target is below the portal's version */
function withTarget(record: PortalRecord, wanted: string | undefined): PortalRecord {
  const { memberId, version } = record;
  if (wanted === undefined) return record;
  if (version !== undefined && compareVersions(wanted, version) < 0) {
    throw new OnAppUpdateError(
      "invalid_target",
      `cannot rehearse portal ${memberId} up to ${wanted}: it is below its version ${version}`,
    );
  }
  return { ...record, target: wanted };
}

function isLocated(record: PortalRecord): record is LocatedRecord {
  return record.version !== undefined && record.target !== undefined;
}

/** Returns why no run of the portal would begin now; `undefined` if one would, or nothing is due. */
async function obstacleOf(
  { runtime: { clock, versions }, upgrades, pauseSwitch }: RehearsalParts,
  record: PortalRecord,
): Promise<string | undefined> {
  const { status, version, target, blocked, failure, run } = record;
  if (status === "uninstalled") return "the app was removed from the portal";
  if (version === undefined) return "the version of the portal's data is not known; see admin.setInitialVersion()";
  if (target !== undefined && compareVersions(target, version) < 0) {
    return `the target ${target} is below the portal's version`;
  }
  const next = nextAction(record, upgrades, clock(), versions.latest);
  if (next.action === "none") return undefined;
  if (next.action === "parked") return `the portal is parked: ${failure?.message ?? "an upgrade has failed"}`;
  if (next.action === "install") return "the handlers of its ONAPPINSTALL have not succeeded yet";
  if (next.action !== "wait") {
    const pause = await pauseSwitch.current();
    return pause && `the app is paused by ${pause.by}: ${pause.reason}`;
  }
  if (next.why === "newer_code") return `the target ${target} needs newer code`;
  if (next.why === "blocked") return `the portal is blocked on ${blocked?.on}: ${blocked?.message}`;
  const at = new Date(next.until).toISOString();
  return next.why === "retry"
    ? `the last attempt failed, the next one is at ${at}: ${failure?.message}`
    : `an upgrade sleeps until ${new Date(run?.wakeAt ?? next.until).toISOString()}`;
}

function makeReport(
  { memberId, version, target }: PortalRecord,
  obstacle: string | undefined,
  { upgrades, sleepMs }: RehearsedRun,
  { recorder, tape }: { readonly recorder: Recorder; readonly tape: Tape },
): RehearsalReport {
  const upgradesInPart = upgrades.filter(({ outcome }) => outcome !== "rehearsed")
    .map(({ id, why = "" }) => ({ what: `upgrade ${id}`, why }));
  const unknown = new Set(recorder.writes().filter(({ isUnknown }) => isUnknown).map(({ method }) => method));
  const guessed = [...unknown].map((method) => ({ what: `the answer to ${method}`, why: UNKNOWN_METHOD }));
  const notRehearsed = [...upgradesInPart, ...recorder.notRehearsed(), ...guessed];
  const report = {
    ...{ memberId, ...defined({ from: version, to: target, obstacle }) },
    isComplete: notRehearsed.length === 0,
    upgrades,
    calls: recorder.calls(),
    writes: recorder.writes(),
    changes: recorder.changes(),
    notRehearsed,
    time: recorder.time(sleepMs),
    recording: tape.recording(),
  };
  return { ...report, text: reportText(report) };
}
