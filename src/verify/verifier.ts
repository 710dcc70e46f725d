/**
 * Verifies the events that wait for it. Receiving an event never calls another host; the verifier does, under a budget,
 * fairly across portals, and again until Bitrix24 answers.
 */
import { B24Error } from "../bitrix24/b24_error.ts";
import { meaningOf } from "../bitrix24/error_codes.ts";
import type { B24Event } from "../bitrix24/events.ts";
import type { RefreshedTokens } from "../bitrix24/oauth_client.ts";
import { type Incoming, parseStored } from "../bitrix24/parse.ts";
import { CannotVerifyError, InputError, NotAuthenticError } from "../errors.ts";
import { type AppRuntime, eventLog, notify, safeError } from "../plugin/runtime.ts";
import type { StoredVerification } from "../portal/event_facts.ts";
import { portalKey } from "../portal/keys.ts";
import { type PortalRecord, readRecord } from "../portal/record.ts";
import {
  keepIfDue,
  KEPT_MS,
  listUnverifiedDue,
  loadUnverified,
  ownUnverified,
  postponeUnverified,
  releaseUnverified,
  removeUnverified,
  storeRefreshed,
  storeUnverified,
  type UnverifiedEvent,
  type WaitingEvent,
} from "../portal/unverified.ts";
import { Secret } from "../secret.ts";
import type { Entry } from "../storage/storage.ts";
import { type Budget, createBudget } from "./budget.ts";
import { verifyEvent } from "./verify_event.ts";

/** Verifies events in this process. */
export interface Verifier {
  /**
   * Stores an event that waits for its verification. Resolves once it is durable, to what becomes of it at the first
   * attempt.
   *
   * @throws {NotAuthenticError} if an OAuth host has refused its access token before
   * @throws {CannotVerifyError} if too many events of unknown portals wait
   */
  readonly postpone: (incoming: Incoming, isKnown: boolean) => Promise<Postponed>;
  /** Verifies the events of a portal as soon as the budget allows it. */
  readonly wake: (memberId: string) => void;
  /** Wakes the portals whose events are due, also those that another process stored. */
  readonly tick: () => Promise<void>;
  /** Returns the budget, which openings share with unverified events. */
  readonly budget: () => Budget;
  /** Starts no further event of those that wait. Resolves when none is under way. */
  readonly idle: () => Promise<void>;
}

/** A stored event that waits for its verification. */
export interface Postponed {
  /** Resolves when the first attempt has ended. May stay pending if another process makes it. */
  readonly firstAttempt: Promise<FirstAttempt>;
}

/** What became of an event at its first attempt. */
export type FirstAttempt =
  /** It is authentic. `work` resolves when its work has ended. */
  | { readonly state: "accepted"; readonly work?: Promise<unknown> }
  /** It is not authentic. */
  | { readonly state: "refused"; readonly error: Error }
  /** Nobody could say yet: it is verified later. */
  | { readonly state: "waiting" };

/** What the verifier needs besides the app's runtime. */
export interface VerifierOptions {
  readonly runtime: AppRuntime;
  /** Accepts a verified event: stores its delivery and has it processed. */
  readonly accept: (
    incoming: Incoming,
    verification: StoredVerification,
  ) => Promise<{ readonly work?: Promise<unknown> }>;
  /** Refreshes the token pair of an event whose access token has expired; absent without `clientSecret`. */
  readonly refresh?: (refreshToken: Secret, server: string | undefined) => Promise<RefreshedTokens>;
  /** Has a stored portal checked by its own tokens. */
  readonly check: (memberId: string) => void;
}

const DEFAULT_BUDGET = { perMinute: 600, perPortal: 6 };
/** Questions under way at a time. */
const CONCURRENCY = 8;
/** Milliseconds before a question that had no answer is repeated: the first time, and at most. */
const RETRY_FIRST_MS = 30_000;
const RETRY_MAX_MS = 10 * 60_000;
/** Refused tokens that are remembered. */
const REMEMBERED = 100_000;
/** Characters of all bodies of unknown portals that may wait, of those that this process has stored. */
const MAX_UNKNOWN_SIZE = 64 * 1024 * 1024;

