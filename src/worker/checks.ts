/** When portals are checked: after contacts, after events that could not be verified, and after long silence. */
import { createInFlight } from "../async/in_flight.ts";
import { createKeyedMutex } from "../async/keyed_mutex.ts";
import { createSlots } from "../async/slots.ts";
import { createThrottle } from "../async/throttle.ts";
import type { B24Event } from "../bitrix24/events.ts";
import { defined } from "../defined.ts";
import { notify } from "../plugin/runtime.ts";
import { hasOpenClaim } from "../portal/claims.ts";
import { portalKey } from "../portal/keys.ts";
import type { PortalLease } from "../portal/lease.ts";
import { type CheckReason, nextPlannedCheck, withFinishedCheck, withPlannedCheck } from "../portal/planned_checks.ts";
import { type PortalRecord, readRecord } from "../portal/record.ts";
import { leasedRecord, type RecordAccess } from "../portal/record_access.ts";
import { writeRecord } from "../portal/record_store.ts";
import { schedulePortal } from "../portal/schedule.ts";
import { askableUntil } from "../portal/stored_credentials.ts";
import { redactError } from "../redact.ts";
import { unitHash } from "../retry.ts";
import type { Budget } from "../verify/budget.ts";
import { askBitrix24 } from "./ask_portal.ts";
import { checkPortal, type CheckReport, type PortalCheckOptions } from "./portal_check.ts";

/** Intervals at which the app asks Bitrix24 about a portal on its own. */
export interface CheckPolicy {
  /**
   * Minimum time between two checks of a portal after its events, in milliseconds. Minimum: 0. An event that comes sooner
   * plans a check for the end of this time.
   *
   * @default 900000 (15 minutes)
   */
  readonly afterContactMs: number;
  /**
   * Time without events after which `tick()` checks a portal, in milliseconds. Minimum: 0. Needs
   * `clientSecret`.
   *
   * @default 604800000 (a week)
   */
  readonly silentPortalMs: number;
}

/** Checks portals of an app. Functions that return `undefined` have nothing to do; their promises never reject. */
export interface Checks {
  /**
   * Checks a portal now.
   *
   * @throws {UnknownPortalError} if the portal is not stored
   * @throws {UnreachableError} if no OAuth host answers
   */
  readonly check: (memberId: string) => Promise<CheckReport>;
  /**
   * Checks a portal that has sent an accepted event or, if it was checked within `afterContactMs`, plans a check for the
   * end of that time. ONAPPUSERREADY always causes a check, at most one a minute.
   */
  readonly afterEvent: (event: B24Event) => Promise<void> | undefined;
  /** Checks a portal whose app is opened, at most once a minute. */
  readonly afterOpening: (memberId: string) => Promise<void> | undefined;
  /**
   * Checks a portal after one of its events was refused, at most once in ten minutes: it may have been authentic, with a token
   * that the app does not know, and Bitrix24 does not repeat it. Shares the budget of unverified events.
   */
  readonly afterRefused: (memberId: string) => Promise<void> | undefined;
  /**
   * Checks a portal after one of its unverified events was replaced: at once, then every ten minutes while it lasts. Shares the
   * budget of unverified events.
   */
  readonly afterReplaced: (memberId: string) => Promise<void> | undefined;
  /** Returns when a portal is to be checked, in milliseconds since 1970; `undefined` if it never is. */
  readonly dueAt: (record: PortalRecord) => number | undefined;
  /** Checks a portal for a caller that holds its lease, and records the check. Never rejects. */
  readonly underLease: (memberId: string) => Promise<void>;
  /**
   * Asks Bitrix24 about the open claims of a portal for the holder of its lease, whose next write stores the answer. Returns
   * `undefined` if too many questions are under way: then the portal is processed again when one of them ends. Never rejects.
   */
  readonly confirm: (lease: PortalLease) => Promise<boolean> | undefined;
  /** Returns the number of portals that wait until `confirm` can ask about them. */
  readonly waitingQuestions: () => number;
  /** Resolves when no check is running. */
  readonly idle: () => Promise<void>;
}

/** Options of {@linkcode createChecks}. */
export interface ChecksOptions extends PortalCheckOptions {
  /** Without a policy, only `check` and `underLease` check portals. */
  readonly policy: CheckPolicy | undefined;
  /** Returns the budget of unverified events. */
  readonly budget: () => Budget;
}

/** Delay (ms) before a check that failed is repeated. */
const RETRY_MS = 60 * 60 * 1000;

/** Minimum time (ms) between two checks of a portal because its app is opened or its system user is ready. */
const URGENT_INTERVAL_MS = 60_000;

/** Minimum time (ms) between two checks of a portal because its events are not verified. */
const UNVERIFIED_INTERVAL_MS = 10 * 60_000;

