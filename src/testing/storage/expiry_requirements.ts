/** Section 5 of the storage contract: expiry. */
import type { Key } from "../../storage/storage.ts";
import { check, listed, type Requirement, same, write } from "./requirement.ts";

const KEY: Key = ["portal", "a223"];
const HOUR_MS = 3_600_000;
/** Longer than a write takes, and short enough to wait for. */
const SHORT_MS = 40;

/** The requirements of section 5, in order. */
export const expiryRequirements: readonly Requirement[] = [
  {
    number: "5.1",
    text: "An entry with `ttlMs` exists until it expires, and `get` and `list` return its `expiresAt`",
    verify: async ({ storage, now, toleranceMs, elapse }) => {
      const before = now();
      await storage.put(KEY, 1, { ttlMs: HOUR_MS });
      const after = now();
      for (const entry of [await storage.get(KEY), (await listed(storage, []))[0]]) {
        same(entry?.value, 1, "the value");
        const expiresAt = entry?.expiresAt ?? NaN;
        check(
          expiresAt >= before + HOUR_MS - toleranceMs && expiresAt <= after + HOUR_MS + toleranceMs,
          `expiresAt: saw ${expiresAt}, wanted from ${before + HOUR_MS} to ${after + HOUR_MS}`,
        );
      }
      if (toleranceMs > 0) return;
      await elapse(HOUR_MS - 1);
      same((await storage.get(KEY))?.value, 1, "the value a millisecond before it expires");
    },
  },
  {
    number: "5.2",
    text: "`get` returns null for an expired entry",
    verify: async ({ storage, elapse }) => {
      await storage.put(KEY, 1, { ttlMs: SHORT_MS });
      await elapse(SHORT_MS);
      same(await storage.get(KEY), null, "get");
    },
  },
  {
    number: "5.3",
    text: "`put` treats an expired entry as absent: its version is refused, and its key can be created",
    verify: async ({ storage, elapse }) => {
      const old = await write(storage, KEY, 1, SHORT_MS);
      await elapse(SHORT_MS);
      same(await storage.put(KEY, 2, { ifVersion: old }), { ok: false }, "put with its version");
      same(await storage.get(KEY), null, "get after the refused put");
      check((await storage.put(KEY, 3, { ifVersion: null })).ok, "put with ifVersion null: saw a refusal");
      same(await storage.put(KEY, 4, { ifVersion: old }), { ok: false }, "put with the version of the expired entry");
      same((await storage.get(KEY))?.value, 3, "the value");
    },
  },
  {
    number: "5.4",
    text: "`delete` treats an expired entry as absent: its version is refused",
    verify: async ({ storage, elapse }) => {
      const old = await write(storage, KEY, 1, SHORT_MS);
      await elapse(SHORT_MS);
      same(await storage.delete(KEY, { ifVersion: old }), { ok: false }, "delete with its version");
      same(await storage.delete(KEY), { ok: true }, "delete without ifVersion");
    },
  },
  {
    number: "5.5",
    text: "`list` skips expired entries and does not count them towards `limit`",
    verify: async ({ storage, elapse }) => {
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
    text: "Every write replaces the expiry: with `ttlMs` by a new one, without it by none",
    verify: async ({ storage, elapse }) => {
      const version = await write(storage, KEY, 1, HOUR_MS);
      await storage.put(KEY, 2, { ifVersion: version });
      same((await storage.get(KEY))?.expiresAt, undefined, "expiresAt after a put without ttlMs");
      await storage.put(KEY, 3, { ttlMs: SHORT_MS });
      await storage.put(KEY, 4, { ttlMs: HOUR_MS });
      await storage.put(["other"], 5, { ttlMs: HOUR_MS });
      await storage.put(["other"], 6, { ttlMs: SHORT_MS });
      await elapse(SHORT_MS);
      same((await storage.get(KEY))?.value, 4, "the entry that was given a later expiry");
      same(await storage.get(["other"]), null, "the entry that was given an earlier expiry");
    },
  },
];
