/**
 * Verifies the events that wait for it. Receiving an event never calls another host; the verifier does, under a budget,
 * fairly across portals, and again until Bitrix24 answers.
 */
import { coalesce } from "../async/coalesce.ts";
import { wireName } from "../bitrix24/events.ts";
import type { Incoming } from "../bitrix24/parse.ts";
import { defined } from "../defined.ts";
import { CannotVerifyError } from "../errors.ts";
import { type AppRuntime, eventLog, notify } from "../plugin/runtime.ts";
import { type VerificationSettings, verificationSettings } from "../plugin/verification_policy.ts";
import { keepIfDue, storeUnverified } from "../portal/unverified.ts";
import { listUnverifiedDue } from "../portal/unverified_schedule.ts";
import { releaseUnverified, takeUnverified } from "../portal/unverified_turn.ts";
import { isUnreadable } from "../storage/unreadable.ts";
import { type Attempt, type AttemptOptions, createAttempt } from "./attempt.ts";
import { type Budget, createBudget } from "./budget.ts";
import { createFirstAttempts, type FirstAttempt, type FirstAttempts } from "./first_attempts.ts";
import { createRefusedTokens, type RefusedTokens } from "./refused_tokens.ts";
import { createTurns, type TurnsOptions } from "./turns.ts";
import { createUnknownBound } from "./unknown_bound.ts";

/** Verifies events in this process. */
export interface Verifier {
  /**
   * Stores an event that waits for its verification. Resolves once it is durable, to its outcome at the first
   * attempt.
   *
   * @throws {NotAuthenticError} if an OAuth host has refused its access token before
   * @throws {CannotVerifyError} if too many events of unknown portals wait, or the event is too large to wait
   */
  readonly postpone: (incoming: Incoming, isKnown: boolean) => Promise<Postponed>;
  /** Wakes the portals whose events are due, also those that another process stored. */
  readonly tick: () => Promise<void>;
  /**
   * Resolves when no portal has its turn, and the work of the events accepted so far has ended. Does not wait for portals
   * that wait for the budget.
   */
  readonly settled: () => Promise<void>;
  /** Returns the budget, which openings share with unverified events. */
  readonly budget: () => Budget;
  /** Starts no further event of those that wait. Resolves when none is under way. */
  readonly idle: () => Promise<void>;
}

/** A stored event that waits for its verification. */
export interface Postponed {
  /** Resolves when the first attempt has ended, or this process makes none now. */
  readonly firstAttempt: Promise<FirstAttempt>;
}

/** Options of {@linkcode createVerifier}. */
export interface VerifierOptions
  extends Pick<AttemptOptions, "runtime" | "oauthHosts" | "accept" | "refresh" | "onRefused" | "onInboxFull"> {
  /** Milliseconds after which another process may take over a portal's events: more than an attempt can take. */
  readonly turnMs: number;
  /** Called if an event of a stored portal was replaced by another one before it was verified. */
  readonly onReplaced: (memberId: string) => void;
}

