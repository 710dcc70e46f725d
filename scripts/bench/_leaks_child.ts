/**
 * An app over a file, which receives events: the process of the leaks benchmark.
 *
 *     deno run -A --v8-flags=--expose-gc _leaks_child.ts <file of the storage>
 */
import { existsSync, readdirSync } from "node:fs";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { createApp } from "@b24/onappupdate";
import { fileStorage } from "@b24/onappupdate/file-storage";
import { backgroundWork, post, quietLogger } from "../../tests/support/app.ts";
import { answerCommands } from "./_child.ts";
import { assertVersion, bench24, benchPortal, CLIENT_ID, forEach, verification } from "./_portals.ts";

const PORTALS = 500;

const bitrix24 = bench24();
const { platform, settled } = backgroundWork();
const app = createApp({
  ...{ storage: fileStorage({ path: process.argv[2]! }), clientId: CLIENT_ID, fetch: bitrix24.fetch },
  ...{ logger: quietLogger, checks: false },
}).use(verification()).upgrade("2", () => {}).on("ONCRMDEALADD", () => {});
const bodies: string[] = [];
await forEach(PORTALS, 32, async (n) => {
  const portal = benchPortal(bitrix24, n);
  await app.fetch(post(portal.install(2)), platform);
  bodies.push(portal.update(2), portal.event("ONCRMDEALADD", { "FIELDS[ID]": "1" }));
});
await settled();
await assertVersion(app, PORTALS, "2.0.0");
let sent = 0;

answerCommands({
  /** Has `count` different events received and handled. */
  deliver: async (count) => {
    await forEach(Number(count), 64, async () => {
      const n = sent++;
      const body = bodies[n % bodies.length]!.replace(/&ts=\d+/, `&ts=${1_785_310_000 + n}`);
      const { status } = await app.fetch(post(body), platform);
      if (status !== 200) throw new Error(`an event was answered ${status}, wanted 200`);
    });
    await settled();
  },
  /** Returns the bytes that are in use after a garbage collection, and the number of open handles. */
  usage: async () => {
    for (let n = 0; n < 4; n++) {
      (globalThis as { gc?: () => void }).gc!();
      await delay(20);
    }
    const { heapUsed, external } = process.memoryUsage();
    const handles = existsSync("/proc/self/fd") ? readdirSync("/proc/self/fd").length : 0;
    return { bytes: heapUsed + external, handles: handles + process.getActiveResourcesInfo().length };
  },
});
