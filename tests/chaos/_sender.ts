/** Sends events to the workers as a load balancer would, and records the answers. */
import { setTimeout as sleep } from "node:timers/promises";
import { FORM } from "../support/app.ts";
import { checkDeadline } from "../support/test.ts";
import type { Workers } from "./_workers.ts";
import type { Downtime } from "./_outages.ts";
import type { PlannedEvent, Sending } from "./_plan.ts";

/** A sender of events. */
export interface Sender {
  /** Sends each event at its time, with its repeats. */
  readonly sendAll: (sendings: readonly Sending[]) => Promise<void>;
  /** When events were first sent, in milliseconds since 1970. */
  readonly sentAt: ReadonlyMap<PlannedEvent, number>;
  /** When events were first answered with 200, in milliseconds since 1970. */
  readonly acknowledgedAt: ReadonlyMap<PlannedEvent, number>;
  readonly counts: () => {
    readonly requests: number;
    readonly acknowledged: number;
    readonly refused: number;
    readonly unanswered: number;
  };
  /** Returns wrong answers, one line each. */
  readonly problems: (downtimes: readonly Downtime[]) => string[];
}

/** One request. */
interface Exchange {
  readonly from: number;
  readonly to: number;
  /** Absent if there was no answer. */
  readonly status?: number;
}

/** Delay (ms) between two copies, times the pace, and more with each copy. */
const RETRY_MS = 250;
/** Timeout (ms) of a request, times the pace, and more with each copy. */
const TIMEOUT_MS = 2000;

/** `start`: in milliseconds since 1970. */
export function createSender({ current }: Workers, start: number, pace: number): Sender {
  const exchanges: Exchange[] = [];
  const sentAt = new Map<PlannedEvent, number>();
  const acknowledgedAt = new Map<PlannedEvent, number>();

  async function post(body: string, url: string, timeoutMs: number): Promise<Exchange> {
    const from = Date.now();
    try {
      const response = await fetch(`${url}/events`, {
        method: "POST",
        body,
        headers: { "content-type": FORM },
        signal: AbortSignal.timeout(timeoutMs),
      });
      await response.body?.cancel();
      return { from, to: Date.now(), status: response.status };
    } catch {
      return { from, to: Date.now() };
    }
  }

  async function deliver({ event, at, worker, repeats }: Sending): Promise<void> {
    await sleep(Math.max(0, start + at * pace - Date.now()));
    for (let copy = 0; copy <= repeats; copy++) {
      checkDeadline();
      // A slow machine receives fewer requests.
      const slower = pace * Math.max(1, Math.min(copy, 20) / 5);
      if (copy > 0) await sleep(RETRY_MS * slower);
      // To another worker if this one is not reachable.
      const isReachable = current.map(({ url, history }) => url !== undefined && history.killedAt === undefined);
      const index = [worker + copy, 0, 1, 2].map((n) => n % current.length).find((n) => isReachable[n]);
      if (index === undefined) continue;
      if (!sentAt.has(event)) sentAt.set(event, Date.now());
      const exchange = await post(event.body, current[index]!.url!, TIMEOUT_MS * slower);
      exchanges.push(exchange);
      if (exchange.status !== 200) continue;
      if (!acknowledgedAt.has(event)) acknowledgedAt.set(event, exchange.to);
      return;
    }
  }

  const count = (status?: number): number => exchanges.filter((exchange) => exchange.status === status).length;
  return {
    sendAll: async (sendings) => void await Promise.all(sendings.map(deliver)),
    sentAt,
    acknowledgedAt,
    counts: () => ({
      requests: exchanges.length,
      acknowledged: count(200),
      refused: count(503),
      unanswered: count(undefined),
    }),
    problems: (downtimes) =>
      exchanges.flatMap(({ from, to, status }) => {
        if (status !== undefined && status !== 200 && status !== 503) return [`an event was answered with ${status}`];
        const isFalse = status === 200 &&
          downtimes.some((down) =>
            (down.kind === "dies" || down.kind === "hangs") && from >= down.from && to <= down.to
          );
        return isFalse ? [`an event was answered with 200 while the storage was down`] : [];
      }),
  };
}
