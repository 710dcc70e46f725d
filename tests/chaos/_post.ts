/** Sends events to the workers, as a balancer would, and remembers what was answered. */
import { setTimeout as sleep } from "node:timers/promises";
import { FORM } from "../support/app.ts";
import { checkDeadline } from "../support/test.ts";
import type { Crew } from "./_crew.ts";
import type { Downtime } from "./_outages.ts";
import type { PlannedEvent, Sending } from "./_plan.ts";

/** Sends, and remembers. */
export interface Post {
  /** Sends each when it is to be, and again where it is to be repeated. */
  readonly sendAll: (sendings: readonly Sending[]) => Promise<void>;
  /** When events were first answered 200, in milliseconds since 1970. */
  readonly acknowledgedAt: ReadonlyMap<PlannedEvent, number>;
  readonly counts: () => {
    readonly requests: number;
    readonly acknowledged: number;
    readonly refused: number;
    readonly unanswered: number;
  };
  /** What was answered wrongly, one line each. */
  readonly problems: (downtimes: readonly Downtime[]) => string[];
}

/** One request. */
interface Exchange {
  readonly from: number;
  readonly to: number;
  /** Absent: there was no answer. */
  readonly status?: number;
}

/** Between two copies that are not answered 200, in milliseconds; times the pace, and more with each copy. */
const AGAIN_MS = 250;
/** How long the sender waits for an answer, in milliseconds; times the pace, and more with each copy. */
const PATIENCE_MS = 2000;

/** `begin`: in milliseconds since 1970. */
export function createPost({ workers }: Crew, begin: number, pace: number): Post {
  const exchanges: Exchange[] = [];
  const acknowledgedAt = new Map<PlannedEvent, number>();

  async function ask(body: string, url: string, patienceMs: number): Promise<Exchange> {
    const from = Date.now();
    try {
      const response = await fetch(`${url}/events`, {
        method: "POST",
        body,
        headers: { "content-type": FORM },
        signal: AbortSignal.timeout(patienceMs),
      });
      await response.body?.cancel();
      return { from, to: Date.now(), status: response.status };
    } catch {
      return { from, to: Date.now() };
    }
  }

  async function deliver({ event, at, worker, repeats }: Sending): Promise<void> {
    await sleep(Math.max(0, begin + at * pace - Date.now()));
    for (let copy = 0; copy <= repeats; copy++) {
      checkDeadline();
      // A machine that is too slow for all of them gets fewer.
      const slower = pace * Math.max(1, Math.min(copy, 20) / 5);
      if (copy > 0) await sleep(AGAIN_MS * slower);
      // To another one, if this one is not there.
      const isThere = workers.map(({ url, life }) => url !== undefined && life.killedAt === undefined);
      const index = [worker + copy, 0, 1, 2].map((n) => n % workers.length).find((n) => isThere[n]);
      if (index === undefined) continue;
      const exchange = await ask(event.body, workers[index]!.url!, PATIENCE_MS * slower);
      exchanges.push(exchange);
      if (exchange.status !== 200) continue;
      if (!acknowledgedAt.has(event)) acknowledgedAt.set(event, exchange.to);
      return;
    }
  }

  const count = (status?: number): number => exchanges.filter((exchange) => exchange.status === status).length;
  return {
    sendAll: async (sendings) => void await Promise.all(sendings.map(deliver)),
    acknowledgedAt,
    counts: () => ({
      requests: exchanges.length,
      acknowledged: count(200),
      refused: count(503),
      unanswered: count(undefined),
    }),
    problems: (downtimes) =>
      exchanges.flatMap(({ from, to, status }) => {
        if (status !== undefined && status !== 200 && status !== 503) return [`an event was answered ${status}`];
        const isFalse = status === 200 &&
          downtimes.some((down) =>
            (down.kind === "dies" || down.kind === "hangs") && from >= down.from && to <= down.to
          );
        return isFalse ? [`an event was answered 200 while the storage was down`] : [];
      }),
  };
}
