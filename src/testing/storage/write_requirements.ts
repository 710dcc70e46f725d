/** Clauses 3 and 4 of the storage battery: put and delete, and who wins. */
import type { Key } from "../../storage/storage.ts";
import { check, type Clause, same, write } from "./requirement.ts";

const KEY: Key = ["portal", "a223"];

/** Clauses 3 and 4, in order. */
export const writeClauses: readonly Clause[] = [
  {
    number: "3.1",
    says: "put without ifVersion writes whatever is there",
    holds: async ({ storage }) => {
      for (const value of [1, 2]) {
        check((await storage.put(KEY, value)).ok, `put of ${value}: saw a refusal`);
        same((await storage.get(KEY))?.value, value, "the value");
      }
    },
  },
  {
    number: "3.2",
    says: "put with ifVersion null writes only if there is nothing",
    holds: async ({ storage }) => {
      check((await storage.put(KEY, 1, { ifVersion: null })).ok, "put where nothing is: saw a refusal");
      same(await storage.put(KEY, 2, { ifVersion: null }), { ok: false }, "put over an entry");
      same((await storage.get(KEY))?.value, 1, "the value");
    },
  },
  {
    number: "3.3",
    says: "put with a version writes only if the entry still has it",
    holds: async ({ storage }) => {
      const old = await write(storage, KEY, 1);
      check((await storage.put(KEY, 2, { ifVersion: old })).ok, "put with the version of the entry: saw a refusal");
      same(await storage.put(KEY, 3, { ifVersion: old }), { ok: false }, "put with an old version");
      same(await storage.put(["other"], 3, { ifVersion: old }), { ok: false }, "put where nothing is");
      same((await storage.get(KEY))?.value, 2, "the value");
      same(await storage.get(["other"]), null, "the key where nothing was");
    },
  },
  {
    number: "3.4",
    says: "a refused put changes neither value nor version nor end",
    holds: async ({ storage }) => {
      const old = await write(storage, KEY, 1);
      await storage.put(KEY, 2);
      const before = await storage.get(KEY);
      await storage.put(KEY, 3, { ifVersion: old, ttlMs: 60_000 });
      await storage.put(KEY, 4, { ifVersion: null, ttlMs: 60_000 });
      same(await storage.get(KEY), before, "the entry");
    },
  },
  {
    number: "3.5",
    says: "of 50 that create one key at once, one wins, and its value and version are what is stored",
    holds: async ({ storage }) => {
      const results = await Promise.all(
        Array.from({ length: 50 }, (_, i) => storage.put(KEY, i, { ifVersion: null })),
      );
      const winners = results.flatMap((result, i) => result.ok ? [{ value: i, version: result.version }] : []);
      same(winners.length, 1, "winners");
      same(await storage.get(KEY), { key: [...KEY], ...winners[0] }, "the entry");
    },
  },
  {
    number: "3.6",
    says: "writers that count in one key at once, by compare-and-set, lose nothing",
    holds: async ({ storage }) => {
      const count = async (): Promise<void> => {
        for (let counted = 0, tries = 0; counted < 10; tries++) {
          // Each refusal is another writer's success, of which there are 90.
          check(tries < 200, "saw 200 tries of one writer for 10 writes");
          const entry = await storage.get<number>(KEY);
          const result = await storage.put(KEY, (entry?.value ?? 0) + 1, { ifVersion: entry?.version ?? null });
          if (result.ok) counted++;
        }
      };
      await Promise.all(Array.from({ length: 10 }, count));
      same((await storage.get(KEY))?.value, 100, "the count");
    },
  },
  {
    number: "3.7",
    says: "every write gives another version, also of the same value, and never one that the key has had",
    holds: async ({ storage }) => {
      const versions: string[] = [];
      for (let i = 0; i < 5; i++) {
        versions.push(await write(storage, KEY, 1), await write(storage, KEY, 1));
        await storage.delete(KEY);
      }
      same(versions.filter((version, i) => versions.indexOf(version) !== i), [], "versions used again");
    },
  },
  {
    number: "3.8",
    says: "a version from before a deletion is refused by put and delete of the entry that was created since",
    holds: async ({ storage }) => {
      const old = await write(storage, KEY, 1);
      await storage.delete(KEY);
      await storage.put(KEY, 1);
      same(await storage.put(KEY, 2, { ifVersion: old }), { ok: false }, "put");
      same(await storage.delete(KEY, { ifVersion: old }), { ok: false }, "delete");
      same((await storage.get(KEY))?.value, 1, "the value");
    },
  },

  {
    number: "4.1",
    says: "delete without ifVersion removes what is there and is ok also when there is nothing",
    holds: async ({ storage }) => {
      await storage.put(KEY, 1);
      for (const what of ["delete of an entry", "delete of nothing"]) {
        same(await storage.delete(KEY), { ok: true }, what);
        same(await storage.get(KEY), null, `get after ${what}`);
      }
    },
  },
  {
    number: "4.2",
    says: "delete with a version removes only if the entry still has it",
    holds: async ({ storage }) => {
      const old = await write(storage, KEY, 1);
      const version = await write(storage, KEY, 2);
      same(await storage.delete(KEY, { ifVersion: old }), { ok: false }, "delete with an old version");
      same((await storage.get(KEY))?.value, 2, "the value after it");
      same(await storage.delete(KEY, { ifVersion: version }), { ok: true }, "delete with the version of the entry");
      same(await storage.get(KEY), null, "get after it");
      same(await storage.delete(KEY, { ifVersion: version }), { ok: false }, "the same delete again");
    },
  },
  {
    number: "4.3",
    says: "of 20 that delete one entry by its version at once, one is told that it did",
    holds: async ({ storage }) => {
      const ifVersion = await write(storage, KEY, 1);
      const results = await Promise.all(Array.from({ length: 20 }, () => storage.delete(KEY, { ifVersion })));
      same(results.filter(({ ok }) => ok).length, 1, "deletions that were ok");
    },
  },
  {
    number: "4.4",
    says: "delete leaves the keys that begin with the same parts, and those that are the beginning of it",
    holds: async ({ storage }) => {
      const keys: readonly Key[] = [["a"], ["a", "b"], ["a", "b", "c"]];
      for (const gone of keys) {
        await Promise.all(keys.map((key) => storage.put(key, 1)));
        await storage.delete(gone);
        const left = await Promise.all(keys.map(async (key) => await storage.get(key) !== null));
        same(left, keys.map((key) => key !== gone), `which of ${JSON.stringify(keys)} are left`);
      }
    },
  },
];
