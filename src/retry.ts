/** When what failed is tried again. */
import { B24Error } from "./bitrix24/b24_error.ts";
import { type BlockedReason, NoCredentialsError, NonRetriableError, RetryAfterError } from "./errors.ts";

/** How often, and after which waits, something that failed is tried again. */
export interface RetryPolicy {
  /** How often it is tried in all before it is parked; default 10. */
  readonly maxAttempts?: number;
  /** Milliseconds before the second attempt; each further wait is twice as long. Default 30000. */
  readonly initialDelayMs?: number;
  /** Milliseconds that a wait has at most; default 3600000, an hour. */
  readonly maxDelayMs?: number;
}

const DEFAULTS: Required<RetryPolicy> = { maxAttempts: 10, initialDelayMs: 30_000, maxDelayMs: 3_600_000 };

/** @throws {TypeError} naming `what` when a number is none */
export function assertRetryPolicy(what: string, policy: RetryPolicy): void {
  for (const [name, least] of [["maxAttempts", 1], ["initialDelayMs", 0], ["maxDelayMs", 0]] as const) {
    const value = policy[name];
    if (value === undefined || (value >= least && (name !== "maxAttempts" || Number.isInteger(value)))) continue;
    throw new TypeError(`cannot use ${name} ${value} for ${what}, wanted a number from ${least}`);
  }
}

/** How long a portal waits for what nobody here can hasten before it is tried again, in milliseconds. */
export const BLOCKED_RETRY_MS = 60 * 60 * 1000;

/** What `error`, or a cause of it, says that a portal has to be given before trying again is of use. */
export function blockedReasonOf(error: unknown): BlockedReason | undefined {
  const cause = decisive(error);
  return cause instanceof B24Error || cause instanceof NoCredentialsError ? cause.blockedOn : undefined;
}

/** The first of `error` and its causes that says itself when to try again. */
function decisive(error: unknown): unknown {
  for (let cause = error, depth = 0; cause instanceof Error && depth < 10; cause = cause.cause, depth++) {
    if (cause instanceof RetryAfterError || cause instanceof NonRetriableError) return cause;
    if (cause instanceof NoCredentialsError) return cause;
    if (cause instanceof B24Error && (cause.isFinal || cause.blockedOn !== undefined || laterMs(cause))) return cause;
  }
  return error;
}

function laterMs(error: unknown): number | undefined {
  return error instanceof B24Error ? error.retryAfterMs : undefined;
}

/** Whether trying `error` again counts as an attempt. */
export function countsAsAttempt(error: unknown): boolean {
  const cause = decisive(error);
  return !(cause instanceof RetryAfterError) && blockedReasonOf(cause) === undefined && laterMs(cause) === undefined;
}

/**
 * Milliseconds until the next attempt after `attempts` of them; `undefined`: park it. Waits double, less up to a half
 * by chance, so that portals that failed together do not come back together. `chance` is from 0 to 1.
 */
export function nextRetryDelay(
  error: unknown,
  attempts: number,
  policy: RetryPolicy,
  chance: number,
): number | undefined {
  const cause = decisive(error);
  if (cause instanceof RetryAfterError) return cause.afterMs;
  if (blockedReasonOf(cause) !== undefined) return BLOCKED_RETRY_MS;
  const later = laterMs(cause);
  if (later !== undefined) return later;
  const { maxAttempts: most, initialDelayMs, maxDelayMs } = { ...DEFAULTS, ...policy };
  const isFinal = cause instanceof NonRetriableError || (cause instanceof B24Error && cause.isFinal);
  if (isFinal || attempts >= most) return undefined;
  return Math.ceil(Math.min(maxDelayMs, initialDelayMs * 2 ** (attempts - 1)) * (1 - chance / 2));
}

/** How often a thing is tried before it is parked. */
export function maxAttemptsOf(policy: RetryPolicy): number {
  return policy.maxAttempts ?? DEFAULTS.maxAttempts;
}

/** A number from 0 up to 1, made of a text that nobody can guess. */
export function unitHash(text: string): number {
  let hash = 2166136261;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 16777619);
  return (hash >>> 0) / 2 ** 32;
}
