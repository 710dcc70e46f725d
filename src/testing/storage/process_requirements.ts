/** Section 8 of the storage contract: several processes. */
import { systemTime } from "../../async/time.ts";
import { settlesWithin } from "../../async/with_timeout.ts";
import type { Entry, Key, PutResult, Storage } from "../../storage/storage.ts";
import { check, checkPrefix, listed, type Requirement, same, write } from "./requirement.ts";
import { fillValue, GROUP_SIZE, type WorkerProcess } from "./worker.ts";

const KEY: Key = ["portal", "a223"];
const PROCESSES = 3;
/** Number of ordered writes in which 8.6 looks for one that is applied in part. */
const OBSERVED_WRITES = 20;

/**
 * Resolves when a part of an ordered write from the `first` on is applied, so that a kill hits the middle of it. Writes of
 * an atomic storage never are: then it resolves after {@linkcode OBSERVED_WRITES} of them.
 */
async function untilInWrite(storage: Storage, prefix: Key, first: number, worker: WorkerProcess): Promise<void> {
  for (let n = first; n < first + OBSERVED_WRITES; n++) {
    const acknowledged = worker.receive();
    while (!await settlesWithin(systemTime, acknowledged, 1)) {
      const { length } = await listed(storage, [...prefix, String(n)]);
      if (length > 0 && length < GROUP_SIZE) return;
    }
  }
}

/** The requirements of section 8, in order. */
export const processRequirements: readonly Requirement[] = [
  {
    number: "8.1",
    text: "If processes increment one value by compare-and-set, no increment is lost",
    needs: "worker",
    verify: async ({ storage, start }) => {
      const workers = Array.from({ length: PROCESSES }, start!);
      await Promise.all(workers.map((worker) => worker.call({ do: "increment", key: KEY, times: 40 })));
      same((await storage.get(KEY))?.value, 40 * PROCESSES, "the count");
    },
  },
  {
    number: "8.2",
    text: "If several processes create one key at once, exactly one succeeds, and its value is stored",
    needs: "worker",
    verify: async ({ storage, start }) => {
      const workers = Array.from({ length: PROCESSES }, start!);
      for (let round = 0; round < 10; round++) {
        const key: Key = ["created", String(round)];
        const results = await Promise.all(
          workers.map((worker, value) => worker.call<PutResult>({ do: "put", key, value, ifVersion: null })),
        );
        const winners = results.flatMap((result, value) => result.ok ? [{ value, version: result.version }] : []);
        same(winners.length, 1, `winners of round ${round}`);
        same(await storage.get(key), { key: [...key], ...winners[0] }, "the entry");
      }
    },
  },
  {
    number: "8.3",
    text: "A lease that is acquired and released by compare-and-set is held by one process at a time",
    needs: "worker",
    verify: async ({ start }) => {
      const workers = Array.from({ length: PROCESSES }, start!);
      const periods = (await Promise.all(
        workers.map((worker) => worker.call<[number, number][]>({ do: "lease", key: KEY, rounds: 8 })),
      )).flat().sort(([a], [b]) => a - b);
      same(periods.length, 8 * PROCESSES, "number of times that the lease was held");
      const overlaps = periods.filter(([from], i) => i > 0 && from < periods[i - 1]![1]);
      same(overlaps, [], "times at which two processes held the lease");
    },
  },
  {
    number: "8.4",
    text: "A conditional write by a process that was paused is refused if another process has written meanwhile",
    needs: "worker",
    verify: async ({ storage, start }) => {
      const [paused, other] = [start!(), start!()];
      await write(storage, KEY, "free");
      const { version } = await paused.call<Entry<string>>({ do: "get", key: KEY });
      paused.signal("SIGSTOP");
      paused.send({ do: "put", key: KEY, value: "paused", ifVersion: version });
      const result = await other.call<PutResult>({ do: "put", key: KEY, value: "other", ifVersion: version });
      same(result.ok, true, "the write of the other process");
      paused.signal("SIGCONT");
      same(await paused.receive(), { ok: false }, "the write of the paused process");
      same((await storage.get(KEY))?.value, "other", "the value");
      same(
        await paused.call<Entry<string>>({ do: "get", key: KEY }),
        await storage.get(KEY),
        "get of the paused process",
      );
    },
  },
  {
    number: "8.5",
    text: "If a process is killed while it writes, no acknowledged write is lost and no other process is blocked",
    needs: "worker",
    verify: async ({ storage, start }) => {
      for (const writes of [1, 7, 30]) {
        const prefix: Key = ["filled", String(writes)];
        const worker = start!();
        worker.send({ do: "fill", prefix });
        while (await worker.receive<number>() < writes);
        await worker.kill();
        const last = worker.lastResult<number>()!;
        const entries = await listed<{ n: number }>(storage, prefix);
        check(entries.length > last, `after ${last + 1} writes: saw ${entries.length} entries`);
        for (const { key, value } of entries) {
          same(value, fillValue(Number(key.at(-1))), `the entry ${JSON.stringify(key)}`);
        }
        await write(storage, KEY, writes);
        same((await start!().call<PutResult>({ do: "put", key: KEY, value: 0 })).ok, true, "put of another process");
      }
    },
  },
  {
    number: "8.6",
    text:
      "If a process is killed during ordered writes, the acknowledged ones are applied, and of each other one a prefix",
    needs: "worker",
    verify: async ({ storage, start }) => {
      for (const writes of [0, 1, 5, 20]) {
        const prefix: Key = ["groups", String(writes)];
        const worker = start!();
        worker.send({ do: "writeGroups", prefix });
        for (let n = 0; n < writes; n++) await worker.receive();
        await untilInWrite(storage, prefix, writes, worker);
        await worker.kill();
        const last = worker.lastResult<number>() ?? -1;
        const values = new Map((await listed(storage, prefix)).map(({ key, value }) => [key.slice(2).join(), value]));
        for (let n = 0; n <= last + 1; n++) {
          const applied = Array.from({ length: GROUP_SIZE }, (_, i) => values.get(`${n},${i}`) === i);
          checkPrefix(applied, `write ${n}`);
          if (n <= last) same(applied.includes(false), false, `write ${n} lacks operations`);
          for (let i = 0; i < GROUP_SIZE; i++) values.delete(`${n},${i}`);
        }
        same([...values.keys()], [], "entries of later writes");
      }
    },
  },
];
