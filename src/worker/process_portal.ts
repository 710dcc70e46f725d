/** Processes a portal under its lease: checks it if a check is due, then does the work of its deliveries until none is left. */
import type { B24Event } from "../bitrix24/events.ts";
import { parseStored } from "../bitrix24/parse.ts";
import { FormatError } from "../errors.ts";
import { delay } from "../async/time.ts";
import type { AppRuntime } from "../plugin/runtime.ts";
import { storeEvent } from "../portal/apply_event.ts";
import { hasComeSince, nextAskAt } from "../portal/claims.ts";
import { factsOf } from "../portal/event_facts.ts";
import { isLeasedHere, whenReleased } from "../portal/exclusive.ts";
import { assertReadable, runsUpgrades, type WaitingDelivery } from "../portal/delivery.ts";
import { type AcceptedDelivery, isHandled } from "../portal/inbox.ts";
import { isInstaller, waitingInstaller, withInstallerDone } from "../portal/installer.ts";
import { listInbox } from "../portal/inbox_list.ts";
import { portalKey } from "../portal/keys.ts";
import { acquireLease, type PortalLease } from "../portal/lease.ts";
import { LeaseLostError, RecordLostError } from "../portal/lease_lost.ts";
import type { PortalRecord } from "../portal/record.ts";
import { isUnreadable } from "../storage/unreadable.ts";
import type { Upgrade } from "../upgrade/definition.ts";
import { isDue, type NextAction, nextAction } from "../upgrade/next_action.ts";
import type { Checks } from "./checks.ts";
import { findVersion } from "./initial_version.ts";
import { enqueueMissedUpdate, enqueueOwedRemoval } from "./missed_updates.ts";
import { type Outcome, processDelivery, type WorkResult } from "./process_delivery.ts";
import { purgeIfExpired, releaseIfIdle, releaseUnfinished } from "./release.ts";
import { tell } from "./tell.ts";
import { createWaitingTally, type WaitingTally } from "./waiting_tally.ts";

/** The parts of an app that process portals. */
export interface WorkerOptions {
  readonly runtime: AppRuntime;
  readonly upgrades: readonly Upgrade[];
  readonly checks: Checks;
}

/** The result of processing a portal. */
export interface ProcessedPortal {
  /** Number of events whose work was done. */
  readonly handled: number;
  /** Number of events whose work failed. */
  readonly failed: number;
  /**
   * Schedule entry with which the portal was released. Absent if another process holds the lease, what is stored cannot be
   * read, or processing failed.
   */
  readonly released?: { readonly due: string | undefined };
  /** The stored entries of the portal cannot be read. */
  readonly isUnreadable?: true;
}

/** Receives the result of each delivery. */
export type Settle = (deliveryId: string, result: WorkResult) => void;

/** Why a portal is processed. */
export interface Cause {
  /** A delivery that this process has just stored. */
  readonly accepted?: AcceptedDelivery;
  /**
   * Schedule entries that were found. If the record does not name one of them, a crash may have left deliveries that it does not
   * count.
   */
  readonly found?: readonly string[];
  /** Called once the lease of the portal is held, here or by another process, or there is nothing to hold. */
  readonly onTaken?: () => void;
}

