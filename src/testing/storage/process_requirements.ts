/** Clause 8 of the storage battery: several processes. */
import type { Entry, Key, PutResult } from "../../../storage.ts";
import { check, type Clause, listed, same, write } from "./requirement.ts";
import { fillOf } from "./worker.ts";

const KEY: Key = ["portal", "a223"];
const PROCESSES = 3;

/** Clause 8, in order. */
export const processClauses: readonly Clause[] = [
  {
    number: "8.1",
    says: "processes that count in one key, by compare-and-set, lose nothing",
    needs: "worker",
    holds: async ({ storage, start }) => {
      const workers = Array.from({ length: PROCESSES }, start!);
      await Promise.all(workers.map((worker) => worker.ask({ do: "count", key: KEY, times: 40 })));
      same((await storage.get(KEY))?.value, 40 * PROCESSES, "the count");
    },
  },
  {
    number: "8.2",
    says: "of several processes that create one key at once, one wins, and its value is what is stored",
    needs: "worker",
    holds: async ({ storage, start }) => {
      const workers = Array.from({ length: PROCESSES }, start!);
      for (let round = 0; round < 10; round++) {
        const key: Key = ["created", String(round)];
        const results = await Promise.all(
          workers.map((worker, value) => worker.ask<PutResult>({ do: "put", key, value, ifVersion: null })),
        );
        const winners = results.flatMap((result, value) => result.ok ? [{ value, version: result.version }] : []);
        same(winners.length, 1, `winners of round ${round}`);
        same(await storage.get(key), { key: [...key], ...winners[0] }, "the entry");
      }
    },
  },
  {
    number: "8.3",
    says: "a lease that is taken and given back by compare-and-set is held by one process at a time",
    needs: "worker",
    holds: async ({ start }) => {
      const workers = Array.from({ length: PROCESSES }, start!);
      const held = (await Promise.all(
        workers.map((worker) => worker.ask<[number, number][]>({ do: "lease", key: KEY, rounds: 8 })),
      )).flat().sort(([a], [b]) => a - b);
      same(held.length, 8 * PROCESSES, "times that it was held");
      const overlaps = held.filter(([from], i) => i > 0 && from < held[i - 1]![1]);
      same(overlaps, [], "times at which two held it");
    },
  },
  {
    number: "8.4",
    says: "what a process that stood still writes after another one has taken over is refused",
    needs: "worker",
    holds: async ({ storage, start }) => {
      const [stalled, next] = [start!(), start!()];
      await write(storage, KEY, "free");
      const seen = await stalled.ask<Entry<string>>({ do: "get", key: KEY });
      stalled.signal("SIGSTOP");
      stalled.send({ do: "put", key: KEY, value: "stalled", ifVersion: seen.version });
      const taken = await next.ask<PutResult>({ do: "put", key: KEY, value: "next", ifVersion: seen.version });
      same(taken.ok, true, "the take-over");
      stalled.signal("SIGCONT");
      same(await stalled.answer(), { ok: false }, "the late write");
      same((await storage.get(KEY))?.value, "next", "the value");
      same(await stalled.ask<Entry<string>>({ do: "get", key: KEY }), await storage.get(KEY), "what it sees then");
    },
  },
  {
    number: "8.5",
    says: "a process that is killed while it writes loses nothing that it was told is written, and holds up nobody",
    needs: "worker",
    holds: async ({ storage, start }) => {
      for (const enough of [1, 7, 30]) {
        const prefix: Key = ["filled", String(enough)];
        const worker = start!();
        worker.send({ do: "fill", prefix });
        let last = -1;
        while (last < enough) last = await worker.answer<number>();
        worker.signal("SIGKILL");
        await worker.gone;
        const entries = await listed<{ n: number }>(storage, prefix);
        check(entries.length > last, `after ${last + 1} writes: saw ${entries.length} entries`);
        for (const { key, value } of entries) {
          same(value, fillOf(Number(key.at(-1))), `the entry ${JSON.stringify(key)}`);
        }
        await write(storage, KEY, enough);
        same((await start!().ask<PutResult>({ do: "put", key: KEY, value: 0 })).ok, true, "put of another process");
      }
    },
  },
];
