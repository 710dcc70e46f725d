/** The operating time of methods: Bitrix24 adds up how long each method of a portal ran, and blocks one that ran too long. */
import { Refusal } from "./errors.ts";
import { isoTime } from "./methods.ts";
import type { PortalState } from "./state.ts";

/** Bitrix24 looks at the last ten minutes. */
const WINDOW_MS = 600_000;
/** Maximum operating time of a method in a window. */
const LIMIT_MS = 480_000;

/** @throws {Refusal} if the method has used up its operating time */
export function checkOperating(portal: PortalState, method: string, now: number): void {
  if (operatingMs(portal, method, now) > LIMIT_MS) throw new Refusal("OPERATION_TIME_LIMIT");
}

/** Adds a run of a method, and returns the `time` of its answer. */
export function timeOf(portal: PortalState, method: string, started: number, finished: number): object {
  const key = method.toLowerCase();
  const ms = finished - started;
  if (ms > 0) portal.operating.set(key, [...portal.operating.get(key) ?? [], { at: started, ms }]);
  const operating = operatingMs(portal, method, finished) / 1000;
  const [oldest = { at: started }] = portal.operating.get(key)!;
  return {
    start: started / 1000,
    finish: finished / 1000,
    duration: (finished - started) / 1000,
    processing: 0,
    date_start: isoTime(started),
    date_finish: isoTime(finished),
    operating_reset_at: Math.floor((oldest.at + WINDOW_MS) / 1000),
    operating,
  };
}

/** Returns how long a method ran in the window that ends now, and forgets older runs. */
function operatingMs(portal: PortalState, method: string, now: number): number {
  const key = method.toLowerCase();
  const runs = (portal.operating.get(key) ?? []).filter(({ at }) => at + WINDOW_MS > now);
  portal.operating.set(key, runs);
  return runs.reduce((sum, { ms }) => sum + ms, 0);
}