/** Processes a portal, unless another process holds its lease. Never rejects. */
export async function processPortal(
  options: WorkerOptions,
  memberId: string,
  { accepted, found = [], onTaken = () => {} }: Cause,
  settle: Settle,
): Promise<ProcessedPortal> {
  const { runtime, checks } = options;
  /** The last result of each delivery. */
  const results = new Map<string, WorkResult>();
  let hasFailed = false;
  let released: ProcessedPortal["released"];
  let isLeft = false;
  let lease = accepted?.lease;
  try {
    runtime.signal.throwIfAborted();
    // The caller may run under the lease here.
    if (isLeasedHere(runtime.storage, memberId)) onTaken();
    lease ??= await acquirePortal(runtime, memberId);
    onTaken();
    if (lease === undefined) return { handled: 0, failed: 0 };
    const { due: named } = lease.record();
    const isWhole = found.some((due) => due !== named) || undefined;
    if (needsCheck(options, lease.record())) {
      await lease.ensureHeld();
      await checks.underLease(memberId);
      // Reads what the check has written.
      await lease.update((record) => record);
    }
    const due = await processUntilIdle(options, lease, { accepted, isWhole }, (deliveryId, result) => {
      results.set(deliveryId, result);
      settle(deliveryId, result);
    });
    released = { due };
    runtime.rollout?.release(lease.record());
  } catch (error) {
    hasFailed = reportStop(runtime, memberId, error);
    isLeft = isUnreadable(error);
    // Otherwise the portal would wait until the lease expires.
    if (runtime.signal.aborted && !(error instanceof LeaseLostError) && lease !== undefined) {
      await releaseUnfinished(runtime, lease).catch(() => {});
    }
  } finally {
    lease?.stop();
  }
  const count = (wanted: WorkResult): number => [...results.values()].filter((result) => result === wanted).length;
  return {
    handled: count("handled"),
    failed: count("failed") + Number(hasFailed),
    ...(released === undefined ? {} : { released }),
    ...(isLeft && { isUnreadable: true }),
  };
}

/** Acquires the lease of a portal. Returns `undefined` if another process holds it, or there is no work. */
async function acquirePortal(runtime: AppRuntime, memberId: string): Promise<PortalLease | undefined> {
  await whenReleased(runtime.storage, memberId);
  const lease = await acquireLease(runtime, memberId);
  if (lease !== undefined || !await recreateRecord(runtime, memberId)) return lease;
  return await acquireLease(runtime, memberId);
}

/** Logs why processing stopped. Returns whether that is a failure. */
function reportStop({ signal, log }: AppRuntime, memberId: string, err: unknown): boolean {
  if (err instanceof RecordLostError) {
    log.error("processing stopped: the storage has lost the portal", { event: "portal.lost", memberId, err });
    return false;
  }
  if (err instanceof LeaseLostError) {
    log.warn("processing stopped: lease lost", { event: "portal.stopped", memberId, err });
    return false;
  }
  if (signal.aborted) {
    log.info("processing stopped: app closes", { event: "portal.stopped", memberId });
    return false;
  }
  if (err instanceof FormatError) {
    log.warn("portal left to newer code", { event: "portal.left", memberId, err });
    return false;
  }
  log.error("processing failed", { event: "portal.processing_failed", memberId, err });
  return true;
}

/** Number of passes without a turn of the event loop, which a storage in memory does not give. */
const PASSES_IN_A_ROW = 10;

/** Processes deliveries until the lease could be released. Resolves to the schedule entry of the released portal. */
async function processUntilIdle(
  options: WorkerOptions,
  lease: PortalLease,
  pass: PassOptions,
  settle: Settle,
): Promise<string | undefined> {
  const { runtime, checks } = options;
  const tally = createWaitingTally();
  for (let passes = 1;; passes++) {
    // Something may cause work in every pass, such as an observer that retries: timers and requests must have their turn.
    if (passes % PASSES_IN_A_ROW === 0) await delay(runtime.time, 0, lease.signal);
    await tell(runtime, lease);
    const { inboxSequence } = lease.record();
    await findVersion(runtime, lease);
    const { outcomes, areUpgradesAttempted } = await processDeliveries(options, lease, pass, tally);
    const next = actionOf(options, lease);
    const asked = await askAboutClaims(options, lease);
    const hasMore = asked.hasWork || lease.record().inboxSequence !== inboxSequence;
    let isReleased = false;
    if (lease.record().owedRemoval !== undefined) enqueueOwedRemoval(runtime, lease);
    // The deliveries that raised the target may be done already.
    else if (isDue(next) && !areUpgradesAttempted() && !hasMore) enqueueMissedUpdate(runtime, lease);
    else if (!hasMore) {
      await tell(runtime, lease);
      const nextAt = min([
        await purgeIfExpired(runtime, lease),
        next.action === "wait" ? next.until : undefined,
        checks.dueAt(lease.record()),
        asked.nextAt,
        ...Array.from(outcomes.values(), ({ nextAt }) => nextAt),
      ]);
      isReleased = await releaseIfIdle(runtime, lease, inboxSequence, nextAt, tally);
    }
    // A delivery that waited for Bitrix24's answer has its turn in the next pass.
    const ended = [...outcomes].filter(([, { result }]) => isReleased || result !== "deferred");
    if (!isReleased && ended.length > 0) await lease.flush();
    // After the release: some hosts stop a program that has sent its answer.
    for (const [deliveryId, { result }] of ended) settle(deliveryId, result);
    if (isReleased) return lease.record().due;
  }
}

