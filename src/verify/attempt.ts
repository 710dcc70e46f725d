/** One attempt at verifying a stored event: asks Bitrix24, refreshes an expired token pair, and accepts or refuses. */
import { B24Error } from "../bitrix24/b24_error.ts";
import { meaningOf } from "../bitrix24/error_codes.ts";
import { type B24Event, wireName } from "../bitrix24/events.ts";
import type { RefreshedTokens } from "../bitrix24/oauth_client.ts";
import { type Incoming, parseStored } from "../bitrix24/parse.ts";
import { defined } from "../defined.ts";
import { CannotVerifyError, InboxFullError, InputError, NotAuthenticError, OnAppUpdateError } from "../errors.ts";
import { type AppRuntime, eventLog, notify, safeError } from "../plugin/runtime.ts";
import type { TracedWork, WorkEnd } from "../plugin/tracing.ts";
import type { StoredVerification } from "../portal/event_facts.ts";
import { portalKey } from "../portal/keys.ts";
import { type PortalRecord, readRecord } from "../portal/record.ts";
import { loadUnverified, removeUnverified, storeRefreshed, type UnverifiedEvent } from "../portal/unverified.ts";
import { KEPT_MS, type Owner, type WaitingEvent } from "../portal/unverified_head.ts";
import { keepUnverified, postponeUnverified } from "../portal/unverified_turn.ts";
import { Secret } from "../secret.ts";
import type { Entry } from "../storage/storage.ts";
import { type Budget, requestsFor } from "./budget.ts";
import type { AcceptedEvent, FirstAttempt } from "./first_attempts.ts";
import type { RefusedTokens } from "./refused_tokens.ts";
import { verifyEvent } from "./verify_event.ts";

/** Options of {@linkcode createAttempt}. */
export interface AttemptOptions {
  readonly runtime: AppRuntime;
  readonly budget: () => Budget;
  /** Origins of the OAuth hosts: each of them is asked about an event that names none of them. */
  readonly oauthHosts: readonly string[];
  readonly refused: RefusedTokens;
  /** Returns this process as the owner of a portal's events, from now on. */
  readonly owner: () => Owner;
  /** Accepts a verified event: stores its delivery and has it processed. */
  readonly accept: (incoming: Incoming, verification: StoredVerification) => Promise<Omit<AcceptedEvent, "state">>;
  /** Refreshes the token pair of an event whose access token has expired; absent without `clientSecret`. */
  readonly refresh?: (refreshToken: Secret, serverEndpoint: string | undefined) => Promise<RefreshedTokens>;
  /** Called if an event of a stored portal was refused, or could not be verified in time. */
  readonly onRefused: (memberId: string) => void;
  /** Called if a verified event has to wait because the inbox of its portal is full. */
  readonly onInboxFull: (error: InboxFullError, event: B24Event) => void;
}

/**
 * Tries to verify an event that this process owns. `"budget_spent"`: it was not verified, and is still owned; it needs a
 * question of so many requests.
 */
export type Attempt = (
  memberId: string,
  waiting: WaitingEvent,
  isKnown: boolean,
) => Promise<FirstAttempt | { readonly state: "budget_spent"; readonly requests: number }>;

/** Milliseconds before a question that had no answer is repeated: the first time, and at most. */
const RETRY_FIRST_MS = 30_000;
const RETRY_MAX_MS = 10 * 60_000;
/** Milliseconds by which clocks may differ. An access token is valid for an hour. */
const MAX_CLOCK_SKEW_MS = 30 * 60_000;

/** Milliseconds of an attempt that are not spent waiting for Bitrix24. */
const ATTEMPT_MARGIN_MS = 30_000;

/**
 * Returns how long an attempt may take, in milliseconds: `app.info` at each host and `profile`, a refresh at each host, and
 * the same questions with the new token pair.
 */
export function maxAttemptMs(hosts: number, timeoutMs: number): number {
  return (2 * (hosts + 1) + hosts) * timeoutMs + ATTEMPT_MARGIN_MS;
}

