/** Whether and when failed work is retried. */
import { B24Error } from "./bitrix24/b24_error.ts";
import { option, type OptionRules } from "./check_options.ts";
import { defined } from "./defined.ts";
import { AddressError, type BlockedReason, NoCredentialsError, NonRetriableError, RetryAfterError } from "./errors.ts";

/** Limits and delays of retries of failed work. */
export interface RetryPolicy {
  /**
   * Maximum number of attempts, the first one included; after them, the work is parked. A whole number. Minimum: 1.
   *
   * @default 10
   */
  readonly maxAttempts?: number;
  /**
   * Milliseconds before the second attempt. Each further delay is twice as long. Up to half of a delay is taken off at
   * random, so that portals that failed together do not retry together. Minimum: 0.
   *
   * @default 30000
   */
  readonly initialDelayMs?: number;
  /**
   * Maximum delay in milliseconds. Minimum: 0.
   *
   * @default 3600000
   */
  readonly maxDelayMs?: number;
}

const DEFAULTS: Required<RetryPolicy> = { maxAttempts: 10, initialDelayMs: 30_000, maxDelayMs: 3_600_000 };

/** The rules of a policy, for {@linkcode checkOptions}. */
export const RETRY_RULES: OptionRules<RetryPolicy> = {
  maxAttempts: option.number({ min: 1, isWhole: true }),
  initialDelayMs: option.number({ min: 0, max: Infinity }),
  maxDelayMs: option.number({ min: 0, max: Infinity }),
};

/** Minimum and maximum delay (ms) before retrying a portal that is blocked on an external action. */
export const BLOCKED_RETRY_MS = 60 * 60 * 1000;
const MAX_BLOCKED_RETRY_MS = 24 * 60 * 60 * 1000;

/**
 * Returns the delay (ms) before retrying a portal that has been blocked for `blockedMs`: an hour, then ever longer, and a day
 * from a week on.
 */
export function blockedRetryDelay(blockedMs: number): number {
  return Math.min(MAX_BLOCKED_RETRY_MS, Math.max(BLOCKED_RETRY_MS, Math.floor(blockedMs / 7)));
}

/** Returns what the portal needs before a retry can succeed, as `error` or one of its causes reports it. */
export function blockedReasonOf(error: unknown): BlockedReason | undefined {
  const decisive = decisiveError(error);
  const mayBlock = decisive instanceof B24Error || decisive instanceof NoCredentialsError ||
    decisive instanceof AddressError;
  return mayBlock ? decisive.blockedOn : undefined;
}

/** Returns the first of `error` and its causes that determines the retry itself; `error` if the policy applies. */
function decisiveError(error: unknown): unknown {
  for (let cause = error, depth = 0; cause instanceof Error && depth < 10; cause = cause.cause, depth++) {
    if (cause instanceof RetryAfterError || cause instanceof NonRetriableError) return cause;
    if (cause instanceof NoCredentialsError) return cause;
    if (cause instanceof AddressError && cause.blockedOn !== undefined) return cause;
    if (cause instanceof B24Error && (cause.isFinal || cause.blockedOn !== undefined || limitDelay(cause))) {
      return cause;
    }
  }
  return error;
}

/**
 * Minimum delay (ms) of an attempt that does not count towards `maxAttempts`: nothing else ends a loop of attempts that are due
 * at once.
 */
const MIN_UNCOUNTED_MS = 1000;

/** Maximum delay (ms) that a handler can ask for, 31,688 years: a later time is no date, and nothing could show the portal. */
const MAX_DELAY_MS = 1e15;

/** Returns the delay after which a limit of Bitrix24 is over. */
function limitDelay(error: unknown): number | undefined {
  return error instanceof B24Error ? error.retryAfterMs : undefined;
}

/** Returns whether an attempt that ended with `error` counts towards `maxAttempts`. */
export function countsAsAttempt(error: unknown): boolean {
  const decisive = decisiveError(error);
  return !(decisive instanceof RetryAfterError) && blockedReasonOf(decisive) === undefined &&
    limitDelay(decisive) === undefined;
}

/**
 * Returns the milliseconds until the next attempt, after `attempts` counted ones, or `undefined` if the work is to be
 * parked. `jitter` is from 0 to 1: the part of half the delay that is taken off.
 */
export function nextRetryDelay(
  error: unknown,
  attempts: number,
  policy: RetryPolicy,
  jitter: number,
): number | undefined {
  const decisive = decisiveError(error);
  if (decisive instanceof RetryAfterError) return Math.min(Math.max(MIN_UNCOUNTED_MS, decisive.afterMs), MAX_DELAY_MS);
  if (blockedReasonOf(decisive) !== undefined) return BLOCKED_RETRY_MS;
  const limitMs = limitDelay(decisive);
  if (limitMs !== undefined) return limitMs;
  const { maxAttempts, initialDelayMs, maxDelayMs } = { ...DEFAULTS, ...defined(policy) };
  const isFinal = decisive instanceof NonRetriableError || (decisive instanceof B24Error && decisive.isFinal);
  if (isFinal || attempts >= maxAttempts) return undefined;
  return Math.ceil(Math.min(maxDelayMs, initialDelayMs * 2 ** (attempts - 1)) * (1 - jitter / 2));
}

/** Returns the maximum number of attempts of a policy. */
export function maxAttemptsOf(policy: RetryPolicy): number {
  return policy.maxAttempts ?? DEFAULTS.maxAttempts;
}

/** Returns a hash of `text` (FNV-1a) as a number from 0 up to, but not including, 1: jitter that a seed determines. */
export function unitHash(text: string): number {
  let hash = 2166136261;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 16777619);
  return (hash >>> 0) / 2 ** 32;
}
