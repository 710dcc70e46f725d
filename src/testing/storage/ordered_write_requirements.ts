/** Section 11 of the storage contract: ordered writes. */
import type { Key, Storage, WriteOperation } from "../../storage/storage.ts";
import {
  check,
  checkPrefix,
  listed,
  rejects,
  type Requirement,
  same,
  type TestContext,
  write,
  type Writer,
  writersOf,
} from "./requirement.ts";

const SHORT_MS = 40;
const HOUR_MS = 3_600_000;
/** Number of operations in the writes that fail or race. */
const COUNT = 5;

const isTypeError = (error: unknown): boolean => error instanceof TypeError;

/** Runs `verify` with the storage's `write`, if it has one, and with `put` and `delete` one by one. */
function withEach(verify: (writer: Writer, context: TestContext) => Promise<void>): Requirement["verify"] {
  return async (context) => {
    for (const writer of writersOf(context.storage)) {
      try {
        await verify(writer, context);
      } catch (error) {
        throw new Error(`${writer.name}: ${error instanceof Error ? error.message : error}`, { cause: error });
      }
    }
  };
}

async function valuesOf(storage: Storage, keys: readonly Key[]): Promise<unknown[]> {
  return await Promise.all(keys.map(async (key) => (await storage.get(key))?.value ?? null));
}

/** Returns operations that replace the entries under `keys`, which have these `versions`, and delete the last. */
function replacing(keys: readonly Key[], versions: readonly string[]): WriteOperation[] {
  return keys.map((key, i) =>
    i === keys.length - 1
      ? { delete: key, ifVersion: versions[i]! }
      : { put: key, value: `new ${i}`, ...(i % 2 === 0 ? { ifVersion: versions[i]! } : {}) }
  );
}

/** Operations whose condition does not hold for an entry with another version. */
const REFUSED: readonly ((key: Key, old: string) => WriteOperation)[] = [
  (put, ifVersion) => ({ put, value: "refused", ifVersion }),
  (put) => ({ put, value: "refused", ifVersion: null }),
  (key, ifVersion) => ({ delete: key, ifVersion }),
];

