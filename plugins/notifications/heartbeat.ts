/** Heartbeat: calls an address while the notifier works, so that a service there can tell when it no longer does. */
import { option, type OptionRules, type PluginHost, type Secret } from "../../mod.ts";
import { abortable } from "./abortable.ts";
import { secretOf, URL_RULE } from "./options.ts";

/** A heartbeat. */
export interface Heartbeat {
  /** Address that is called by GET, such as one of healthchecks.io. It is a secret: anyone who has it can pretend that all is well. */
  readonly url: string | Secret;
  /**
   * Milliseconds between two calls, rounded up to ticks. Minimum: 1000.
   *
   * @default 60000
   */
  readonly everyMs?: number;
}

/** The rules of a {@linkcode Heartbeat}. */
export const HEARTBEAT_RULES: OptionRules<Heartbeat> = {
  url: URL_RULE,
  everyMs: option.duration({ min: 1000 }),
};

/** The latest heartbeat of any process, in milliseconds since 1970. */
interface LastBeat {
  readonly at: number;
}

/** Time (ms) that a call may take. */
const TIMEOUT_MS = 10_000;

const EVERY_MS = 60_000;

/** Returns the function that calls the address if it is time to, by one process. Failures of the call are logged. */
export function createHeartbeat(
  { storage, clock, fetch, log }: PluginHost,
  { url, everyMs = EVERY_MS }: Heartbeat,
): (signal: AbortSignal) => Promise<void> {
  const address = secretOf(url);
  return async (signal) => {
    const now = clock();
    const entry = await storage.get<LastBeat>(["heartbeat"]);
    // A process whose clock was ahead must not silence the others for as long as it was.
    if (entry !== null && Math.abs(now - entry.value.at) < everyMs) return;
    const { ok } = await storage.put<LastBeat>(["heartbeat"], { at: now }, { ifVersion: entry?.version ?? null });
    if (!ok) return;
    const fields = { event: "notifications.heartbeat_failed" };
    try {
      const limit = AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]);
      const init: RequestInit = { redirect: "error", referrerPolicy: "no-referrer", signal: limit };
      const answer = await abortable(limit, () => fetch(address.reveal(), init));
      answer.body?.cancel().catch(() => {});
      if (!answer.ok) log.warn("heartbeat not accepted", { ...fields, status: answer.status });
    } catch {
      signal.throwIfAborted();
      // The error would quote the address.
      log.warn("heartbeat not sent", fields);
    }
  };
}
