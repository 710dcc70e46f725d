/** Sections 1 and 2 of the storage contract: keys and values. */
import type { Key } from "../../storage/storage.ts";
import { check, listed, rejects, type Requirement, same, write } from "./requirement.ts";

const KEY: Key = ["portal", "a223"];

const LONE_SURROGATE = "a\ud800";
const INVALID_KEYS = [[], [LONE_SURROGATE], ["a", "\udc00\ud800"]] as unknown as readonly Key[];

const isTypeError = (error: unknown): boolean => error instanceof TypeError;

/** The requirements of sections 1 and 2, in order. */
export const valueRequirements: readonly Requirement[] = [
  {
    number: "1.1",
    text: "`get` returns null for a key that was never written",
    verify: async ({ storage }) => {
      same(await storage.get(KEY), null, "get of an empty storage");
      await storage.put(KEY, 1);
      for (const key of [["portal"], ["portal", "a22"], ["portal", "a223", ""], ["a223"]] as const) {
        same(await storage.get(key), null, `get of ${JSON.stringify(key)}, a similar key`);
      }
    },
  },
  {
    number: "1.2",
    text:
      "`get` returns the key as it was written, the value, the version that `put` returned, and no `expiresAt` without `ttlMs`",
    verify: async ({ storage }) => {
      const version = await write(storage, KEY, { a: 1 });
      check(typeof version === "string", `version: saw a ${typeof version}, wanted a string`);
      same(await storage.get(KEY), { key: [...KEY], value: { a: 1 }, version }, "the entry");
    },
  },
  {
    number: "1.3",
    text: "Two keys are the same only if they have the same parts, whatever characters these contain",
    verify: async ({ storage }) => {
      await Promise.all(SIMILAR_KEYS.map((key, i) => storage.put(key, i)));
      for (const [i, key] of SIMILAR_KEYS.entries()) {
        const entry = await storage.get(key);
        same(entry && [entry.key, entry.value], [[...key], i], `get of ${JSON.stringify(key)}`);
      }
    },
  },
  {
    number: "1.4",
    text: "Every method rejects a key without parts, or with a part that is not a well-formed string, with a TypeError",
    verify: async ({ storage }) => {
      for (const key of INVALID_KEYS) {
        await rejects(() => storage.get(key), isTypeError, `get of ${JSON.stringify(key)}`);
        await rejects(() => storage.put(key, 1), isTypeError, `put of ${JSON.stringify(key)}`);
        await rejects(() => storage.delete(key), isTypeError, `delete of ${JSON.stringify(key)}`);
        await rejects(() => listed(storage, [], { after: key }), isTypeError, `list after ${JSON.stringify(key)}`);
      }
      await rejects(() => listed(storage, [LONE_SURROGATE]), isTypeError, "list under a lone surrogate");
    },
  },

  {
    number: "2.1",
    text: "A value is read as it was written",
    verify: async ({ storage }) => {
      for (const value of VALUES) {
        await storage.put(KEY, value);
        same((await storage.get(KEY))?.value, value, `the value put as ${JSON.stringify(value)}`);
      }
    },
  },
  {
    number: "2.2",
    text: "A value of 1 MiB, or of `maxValueBytes` if that is less, is read as it was written",
    verify: async ({ storage }) => {
      const bytes = Math.min(2 ** 20, storage.capabilities.maxValueBytes ?? Infinity);
      // Exactly `bytes` bytes of JSON. The characters have several bytes each, so splitting between bytes would break them.
      const value = "\u{1F600}é".repeat((bytes - 2) / 6) + "x".repeat((bytes - 2) % 6);
      await storage.put(KEY, value);
      const saw = (await storage.get<string>(KEY))?.value;
      check(saw === value, `saw ${saw?.length} characters, wanted the same ${value.length} that were put`);
    },
  },
  {
    number: "2.3",
    text: "Undefined members are dropped and `toJSON` is called, as in JSON",
    verify: async ({ storage }) => {
      await storage.put(KEY, { a: undefined, b: [undefined], c: { d: undefined }, e: new Date(0) });
      same((await storage.get(KEY))?.value, { b: [null], c: {}, e: "1970-01-01T00:00:00.000Z" }, "the value");
    },
  },
  {
    number: "2.4",
    text: "`__proto__`, `constructor` and `prototype` are ordinary members and change no prototype",
    verify: async ({ storage }) => {
      const text = `{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}},"prototype":2}`;
      await storage.put(KEY, JSON.parse(text));
      const value = (await storage.get<Record<string, unknown>>(KEY))?.value;
      same(value, JSON.parse(text), "the value");
      same(value?.["polluted"], undefined, "a member that only the __proto__ of the value has");
      same(({} as Record<string, unknown>)["polluted"], undefined, "that member of another object");
    },
  },
  {
    number: "2.5",
    text: "`put` copies key and value when it is called: later changes have no effect",
    verify: async ({ storage }) => {
      const key: [string, ...string[]] = ["portal", "a223"];
      const value = { list: [1] };
      const writing = storage.put(key, value);
      key.push("more");
      value.list.push(2);
      await writing;
      key.push("more");
      value.list.push(3);
      const saw = (await listed(storage, [])).map(({ key, value }) => ({ key, value }));
      same(saw, [{ key: [...KEY], value: { list: [1] } }], "the entries");
    },
  },
  {
    number: "2.6",
    text: "`get` and `list` return copies of key and value: changing them has no effect",
    verify: async ({ storage }) => {
      const version = await write(storage, KEY, { list: [1] });
      const entries = [await storage.get<{ list: number[] }>(KEY), ...await listed<{ list: number[] }>(storage, [])];
      for (const entry of entries) {
        entry?.value.list.push(2);
        (entry?.key as unknown as string[]).push("more");
      }
      same(await storage.get(KEY), { key: [...KEY], value: { list: [1] }, version }, "get");
      same((await listed(storage, []))[0], { key: [...KEY], value: { list: [1] }, version }, "list");
    },
  },
  {
    number: "2.7",
    text: "`put` rejects a value that JSON cannot represent with a TypeError, and writes nothing",
    verify: async ({ storage }) => {
      const version = await write(storage, KEY, 1);
      const cycle: unknown[] = [];
      cycle.push(cycle);
      for (const value of [undefined, () => 1, Symbol("s"), 1n, cycle]) {
        await rejects(() => storage.put(KEY, value), isTypeError, `put of ${typeof value}`);
      }
      same(await storage.get(KEY), { key: [...KEY], value: 1, version }, "the entry");
    },
  },
  {
    number: "2.8",
    text:
      "`put` rejects a value above `maxValueBytes` with an error that states its size and the limit, and writes nothing",
    verify: async ({ storage }) => {
      const { maxValueBytes } = storage.capabilities;
      if (maxValueBytes === undefined) return;
      const version = await write(storage, KEY, 1);
      // Fits without its quotes.
      const large = "x".repeat(maxValueBytes);
      const statesBoth = (error: unknown): boolean =>
        error instanceof Error && [large.length + 2, maxValueBytes].every((bytes) => states(error, bytes));
      await rejects(() => storage.put(KEY, large), statesBoth, "put of a value that is too large");
      await rejects(
        () => storage.put(["new"], large, { ifVersion: null }),
        statesBoth,
        "put with ifVersion null of a value that is too large",
      );
      same(await listed(storage, []), [{ key: [...KEY], value: 1, version }], "the entries");
    },
  },
];

/** Returns whether the message of an error contains a number, whatever separates its digits. */
function states({ message }: Error, number: number): boolean {
  return message.replaceAll(/(?<=\d)[,_ ](?=\d)/g, "").match(/\d+/g)?.includes(String(number)) ?? false;
}

/** Different keys that an encoding may confuse. */
const SIMILAR_KEYS: readonly Key[] = [
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