/** The requirements of section 11, in order. */
export const orderedWriteRequirements: readonly Requirement[] = [
  {
    number: "11.1",
    text: "`write` applies its operations, and returns the new version of each `put` and undefined for each `delete`",
    verify: withEach(async ({ name, write: writeAll }, { storage }) => {
      const keys = ["a", "b", "c", "d"].map((part): Key => [name, part]);
      const [a, b, c, d] = keys as [Key, Key, Key, Key];
      const [oldA, oldB] = [await write(storage, a, 1), await write(storage, b, 1)];
      await write(storage, d, 1);
      const result = await writeAll([
        { put: a, value: { n: 2 }, ifVersion: oldA },
        { delete: b, ifVersion: oldB },
        { put: c, value: 3, ifVersion: null },
        { delete: d },
      ]);
      check(result.ok, "a write whose conditions hold: saw a refusal");
      const [versionA, , versionC] = result.versions;
      same(
        result.versions.map((version) => typeof version),
        ["string", "undefined", "string", "undefined"],
        "versions",
      );
      same(await storage.get(a), { key: a, value: { n: 2 }, version: versionA }, "the first entry");
      same(await storage.get(c), { key: c, value: 3, version: versionC }, "the third entry");
      same(await valuesOf(storage, [b, d]), [null, null], "the deleted entries");
      same((await listed(storage, [name])).map(({ key }) => key), [a, c], "list");
      check(versionA !== oldA, "the version of the first entry: saw the old one");
      check((await writeAll([{ delete: b }])).ok, "delete of an absent key: saw a refusal");
      same(await writeAll([]), { ok: true, versions: [] }, "a write without operations");
    }),
  },
  {
    number: "11.2",
    text:
      "`write` stops at the first operation whose condition does not hold, returns its index as `failedAt`, and applies neither it nor a later one",
    verify: withEach(async ({ name, write: writeAll }, { storage }) => {
      for (const [kind, refused] of REFUSED.entries()) {
        for (let failedAt = 0; failedAt < COUNT; failedAt++) {
          const keys = Array.from({ length: COUNT }, (_, i): Key => [name, `${kind}`, `${failedAt}`, `${i}`]);
          const old = await write(storage, keys[failedAt]!, "old");
          const versions = await Promise.all(keys.map((key, i) => write(storage, key, `old ${i}`)));
          const operations = replacing(keys, versions);
          operations[failedAt] = refused(keys[failedAt]!, old);
          // A later condition does not hold either.
          operations.push({ put: [name, `${kind}`, `${failedAt}`, "absent"], value: 1, ifVersion: old });
          same(await writeAll(operations), { ok: false, failedAt }, `write with operation ${failedAt} refused`);
          const values = await valuesOf(storage, keys);
          for (let i = failedAt; i < COUNT; i++) same(values[i], `old ${i}`, `the value of operation ${i}`);
          const applied = values.slice(0, failedAt).map((value, i) => value === `new ${i}`);
          checkPrefix(applied, "the operations before it");
        }
      }
      same(
        await writeAll([{ put: [name, "none"], value: 1, ifVersion: "no version" }]),
        { ok: false, failedAt: 0 },
        "a put with a version over an absent entry",
      );
    }),
  },
  {
    number: "11.3",
    text:
      "If 20 writes with a condition on one entry run at once, exactly one is ok, and all its operations are applied",
    verify: withEach(async ({ name, write: writeAll }, { storage }) => {
      const decider: Key = [name, "decider"];
      const ifVersion = await write(storage, decider, "old");
      const own = (i: number, part: string): Key => [name, "writer", `${i}`, part];
      const results = await Promise.all(Array.from({ length: 20 }, (_, i) =>
        writeAll([
          { put: own(i, "before"), value: i },
          { put: decider, value: i, ifVersion },
          { put: own(i, "after"), value: i },
        ])));
      const winners = results.flatMap(({ ok }, i) => ok ? [i] : []);
      same(winners.length, 1, "writes that were ok");
      const [winner] = winners as [number];
      same((await storage.get(decider))?.value, winner, "the value");
      for (const [i, result] of results.entries()) {
        if (i !== winner) same(result, { ok: false, failedAt: 1 }, "a write that was refused");
        const [before, after] = await valuesOf(storage, [own(i, "before"), own(i, "after")]);
        same(after, i === winner ? i : null, "the value after the condition");
        if (i === winner) same(before, i, "the value before the condition");
      }
    }),
  },
  {
    number: "11.4",
    text: "`write` treats `ttlMs` and expired entries as `put` and `delete` do",
    verify: withEach(async ({ name, write: writeAll }, { storage, now, toleranceMs, elapse }) => {
      const keys = ["short", "hour", "never", "gone"].map((part): Key => [name, part]);
      const [short, hour, never, gone] = keys as [Key, Key, Key, Key];
      await write(storage, never, 1, SHORT_MS);
      const old = await write(storage, gone, 1, SHORT_MS);
      const before = now();
      await writeAll([
        { put: short, value: 2, ttlMs: SHORT_MS },
        { put: hour, value: 2, ttlMs: HOUR_MS },
        { put: never, value: 2 },
      ]);
      const expiresAt = (await storage.get(hour))?.expiresAt ?? NaN;
      check(
        expiresAt >= before + HOUR_MS - toleranceMs && expiresAt <= now() + HOUR_MS + toleranceMs,
        `expiresAt: saw ${expiresAt}, wanted from ${before + HOUR_MS} to ${now() + HOUR_MS}`,
      );
      await elapse(SHORT_MS);
      same(await valuesOf(storage, keys), [null, 2, 2, null], "the values after the expiry");
      const refused = await writeAll([{ put: never, value: 3 }, { put: gone, value: 3, ifVersion: old }]);
      same(refused, { ok: false, failedAt: 1 }, "a put with the version of an expired entry");
      same(await writeAll([{ delete: gone, ifVersion: old }]), { ok: false, failedAt: 0 }, "a delete with its version");
      check(
        (await writeAll([{ put: gone, value: 4, ifVersion: null }])).ok,
        "a put with ifVersion null: saw a refusal",
      );
    }),
  },
  {
    number: "11.5",
    text:
      "`write` rejects an invalid key, value or `ttlMs`, and two operations with one key, with a TypeError, and applies nothing",
    verify: withEach(async ({ name, write: writeAll }, { storage }) => {
      const good: Key = [name, "good"];
      const invalid: readonly WriteOperation[] = [
        { put: [] as unknown as Key, value: 1 },
        { put: [name, "\ud800"], value: 1 },
        { delete: [name, "\ud800"] },
        { put: [name, "undefined"], value: undefined },
        { put: [name, "bigint"], value: 1n },
        { put: [name, "ttl"], value: 1, ttlMs: NaN },
        { put: good, value: 2 },
        { delete: good },
      ];
      for (const operation of invalid) {
        await rejects(() => writeAll([{ put: good, value: 1 }, operation]), isTypeError, "write");
        same(await listed(storage, [name]), [], "the entries");
      }
    }),
  },
  {
    number: "11.6",
    text: "`write` copies its operations when it is called: later changes have no effect",
    verify: withEach(async ({ name, write: writeAll }, { storage }) => {
      const [key, value] = [[name, "a"] as [string, ...string[]], { n: 1 }];
      const operations: WriteOperation[] = [{ put: [name, "first"], value: 0 }, { put: key, value }];
      const result = writeAll(operations);
      key[1] = "b";
      value.n = 2;
      operations.push({ put: [name, "c"], value: 3 });
      check((await result).ok, "write: saw a refusal");
      const entries = (await listed(storage, [name])).map((entry) => [entry.key[1], entry.value]);
      same(entries, [["a", { n: 1 }], ["first", 0]], "the entries");
    }),
  },
  {
    number: "11.7",
    text: "`write` rejects a value above `maxValueBytes` with an error that states the limit, and applies nothing",
    verify: withEach(async ({ name, write: writeAll }, { storage }) => {
      const { maxValueBytes } = storage.capabilities;
      if (maxValueBytes === undefined) return;
      await rejects(
        () =>
          writeAll([{ put: [name, "small"], value: 1 }, { put: [name, "large"], value: "x".repeat(maxValueBytes) }]),
        (error) => error instanceof Error && error.message.includes(String(maxValueBytes)),
        "write",
      );
      same(await listed(storage, [name]), [], "the entries");
    }),
  },
  {
    number: "11.8",
    text:
      "A write of 1200 operations, of 30 conditions or of 2 MiB is applied whole, and stops where a condition fails",
    verify: withEach(async ({ name, write: writeAll }, { storage }) => {
      const kinds: readonly (readonly [string, number, unknown, { readonly ifVersion?: null }])[] = [
        ["operations", 1200, 1, {}],
        ["conditions", 30, 1, { ifVersion: null }],
        ["bytes", 4, "x".repeat(Math.min(2 ** 19, storage.capabilities.maxValueBytes ?? Infinity) - 2), {}],
      ];
      for (const [kind, count, value, condition] of kinds) {
        const keys = Array.from({ length: count }, (_, i): Key => [name, kind, String(i)]);
        const existing: Key = [name, kind, "existing"];
        await write(storage, existing, 0);
        const operations = keys.map((put): WriteOperation => ({ put, value, ...condition }));
        const result = await writeAll([...operations, { put: existing, value: 1, ifVersion: null }, {
          put: [name, kind, "later"],
          value: 1,
        }]);
        same(result, { ok: false, failedAt: count }, `write of ${count} ${kind} and a condition that fails`);
        same(await valuesOf(storage, [existing, [name, kind, "later"]]), [0, null], "the values from there on");
        const seen = new Set((await listed(storage, [name, kind])).map(({ key }) => key[2]));
        checkPrefix(keys.map((key) => seen.has(key[2]!)), "the operations before it");
        await Promise.all(keys.map((key) => storage.delete(key)));
        const { ok } = await writeAll(operations);
        same(ok, true, `write of ${count} ${kind}`);
        same((await listed(storage, [name, kind])).length, count + 1, `entries after a write of ${count} ${kind}`);
        const { ok: isDeleted } = await writeAll(keys.map((key) => ({ delete: key })));
        same(isDeleted, true, `write of ${count} deletions`);
        same((await listed(storage, [name, kind])).length, 1, `entries after ${count} deletions`);
      }
    }),
  },
];
