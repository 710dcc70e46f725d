/**
 * Verifies the events that wait for it. Receiving an event never calls another host; the verifier does, under a budget,
 * fairly across portals, and again until Bitrix24 answers.
 */
import { B24Error } from "../bitrix24/b24_error.ts";
import type { B24Event } from "../bitrix24/events.ts";
import type { RefreshedTokens } from "../bitrix24/oauth_client.ts";
import { type Incoming, parseStored } from "../bitrix24/parse.ts";
import { CannotVerifyError, NotAuthenticError, UnreachableError } from "../errors.ts";
import { type AppRuntime, eventLog, notify, safeError } from "../plugin/runtime.ts";
import type { StoredVerification } from "../portal/event_facts.ts";
import { portalKey } from "../portal/keys.ts";
import { type PortalRecord, readRecord } from "../portal/record.ts";
import {
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
  /** Resolves when nothing is under way. */
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
  /** Sizes of the bodies that this process has stored for unknown portals, by digest. */
  const unknownSizes = new Map<string, number>();
  let unknownSize = 0;
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
    if (refused.has(await tokenDigestOf(event))) {
      throw new NotAuthenticError("an OAuth host has refused its access token before");
    }
    const size = body.text.length;
    if (!isKnown && unknownSize + size > MAX_UNKNOWN_SIZE) {
      throw new CannotVerifyError("too many events of unknown portals wait for verification");
    }
    const digest = await runtime.digest(`${memberId} ${accessToken?.reveal() ?? ""} ${body.text}`);
    const { replaced } = await storeUnverified(runtime, memberId, { body, receivedAt, digest, isKnown });
    eventLog(runtime, event).debug("event waits for verification", {
      ...{ event: "event.unverified", replaced: replaced.length },
    });
    for (const other of replaced) forget(other, { state: "waiting" });
    if (!isKnown && !unknownSizes.has(digest)) {
      unknownSizes.set(digest, size);
      unknownSize += size;
    }
    const firstAttempt = attempts.of(digest);
    // Makes up for an event that a flood replaces.
    if (isKnown) options.check(memberId);
    wake(memberId);
    return { firstAttempt };
  }

  /** Plugins are known once the app has started. */
  function budgetOf(): Budget {
    const limits = runtime.plugins.find(({ verificationBudget }) => verificationBudget !== undefined)
      ?.verificationBudget;
    return budget ??= createBudget(limits ?? DEFAULT_BUDGET, runtime.clock);
  }

  /** An event no longer waits, or its first attempt has ended. */
  function forget(digest: string, outcome: FirstAttempt): void {
    unknownSize -= unknownSizes.get(digest) ?? 0;
    unknownSizes.delete(digest);
    attempts.resolve(digest, outcome);
  }

  async function tokenDigestOf({ auth }: B24Event): Promise<string> {
    return await runtime.digest(auth.accessToken?.reveal() ?? "");
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
    if (owned === undefined) return;
    const now = runtime.clock();
    const due = owned.events.filter(({ nextAt }) => nextAt <= now);
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
      const error = new NotAuthenticError("an OAuth host has refused its access token before");
      return await finish(memberId, waiting, { state: "refused", error });
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
      if (!isExpired(error) || entry.value.refreshed !== undefined) throw error;
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
    const { accessToken, refreshToken: next, expiresAt } = await options.refresh(refreshToken, server);
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
    const isRefused = thrown instanceof NotAuthenticError || (thrown instanceof B24Error && thrown.failsVerification);
    if (isRefused) {
      refused.add(tokenDigest);
      runtime.log.info("event refused", { event: "event.refused", memberId, status: 403, err: error });
      notify(runtime, "eventRejected", { status: 403, error, memberId, event: event.name });
      return await finish(memberId, waiting, { state: "refused", error });
    }
    const isUnanswered = thrown instanceof CannotVerifyError || thrown instanceof UnreachableError ||
      thrown instanceof B24Error;
    if (!isUnanswered) throw thrown;
    const nextAt = runtime.clock() + Math.min(RETRY_MAX_MS, RETRY_FIRST_MS * 2 ** Math.min(waiting.attempts, 10));
    runtime.log.debug("event not verified yet", { event: "verification.postponed", memberId, nextAt, err: error });
    await postponeUnverified(runtime, memberId, waiting.slot, nextAt);
    attempts.resolve(waiting.digest, { state: "waiting" });
    return "done";
  }

  async function finish(memberId: string, { slot, digest }: WaitingEvent, outcome: FirstAttempt): Promise<Outcome> {
    await removeUnverified(runtime, memberId, slot);
    forget(digest, outcome);
    return "done";
  }

  return {
    postpone,
    wake,
    tick: async () => {
      for await (const { memberId } of listUnverifiedDue(runtime.storage, runtime.clock())) wake(memberId);
    },
    idle: async () => {
      cancelTimer?.();
      cancelTimer = undefined;
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

/** The first attempts that requests wait for, by the digest of their event. */
function createFirstAttempts(): {
  readonly of: (digest: string) => Promise<FirstAttempt>;
  readonly resolve: (digest: string, outcome: FirstAttempt) => void;
} {
  const waiting = new Map<string, PromiseWithResolvers<FirstAttempt>>();
  return {
    of: (digest) => {
      const attempt = waiting.get(digest) ?? Promise.withResolvers<FirstAttempt>();
      waiting.set(digest, attempt);
      return attempt.promise;
    },
    resolve: (digest, outcome) => {
      waiting.get(digest)?.resolve(outcome);
      waiting.delete(digest);
    },
  };
}
