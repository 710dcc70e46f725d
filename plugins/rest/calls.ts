/** A call of a portal: as many requests as it takes until the portal has done it, or has refused for good. */
import {
  type AnswerLimits,
  B24Error,
  countCall,
  currentRehearsal,
  type PluginHost,
  type PortalCredentials,
  RetryAfterError,
  type Secret,
} from "../../mod.ts";
import type { UnreachableError } from "../../errors.ts";
import { abortable } from "./abortable.ts";
import type { Answer } from "./answers.ts";
import { createOperatingResets } from "./operating.ts";
import type { B24Timer, RequestQueues } from "./pace.ts";
import { type Redact, redactor } from "./redaction.ts";
import { type RequestOutcome, send, type V3Request } from "./request.ts";

/** A call of a method of a portal. */
export interface Call<T> {
  readonly memberId: string;
  readonly method: string;
  /** Returns the parameters of the next request. */
  readonly params: () => object;
  /** Whether the next request only reads. */
  readonly isRead: () => boolean;
  /** Whether the next request may run twice. */
  readonly isRepeatable: () => boolean;
  /** Returns the methods that an answer is about, with the `time` of each. */
  readonly times: (answer: Answer) => readonly (readonly [method: string, time: unknown])[];
  /**
   * Returns the value of an answer. If it throws an error with `needsOtherUser`, the call is repeated as another user;
   * with a `limit`, it is repeated later.
   */
  readonly read: (answer: Answer) => T;
  readonly timeoutMs: number | undefined;
  /** The method is one of REST 3.0. */
  readonly v3?: V3Request;
  readonly signal: AbortSignal;
}

/** Runs a call. */
export type RunCall = <T>(call: Call<T>) => Promise<T>;

/** Durations and numbers of attempts of calls: see `RestOptions`. */
export interface CallSettings {
  readonly timer: B24Timer;
  readonly timeoutMs: number;
  readonly limits: AnswerLimits;
  readonly attempts: number;
  readonly longestWaitMs: number;
}

/** Maximum number of answers `QUERY_LIMIT_EXCEEDED`, and of waits for operating time, in one call. */
const MAX_LIMITED = 6;
const MAX_OPERATING_WAITS = 3;
/** Bitrix24 counts the operating time of methods in windows of this length, in milliseconds. */
const OPERATING_WINDOW_MS = 10 * 60 * 1000;

/** Returns a delay in milliseconds that doubles with each attempt, reduced by up to a half at random. */
function backOff(attempt: number): number {
  return 1000 * 2 ** (attempt - 1) * (1 - Math.random() / 2);
}

/** Returns the function that runs calls. The requests of a portal start in the order of the calls. */
export function createCalls(host: PluginHost, queues: RequestQueues, settings: CallSettings): RunCall {
  const resets = createOperatingResets(host.clock);
  return async <T>(call: Call<T>): Promise<T> => {
    const { memberId, signal } = call;
    const ticket = queues.ticket();
    const secrets = new Set<Secret>();
    const redact = redactor(secrets);
    const progress: Progress = { attempt: 1, limited: 0, operatingWaits: 0 };

    async function attempt(credentials: PortalCredentials): Promise<T> {
      secrets.add(credentials.accessToken);
      const outcome = await sendOnce(host, settings, call, credentials, redact);
      try {
        if (!("result" in outcome)) {
          countCall(call.method);
          throw outcome.error;
        }
        for (const [method, time] of call.times(outcome)) {
          countCall(method);
          resets.note(memberId, method, time);
        }
        return call.read(outcome);
      } catch (error) {
        if (!("result" in outcome)) progress.last = outcome;
        else if (error instanceof B24Error && error.limit !== undefined) progress.last = { error };
        throw error;
      }
    }

    const enqueue = async <R>(run: () => Promise<R>): Promise<R> => {
      const name = call.v3 === undefined ? call.method : `api/${call.method}`;
      // The portal does not learn of it.
      if (currentRehearsal()?.answers(name, call.params())) return await run();
      return await queues.run({ memberId, ticket, isRead: call.isRead(), signal }, async (holdOff) => {
        try {
          return await run();
        } catch (error) {
          if (error instanceof B24Error && error.limit === "requests") holdOff(backOff(++progress.limited));
          throw error;
        }
      });
    };

    while (true) {
      try {
        return await host.credentials.call(memberId, attempt, { signal, enqueue });
      } catch (error) {
        // Only a failed request is repeated here, not the failure to get credentials or to follow the portal.
        if (error !== progress.last?.error) throw error;
        const { error: failure, resetAt } = progress.last!;
        // The refusal of a command of a batch names the method of the command.
        const method = failure instanceof B24Error ? failure.method : call.method;
        await waitToRepeat(host, settings, call, progress, {
          error: failure,
          method,
          resetAt: resetAt ?? resets.resetAt(memberId, method),
        });
      }
    }
  };
}

