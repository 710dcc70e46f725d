/** Clauses 1 and 2 of the storage battery: keys and values come back as they were written. */
import type { Key } from "../../storage/storage.ts";
import { check, type Clause, listed, refused, same, write } from "./requirement.ts";

const KEY: Key = ["portal", "a223"];

const LONE_SURROGATE = "a\ud800";
const INVALID_KEYS = [[], [LONE_SURROGATE], ["a", "\udc00\ud800"]] as unknown as readonly Key[];

const isTypeError = (error: unknown): boolean => error instanceof TypeError;

/** Clauses 1 and 2, in order. */
export const valueClauses: readonly Clause[] = [
  {
    number: "1.1",
    says: "get of a key that was never written gives null",
    holds: async ({ storage }) => {
      same(await storage.get(KEY), null, "get of an empty storage");
      await storage.put(KEY, 1);
      for (const key of [["portal"], ["portal", "a22"], ["portal", "a223", ""], ["a223"]] as const) {
        same(await storage.get(key), null, `get of ${JSON.stringify(key)}, a neighbour of what is stored`);
      }
    },
  },
  {
    number: "1.2",
    says: "get gives the key as it was written, the value, the version that put gave, and no end when there is none",
    holds: async ({ storage }) => {
      const version = await write(storage, KEY, { a: 1 });
      check(typeof version === "string", `version: saw a ${typeof version}, wanted a string`);
      same(await storage.get(KEY), { key: [...KEY], value: { a: 1 }, version }, "the entry");
    },
  },
  {
    number: "1.3",
    says: "keys are the same only if they have the same parts, whatever characters are in them",
    holds: async ({ storage }) => {
      await Promise.all(ALIKE_KEYS.map((key, i) => storage.put(key, i)));
      for (const [i, key] of ALIKE_KEYS.entries()) {
        const entry = await storage.get(key);
        same(entry && [entry.key, entry.value], [[...key], i], `get of ${JSON.stringify(key)}`);
      }
    },
  },
  {
    number: "1.4",
    says: "every method refuses a key without parts, or with a part that is no well-formed text, by a TypeError",
    holds: async ({ storage }) => {
      for (const key of INVALID_KEYS) {
        await refused(() => storage.get(key), isTypeError, `get of ${JSON.stringify(key)}`);
        await refused(() => storage.put(key, 1), isTypeError, `put of ${JSON.stringify(key)}`);
        await refused(() => storage.delete(key), isTypeError, `delete of ${JSON.stringify(key)}`);
        await refused(() => listed(storage, [], { after: key }), isTypeError, `list after ${JSON.stringify(key)}`);
      }
      await refused(() => listed(storage, [LONE_SURROGATE]), isTypeError, "list under a lone surrogate");
    },
  },

  {
    number: "2.1",
    says: "a value comes back as it was written",
    holds: async ({ storage }) => {
      for (const value of VALUES) {
        await storage.put(KEY, value);
        same((await storage.get(KEY))?.value, value, `the value put as ${JSON.stringify(value)}`);
      }
    },
  },
  {
    number: "2.2",
    says: "a value of 1 MiB, or of maxValueBytes where that is less, comes back whole",
    holds: async ({ storage }) => {
      const bytes = Math.min(2 ** 20, storage.capabilities.maxValueBytes ?? Infinity);
      // With its quotes just as many bytes of JSON; as characters that a cut between bytes would spoil.
      const value = "\u{1F600}é".repeat((bytes - 2) / 6) + "x".repeat((bytes - 2) % 6);
      await storage.put(KEY, value);
      const saw = (await storage.get<string>(KEY))?.value;
      check(saw === value, `saw ${saw?.length} characters, wanted the same ${value.length} that were put`);
    },
  },
  {
    number: "2.3",
    says: "undefined members are dropped, and what has toJSON is what that gives, as in JSON",
    holds: async ({ storage }) => {
      await storage.put(KEY, { a: undefined, b: [undefined], c: { d: undefined }, e: new Date(0) });
      same((await storage.get(KEY))?.value, { b: [null], c: {}, e: "1970-01-01T00:00:00.000Z" }, "the value");
    },
  },
  {
    number: "2.4",
    says: "`__proto__`, `constructor` and `prototype` are members like others and touch no prototype",
    holds: async ({ storage }) => {
      const text = `{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}},"prototype":2}`;
      await storage.put(KEY, JSON.parse(text));
      const value = (await storage.get<Record<string, unknown>>(KEY))?.value;
      same(value, JSON.parse(text), "the value");
      same(value?.["polluted"], undefined, "a member read from the value that only its __proto__ has");
      same(({} as Record<string, unknown>)["polluted"], undefined, "the same member of another object");
    },
  },
  {
    number: "2.5",
    says: "key and value are copied in when put is called: changing them afterwards changes nothing",
    holds: async ({ storage }) => {
      const key: [string, ...string[]] = ["portal", "a223"];
      const value = { list: [1] };
      const writing = storage.put(key, value);
      key.push("more");
      value.list.push(2);
      await writing;
      key.push("more");
      value.list.push(3);
      const saw = (await listed(storage, [])).map(({ key, value }) => ({ key, value }));
      same(saw, [{ key: [...KEY], value: { list: [1] } }], "what is stored");
    },
  },
  {
    number: "2.6",
    says: "key and value are copied out: changing what get or list gave changes nothing",
    holds: async ({ storage }) => {
      const version = await write(storage, KEY, { list: [1] });
      const given = [await storage.get<{ list: number[] }>(KEY), ...await listed<{ list: number[] }>(storage, [])];
      for (const entry of given) {
        entry?.value.list.push(2);
        (entry?.key as unknown as string[]).push("more");
      }
      same(await storage.get(KEY), { key: [...KEY], value: { list: [1] }, version }, "get");
      same((await listed(storage, []))[0], { key: [...KEY], value: { list: [1] }, version }, "list");
    },
  },
  {
    number: "2.7",
    says: "put refuses a value that JSON cannot say by a TypeError and writes nothing",
    holds: async ({ storage }) => {
      const version = await write(storage, KEY, 1);
      const cycle: unknown[] = [];
      cycle.push(cycle);
      for (const value of [undefined, () => 1, Symbol("s"), 1n, cycle]) {
        await refused(() => storage.put(KEY, value), isTypeError, `put of ${typeof value}`);
      }
      same(await storage.get(KEY), { key: [...KEY], value: 1, version }, "the entry before");
    },
  },
  {
    number: "2.8",
    says: "a value above maxValueBytes is refused by an error that says its size and the limit, and nothing is written",
    holds: async ({ storage }) => {
      const { maxValueBytes } = storage.capabilities;
      if (maxValueBytes === undefined) return;
      const version = await write(storage, KEY, 1);
      // Without its quotes it would just fit.
      const large = "x".repeat(maxValueBytes);
      const saysBoth = (error: unknown): boolean =>
        error instanceof Error && [large.length + 2, maxValueBytes].every((bytes) => says(error, bytes));
      await refused(() => storage.put(KEY, large), saysBoth, "put of what is too large");
      await refused(() => storage.put(["new"], large, { ifVersion: null }), saysBoth, "creation of what is too large");
      same(await listed(storage, []), [{ key: [...KEY], value: 1, version }], "what is stored");
    },
  },
];