/** A check is planned at least this long (ms) before the last access token expires, if none can be refreshed. */
const EXPIRY_MARGIN_MS = 60_000;

/** A reason for a check, and how often it may cause one. */
interface Request {
  readonly reason: CheckReason;
  /** Minimum time since the last check: a request that comes sooner plans a check. */
  readonly intervalMs: number;
  /** The first request of a series checks at once, whenever the last check was. */
  readonly isAtOnce?: true;
  /** Its checks count in the budget of unverified events. */
  readonly isBudgeted?: true;
}

/** Maximum number of questions about claims at a time in a process. */
const MAX_QUESTIONS = 8;

/** Returns the checks of an app. */
export function createChecks(options: ChecksOptions): Checks {
  const { track, idle } = createInFlight();
  const request = createRequests(options);
  const contact: Request = { reason: "contact", intervalMs: options.policy?.afterContactMs ?? 0 };
  const urgent: Request = { reason: "urgent", intervalMs: URGENT_INTERVAL_MS };
  const unverified: Request = { reason: "unverified", intervalMs: UNVERIFIED_INTERVAL_MS, isBudgeted: true };
  const questions = createSlots(MAX_QUESTIONS, options.wake);

  function requestAll(memberId: string, ...requests: readonly Request[]): Promise<void> | undefined {
    const works = requests.map((one) => request(memberId, one)).filter((work) => work !== undefined);
    return works.length === 0 ? undefined : track(Promise.all(works).then(() => {}));
  }

  return {
    check: (memberId) => track(checkPortal(options, memberId, false)),
    afterEvent: ({ name, auth: { memberId } }) =>
      name === "ONAPPUSERREADY" ? requestAll(memberId, urgent, contact) : requestAll(memberId, contact),
    afterOpening: (memberId) => requestAll(memberId, { ...urgent, isAtOnce: true }, contact),
    afterRefused: (memberId) => requestAll(memberId, unverified),
    afterReplaced: (memberId) => requestAll(memberId, { ...unverified, isAtOnce: true }),
    dueAt: (record) => dueAt(options, record),
    underLease: (memberId) => track(checkAndRecord(options, memberId, true).then(() => {})),
    confirm: (lease) =>
      questions.tryRun(lease.record().memberId, () => track(confirmClaims(options, leasedRecord(lease)))),
    waitingQuestions: questions.waiting,
    idle,
  };
}

/** Returns the function that checks a portal for a request, or plans a check of it. */
function createRequests(options: ChecksOptions): (memberId: string, request: Request) => Promise<void> | undefined {
  const { runtime: { clock, log, signal }, policy } = options;
  /** One request of a portal at a time: the next one sees its check. */
  const mutex = createKeyedMutex();
  /** Requests that wait for the mutex, and stand for those that come meanwhile. */
  const waiting = new Set<string>();
  /** Requests that need no work and no read for a time. Only stored portals are in it. */
  const settled = createThrottle(clock);
  /** Requests that continue a series. */
  const series = createThrottle(clock);

  return (memberId, request) => {
    const key = `${request.reason} ${request.isAtOnce === true} ${memberId}`;
    if (policy === undefined || settled.isHeld(key) || waiting.has(key)) return undefined;
    waiting.add(key);
    return mutex(memberId, async () => {
      waiting.delete(key);
      if (signal.aborted) return;
      const isAtOnce = request.isAtOnce === true && !series.isHeld(key);
      const until = await checkOrPlan(options, memberId, request, isAtOnce);
      if (request.isAtOnce) series.hold(key, clock() + 2 * request.intervalMs);
      if (until !== undefined) settled.hold(key, until);
    }).catch((err) => log.warn("check failed", { event: "check.failed", memberId, err }));
  };
}

/**
 * Checks a portal, or plans a check for the end of the request's interval. Resolves to the time until which nothing has
 * to be done for further requests of this kind; `undefined` if the next one has to look.
 */
async function checkOrPlan(
  options: ChecksOptions,
  memberId: string,
  { reason, intervalMs, isBudgeted }: Request,
  isAtOnce: boolean,
): Promise<number | undefined> {
  const { runtime: { storage, clock }, budget } = options;
  const now = clock();
  const entry = await storage.get<PortalRecord>(portalKey(memberId));
  const record = readRecord(entry);
  if (record === undefined) return undefined;
  const askableUntil = askableUntilOf(options, record);
  if (askableUntil <= now) return now + intervalMs;
  // The clock of the process that made the last check may be ahead.
  const next = Math.min((record.check?.at ?? -Infinity) + intervalMs, now + intervalMs);
  const earliest = isAtOnce ? now : Math.max(next, now);
  const planned = record.plannedChecks?.[reason] ?? Infinity;
  if (planned > now && planned <= earliest) return planned;
  // A check that is overdue was counted when it was planned.
  const at = isBudgeted && planned > now ? budget().reserve(earliest) : Math.min(planned, earliest);
  if (at <= now) return await checkAndRecord(options, memberId, false) ? undefined : now + intervalMs;
  const plannedAt = Math.min(at, askableUntil - EXPIRY_MARGIN_MS);
  if (plannedAt > now) {
    const plan = (current: PortalRecord): PortalRecord => withPlannedCheck(current, reason, plannedAt);
    await schedulePortal(options.runtime, memberId, { at: plannedAt, change: ifNew(plan), entry });
  }
  return at;
}

