/** Clauses 5 and 7 of the storage battery: entries that expire, callers that give up, storages that are closed. */
import type { Key, PutResult } from "../../storage/storage.ts";
import { check, type Clause, listed, refused, same, write } from "./requirement.ts";

const KEY: Key = ["portal", "a223"];
const HOUR_MS = 3_600_000;
/** Long enough for a write and short enough to wait for. */
const SHORT_MS = 40;

/** Clauses 5, in order. */
export const expiryClauses: readonly Clause[] = [
  {
    number: "5.1",
    says: "an entry with ttlMs is there until it ends, and get and list say when that is",
    holds: async ({ storage, now, toleranceMs, elapse }) => {
      const before = now();
      await storage.put(KEY, 1, { ttlMs: HOUR_MS });
      const after = now();
      for (const entry of [await storage.get(KEY), (await listed(storage, []))[0]]) {
        same(entry?.value, 1, "the value");
        const end = entry?.expiresAt ?? NaN;
        check(
          end >= before + HOUR_MS - toleranceMs && end <= after + HOUR_MS + toleranceMs,
          `expiresAt: saw ${entry?.expiresAt}, wanted from ${before + HOUR_MS} to ${after + HOUR_MS}`,
        );
      }
      if (toleranceMs > 0) return;
      await elapse(HOUR_MS - 1);
      same((await storage.get(KEY))?.value, 1, "the value a millisecond before the end");
    },
  },
  {
    number: "5.2",
    says: "an entry that has expired is absent for get",
    holds: async ({ storage, elapse }) => {
      await storage.put(KEY, 1, { ttlMs: SHORT_MS });
      await elapse(SHORT_MS);
      same(await storage.get(KEY), null, "get");
    },
  },
  {
    number: "5.3",
    says: "an entry that has expired is absent for put: its version is refused, and its key can be created",
    holds: async ({ storage, elapse }) => {
      const old = await write(storage, KEY, 1, SHORT_MS);
      await elapse(SHORT_MS);
      same(await storage.put(KEY, 2, { ifVersion: old }), { ok: false }, "put with its version");
      same(await storage.get(KEY), null, "get after that");
      check((await storage.put(KEY, 3, { ifVersion: null })).ok, "put with ifVersion null: saw a refusal");
      same(await storage.put(KEY, 4, { ifVersion: old }), { ok: false }, "put with the version of the expired one");
      same((await storage.get(KEY))?.value, 3, "the value");
    },
  },
  {
    number: "5.4",
    says: "an entry that has expired is absent for delete: its version is refused",
    holds: async ({ storage, elapse }) => {
      const old = await write(storage, KEY, 1, SHORT_MS);
      await elapse(SHORT_MS);
      same(await storage.delete(KEY, { ifVersion: old }), { ok: false }, "delete with its version");
      same(await storage.delete(KEY), { ok: true }, "delete of whatever is there");
    },
  },
  {
    number: "5.5",
    says: "an entry that has expired is absent for list and does not count for its limit",
    holds: async ({ storage, elapse }) => {
      for (const part of ["a", "b", "c", "d"]) {
        await storage.put(["e", part], part, part < "c" ? { ttlMs: SHORT_MS } : {});
      }
      await elapse(SHORT_MS);
      const saw: unknown[] = [];
      for await (const { value } of storage.list(["e"], { limit: 2 })) saw.push(value);
      same(saw, ["c", "d"], "list");
    },
  },
  {
    number: "5.6",
    says: "every write sets the end anew: one without ttlMs takes it away, one with ttlMs moves it",
    holds: async ({ storage, elapse }) => {
      const version = await write(storage, KEY, 1, HOUR_MS);
      await storage.put(KEY, 2, { ifVersion: version });
      same((await storage.get(KEY))?.expiresAt, undefined, "expiresAt after a put without ttlMs");
      await storage.put(KEY, 3, { ttlMs: SHORT_MS });
      await storage.put(KEY, 4, { ttlMs: HOUR_MS });
      await storage.put(["other"], 5, { ttlMs: HOUR_MS });
      await storage.put(["other"], 6, { ttlMs: SHORT_MS });
      await elapse(SHORT_MS);
      same((await storage.get(KEY))?.value, 4, "the entry whose end was moved away");
      same(await storage.get(["other"]), null, "the entry whose end was moved near");
    },
  },
];

/** Clauses 7, in order. */
export const endClauses: readonly Clause[] = [
  {
    number: "7.1",
    says: "with a signal that is aborted every method rejects with its reason and does nothing",
    holds: async ({ storage }) => {
      const version = await write(storage, KEY, 1);
      const reason = new Error("given up");
      const signal = AbortSignal.abort(reason);
      const isReason = (error: unknown): boolean => error === reason;
      await refused(() => storage.get(KEY, { signal }), isReason, "get");
      await refused(() => storage.put(KEY, 2, { signal }), isReason, "put");
      await refused(() => storage.delete(KEY, { signal }), isReason, "delete");
      await refused(() => listed(storage, [], { signal }), isReason, "list");
      same(await storage.get(KEY), { key: [...KEY], value: 1, version }, "the entry");
    },
  },
  {
    number: "7.2",
    says: "after close every method rejects or goes on as before, and close may be called again",
    holds: async ({ storage }) => {
      if (storage.close === undefined) return;
      const version = await write(storage, KEY, 1);
      await storage.close();
      await storage.close();
      const entry = { key: [...KEY], value: 1, version };
      same(await storage.get(KEY).catch(() => entry), entry, "get");
      same(await listed(storage, []).catch(() => [entry]), [entry], "list");
      same(await storage.put(KEY, 2, { ifVersion: null }).catch(refusal), { ok: false }, "put of what is there");
      same(await storage.delete(KEY, { ifVersion: "" }).catch(refusal), { ok: false }, "delete by a wrong version");
    },
  },
];

function refusal(): PutResult {
  return { ok: false };
}