/** Returns the verifier of an app. */
export function createVerifier(options: VerifierOptions): Verifier {
  const { runtime } = options;
  const id = runtime.random();
  let budget: Budget | undefined;
  const refused = createRefusedTokens();
  const attempts = createFirstAttempts();
  const unknownSizes = createSizes();
  /** Portals that wait for their turn, in order. */
  const queue = new Set<string>();
  /** Portals that wait for the budget. */
  const spent = new Set<string>();
  const running = new Map<string, Promise<void>>();
  /** Cancels the timer that continues when the budget is renewed. */
  let cancelTimer: (() => void) | undefined;

  async function postpone(incoming: Incoming, isKnown: boolean): Promise<Postponed> {
    const { body, event, receivedAt } = incoming;
    const { memberId, accessToken } = event.auth;
    if (refused.has(await tokenDigestOf(event))) throw refusedBefore();
    const size = body.text.length;
    if (!isKnown && unknownSizes.total() + size > MAX_UNKNOWN_SIZE) {
      throw new CannotVerifyError("too many events of unknown portals wait for verification");
    }
    const digest = await runtime.digest(`${memberId} ${accessToken?.reveal() ?? ""} ${body.text}`);
    const { isDuplicate, replaced } = await storeUnverified(runtime, memberId, { body, receivedAt, digest, isKnown });
    eventLog(runtime, event).debug("event waits for verification", {
      ...{ event: "event.unverified", replaced },
    });
    if (isDuplicate) notify(runtime, "duplicateReceived", { event });
    else if (!isKnown) unknownSizes.set(memberId, unknownSizes.of(memberId) + size);
    const firstAttempt = attempts.of(memberId, digest);
    // A replaced event may have been an authentic update: the portal's stored tokens make up for it.
    if (isKnown && replaced > 0) options.check(memberId);
    wake(memberId);
    return { firstAttempt };
  }

  /** Plugins are known once the app has started. */
  function budgetOf(): Budget {
    const limits = runtime.plugins.find(({ verificationBudget }) => verificationBudget !== undefined)
      ?.verificationBudget;
    return budget ??= createBudget(limits ?? DEFAULT_BUDGET, runtime.clock);
  }

  /** A token is refused for one portal: with another `member_id`, somebody else may have copied it. */
  async function tokenDigestOf({ auth }: B24Event): Promise<string> {
    return await runtime.digest(`${auth.memberId} ${auth.accessToken?.reveal() ?? ""}`);
  }

  function wake(memberId: string): void {
    queue.add(memberId);
    next();
  }

  /** Starts portals while there are slots. */
  function next(): void {
    for (const memberId of queue) {
      if (runtime.signal.aborted || running.size >= CONCURRENCY) return;
      if (running.has(memberId)) continue;
      queue.delete(memberId);
      const work = turnOf(memberId).catch((err) =>
        runtime.log.error("verification of waiting events failed", { event: "verification.failed", memberId, err })
      ).finally(() => {
        running.delete(memberId);
        next();
      });
      running.set(memberId, work);
    }
  }

  /** Verifies one event of a portal, which then queues again: one portal with many events delays no other. */
  async function turnOf(memberId: string): Promise<void> {
    const owned = await ownUnverified(runtime, memberId, id);
    const waiting = owned?.events ?? [];
    const now = runtime.clock();
    const due = waiting.filter(({ nextAt }) => nextAt <= now);
    // The others were replaced, wait for another attempt, or are verified by another process.
    attempts.retain(memberId, due.map(({ digest }) => digest));
    unknownSizes.set(memberId, owned?.isKnown === false ? waiting.reduce((sum, { size }) => sum + size, 0) : 0);
    if (owned === undefined) return;
    const [event] = due;
    let isSpent = false;
    if (event !== undefined) {
      isSpent = await attempt(memberId, event, owned.isKnown) === "budget_spent";
    }
    if (isSpent) continueLater(memberId);
    else if (due.length > 1) queue.add(memberId);
    else await releaseUnverified(runtime, memberId, id);
  }

  /** Queues a portal again when the budget is renewed. */
  function continueLater(memberId: string): void {
    spent.add(memberId);
    cancelTimer ??= runtime.time.setTimer(
      () => {
        cancelTimer = undefined;
        for (const memberId of spent) queue.add(memberId);
        spent.clear();
        next();
      },
      Math.max(1, budgetOf().renewedAt() - runtime.clock()),
      { keepAlive: false },
    );
  }

  async function attempt(memberId: string, waiting: WaitingEvent, isKnown: boolean): Promise<Outcome> {
    const entry = await loadUnverified(runtime, memberId, waiting.slot);
    if (entry === undefined) {
      await removeUnverified(runtime, memberId, waiting.slot);
      return "done";
    }
    const incoming = incomingOf(entry.value);
    const { event, receivedAt } = incoming;
    const log = eventLog(runtime, event);
    if (receivedAt + KEPT_MS <= runtime.clock()) {
      log.warn("event dropped: it could not be verified in time", { event: "verification.expired" });
      return await finish(memberId, waiting, { state: "waiting" });
    }
    const tokenDigest = await tokenDigestOf(event);
    if (refused.has(tokenDigest)) {
      return await finish(memberId, waiting, { state: "refused", error: refusedBefore() });
    }
    if (!budgetOf().take(memberId, isKnown)) return "budget_spent";
    try {
      const { incoming: verified, verification } = await verify(entry, incoming);
      const accepted = await options.accept(verified, verification);
      log.debug("waiting event verified", { event: "verification.succeeded" });
      return await finish(memberId, waiting, { state: "accepted", ...accepted });
    } catch (error) {
      return await settle(memberId, waiting, event, tokenDigest, error);
    }
  }

  /** Verifies an event by its access token or, if that has expired, by the one that its refresh token yields. */
  async function verify(entry: Entry<UnverifiedEvent>, incoming: Incoming): Promise<Verified> {
    const { event, receivedAt } = incoming;
    const record = readRecord(await runtime.storage.get<PortalRecord>(portalKey(event.auth.memberId)));
    try {
      return { incoming, verification: await verifyEvent(runtime, event, { receivedAt, record, stage: "later" }) };
    } catch (error) {
      const { refreshed: pair } = entry.value;
      if (!isExpired(error) || (pair !== undefined && pair.expiresAt > runtime.clock())) throw error;
      const refreshed = await refresh(entry, event);
      if (refreshed === undefined) throw error;
      const verification = await verifyEvent(runtime, refreshed, { receivedAt, record, stage: "later" });
      return { incoming: { ...incoming, event: refreshed }, verification };
    }
  }

  /** Returns the event with a new token pair, which is stored first; `undefined` if there is none to be had. */
  async function refresh(entry: Entry<UnverifiedEvent>, event: B24Event): Promise<B24Event | undefined> {
    const { refreshToken, serverEndpoint } = event.auth;
    if (options.refresh === undefined || refreshToken === undefined) return undefined;
    const server = URL.canParse(serverEndpoint ?? "") ? new URL(serverEndpoint!).origin : undefined;
    const { accessToken, refreshToken: next, expiresAt } = await options.refresh(refreshToken, server).catch(
      (cause) => {
        if (!(cause instanceof B24Error)) throw cause;
        if (meaningOf(cause.b24Code).refusesRefreshToken !== true) {
          throw new CannotVerifyError(cause.message, { cause });
        }
        throw new NotAuthenticError(`the OAuth host refuses the refresh token: ${cause.b24Code}`, { cause });
      },
    );
    const refreshed = { accessToken, refreshToken: next, expiresAt };
    if (!await storeRefreshed(runtime, entry, refreshed)) {
      throw new CannotVerifyError("another process has changed the event");
    }
    return withPair(event, refreshed);
  }

  async function settle(
    memberId: string,
    waiting: WaitingEvent,
    event: B24Event,
    tokenDigest: string,
    thrown: unknown,
  ): Promise<Outcome> {
    if (runtime.signal.aborted) throw thrown;
    const error = safeError(runtime, thrown, event);
    // An InputError is a verified event that misses a version, or has one that is unreadable.
    if (thrown instanceof NotAuthenticError || thrown instanceof InputError) {
      const status = thrown instanceof InputError ? 400 : 403;
      if (status === 403) refused.add(tokenDigest);
      const fields = { event: "event.refused", memberId, status, err: error };
      if (status === 400) runtime.log.warn("event refused", fields);
      else runtime.log.info("event refused", fields);
      notify(runtime, "eventRejected", { status, error, memberId, event: event.name });
      return await finish(memberId, waiting, { state: "refused", error: thrown });
    }
    const nextAt = runtime.clock() + Math.min(RETRY_MAX_MS, RETRY_FIRST_MS * 2 ** Math.min(waiting.attempts, 10));
    const fields = { event: "verification.postponed", memberId, nextAt, err: error };
    if (thrown instanceof CannotVerifyError) runtime.log.debug("event not verified yet", fields);
    else runtime.log.warn("event not verified yet", fields);
    attempts.resolve(memberId, waiting.digest, { state: "waiting" });
    await postponeUnverified(runtime, memberId, waiting.slot, nextAt);
    return "done";
  }

  async function finish(memberId: string, { slot, digest }: WaitingEvent, outcome: FirstAttempt): Promise<Outcome> {
    await removeUnverified(runtime, memberId, slot);
    attempts.resolve(memberId, digest, outcome);
    return "done";
  }

  return {
    postpone,
    wake,
    tick: async () => {
      for await (const entry of listUnverifiedDue(runtime.storage, runtime.clock())) {
        const { memberId } = entry;
        if (queue.has(memberId) || spent.has(memberId) || running.has(memberId)) continue;
        if (await keepIfDue(runtime, entry)) wake(memberId);
      }
    },
    budget: budgetOf,
    idle: async () => {
      cancelTimer?.();
      cancelTimer = undefined;
      // Events that wait are stored: another process verifies them, or the next start of this one.
      queue.clear();
      while (running.size > 0) await Promise.all(running.values());
    },
  };
}

