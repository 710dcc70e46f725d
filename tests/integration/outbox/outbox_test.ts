import assert from "node:assert/strict";
import { createApp, type PluginOutbox, type Storage } from "@b24/onappupdate";
import { fileStorage } from "@b24/onappupdate/file-storage";
import { redisStorage } from "@b24/onappupdate/redis-storage";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { quietLogger, trustAll } from "../../support/app.ts";
import { run, type Running } from "../../support/process.ts";
import { connectRedis, sharedRedis } from "../../support/redis.ts";
import { describe, it } from "../../support/test.ts";

const MESSAGES = 100;

/** A storage that processes share. */
interface Shared {
  readonly storage: Storage;
  /** Argument of the processes. */
  readonly place: string;
  readonly close: () => Promise<void>;
}

const BACKENDS: Readonly<Record<string, (folder: string, prefix: string) => Promise<Shared>>> = {
  "fileStorage()": (folder) => {
    const place = join(folder, "portals.db");
    return Promise.resolve({ storage: fileStorage({ path: place }), place, close: () => Promise.resolve() });
  },
  "redisStorage()": async (_, prefix) => {
    const server = await sharedRedis();
    const { client, close } = await connectRedis("node-redis", [server.port]);
    return {
      storage: redisStorage(client, { prefix }),
      place: String(server.port),
      close: async () => {
        close();
        await server.remove();
      },
    };
  },
};

/** Puts messages into the outbox, in an app that is only set up. */
async function putMessages(storage: Storage): Promise<void> {
  let outbox: PluginOutbox;
  const app = createApp({ storage, logger: quietLogger, tickEveryMs: false }).use(trustAll).use({
    name: "chat",
    setup: (host) => void (outbox = host.outbox),
    outbox: { deliver: () => assert.fail("an app that is only set up delivers nothing") },
  });
  await app.setUp();
  for (let n = 0; n < MESSAGES; n++) assert.equal(await outbox!.put({ n }, { id: String(n) }), "stored");
  await app.close();
}

for (const [name, open] of Object.entries(BACKENDS)) {
  describe(`the outbox in two processes on ${name}`, () => {
    for (const kills of [false, true]) {
      const what = kills ? "also if one of them is killed" : "once, and each in one process";
      it(`delivers all messages, ${what}`, async () => {
        const folder = mkdtempSync(join(tmpdir(), "outbox-"));
        const prefix = `outbox-${crypto.randomUUID()}`;
        const { storage, place, close } = await open(folder, prefix);
        try {
          await putMessages(storage);
          const deliveries = join(folder, "deliveries");
          const start = (...args: readonly string[]): Running =>
            run("tests/integration/outbox/outbox_child.ts", { args: [place, prefix, deliveries, ...args] });
          if (kills) {
            const killed = start("20");
            await killed.printed(/started/);
            writeFileSync(`${deliveries}.begin`, "");
            assert.equal(await killed.exited, null);
            rmSync(`${deliveries}.begin`);
          }
          const children = [start(), start()];
          for (const child of children) await child.printed(/started/);
          writeFileSync(`${deliveries}.begin`, "");
          for (const child of children) assert.equal(await child.exited, 0, child.output());
          const lines = readFileSync(deliveries, "utf8").trim().split("\n");
          const delivered = lines.map((line) => JSON.parse(line) as [id: string, message: { n: number }]);
          assert.equal(new Set(delivered.map(([id]) => id)).size, MESSAGES);
          assert(delivered.every(([id, { n }]) => id === String(n)));
          // Those that the killed process was delivering, or had not recorded, are repeated.
          const repeated = delivered.length - MESSAGES;
          assert(kills ? repeated >= 1 && repeated <= 8 : repeated === 0, `${repeated} repeated`);
        } finally {
          await close();
          rmSync(folder, { recursive: true, force: true });
        }
      });
    }
  });
}
