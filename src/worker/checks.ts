/** When portals are checked: after contacts, after events that could not be verified, and after long silence. */
import { type AppRuntime, notify } from "../plugin/runtime.ts";
import { portalKey } from "../portal/keys.ts";
import { loadPortal, type PortalRecord, readRecord } from "../portal/record.ts";
import { commitEntry, reserveEntry, withNextDelivery } from "../portal/schedule.ts";
import { redactError } from "../redact.ts";
import { unitHash } from "../retry.ts";
import { updateEntry } from "../storage/update.ts";
import { checkPortal, type CheckReport, type PortalCheckOptions } from "./portal_check.ts";

/** How often the app asks Bitrix24 about a portal on its own. */
export interface CheckPolicy {
  /**
   * Minimum time between two checks of a portal after its events, in milliseconds. Minimum: 0.
   *
   * @default 900000 (15 minutes)
   */
  readonly afterContactMs: number;
  /**
   * Time without events after which `tick()` checks a portal, in milliseconds. Minimum: 0. Needs `clientSecret`.
   *
   * @default 604800000 (a week)
   */
  readonly silentPortalMs: number;
}

/** Checks portals of an app. */
export interface Checks {
  /**
   * Checks a portal now.
   *
   * @throws {UnknownPortalError} if the portal is not stored
   * @throws {UnreachableError} if no OAuth host answers
   */
  readonly check: (memberId: string) => Promise<CheckReport>;
  /** Checks a portal that has sent an event; returns `undefined` if it was checked recently. Never rejects. */
  readonly afterContact: (memberId: string) => Promise<void> | undefined;
  /** Checks a portal whose app is opened, at most once a minute. Never rejects. */
  readonly afterOpening: (memberId: string) => Promise<void> | undefined;
  /**
   * Schedules a check of a stored portal in an hour, after an event that could not be verified: Bitrix24 does not repeat
   * it. Returns `undefined` if that was done recently. Never rejects.
   */
  readonly afterUnverified: (memberId: string) => Promise<void> | undefined;
  /** Returns when a silent portal is to be checked, in milliseconds since 1970; `undefined` if it never is. */
  readonly dueAt: (record: PortalRecord) => number | undefined;
  /** Checks a portal for a caller that holds its lease, and records the attempt. Never rejects. */
  readonly underLease: (memberId: string) => Promise<void>;
  /** Resolves when no check is running. */
  readonly idle: () => Promise<void>;
}

/** Options of {@linkcode createChecks}. */
export interface ChecksOptions extends PortalCheckOptions {
  /** Without a policy, only `check` and `underLease` check portals. */
  readonly policy: CheckPolicy | undefined;
  /** Tokens can be refreshed. Without that, the tokens of a silent portal have expired. */
  readonly canRefresh: boolean;
}

/** Delay (ms) before a check that failed is retried. */
const RETRY_MS = 60 * 60 * 1000;

/** Minimum time (ms) between two checks of a portal that are made because its app is opened. */
const OPENING_INTERVAL_MS = 60_000;

/** Returns the checks of an app. */
export function createChecks(options: ChecksOptions): Checks {
  const { runtime, policy, canRefresh } = options;
  const { log } = runtime;
  const running = new Set<Promise<unknown>>();
  const throttle = createThrottle(runtime.clock);

  function track<T>(work: Promise<T>): Promise<T> {
    running.add(work);
    const forget = (): boolean => running.delete(work);
    work.then(forget, forget);
    return work;
  }

  return {
    check: (memberId) => track(checkPortal(options, memberId, false)),
    afterContact: (memberId) => {
      if (policy === undefined || !throttle(memberId, policy.afterContactMs)) return undefined;
      return track(
        checkAfterContact(options, memberId, policy.afterContactMs).catch((err) =>
          log.warn("check failed", { event: "check.failed", memberId, err })
        ),
      );
    },
    afterOpening: (memberId) => {
      if (policy === undefined || !throttle(`opening ${memberId}`, OPENING_INTERVAL_MS)) return undefined;
      return track(checkAfterOpening(options, memberId));
    },
    afterUnverified: (memberId) => {
      if (policy === undefined || !canRefresh || !throttle(`unverified ${memberId}`, RETRY_MS)) return undefined;
      return track(
        scheduleCheck(runtime, memberId).catch((err) =>
          log.warn("failed to schedule a check after an unverifiable event", {
            ...{ event: "check.not_scheduled", memberId, err },
          })
        ),
      );
    },
    dueAt: (record) => policy !== undefined && canRefresh ? silentCheckAt(policy, record) : undefined,
    underLease: (memberId) => track(checkAndRecord(options, memberId, true)),
    idle: async () => {
      while (running.size > 0) await Promise.allSettled(running);
    },
  };
}