type Outcome = "done" | "budget_spent";

interface Verified {
  readonly incoming: Incoming;
  readonly verification: StoredVerification;
}

/** Returns whether an OAuth host refused an access token that a refresh may replace. */
function isExpired(error: unknown): boolean {
  return error instanceof NotAuthenticError && error.cause instanceof B24Error && error.cause.refusesToken === true;
}

/** Returns the event of an entry, with the pair that replaced its own. */
function incomingOf({ body, receivedAt, refreshed }: UnverifiedEvent): Incoming {
  const incoming = parseStored(body, receivedAt);
  return refreshed === undefined ? incoming : { ...incoming, event: withPair(incoming.event, refreshed) };
}

function withPair(event: B24Event, pair: NonNullable<UnverifiedEvent["refreshed"]>): B24Event {
  const auth = {
    ...event.auth,
    accessToken: new Secret(pair.accessToken),
    refreshToken: new Secret(pair.refreshToken),
    expiresAt: pair.expiresAt,
  };
  return { ...event, auth } as B24Event;
}

/** Tokens that an OAuth host refused, by digest: a repeated forgery costs no question. The oldest are forgotten. */
function createRefusedTokens(): { readonly has: (digest: string) => boolean; readonly add: (digest: string) => void } {
  const digests = new Set<string>();
  return {
    has: (digest) => digests.has(digest),
    add: (digest) => {
      if (digests.size >= REMEMBERED) digests.delete(digests.values().next().value!);
      digests.add(digest);
    },
  };
}