/** The state of one call. */
interface Progress {
  attempt: number;
  limited: number;
  operatingWaits: number;
  /** The outcome of the last request, if it failed. */
  last?: Exclude<RequestOutcome, Answer>;
}

function sendOnce(
  { portalFetch }: PluginHost,
  settings: CallSettings,
  { method, params, v3, timeoutMs = settings.timeoutMs, signal }: Call<unknown>,
  credentials: PortalCredentials,
  redact: Redact,
): Promise<RequestOutcome> {
  const { limits } = settings;
  return send(portalFetch, { method, params: params(), v3, credentials, timeoutMs, limits, redact, signal });
}

/** A request that failed. */
interface Failure {
  readonly error: B24Error | UnreachableError;
  readonly method: string;
  /** When the method may be called again, in seconds since 1970, if that is known. */
  readonly resetAt: number | undefined;
}

/**
 * Waits until a failed request may be repeated.
 *
 * @throws {RetryAfterError} if the method has used up its operating time for longer than the call may wait
 * @throws the error of the request, if it is not to be repeated
 */
async function waitToRepeat(
  host: PluginHost,
  { timer, attempts, longestWaitMs }: CallSettings,
  { memberId, isRepeatable, signal }: Call<unknown>,
  progress: Progress,
  { error, method, resetAt }: Failure,
): Promise<void> {
  const wait = (ms: number): Promise<void> => abortable({ signals: [signal] }, (signal) => timer.sleep(ms, signal));
  const { limit, mayHaveTakenEffect } = error instanceof B24Error ? error : { mayHaveTakenEffect: true };
  if (limit === "requests") {
    // The queue of the portal waits.
    if (progress.limited === MAX_LIMITED) throw error;
  } else if (limit === "operating_time") {
    const waitMs = operatingWaitMs(resetAt, host.clock());
    if (waitMs > longestWaitMs || ++progress.operatingWaits > MAX_OPERATING_WAITS) {
      const message = `${method} has used up its operating time on portal ${memberId}`;
      throw new RetryAfterError(Math.ceil(waitMs), message, { cause: error });
    }
    await wait(waitMs);
  } else if (mayHaveTakenEffect && isRepeatable() && progress.attempt < attempts) {
    const { attempt } = progress;
    host.log.info("call repeated", { event: "rest.call_repeated", memberId, method, attempt, err: error });
    await wait(backOff(progress.attempt++));
  } else throw error;
}

/** Returns the milliseconds until a method may be called again; `resetAt` in seconds since 1970, if the portal sent it. */
function operatingWaitMs(resetAt: number | undefined, now: number): number {
  const waitMs = resetAt === undefined ? OPERATING_WINDOW_MS / 10 : resetAt * 1000 - now;
  return Math.min(Math.max(waitMs, 1000), OPERATING_WINDOW_MS) * (1 + Math.random() / 10);
}