/** Returns the change of the schedule that plans a check of a portal, if the app is installed and the plan is new. */
function ifNew(plan: (record: PortalRecord) => PortalRecord): (record: PortalRecord) => PortalRecord | undefined {
  return (record) => {
    const next = record.status === "uninstalled" ? record : plan(record);
    return next === record ? undefined : next;
  };
}

/** Returns until when the app has a token to ask with: `Infinity` if it can refresh one, `-Infinity` if it has none. */
function askableUntilOf({ runtime: { canRefresh } }: ChecksOptions, record: PortalRecord): number {
  return record.status === "uninstalled" ? -Infinity : askableUntil(record, canRefresh);
}

/** Returns when the portal is to be checked: as planned, or after a long silence. */
function dueAt(options: ChecksOptions, record: PortalRecord): number | undefined {
  const { policy } = options;
  if (policy === undefined || record.status === "uninstalled") return undefined;
  const planned = nextPlannedCheck(record);
  if (askableUntilOf(options, record) < Infinity) return planned;
  const { latestTs, check, memberId } = record;
  const contactAt = Math.max(latestTs * 1000, check?.at ?? 0);
  // Spread by up to a tenth, so that portals that were installed together are not checked together.
  const silentAt = Math.floor(contactAt + policy.silentPortalMs * (0.9 + 0.2 * unitHash(memberId)));
  return Math.min(planned ?? Infinity, silentAt);
}

/** Checks the portal, and records the check. Resolves to whether it was recorded. Never rejects. */
async function checkAndRecord(options: ChecksOptions, memberId: string, isLeased: boolean): Promise<boolean> {
  const { runtime } = options;
  const { clock, log } = runtime;
  const startedAt = clock();
  let hasFailed = false;
  try {
    const { problems, isRaised } = await checkPortal(options, memberId, isLeased);
    const codes = problems.map(({ code }) => code);
    const level = problems.length === 0 ? "info" : "warn";
    log[level]("portal checked", { event: "portal.checked", memberId, isRaised, problems: codes });
    notify(runtime, "portalChecked", { memberId, isRaised, problems });
  } catch (error) {
    hasFailed = true;
    log.warn("check failed", { event: "check.failed", memberId, err: redactError(error, []) });
  }
  try {
    await recordCheck(options, memberId, { startedAt, hasFailed, isLeased });
    return true;
  } catch (err) {
    log.warn("failed to record a check", { event: "check.not_recorded", memberId, err });
    return false;
  }
}

async function recordCheck(
  options: ChecksOptions,
  memberId: string,
  { startedAt, hasFailed, isLeased }: {
    readonly startedAt: number;
    readonly hasFailed: boolean;
    readonly isLeased: boolean;
  },
): Promise<void> {
  const { runtime } = options;
  const { storage, clock } = runtime;
  const endedAt = clock();
  const repeatedAt = endedAt + RETRY_MS;
  const finished = (record: PortalRecord): PortalRecord => {
    const retryAt = hasFailed && askableUntilOf(options, record) > repeatedAt ? repeatedAt : undefined;
    return withFinishedCheck(record, { startedAt, endedAt, ...defined({ retryAt }) });
  };
  // A holder of the lease schedules the repetition when it releases the portal.
  if (hasFailed && !isLeased) {
    return await schedulePortal(runtime, memberId, { at: repeatedAt, change: ifNew(finished) });
  }
  await writeRecord(storage, memberId, (record) => record && { record: finished(record) });
}

/** Asks Bitrix24 about the open claims of a portal. Never rejects. */
async function confirmClaims(options: ChecksOptions, access: RecordAccess): Promise<boolean> {
  const { memberId } = access;
  const { log } = options.runtime;
  try {
    const { error, hasWork } = await askBitrix24(options, access);
    // An error may be the answer that confirms a removal or an unpaid period.
    if (error !== undefined && hasOpenClaim((await access.load()).claims)) {
      log.info("claims not confirmed yet", { event: "claim.unanswered", memberId, err: redactError(error, []) });
    }
    return hasWork;
  } catch (err) {
    log.warn("claims not confirmed: a failure", { event: "claim.failed", memberId, err });
    return false;
  }
}