function refusedBefore(): NotAuthenticError {
  return new NotAuthenticError("an OAuth host has refused its access token before");
}

/** Sizes of the bodies that wait, by portal, and their total. */
function createSizes(): {
  readonly of: (memberId: string) => number;
  readonly set: (memberId: string, size: number) => void;
  readonly total: () => number;
} {
  const sizes = new Map<string, number>();
  let total = 0;
  const of = (memberId: string): number => sizes.get(memberId) ?? 0;
  return {
    of,
    set: (memberId, size) => {
      total += size - of(memberId);
      if (size === 0) sizes.delete(memberId);
      else sizes.set(memberId, size);
    },
    total: () => total,
  };
}

/** The first attempts that requests wait for, by portal and by the digest of their event. */
function createFirstAttempts(): {
  readonly of: (memberId: string, digest: string) => Promise<FirstAttempt>;
  readonly resolve: (memberId: string, digest: string, outcome: FirstAttempt) => void;
  /** Resolves the attempts at events of a portal that this process does not verify. */
  readonly retain: (memberId: string, digests: readonly string[]) => void;
} {
  const portals = new Map<string, Map<string, PromiseWithResolvers<FirstAttempt>>>();
  const resolve = (memberId: string, digest: string, outcome: FirstAttempt): void => {
    const waiting = portals.get(memberId);
    waiting?.get(digest)?.resolve(outcome);
    waiting?.delete(digest);
    if (waiting?.size === 0) portals.delete(memberId);
  };
  return {
    of: (memberId, digest) => {
      const waiting = portals.get(memberId) ?? new Map<string, PromiseWithResolvers<FirstAttempt>>();
      const attempt = waiting.get(digest) ?? Promise.withResolvers<FirstAttempt>();
      waiting.set(digest, attempt);
      portals.set(memberId, waiting);
      return attempt.promise;
    },
    resolve,
    retain: (memberId, digests) => {
      for (const digest of [...portals.get(memberId)?.keys() ?? []]) {
        if (!digests.includes(digest)) resolve(memberId, digest, { state: "waiting" });
      }
    },
  };
}
