/**
 * A process that delivers messages of the outbox until none waits, and appends each to a file.
 *
 *     outbox_child.ts <file of SQLite, or port of Redis> <prefix> <file for deliveries> [<number of the delivery that kills it>]
 */
import { createApp, type Storage } from "@b24/onappupdate";
import { fileStorage } from "@b24/onappupdate/file-storage";
import { redisStorage } from "@b24/onappupdate/redis-storage";
import { appendFileSync, existsSync } from "node:fs";
import process from "node:process";
import { quietLogger, trustAll } from "../../support/app.ts";
import { connectRedis } from "../../support/redis.ts";

const [, , place = "", prefix = "", deliveries = "", killAt = "0"] = process.argv;
const redis = /^\d+$/.test(place) ? await connectRedis("node-redis", [Number(place)]) : undefined;
const storage: Storage = redis === undefined ? fileStorage({ path: place }) : redisStorage(redis.client, { prefix });
// A process that was killed has taken its messages for a while: the others are ahead of its clock.
const aheadMs = killAt === "0" ? 10 * 60 * 1000 : 0;
let delivered = 0;

const app = createApp({ storage, logger: quietLogger, tickEveryMs: false, clock: () => Date.now() + aheadMs })
  .use(trustAll).use({
    name: "chat",
    outbox: {
      deliver: async (message, { id }) => {
        // Other processes get time to take it, too.
        await new Promise((resolve) => setTimeout(resolve, 1));
        appendFileSync(deliveries, `${JSON.stringify([id, message])}\n`);
        if (++delivered !== Number(killAt)) return;
        process.kill(process.pid, "SIGKILL");
        // The signal may arrive a moment later: nothing may happen until then.
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
      },
    },
  });
await app.start();
process.stdout.write("started\n");
// All processes begin together.
while (!existsSync(`${deliveries}.begin`)) await new Promise((resolve) => setTimeout(resolve, 10));
while ((await app.admin.outbox.list({ state: "waiting", limit: 1 })).items.length > 0) await app.tick();
await app.close();
redis?.close();