/** Whether an error says a number, however its digits are grouped. */
function says({ message }: Error, number: number): boolean {
  return message.replaceAll(/(?<=\d)[,_ ](?=\d)/g, "").match(/\d+/g)?.includes(String(number)) ?? false;
}

const ALIKE_KEYS: readonly Key[] = [
  ["a"],
  ["a", ""],
  ["", "a"],
  [""],
  ["", ""],
  ["a", "b"],
  ["ab"],
  ["a,b"],
  ["a/b"],
  ["a:b"],
  ["a\0b"],
  ["a\0", "b"],
  ["a", "\0b"],
  ["a\x01b"],
  ["a\x01\x01b"],
  ["a\x01\x02b"],
  ["a\x01", "b"],
  ['["a","b"]'],
  ["A"],
  ["é"],
  ["e\u0301"],
  ["\ufeff"],
  ["\ufeffa"],
  ["\uffff"],
  ["\u{1F600}"],
  ["%00"],
  ["*"],
  ["__proto__"],
  ["constructor", "prototype"],
];

const VALUES: readonly unknown[] = [
  null,
  true,
  false,
  0,
  -1.5,
  Number.MAX_SAFE_INTEGER,
  1e300,
  "",
  "null",
  'two\nlines, "quoted" \\ \0 \x01 \u2028 \ufeff \uffff',
  "кириллица 漢字 \u{1F600}\u{10FFFF}",
  "\ud800 alone",
  [],
  {},
  [[], {}, null, [1, [2, [3]]]],
  { "": 0, " ": { a: [{ b: { c: ["deep"] } }] }, "\u{1F600}": "\u{1F600}", "a.b": null },
];
