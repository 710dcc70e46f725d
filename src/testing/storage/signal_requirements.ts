/** Section 7 of the storage contract: abort signals and close. */
import type { Key, PutResult } from "../../storage/storage.ts";
import { listed, rejects, type Requirement, same, write, writersOf } from "./requirement.ts";

const KEY: Key = ["portal", "a223"];

/** The requirements of section 7, in order. */
export const signalRequirements: readonly Requirement[] = [
  {
    number: "7.1",
    text: "If the signal is already aborted, every method rejects with its reason and does nothing",
    verify: async ({ storage }) => {
      const version = await write(storage, KEY, 1);
      const reason = new Error("given up");
      const signal = AbortSignal.abort(reason);
      const isReason = (error: unknown): boolean => error === reason;
      await rejects(() => storage.get(KEY, { signal }), isReason, "get");
      await rejects(() => storage.put(KEY, 2, { signal }), isReason, "put");
      await rejects(() => storage.delete(KEY, { signal }), isReason, "delete");
      await rejects(() => listed(storage, [], { signal }), isReason, "list");
      for (const { name, write } of writersOf(storage)) {
        await rejects(() => write([{ put: KEY, value: 2 }], { signal }), isReason, name);
      }
      same(await storage.get(KEY), { key: [...KEY], value: 1, version }, "the entry");
    },
  },
  {
    number: "7.2",
    text: "After `close`, every method rejects or works as before, and `close` can be called again",
    verify: async ({ storage }) => {
      if (storage.close === undefined) return;
      const version = await write(storage, KEY, 1);
      await storage.close();
      await storage.close();
      const entry = { key: [...KEY], value: 1, version };
      same(await storage.get(KEY).catch(() => entry), entry, "get");
      same(await listed(storage, []).catch(() => [entry]), [entry], "list");
      same(
        await storage.put(KEY, 2, { ifVersion: null }).catch(refusal),
        { ok: false },
        "put with ifVersion null over an entry",
      );
      same(await storage.delete(KEY, { ifVersion: "" }).catch(refusal), { ok: false }, "delete with a wrong version");
      for (const { name, write } of writersOf(storage)) {
        const result = await write([{ put: KEY, value: 2, ifVersion: null }]).catch(refusal);
        same(result.ok, false, `${name} with ifVersion null over an entry`);
      }
    },
  },
];

function refusal(): PutResult {
  return { ok: false };
}
