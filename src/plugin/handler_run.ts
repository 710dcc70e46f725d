/** Runs a handler of the app: limits its time, reports it if it is slow, and charges it with the promises that it forgets. */
import { createTimeLimit, type TimeLimit } from "../async/with_timeout.ts";
import { type AppRuntime, notify } from "./runtime.ts";
import { charge } from "./unhandled_rejections.ts";

/** The handler that runs: of an upgrade or of an event. */
export interface HandlerName {
  readonly memberId: string;
  readonly upgradeId?: string;
  /** Name of the event. */
  readonly event?: string;
}

/** Time (ms) that a handler whose time is over may take to end: its portal is kept for it. */
export const GRACE_MS = 30_000;

/** Time (ms) after which a handler is reported as slow. */
const SLOW_MS = 10 * 60 * 1000;

/** Returns a time limit under which a handler runs, see {@linkcode TimeLimit}. `outer` ends it early. */
export function createHandlerRun(
  runtime: AppRuntime,
  name: HandlerName,
  outer: AbortSignal,
  timeoutMs: number,
): TimeLimit {
  const { time, log } = runtime;
  const { memberId, upgradeId, event: eventName } = name;
  const fields = { memberId, ...(upgradeId === undefined ? { eventName } : { upgradeId }) };
  const { signal, restart, abort, run } = createTimeLimit(time, outer, { timeoutMs, graceMs: GRACE_MS });

  function reportSlow(): void {
    log.warn("handler is slow", { event: "handler.slow", ...fields, runningMs: SLOW_MS });
    notify(runtime, "slowHandlerDetected", { ...name, runningMs: SLOW_MS });
  }

  function onUnhandledRejection(cause: unknown): void {
    const why = cause instanceof Error ? cause.message : String(cause);
    // A handler that has ended is not affected.
    abort(new Error(`a promise that the handler did not await was rejected: ${why}`, { cause }));
    log.error("promise rejected that a handler did not await", { event: "handler.unhandled_rejection", ...fields });
  }

  return {
    signal,
    restart,
    abort,
    run: async (handler) => {
      const cancel = time.setTimer(reportSlow, SLOW_MS, { keepAlive: false });
      try {
        return await run(() => charge(onUnhandledRejection, handler));
      } finally {
        cancel();
      }
    },
  };
}
