/** Section 6 of the storage contract: listing. */
import type { Key, ListOptions, Storage } from "../../storage/storage.ts";
import { check, listed, type Requirement, same } from "./requirement.ts";

/** The requirements of section 6, in order. */
export const listRequirements: readonly Requirement[] = [
  {
    number: "6.1",
    text: "`list` returns exactly the entries whose keys start with all parts of the prefix, as `get` returns them",
    verify: async ({ storage }) => {
      const under: readonly Key[] = [["a", ""], ["a", "b"], ["a", "b", "c"], ["a", "\u{1F600}"]];
      const beside: readonly Key[] = [[""], ["", "a"], ["A", "b"], ["a\0"], ["a\0", "b"], ["a\x01", "b"], ["ab"], [
        "b",
        "a",
      ]];
      await fill(storage, [...beside, ...under]);
      const entries = await listed(storage, ["a"]);
      same(entries.map(({ key }) => key), under, "keys under a");
      same(entries, await Promise.all(under.map((key) => storage.get(key))), "entries under a");
    },
  },
  {
    number: "6.2",
    text: "An entry whose key is the prefix itself is included and comes first",
    verify: async ({ storage }) => {
      await fill(storage, [["a", "", ""], ["a", ""], ["a"]]);
      same(await keys(storage, ["a"]), [["a"], ["a", ""], ["a", "", ""]], "keys under a");
      same(await keys(storage, ["a", ""]), [["a", ""], ["a", "", ""]], "keys under a and the empty part");
    },
  },
  {
    number: "6.3",
    text: "The empty prefix lists everything, and a prefix without entries lists nothing",
    verify: async ({ storage }) => {
      same(await keys(storage, []), [], "keys of an empty storage");
      await fill(storage, [["\u{10FFFF}"], ["a", "b"], [""]]);
      same(await keys(storage, []), [[""], ["a", "b"], ["\u{10FFFF}"]], "all keys");
      for (const prefix of [["b"], ["a", ""], ["a", "b", "c"], ["a", "b", ""]]) {
        same(await keys(storage, prefix), [], `keys under ${JSON.stringify(prefix)}`);
      }
    },
  },
  {
    number: "6.4",
    text: "`list` is in key order: part by part, each by code point, a key before the longer keys that start with it",
    verify: async ({ storage }) => {
      await fill(storage, shuffled(ORDERED_KEYS));
      same(await keys(storage, []), ORDERED_KEYS, "all keys");
    },
  },
  {
    number: "6.5",
    text: "`list` returns only keys after `after`, whether that key exists or not, and wherever it sorts",
    verify: async ({ storage }) => {
      await fill(storage, shuffled(ORDERED_KEYS));
      for (const [i, after] of ORDERED_KEYS.entries()) {
        same(await keys(storage, [], { after }), ORDERED_KEYS.slice(i + 1), `keys after ${JSON.stringify(after)}`);
        await storage.delete(after);
        same(
          await keys(storage, [], { after }),
          ORDERED_KEYS.slice(i + 1),
          `keys after the deleted ${JSON.stringify(after)}`,
        );
        await storage.put(after, 1);
      }
      await fill(storage, [["o", "zz"], ["p"], ["p", "a"], ["p", "b"], ["pb"]]);
      for (
        const [after, wanted] of [
          [["o", "z"], [["p"], ["p", "a"], ["p", "b"]]],
          [["p"], [["p", "a"], ["p", "b"]]],
          [["p", "a", "a"], [["p", "b"]]],
          [["p", "b"], []],
          [["pa"], []],
        ] as const
      ) {
        same(await keys(storage, ["p"], { after }), wanted, `keys under p after ${JSON.stringify(after)}`);
      }
    },
  },
  {
    number: "6.6",
    text: "`list` returns at most `limit` entries, and none if it is 0",
    verify: async ({ storage }) => {
      const stored: readonly Key[] = [["a"], ["b"], ["c"]];
      await fill(storage, stored);
      for (const limit of [0, 1, 2, 3, 4]) {
        same(await keys(storage, [], { limit }), stored.slice(0, limit), `keys with limit ${limit}`);
      }
    },
  },
  {
    number: "6.7",
    text: "Many entries are listed once each, in one listing and page by page with `after` and `limit`",
    verify: async ({ storage }) => {
      const stored = numbered(MANY);
      await fill(storage, shuffled(stored));
      same(await keys(storage, ["n"]), stored, "keys in one listing");
      const paged: Key[] = [];
      for (let page = await keys(storage, ["n"], { limit: 60 }); page.length > 0 && paged.length < 2 * MANY;) {
        paged.push(...page);
        page = await keys(storage, ["n"], { limit: 60, after: page.at(-1)! });
      }
      same(paged, stored, "keys page by page");
    },
  },
  {
    number: "6.8",
    text: "A listing can be abandoned, and two can run at once",
    verify: async ({ storage }) => {
      await fill(storage, numbered(MANY));
      for (let i = 0; i < 3; i++) {
        for await (const _ of storage.list(["n"])) break;
      }
      const [a, b] = [storage.list(["n"])[Symbol.asyncIterator](), storage.list(["n"])[Symbol.asyncIterator]()];
      for (const { key } of await listed(storage, ["n"])) {
        const [fromA, fromB] = [await a.next(), await b.next()];
        same([fromA.value?.key, fromB.value?.key], [key, key], "the same step of two listings");
      }
      same([(await a.next()).done, (await b.next()).done], [true, true], "whether both listings are done");
      await storage.put(["n", "0000"], 2);
      same((await storage.get(["n", "0000"]))?.value, 2, "an entry written afterwards");
    },
  },
  {
    number: "6.9",
    text:
      "While entries are written and deleted, a listing returns each at most once and misses none that is not deleted",
    verify: async ({ storage }) => {
      const stored = numbered(MANY);
      await fill(storage, stored);
      const remaining = new Set(stored.map(String));
      const seen: string[] = [];
      const remove = async (key: Key): Promise<void> => {
        remaining.delete(String(key));
        await storage.delete(key);
      };
      for await (const { key } of storage.list(["n"])) {
        seen.push(String(key));
        const i = Number(key[1]);
        if (key.length > 2 || Number.isNaN(i)) continue;
        if (i % 3 === 0) await remove(key);
        if (i % 5 === 0 && i + 7 < MANY) await remove(stored[i + 7]!);
        if (i % 4 === 0) await storage.put([...key, "new"], 1);
        if (i % 7 === 0) await storage.put(["n", `${key[1]}+`], 1);
        if (i % 2 === 0) await storage.put(key, 2);
        if (i + 1 < MANY && remaining.has(String(stored[i + 1]))) await storage.put(stored[i + 1]!, 2);
      }
      same(seen.filter((key, i) => seen.indexOf(key) !== i), [], "keys listed twice");
      check(remaining.size > 100, "saw too few remaining entries to tell");
      same([...remaining].filter((key) => !seen.includes(key)), [], "missed keys");
    },
  },
];

