/** Sections 3 and 4 of the storage contract: writing and deleting. */
import type { Key } from "../../storage/storage.ts";
import { check, type Requirement, same, write } from "./requirement.ts";

const KEY: Key = ["portal", "a223"];

/** The requirements of sections 3 and 4, in order. */
export const writeRequirements: readonly Requirement[] = [
  {
    number: "3.1",
    text: "`put` without `ifVersion` writes, whether there is an entry or not",
    verify: async ({ storage }) => {
      for (const value of [1, 2]) {
        check((await storage.put(KEY, value)).ok, `put of ${value}: saw a refusal`);
        same((await storage.get(KEY))?.value, value, "the value");
      }
    },
  },
  {
    number: "3.2",
    text: "`put` with `ifVersion: null` writes only if there is no entry",
    verify: async ({ storage }) => {
      check((await storage.put(KEY, 1, { ifVersion: null })).ok, "put of a new key: saw a refusal");
      same(await storage.put(KEY, 2, { ifVersion: null }), { ok: false }, "put over an entry");
      same((await storage.get(KEY))?.value, 1, "the value");
    },
  },
  {
    number: "3.3",
    text: "`put` with a version writes only if the entry still has it",
    verify: async ({ storage }) => {
      const old = await write(storage, KEY, 1);
      check((await storage.put(KEY, 2, { ifVersion: old })).ok, "put with the version of the entry: saw a refusal");
      same(await storage.put(KEY, 3, { ifVersion: old }), { ok: false }, "put with an old version");
      same(await storage.put(["other"], 3, { ifVersion: old }), { ok: false }, "put of a new key");
      same((await storage.get(KEY))?.value, 2, "the value");
      same(await storage.get(["other"]), null, "get of the new key");
    },
  },
  {
    number: "3.4",
    text: "A refused `put` changes neither value nor version nor expiry",
    verify: async ({ storage }) => {
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
    text: "If 50 calls create one key at once, exactly one succeeds, and its value and version are stored",
    verify: async ({ storage }) => {
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
    text: "If concurrent writers increment one value by compare-and-set, no increment is lost",
    verify: async ({ storage }) => {
      const increment10Times = async (): Promise<void> => {
        for (let done = 0, tries = 0; done < 10; tries++) {
          // Each refusal means that another writer succeeded, and the others succeed 90 times in all.
          check(tries < 200, "saw 200 tries of one writer for 10 writes");
          const entry = await storage.get<number>(KEY);
          const result = await storage.put(KEY, (entry?.value ?? 0) + 1, { ifVersion: entry?.version ?? null });
          if (result.ok) done++;
        }
      };
      await Promise.all(Array.from({ length: 10 }, increment10Times));
      same((await storage.get(KEY))?.value, 100, "the count");
    },
  },
  {
    number: "3.7",
    text: "Every write creates a new version, even of the same value, and never one that the key has had before",
    verify: async ({ storage }) => {
      const versions: string[] = [];
      for (let i = 0; i < 5; i++) {
        versions.push(await write(storage, KEY, 1), await write(storage, KEY, 1));
        await storage.delete(KEY);
      }
      same(versions.filter((version, i) => versions.indexOf(version) !== i), [], "repeated versions");
    },
  },
  {
    number: "3.8",
    text: "A version from before a deletion is refused by `put` and `delete` once the entry is created again",
    verify: async ({ storage }) => {
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
    text: "`delete` without `ifVersion` removes the entry, and is ok even if there is none",
    verify: async ({ storage }) => {
      await storage.put(KEY, 1);
      for (const subject of ["delete of an entry", "delete of an absent key"]) {
        same(await storage.delete(KEY), { ok: true }, subject);
        same(await storage.get(KEY), null, `get after ${subject}`);
      }
    },
  },
  {
    number: "4.2",
    text: "`delete` with a version removes the entry only if it still has it",
    verify: async ({ storage }) => {
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
    text: "If 20 calls delete one entry by its version at once, exactly one is ok",
    verify: async ({ storage }) => {
      const ifVersion = await write(storage, KEY, 1);
      const results = await Promise.all(Array.from({ length: 20 }, () => storage.delete(KEY, { ifVersion })));
      same(results.filter(({ ok }) => ok).length, 1, "deletions that were ok");
    },
  },
  {
    number: "4.4",
    text:
      "`delete` removes only its key, neither the longer keys that start with it nor the shorter ones that it starts with",
    verify: async ({ storage }) => {
      const keys: readonly Key[] = [["a"], ["a", "b"], ["a", "b", "c"]];
      for (const deleted of keys) {
        await Promise.all(keys.map((key) => storage.put(key, 1)));
        await storage.delete(deleted);
        const left = await Promise.all(keys.map(async (key) => await storage.get(key) !== null));
        same(
          left,
          keys.map((key) => key !== deleted),
          `whether each of ${JSON.stringify(keys)} is there after delete of ${JSON.stringify(deleted)}`,
        );
      }
    },
  },
];
