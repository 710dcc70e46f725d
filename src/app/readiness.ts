/** Readiness of an app: whether it takes events now, for load balancers and orchestrators. */
import { coalesce } from "../async/coalesce.ts";
import { withTimeout } from "../async/with_timeout.ts";
import type { AppRuntime } from "../plugin/runtime.ts";
import { APP } from "../portal/keys.ts";
import type { Lifecycle } from "./lifecycle.ts";

/**
 * Whether an app takes events, and why not: it has not started, it is closing, or its storage fails or does not answer in time.
 */
export type Readiness =
  | { readonly isReady: true }
  | { readonly isReady: false; readonly reason: "not_started" | "closing" | "storage" };

/** Time (ms) that an answer of the storage counts. */
const KNOWN_MS = 5000;

/** Time (ms) that the storage may take to answer. */
const PROBE_MS = 2000;

const READY: Readiness = { isReady: true };

/** Returns the function behind `app.readiness`. It never rejects. */
export function createReadiness(
  { storage, time, log, signal }: Pick<AppRuntime, "storage" | "time" | "log" | "signal">,
  lifecycle: Pick<Lifecycle, "isRunning" | "isClosed">,
): () => Promise<Readiness> {
  const probes = new Map<string, Promise<void>>();
  let isReachable = true;
  let probedAt = -Infinity;

  /** Reads one entry. A storage that hangs is asked again after `KNOWN_MS`: the read that hangs is aborted. */
  async function probe(): Promise<void> {
    try {
      await withTimeout(time, signal, PROBE_MS, (signal) => storage.get(APP, { signal }));
      note(true);
    } catch (err) {
      if (!signal.aborted) note(false, err);
    }
    probedAt = time.monotonic();
  }

  function note(answered: boolean, err?: unknown): void {
    if (answered !== isReachable) {
      if (answered) log.info("storage answers again", { event: "storage.reachable", storage: storage.name });
      else {
        const fields = { event: "storage.unreachable", storage: storage.name, err: err };
        log.warn("storage does not answer: the app is not ready", fields);
      }
    }
    isReachable = answered;
  }

  const stopped = (): Readiness | undefined => {
    if (lifecycle.isClosed()) return { isReady: false, reason: "closing" };
    return lifecycle.isRunning() ? undefined : { isReady: false, reason: "not_started" };
  };

  return async () => {
    const before = stopped();
    if (before !== undefined) return before;
    if (time.monotonic() - probedAt >= KNOWN_MS) await coalesce(probes, "storage", probe);
    return stopped() ?? (isReachable ? READY : { isReady: false, reason: "storage" });
  };
}