/** Maximum delay (ms) before claims are asked about if no question is free, or asking has failed. */
const QUESTION_RETRY_MS = 5 * 60 * 1000;

/** Time (ms) that each portal that waits for a question adds to that delay. */
const WAITING_QUESTION_MS = 100;

/**
 * Returns the delay (ms) before claims are asked about if no question is free. This process asks as soon as one is, so that is
 * for others, should it crash. The more portals wait, the later: each would be processed in vain again and again.
 */
function questionDelay({ runtime: { leaseMs }, checks }: WorkerOptions): number {
  return Math.min(QUESTION_RETRY_MS, leaseMs + WAITING_QUESTION_MS * checks.waitingQuestions());
}

/**
 * Asks Bitrix24 about the portal's claims if that is due. `nextAt`: when it is due next, in milliseconds since 1970.
 * `hasWork`: the answer has caused work.
 */
async function askAboutClaims(
  options: WorkerOptions,
  lease: PortalLease,
): Promise<{ readonly nextAt: number | undefined; readonly hasWork: boolean }> {
  const { runtime, checks } = options;
  const { claims } = lease.record();
  const now = runtime.clock();
  const dueAt = questionDueAt(lease.record());
  if ((dueAt ?? Infinity) > now) return { nextAt: dueAt, hasWork: false };
  const question = checks.confirm(lease);
  if (question === undefined) return { nextAt: now + questionDelay(options), hasWork: false };
  const hasWork = await question;
  await lease.ensureHeld();
  const { claims: settled } = lease.record();
  // After a failure, such as one of the storage.
  return { nextAt: settled === claims ? now + QUESTION_RETRY_MS : questionDueAt(lease.record()), hasWork };
}

/**
 * Returns when Bitrix24 is asked about the portal's claims, in milliseconds since 1970: not while it refuses the portal, but for a
 * claim that has come since. A check may have seen a removal before its event came.
 */
function questionDueAt({ claims, blocked }: PortalRecord): number | undefined {
  const at = nextAskAt(claims);
  const isRefused = blocked?.on === "installation" || blocked?.on === "payment";
  if (at === undefined || !isRefused || hasComeSince(claims, blocked.since)) return at;
  return Math.max(at, blocked.nextTryAt);
}

/** The results of one pass over the inbox. */
interface Pass {
  /** By delivery id. */
  readonly outcomes: ReadonlyMap<string, Outcome>;
  /** Whether a delivery that runs upgrades was processed, or is due by now. */
  readonly areUpgradesAttempted: () => boolean;
}

/** Options of a pass over the inbox. */
interface PassOptions {
  /** A delivery that this process has just stored. */
  readonly accepted: AcceptedDelivery | undefined;
  /** Whether deliveries with keys of their own are listed even if the record counts none. */
  readonly isWhole: true | undefined;
}

