/**
 * When the operating time of methods is free again. Bitrix24 says so in its answers before it refuses with
 * `OPERATION_TIME_LIMIT`, and not in the refusal.
 */
import { isMap } from "./answers.ts";

/** The methods of portals that were called last. */
export interface OperatingResets {
  /** Remembers the `time` of an answer of a method. */
  readonly note: (memberId: string, method: string, time: unknown) => void;
  /** Returns when some operating time of a method is free again, in seconds since 1970, as far as that is known. */
  readonly resetAt: (memberId: string, method: string) => number | undefined;
}

/** Maximum number of methods of portals. */
const MAX_METHODS = 10_000;

/** Returns an empty memory; `clock` in milliseconds since 1970. */
export function createOperatingResets(clock: () => number): OperatingResets {
  const resets = new Map<string, number>();
  const keyOf = (memberId: string, method: string): string => `${memberId} ${method.toLowerCase()}`;
  return {
    note: (memberId, method, time) => {
      const resetAt = isMap(time) ? Number(time.operating_reset_at) : NaN;
      if (!(resetAt > 0)) return;
      const key = keyOf(memberId, method);
      // The method called last is at the end.
      resets.delete(key);
      const [oldest] = resets.keys();
      if (oldest !== undefined && resets.size >= MAX_METHODS) resets.delete(oldest);
      resets.set(key, resetAt);
    },
    resetAt: (memberId, method) => {
      const resetAt = resets.get(keyOf(memberId, method));
      return resetAt !== undefined && resetAt * 1000 > clock() ? resetAt : undefined;
    },
  };
}