/** Returns the verifier of an app. */
export function createVerifier(options: VerifierOptions): Verifier {
  const { runtime, turnMs } = options;
  const { log } = runtime;
  const id = runtime.random();
  const owner = () => ({ id, until: runtime.clock() + turnMs });
  const refused = createRefusedTokens(runtime.digest);
  const firstAttempts = createFirstAttempts();
  const policy = createPolicyReader(runtime);
  let spending: Budget | undefined;
  const budget = (): Budget => spending ??= createBudget(policy().budget, runtime.clock);
  const questions = new Map<string, NextQuestion>();
  /** The search for due portals that is under way. */
  const looks = new Map<string, Promise<void>>();
  /** Work of events that were accepted. */
  const works = new Set<Promise<unknown>>();
  const take = createTake({
    ...{ ...options, budget, owner, firstAttempts, questions },
    attempt: createAttempt({ ...options, budget, refused, owner }),
    isStopped: () => turns.isStopped(),
    wakeTrusted: (memberId) => void turns.wake(memberId, true),
    track: (work) => {
      works.add(work);
      void work.finally(() => works.delete(work));
    },
  });
  const turns = createTurns({
    ...{ runtime, take, renewedAt: () => budget().renewedAt() },
    onFailure: (memberId, err) => {
      firstAttempts.leave(memberId);
      questions.delete(memberId);
      log.error("verification of waiting events failed", { event: "verification.failed", memberId, err });
    },
  });

  function wake(memberId: string, isKnown: boolean, isTrusted: boolean): void {
    questions.set(memberId, { ...questions.get(memberId), isKnown });
    if (!turns.wake(memberId, isTrusted)) firstAttempts.leave(memberId);
  }

  async function wakeDue(): Promise<void> {
    for await (const entry of listUnverifiedDue(runtime.storage, runtime.clock())) {
      if (turns.isStopped()) return;
      const { memberId } = entry;
      try {
        const due = turns.has(memberId) ? undefined : await keepIfDue(runtime, entry);
        if (due !== undefined) wake(memberId, due.isKnown, due.isTrusted);
      } catch (err) {
        if (!isUnreadable(err)) throw err;
        log.warn("waiting events not readable", { event: "verification.unreadable", memberId, err });
      }
    }
  }

  return {
    postpone: createPostpone({ ...options, policy, refused, firstAttempt: firstAttempts.of, wake }),
    tick: () => coalesce(looks, "due", wakeDue),
    settled: async () => {
      do {
        await turns.settled();
        await Promise.all(works);
      } while (works.size > 0);
    },
    budget,
    idle: async () => {
      await turns.stop();
      await Promise.allSettled(looks.values());
      firstAttempts.leaveAll();
      questions.clear();
    },
  };
}

/** The next question about a portal that waits for its turn or for the budget, as far as it is known. */
interface NextQuestion {
  readonly isKnown: boolean;
  /** @default 1 */
  readonly requests?: number;
}

/** Dependencies of {@linkcode createTake} besides the verifier's options. */
interface TakeOptions extends VerifierOptions {
  readonly budget: () => Budget;
  readonly attempt: Attempt;
  readonly owner: AttemptOptions["owner"];
  readonly firstAttempts: FirstAttempts;
  readonly questions: Map<string, NextQuestion>;
  readonly isStopped: () => boolean;
  /** Queues a portal with an event from a trusted address. */
  readonly wakeTrusted: (memberId: string) => void;
  /** Waits for the work of an accepted event. */
  readonly track: (work: Promise<unknown>) => void;
}

/** Returns the function that takes a portal's turn: it verifies one event, and returns what is left to do for the portal. */
function createTake(options: TakeOptions): TurnsOptions["take"] {
  const { runtime, budget, attempt, owner, firstAttempts, questions, isStopped, wakeTrusted, track } = options;

  async function take(memberId: string): ReturnType<TurnsOptions["take"]> {
    const pending = firstAttempts.pending(memberId);
    const owned = await takeUnverified(runtime, memberId, owner());
    const due = owned?.due ?? [];
    // The others were replaced, wait for another attempt, or are verified by another process.
    firstAttempts.leave(memberId, pending.filter((digest) => !due.some((event) => event.digest === digest)));
    if (owned === undefined) return "done";
    const [event] = due;
    const outcome = event && await attempt(memberId, event, owned.isKnown);
    if (outcome?.state === "budget_spent") firstAttempts.leave(memberId);
    else if (outcome !== undefined) firstAttempts.resolve(memberId, event!.digest, outcome);
    if (outcome?.state === "accepted" && outcome.end !== undefined) track(outcome.end);
    if (due.length > 1 && outcome?.state !== "budget_spent" && !isStopped()) {
      if (due.slice(1).some(({ isTrusted }) => isTrusted)) wakeTrusted(memberId);
      return "again";
    }
    const isLeft = await releaseUnverified(runtime, memberId, owner().id);
    if (outcome?.state !== "budget_spent") return "done";
    questions.set(memberId, { isKnown: owned.isKnown, requests: outcome.requests });
    if (!isLeft) notify(runtime, "eventsDropped", { memberId, count: 1, reason: "removed" });
    return "budget_spent";
  }

  return async (memberId) => {
    // First of all: events that wait for the budget cost nothing meanwhile, however many a flood has left.
    const { isKnown, requests } = questions.get(memberId) ?? { isKnown: true };
    if (!budget().allows(memberId, isKnown, requests)) {
      firstAttempts.leave(memberId);
      return "budget_spent";
    }
    const left = await take(memberId);
    if (left === "done") questions.delete(memberId);
    return left;
  };
}