/** Does the work of all deliveries of the portal. */
async function processDeliveries(
  options: WorkerOptions,
  lease: PortalLease,
  { accepted, isWhole = lease.record().overflow !== undefined || undefined }: PassOptions,
  tally: WaitingTally,
): Promise<Pass> {
  const { runtime, upgrades } = options;
  const outcomes = new Map<string, Outcome>();
  const upgradeOutcomes: Outcome[] = [];
  tally.begin(isWhole === true);
  let missingInstaller = waitingInstaller(lease.record())?.id;
  const workOn = async (waiting: WaitingDelivery, event?: B24Event): Promise<void> => {
    const installs = isInstaller(lease.record(), waiting.id);
    if (waiting.id === missingInstaller) missingInstaller = undefined;
    const outcome = await processDelivery(runtime, upgrades, lease, waiting, event);
    outcomes.set(waiting.id, outcome);
    // One that was done before is removed, too.
    if (outcome.result !== "handled" && !isHandled(lease.record(), waiting.id)) tally.add(waiting);
    if (runsUpgrades(waiting.id) && !installs) upgradeOutcomes.push(outcome);
  };
  // A delivery that is deferred or parked has run no upgrade.
  const areUpgradesAttempted = (): boolean =>
    upgradeOutcomes.some(({ result, nextAt = Infinity }) => result !== "deferred" || nextAt <= runtime.clock());
  for await (const waiting of listInbox(runtime.storage, lease.record(), isWhole)) {
    // Handlers expect the portal on its target: a missed update comes before them.
    if (!runsUpgrades(waiting.id) && !areUpgradesAttempted() && isDue(actionOf(options, lease))) {
      await workOn(enqueueMissedUpdate(runtime, lease));
    }
    await workOn(waiting, waiting.id === accepted?.id ? accepted.event : undefined);
  }
  const missing = missingInstaller;
  // It was deleted to make room for others.
  if (missing !== undefined) lease.stage((record) => ({ record: withInstallerDone(record, missing) }));
  return { outcomes, areUpgradesAttempted };
}

function actionOf({ runtime: { clock, versions }, upgrades }: WorkerOptions, lease: PortalLease): NextAction {
  return nextAction(lease.record(), upgrades, clock(), versions.latest);
}

/**
 * Creates the record of a portal that has deliveries and no record: a crash came between the two writes. Resolves to
 * whether it created one.
 */
async function recreateRecord(runtime: AppRuntime, memberId: string): Promise<boolean> {
  const { storage } = runtime;
  if (await storage.get(portalKey(memberId)) !== null) return false;
  let isCreated = false;
  for await (const waiting of listInbox(storage, { memberId }, true)) {
    assertReadable(memberId, waiting);
    const { body, verification, receivedAt } = waiting.delivery;
    if (body === undefined) continue;
    const { event } = parseStored(body, receivedAt);
    await storeEvent(storage, event, factsOf(runtime, verification, receivedAt), waiting.id);
    isCreated = true;
  }
  return isCreated;
}

/** Minimum time (ms) between two checks of a portal that are made because it is blocked. */
const BLOCKED_CHECK_INTERVAL_MS = 15 * 60 * 1000;

/** Returns whether Bitrix24 has to be asked about the portal before its work continues. */
function needsCheck({ runtime, upgrades, checks }: WorkerOptions, record: PortalRecord): boolean {
  const now = runtime.clock();
  if ((checks.dueAt(record) ?? Infinity) <= now) return true;
  const { blocked, check } = record;
  // A missing scope may have been granted, and any other cause may be over.
  const mayBeUnblocked = blocked === undefined || blocked.on === "rollout"
    ? nextAction(record, upgrades, now, runtime.versions.latest).action === "block"
    : blocked.nextTryAt <= now;
  return mayBeUnblocked && now - (check?.at ?? -Infinity) >= BLOCKED_CHECK_INTERVAL_MS;
}

/** Returns the earliest of the times that are defined. */
function min(times: readonly (number | undefined)[]): number | undefined {
  const defined = times.filter((at) => at !== undefined);
  return defined.length === 0 ? undefined : Math.min(...defined);
}