/** Maximum number of keys that a throttle remembers. */
const MAX_THROTTLED = 10_000;

/** Returns a function that returns `true` at most once in `intervalMs` for a key, in this process. */
function createThrottle(clock: () => number): (key: string, intervalMs: number) => boolean {
  const passedAt = new Map<string, number>();
  return (key, intervalMs) => {
    const now = clock();
    if (now - (passedAt.get(key) ?? -Infinity) < intervalMs) return false;
    if (passedAt.size >= MAX_THROTTLED) passedAt.clear();
    passedAt.set(key, now);
    return true;
  };
}

/** Returns whether the app can ask Bitrix24 about the portal. */
function canBeChecked({ status, tokens }: PortalRecord): boolean {
  return status === "installed" && tokens !== undefined;
}

function silentCheckAt({ silentPortalMs }: CheckPolicy, record: PortalRecord): number | undefined {
  if (!canBeChecked(record)) return undefined;
  const { check, latestTs, memberId } = record;
  if (check?.hasFailed) return check.at + RETRY_MS;
  const contactAt = Math.max(latestTs * 1000, check?.at ?? 0);
  // Spread by up to a tenth, so that portals that were installed together are not checked together.
  return Math.floor(contactAt + silentPortalMs * (0.9 + 0.2 * unitHash(memberId)));
}

/** Checks the portal unless any process has done so within `afterContactMs`. */
async function checkAfterContact(options: ChecksOptions, memberId: string, afterContactMs: number): Promise<void> {
  const { storage, clock } = options.runtime;
  const now = clock();
  const record = await loadPortal(storage, memberId);
  const isRecent = record.check !== undefined && now - record.check.at < afterContactMs;
  if (canBeChecked(record) && !isRecent) await checkAndRecord(options, memberId, false);
}

async function checkAfterOpening(options: ChecksOptions, memberId: string): Promise<void> {
  try {
    const record = await loadPortal(options.runtime.storage, memberId);
    if (canBeChecked(record)) await checkAndRecord(options, memberId, false);
  } catch (err) {
    options.runtime.log.warn("check failed", { event: "check.failed", memberId, err });
  }
}

/** Checks the portal, and records the attempt so that the next one comes later. Never rejects. */
async function checkAndRecord(options: ChecksOptions, memberId: string, isLeased: boolean): Promise<void> {
  const { runtime } = options;
  const { storage, clock, log } = runtime;
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
    const at = clock();
    await updateEntry<PortalRecord>(storage, portalKey(memberId), (entry) => {
      const record = readRecord(entry);
      // Another check of the portal has just been recorded.
      if (record === undefined || (record.check?.at ?? 0) >= at - 1000) return record;
      return { ...record, check: hasFailed ? { at, hasFailed } : { at } };
    });
  } catch (err) {
    log.warn("failed to record a check", { event: "check.not_recorded", memberId, err });
  }
}

/** Schedules the portal for a check in an hour. */
async function scheduleCheck(runtime: AppRuntime, memberId: string): Promise<void> {
  const now = runtime.clock();
  const entry = await runtime.storage.get<PortalRecord>(portalKey(memberId));
  const record = readRecord(entry);
  if (record === undefined || !canBeChecked(record)) return;
  const reservation = await reserveEntry(runtime, memberId, now + RETRY_MS, entry);
  await commitEntry(
    runtime,
    reservation,
    (current, due) => current && withNextDelivery({ ...current, check: { at: now, hasFailed: true } }, due),
  );
}