/** Returns the function that makes an attempt. */
export function createAttempt(options: AttemptOptions): Attempt {
  const { runtime, budget, oauthHosts, refused, owner, accept, onRefused, onInboxFull } = options;

  return async (memberId, waiting, isKnown) => {
    const entry = await loadUnverified(runtime, memberId, waiting.slot);
    // It was removed with its portal, or has expired.
    if (entry === undefined) return await drop();
    const incoming = incomingOf(entry.value);
    const { event, receivedAt } = incoming;
    const log = eventLog(runtime, event);
    if (receivedAt + KEPT_MS <= runtime.clock()) {
      log.warn("event dropped: it could not be verified in time", { event: "verification.expired" });
      if (isKnown) onRefused(memberId);
      return await drop();
    }
    try {
      await refused.assertNew(event);
    } catch (error) {
      if (!(error instanceof NotAuthenticError)) throw error;
      return await refuse(event, error);
    }
    const requests = requestsFor(event.auth.serverEndpoint, oauthHosts);
    const mayAsk = (): boolean => budget().take(memberId, isKnown, requests);
    if (!mayAsk()) return { state: "budget_spent", requests };
    return await runtime.tracer.trace(verificationOf(incoming, waiting), async (note) => {
      try {
        const { incoming: verified, verification } = await verify(options, entry, incoming, mayAsk);
        // A later attempt is a trace of its own, to which the work belongs.
        const trace = waiting.attempts === 0 ? undefined : runtime.tracer.context();
        const accepted = await accept({ ...verified, ...defined({ trace }) }, verification);
        log.debug("waiting event verified", { event: "verification.succeeded" });
        note(() => ({ outcome: "verified" }));
        return await finish({ state: "accepted", ...accepted });
      } catch (error) {
        note(() => failedEnd(runtime, event, error));
        if (runtime.signal.aborted) throw error;
        if (error === BUDGET_SPENT) return { state: "budget_spent", requests };
        // An InputError is a verified event that misses a version, or has one that is unreadable.
        if (!(error instanceof NotAuthenticError || error instanceof InputError)) return await askLater(event, error);
        if (error instanceof NotAuthenticError) {
          await refused.add(event);
          if (isKnown) onRefused(memberId);
        }
        return await refuse(event, error);
      }
    });

    async function finish<T>(outcome: T): Promise<T> {
      await removeUnverified(runtime, memberId, waiting.slot);
      return outcome;
    }

    async function refuse(event: B24Event, error: NotAuthenticError | InputError): Promise<FirstAttempt> {
      reportRefusal(runtime, event, error);
      return await finish({ state: "refused", error });
    }

    /** Drops the event. Its removal with its portal is not reported yet. */
    async function drop(): Promise<FirstAttempt> {
      const isThere = await removeUnverified(runtime, memberId, waiting.slot);
      notify(runtime, "eventsDropped", { memberId, count: 1, reason: isThere ? "expired" : "removed" });
      return { state: "waiting" };
    }

    async function askLater(event: B24Event, error: unknown): Promise<FirstAttempt> {
      const err = safeError(runtime, error, event);
      const nextAt = runtime.clock() + Math.min(RETRY_MAX_MS, RETRY_FIRST_MS * 2 ** Math.min(waiting.attempts, 10));
      if (error instanceof InboxFullError) onInboxFull(error, event);
      else {
        // The cause of an expected one is an answer of Bitrix24, or none.
        const isExpected = error instanceof CannotVerifyError &&
          !(error.cause instanceof Error && !(error.cause instanceof OnAppUpdateError));
        runtime.log[isExpected ? "debug" : "warn"]("event not verified yet", {
          ...{ event: "verification.postponed", memberId, nextAt, err },
        });
      }
      const isThere = await postponeUnverified(runtime, memberId, owner().id, { nextAt, error: err.message });
      if (!isThere) notify(runtime, "eventsDropped", { memberId, count: 1, reason: "removed" });
      return { state: "waiting" };
    }
  };
}

function verificationOf({ event, trace }: Incoming, { attempts }: WaitingEvent): TracedWork {
  const { auth: { memberId } } = event;
  return {
    ...{ kind: "verification", memberId, event: wireName(event), stage: "later", attempt: attempts + 1 },
    ...defined({ trace }),
  };
}