/** Dependencies of {@linkcode createPostpone} besides the verifier's options. */
interface PostponeOptions extends VerifierOptions {
  readonly policy: () => VerificationSettings;
  readonly refused: RefusedTokens;
  readonly firstAttempt: (memberId: string, digest: string) => Promise<FirstAttempt>;
  readonly wake: (memberId: string, isKnown: boolean, isTrusted: boolean) => void;
}

function createPostpone(
  { runtime, onReplaced, policy, refused, firstAttempt, wake }: PostponeOptions,
): Verifier["postpone"] {
  const unknownBound = createUnknownBound(runtime, () => policy().bounds.maxUnknownCharacters);

  return async ({ body, event, receivedAt, clientAddress, trace }, isKnown) => {
    const { bounds, isTrusted: isTrustedAddress } = policy();
    const isTrusted = isTrustedAddress(clientAddress);
    const { memberId, accessToken } = event.auth;
    await refused.assertNew(event);
    if (!isKnown && !await unknownBound.admit(body.text.length)) {
      throw new CannotVerifyError("too many events of unknown portals wait for verification");
    }
    const digest = await runtime.digest(`${memberId} ${accessToken?.reveal() ?? ""} ${body.text}`);
    const waiting = { body, receivedAt, name: wireName(event), digest, isKnown, isTrusted, ...defined({ trace }) };
    const stored = await storeUnverified(runtime, memberId, waiting, bounds);
    const { state, replaced, growth } = stored;
    // Copies and replaced events take no room: one member_id cannot use up that of the others.
    if (!isKnown) unknownBound.giveBack(body.text.length - growth);
    // An event that is lost may have been an authentic update: the portal's stored tokens make up for it.
    if (isKnown && (replaced > 0 || state === "no_room")) onReplaced(memberId);
    if (replaced > 0) notify(runtime, "eventsDropped", { memberId, count: replaced, reason: "replaced" });
    if (state === "no_room") {
      throw new CannotVerifyError(
        `no room for an event of ${body.text.length} characters among those that wait for its portal, ` +
          `wanted at most ${bounds.maxEvents} events of ${bounds.maxCharacters} characters together`,
      );
    }
    eventLog(runtime, event).debug("event waits for verification", { ...{ event: "event.unverified", replaced } });
    const attempt = firstAttempt(memberId, digest);
    // The copy that waited may have been refused meanwhile.
    if (state === "duplicate") await refused.assertNew(event);
    notify(runtime, state === "duplicate" ? "duplicateReceived" : "eventPostponed", { event });
    wake(memberId, isKnown, isTrusted);
    return { firstAttempt: attempt };
  };
}

/** Returns the policy that a plugin brings. Plugins are known once the app has started. */
function createPolicyReader(runtime: AppRuntime): () => VerificationSettings {
  let settings: VerificationSettings | undefined;
  return () =>
    settings ??= verificationSettings(
      runtime.plugins.find(({ verificationPolicy }) => verificationPolicy !== undefined)?.verificationPolicy,
    );
}
