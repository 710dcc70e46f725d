/**
 * An app over a file, whose upgrades hold a page of rows while they wait: a server of the burst benchmark.
 *
 *     deno run -A _burst_server.ts <file of the storage> [number of portals to install]
 */
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { createApp } from "@b24/onappupdate";
import { fileStorage } from "@b24/onappupdate/file-storage";
import { serve } from "@b24/onappupdate/node-server";
import { backgroundWork, post, quietLogger, trustAll } from "../../tests/support/app.ts";
import { answerCommands } from "./_child.ts";
import { bench24, benchPortal, forEach } from "./_portals.ts";

/** Number of rows that a handler holds, about 250 kB. */
const ROWS = 2500;
/** Time (ms) that a handler waits, as for answers of its portal. */
const HANDLER_MS = 300;
/** Interval (ms) of the samples. */
const SAMPLE_MS = 20;

const [path = "", toInstall = "0"] = process.argv.slice(2);
const work = backgroundWork();
let running = 0, maxRunning = 0, upgraded = 0, maxPauseMs = 0;

const app = createApp({ storage: fileStorage({ path }), logger: quietLogger, checks: false, tickEveryMs: false })
  .use(trustAll)
  .upgrade("3", async ({ step }) => {
    maxRunning = Math.max(maxRunning, ++running);
    const rows = Array.from({ length: ROWS }, (_, id) => ({ id, title: `Deal ${id}` }));
    await step("rows", () => delay(HANDLER_MS));
    if (rows.length === ROWS) upgraded++;
    running--;
  });

const handler = (request: Request): Promise<Response> => app.fetch(request, work.platform);

async function listen(): Promise<number> {
  if ("Deno" in globalThis) {
    return Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {} }, handler).addr.port;
  }
  return (await serve({ fetch: handler, close: app.close }, { port: 0 })).port;
}

function watchPauses(): void {
  let last = performance.now();
  setInterval(() => {
    const now = performance.now();
    maxPauseMs = Math.max(maxPauseMs, now - last - SAMPLE_MS);
    last = now;
  }, SAMPLE_MS);
}

if (Number(toInstall) > 0) {
  const bitrix24 = bench24();
  await forEach(Number(toInstall), 64, (n) => handler(post(benchPortal(bitrix24, n).install(2))));
  await work.settled();
  await app.close();
  answerCommands({});
} else {
  const port = await listen();
  watchPauses();
  answerCommands({
    port: () => port,
    finish: async () => {
      await work.settled();
      return { maxRunning, upgraded, maxPauseMs, maxRssKb: process.resourceUsage().maxRSS };
    },
  });
}