/** Returns how an attempt ends that has not verified its event. */
function failedEnd(runtime: AppRuntime, event: B24Event, thrown: unknown): WorkEnd {
  if (thrown === BUDGET_SPENT) return { outcome: "budget_spent" };
  if (runtime.signal.aborted) return { outcome: "interrupted" };
  const isRefused = thrown instanceof NotAuthenticError || thrown instanceof InputError;
  return { outcome: isRefused ? "refused" : "postponed", error: safeError(runtime, thrown, event) };
}

interface Verified {
  readonly incoming: Incoming;
  readonly verification: StoredVerification;
}

/** Verifies an event by its access token or, if that has expired, by the one that its refresh token yields. */
async function verify(
  options: AttemptOptions,
  entry: Entry<UnverifiedEvent>,
  incoming: Incoming,
  mayAsk: () => boolean,
): Promise<Verified> {
  const { runtime } = options;
  const { event, receivedAt } = incoming;
  const record = readRecord(await runtime.storage.get<PortalRecord>(portalKey(event.auth.memberId)));
  try {
    return { incoming, verification: await verifyEvent(runtime, event, { receivedAt, record, stage: "later" }) };
  } catch (error) {
    const { refreshed: pair } = entry.value;
    if (!isExpired(error) || (pair !== undefined && pair.expiresAt > runtime.clock())) throw error;
    const refreshed = await refresh(options, entry, event, mayAsk);
    if (refreshed === undefined) throw error;
    const verification = await verifyEvent(runtime, refreshed, { receivedAt, record, stage: "later" });
    return { incoming: { ...incoming, event: refreshed }, verification };
  }
}

/** Returns the event with a new token pair, which is stored first; `undefined` if there is none to be had. */
async function refresh(
  { runtime, refresh, owner }: AttemptOptions,
  entry: Entry<UnverifiedEvent>,
  event: B24Event,
  mayAsk: () => boolean,
): Promise<B24Event | undefined> {
  const { refreshToken, expiresAt: expiry = 0 } = event.auth;
  if (refresh === undefined || refreshToken === undefined) return undefined;
  // An access token that is refused long before its expiry is made up.
  if (expiry - MAX_CLOCK_SKEW_MS > runtime.clock()) return undefined;
  if (!mayAsk()) throw BUDGET_SPENT;
  // A refresh token works once. A process that was paused may no longer have the event.
  if (!await keepUnverified(runtime, event.auth.memberId, owner())) {
    throw new CannotVerifyError("another process has taken the event");
  }
  const pair = await refresh(refreshToken, event.auth.serverEndpoint).catch((cause) => {
    if (!(cause instanceof B24Error)) throw cause;
    if (meaningOf(cause.b24Code).refusesRefreshToken !== true) throw new CannotVerifyError(cause.message, { cause });
    throw new NotAuthenticError(`the OAuth host refuses the refresh token: ${cause.b24Code}`, { cause });
  });
  const refreshed = { accessToken: pair.accessToken, refreshToken: pair.refreshToken, expiresAt: pair.expiresAt };
  if (!await storeRefreshed(runtime, entry, refreshed)) {
    throw new CannotVerifyError("another process has changed the event");
  }
  return withPair(event, refreshed);
}

/** Thrown if the budget does not suffice to refresh the pair of an event. */
const BUDGET_SPENT = new CannotVerifyError("the budget of verifications is spent");

function reportRefusal(runtime: AppRuntime, event: B24Event, thrown: NotAuthenticError | InputError): void {
  const { memberId } = event.auth;
  const error = safeError(runtime, thrown, event);
  const isForged = thrown instanceof NotAuthenticError;
  const status = isForged ? 403 : 400;
  runtime.log[isForged ? "info" : "warn"]("event refused", { event: "event.refused", memberId, status, err: error });
  notify(runtime, "eventRejected", { status, error, memberId, event: event.name });
}

/** Returns whether an OAuth host refused an access token that a refresh may replace. */
function isExpired(error: unknown): boolean {
  return error instanceof NotAuthenticError && error.cause instanceof B24Error && error.cause.refusesToken === true;
}

/** Returns the event of an entry, with the pair that replaced its own. */
function incomingOf({ body, receivedAt, refreshed, trace }: UnverifiedEvent): Incoming {
  const incoming: Incoming = { ...parseStored(body, receivedAt), ...defined({ trace }) };
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
