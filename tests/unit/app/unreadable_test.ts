import assert from "node:assert/strict";
import {
  type App,
  memoryStorage,
  NonRetriableError,
  type Plugin,
  type PluginOutbox,
  type Storage,
} from "@b24/onappupdate";
import type { Key } from "@b24/onappupdate/storage";
import { rig } from "../../support/app.ts";
import { withoutKeyOf } from "../../support/lost_key.ts";
import { OPERATOR } from "../../support/operator.ts";
import { describe, it } from "../../support/test.ts";

const HOUR = 60 * 60 * 1000;
const COUNT = 3;

/** A list that operators read. */
interface ListCase {
  /** The prefix of its entries. */
  readonly prefix: readonly string[];
  readonly read: (app: App) => Promise<readonly unknown[]>;
}

/** Reads a list in pages of one. */
async function byOne<Item, Cursor>(
  read: (after: Cursor | undefined) => Promise<{ readonly items: readonly Item[]; readonly next?: Cursor }>,
): Promise<readonly Item[]> {
  const all: Item[] = [];
  let after: Cursor | undefined;
  do {
    const { items, next } = await read(after);
    all.push(...items);
    after = next;
  } while (after !== undefined);
  return all;
}

const LISTS: Readonly<Record<string, ListCase>> = {
  "admin.audit()": {
    prefix: ["audit"],
    read: ({ admin }) => byOne((after: string | undefined) => admin.audit({ limit: 1, ...after && { after } })),
  },
  "admin.batches.list()": { prefix: ["batch"], read: ({ admin }) => admin.batches.list() },
  "admin.silences.list()": { prefix: ["silence"], read: ({ admin }) => admin.silences.list() },
  "admin.snapshots()": { prefix: ["snapshot", "hour"], read: ({ admin }) => admin.snapshots() },
  "admin.outbox.list()": {
    prefix: ["outbox", "dead"],
    read: ({ admin: { outbox } }) =>
      byOne((after: { readonly plugin: string; readonly id: string } | undefined) =>
        outbox.list({ state: "dead", limit: 1, ...after && { after } })
      ),
  },
};

/** Stores {@linkcode COUNT} entries of each list or more. */
async function fill(storage: Storage, clock: { now: number }): Promise<void> {
  let outbox: PluginOutbox | undefined;
  const chat: Plugin = {
    name: "chat",
    setup: (host) => void (outbox = host.outbox),
    outbox: { deliver: () => Promise.reject(new NonRetriableError("no chat")), retry: { maxAttempts: 1 } },
  };
  const made = rig({ storage, clock: () => clock.now });
  made.app.use(chat);
  await made.send(made.portal.install(2));
  for (let i = 0; i < COUNT; i++) {
    await made.app.admin.silences.add({ target: `${i}`, until: clock.now + 24 * HOUR, ...OPERATOR });
    await made.app.admin.batches.start({ action: "retry", match: { status: "parked" }, expect: 0, ...OPERATOR });
    await outbox!.put("hello", { id: `${i}` });
    await made.app.tick();
    await made.app.settled();
    clock.now += HOUR;
  }
  await made.app.close();
}

describe("a stored entry that this process cannot read", () => {
  const spoilers: Readonly<Record<string, (storage: Storage, key: Key) => Promise<Storage>>> = {
    "newer code wrote it": async (storage, key) => {
      await storage.put(key, { ...(await storage.get<object>(key))!.value, format: 1000 });
      return storage;
    },
    "its encryption key is missing": (storage, key) => withoutKeyOf(storage, [key]),
  };
  for (const [name, { prefix, read }] of Object.entries(LISTS)) {
    for (const [why, spoil] of Object.entries(spoilers)) {
      it(`does not keep the others from ${name}: ${why}`, async () => {
        const clock = { now: Date.UTC(2026, 10, 30) };
        const storage = memoryStorage({ clock: () => clock.now });
        await fill(storage, clock);
        const keys = await Array.fromAsync(storage.list(prefix), ({ key }) => key);
        assert.ok(keys.length >= COUNT, `${keys.length} entries`);
        const { app, lines } = rig({ storage: await spoil(storage, keys[1]!), clock: () => clock.now });
        assert.equal((await read(app)).length, keys.length - 1);
        assert.ok(lines.some((line) => line.includes("storage.unreadable")), lines.join("\n"));
        await app.close();
      });
    }
  }
});
