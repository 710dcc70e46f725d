/** Section 9 of the storage contract: lost replies. */
import type { Key, Storage } from "../../storage/storage.ts";
import {
  check,
  checkPrefix,
  ignoreStorageError,
  isOk,
  type Requirement,
  same,
  write,
  writersOf,
} from "./requirement.ts";

const KEY: Key = ["portal", "a223"];

/** Appends `id` to the list under KEY. Tries again after an error, unless the list has it. */
async function append(storage: Storage, id: number): Promise<void> {
  for (let tries = 0; tries < 20; tries++) {
    const entry = await storage.get<number[]>(KEY);
    const ids = entry?.value ?? [];
    if (ids.includes(id)) return;
    await ignoreStorageError(() => storage.put(KEY, [...ids, id], { ifVersion: entry?.version ?? null }));
  }
  check(false, "saw 20 tries of the only writer");
}

/** The requirements of section 9, in order. */
export const lostReplyRequirements: readonly Requirement[] = [
  {
    number: "9.1",
    text: "A `put` whose reply is lost is ok or an error, never refused",
    needs: "loseReply",
    verify: async ({ storage, backend }) => {
      await write(storage, KEY, 1);
      await backend!.loseReply!();
      await isOk(() => storage.put(KEY, 2), "put");
      same((await storage.get(KEY))?.value, 2, "the value");
    },
  },
  {
    number: "9.2",
    text: "A `put` with `ifVersion: null` whose reply is lost is ok or an error, never refused",
    needs: "loseReply",
    verify: async ({ storage, backend }) => {
      await backend!.loseReply!();
      await isOk(() => storage.put(KEY, 1, { ifVersion: null }), "put of a new key");
      same((await storage.get(KEY))?.value, 1, "the value");
      same(await storage.put(KEY, 2, { ifVersion: null }), { ok: false }, "put over an entry");
    },
  },
  {
    number: "9.3",
    text:
      "A `put` with a version whose reply is lost is ok or an error, never refused; if ok, it returns the stored version",
    needs: "loseReply",
    verify: async ({ storage, backend }) => {
      const version = await write(storage, KEY, 1);
      await backend!.loseReply!();
      let returned: string | undefined;
      await isOk(async () => {
        const result = await storage.put(KEY, 2, { ifVersion: version });
        if (result.ok) returned = result.version;
        return result;
      }, "put with the version of the entry");
      const entry = await storage.get(KEY);
      same(entry?.value, 2, "the value");
      if (returned !== undefined) same(entry?.version, returned, "the version");
    },
  },
  {
    number: "9.4",
    text: "A `delete` whose reply is lost is ok or an error, never refused",
    needs: "loseReply",
    verify: async ({ storage, backend }) => {
      for (const conditional of [false, true]) {
        const ifVersion = await write(storage, KEY, 1);
        await backend!.loseReply!();
        await isOk(() => storage.delete(KEY, conditional ? { ifVersion } : {}), "delete");
        same(await storage.get(KEY), null, "get after it");
      }
    },
  },
  {
    number: "9.5",
    text: "A writer that reads and tries again after an error loses nothing and does nothing twice",
    needs: "loseReply",
    verify: async ({ storage, backend }) => {
      for (let id = 0; id < 20; id++) {
        if (id % 3 === 0) await backend!.loseReply!();
        await append(storage, id);
      }
      same((await storage.get(KEY))?.value, Array.from({ length: 20 }, (_, id) => id), "the list");
    },
  },
  {
    number: "9.6",
    text: "A `write` whose reply is lost is ok or an error, never refused; if ok, it returns the stored versions",
    needs: "loseReply",
    verify: async ({ storage, backend }) => {
      for (const { name, write: writeAll } of writersOf(storage)) {
        for (const [condition, isOverwriting] of [["none", true], ["null", false], ["version", true]] as const) {
          const [before, decider] = [[name, condition, "before"], [name, condition, "decider"]] as const;
          const version = isOverwriting ? await write(storage, decider, 1) : null;
          const ifVersion = condition === "none" ? {} : { ifVersion: version };
          await backend!.loseReply!();
          let versions: readonly unknown[] = [];
          const isApplied = await isOk(async () => {
            const result = await writeAll([{ put: before, value: 2 }, { put: decider, value: 2, ...ifVersion }]);
            if (result.ok) versions = result.versions;
            return result;
          }, `${name} with the condition ${condition}`);
          const entries = [await storage.get(before), await storage.get(decider)];
          if (isApplied) {
            same(entries.map((entry) => [entry?.value, entry?.version]), versions.map((v) => [2, v]), "entries");
          } else checkPrefix(entries.map((entry) => entry?.value === 2), name);
        }
      }
    },
  },
];
