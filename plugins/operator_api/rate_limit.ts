/** Limits how often an operator may call a route. */
import { ApiError } from "./api_error.ts";
import type { Operator, Route } from "./route.ts";

const HOUR_MS = 60 * 60_000;

/** @throws {ApiError} 429, if the operator has called the route too often. `holder` names the operator to people. */
export type RateLimit = (route: Route, operator: Operator, holder: string) => void;

/** Returns the function that counts the calls in this process. `clock` returns milliseconds since 1970. */
export function createRateLimit({ clock }: { readonly clock: () => number }): RateLimit {
  const counted = new Map<string, { readonly since: number; count: number }>();
  return ({ id, maxPerHour }, { name }, holder) => {
    if (maxPerHour === undefined) return;
    const now = clock();
    const key = JSON.stringify([name, id]);
    const last = counted.get(key);
    const hour = last !== undefined && Math.abs(now - last.since) < HOUR_MS ? last : { since: now, count: 0 };
    counted.set(key, hour);
    if (++hour.count <= maxPerHour) return;
    const seconds = Math.ceil((hour.since + HOUR_MS - now) / 1000);
    const message =
      `${holder} may call this route ${maxPerHour} times an hour, wanted the next request in ${seconds} s or later`;
    throw new ApiError(429, { code: "too_many_requests", message }, { "retry-after": String(seconds) });
  };
}
