/** Section 8 of the storage contract: several processes. */
import type { Entry, Key, PutResult } from "../../storage/storage.ts";
import { check, checkPrefix, listed, type Requirement, same, write } from "./requirement.ts";
import { fillValue, GROUP_SIZE } from "./worker.ts";

const KEY: Key = ["portal", "a223"];
const PROCESSES = 3;

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
        let last = -1;
        while (last < writes) last = await worker.receive<number>();
        worker.signal("SIGKILL");
        await worker.gone;
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
      for (const writes of [1, 5, 20]) {
        const prefix: Key = ["groups", String(writes)];
        const worker = start!();
        worker.send({ do: "writeGroups", prefix });
        let last = -1;
        while (last < writes) last = await worker.receive<number>();
        worker.signal("SIGKILL");
        await worker.gone;
        const values = new Map((await listed(storage, prefix)).map(({ key, value }) => [key.slice(2).join(), value]));
        // The process may have begun a further write after the last one that it acknowledged to the suite.
        for (let n = 0; values.has(`${n},0`) || n <= last; n++) {
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