/** More entries than a storage fetches at once. */
const MANY = 250;

/** Sorted keys that encodings and sort functions often get wrong. */
const ORDERED_KEYS: readonly Key[] = [
  [""],
  ["", ""],
  ["", "a"],
  ["\0"],
  ["\0", "a"],
  ["\0\0"],
  ["\0\x01"],
  ["\0a"],
  ["\x01"],
  ["\x01\0"],
  ["\x01\x01"],
  ["\x01\x02"],
  ["\x02"],
  ["!"],
  ["10"],
  ["9"],
  ["A"],
  ["Z"],
  ["a"],
  ["a", ""],
  ["a", "\0"],
  ["a", "b"],
  ["a", "b", ""],
  ["a", "zz"],
  ["a\0"],
  ["a\0", "b"],
  ["a\0b"],
  ["a\x01"],
  ["a!"],
  ["aa"],
  ["ab"],
  ["b"],
  ["~"],
  ["\x7f"],
  ["\x80"],
  ["é"],
  ["\u07ff"],
  ["\u0800"],
  ["\ud7ff"],
  ["\ue000"],
  ["\ufeff"],
  ["\ufeffa"],
  ["\uffff"],
  ["\uffff\uffff"],
  ["\u{10000}"],
  ["\u{1F600}"],
  ["\u{1F600}", "a"],
  ["\u{10FFFF}"],
];

function numbered(count: number): readonly Key[] {
  return Array.from({ length: count }, (_, i) => ["n", String(i).padStart(4, "0")]);
}

/** Returns the items in another order, which is the same each time. */
function shuffled<T>(items: readonly T[]): readonly T[] {
  const step = 37;
  return items.map((_, i) => items[(i * step + 11) % items.length]!);
}

async function fill(storage: Storage, stored: readonly Key[]): Promise<void> {
  await Promise.all(stored.map((key, i) => storage.put(key, i)));
}

async function keys(storage: Storage, prefix: readonly string[], options?: ListOptions): Promise<readonly Key[]> {
  return (await listed(storage, prefix, options)).map(({ key }) => key);
}
