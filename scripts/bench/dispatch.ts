/**
 * `app.fetch` with memory storage beside a bare Hono handler that only reads and parses the same body and answers:
 * requests per second over HTTP as a ratio. Both are served by the same server in processes of their own, and loaded in
 * turn, round by round.
 *
 * Both get the same body again and again, which the app verifies and recognises. What events cost that are all new, and
 * so also stored, worked on and remembered, is printed beside it.
 *
 *     deno run -A scripts/bench/dispatch.ts
 *     node scripts/bench/dispatch.ts          (in a project that has the package installed)
 */
// deno-lint-ignore-file no-console
import { type ChildProcess, spawn } from "node:child_process";
import { connect } from "node:net";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { Hono } from "hono";
import { createApp, memoryStorage, type Plugin } from "@b24/onappupdate";
import { applicationToken } from "@b24/onappupdate/application-token";
import { serve } from "@b24/onappupdate/node-server";
import { fakeBitrix24 } from "@b24/onappupdate/testing";

const WANTED = 0.6;
const ROUNDS = 9;
const ROUND_MS = 700;
const CONNECTIONS = 16;
/** One portal a connection: events of one portal are worked on in turn. */
const MEMBER_IDS = Array.from({ length: CONNECTIONS }, (_, i) => i.toString(16).padStart(32, "a"));
const onDeno = "Deno" in globalThis;

type Handler = (request: Request) => Promise<Response>;

function bareHono(): Handler {
  const hono = new Hono();
  hono.post("/", async (c) => {
    await c.req.parseBody();
    return c.body(null, 200);
  });
  return (request) => Promise.resolve(hono.fetch(request));
}

/** An app that has seen its portal installed: what comes then is verified, stored and worked on. */
async function installedApp(): Promise<Handler> {
  const quiet = (): void => {};
  const bitrix24 = fakeBitrix24({ clientId: "app.5f3a" });
  const counting: Plugin = { name: "counting", around: (_ctx, next) => next() };
  const app = createApp({
    storage: memoryStorage(),
    clientId: "app.5f3a",
    fetch: bitrix24.fetch,
    logger: { debug: quiet, info: quiet, warn: quiet, error: quiet },
  }).use(applicationToken()).use(counting).upgrade("2", () => {});
  const headers = { "content-type": "application/x-www-form-urlencoded" };
  for (const memberId of MEMBER_IDS) {
    const body = bitrix24.portal({ memberId }).install(2);
    await app.fetch(new Request("http://localhost/", { method: "POST", body, headers }));
  }
  return app.fetch;
}

async function serveChild(kind: string): Promise<void> {
  const handler = kind === "hono" ? bareHono() : await installedApp();
  if (onDeno) {
    Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: ({ port }) => console.log(`port ${port}`) }, handler);
  } else {
    const { port } = await serve({ fetch: handler, close: () => Promise.resolve() }, { port: 0 });
    console.log(`port ${port}`);
  }
}

async function start(kind: string): Promise<{ readonly child: ChildProcess; readonly port: number }> {
  const file = fileURLToPath(import.meta.url);
  const args = onDeno ? ["run", "-A", "--no-check", file, kind] : [file, kind];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  const port = await new Promise<number>((resolve, reject) => {
    child.stdout!.on("data", (data) => resolve(Number(/port (\d+)/.exec(String(data))?.[1])));
    child.on("exit", () => reject(new Error(`the server of ${kind} ended`)));
  });
  return { child, port };
}

let sent = 0;

/** Requests as they go over the wire, each with a `ts` of its own unless `repeated`. */
function requests(memberId: string, repeated: boolean): () => string {
  const portal = fakeBitrix24({ clientId: "app.5f3a" }).portal({ memberId });
  portal.install(2);
  const body = portal.update(2);
  const head = "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-www-form-urlencoded\r\n" +
    `content-length: ${body.length}\r\n\r\n`;
  return () => head + (repeated ? body : body.replace(/&ts=\d+/, `&ts=${1785303600 + sent++}`));
}

/** Requests per second. */
async function load(port: number, repeated: boolean): Promise<number> {
  let answered = 0;
  let running = true;
  const begin = performance.now();
  const connections = MEMBER_IDS.map((memberId) =>
    new Promise<void>((resolve, reject) => {
      const request = requests(memberId, repeated);
      const socket = connect(port, "127.0.0.1", () => socket.write(request()));
      socket.setNoDelay(true);
      socket.on("error", reject);
      socket.on("close", () => resolve());
      socket.on("data", (data) => {
        // One request at a time on a connection, and no bodies: what comes is one answer.
        if (!String(data).startsWith("HTTP/1.1 200")) return reject(new Error(`answered ${data}`));
        answered++;
        if (running) socket.write(request());
        else socket.destroy();
      });
    })
  );
  setTimeout(() => running = false, ROUND_MS);
  await Promise.all(connections);
  return answered / (performance.now() - begin) * 1000;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
}

async function compare(): Promise<void> {
  const runtime = onDeno ? "Deno" : `Node ${process.versions.node}`;
  const [hono, same, fresh] = await Promise.all([start("hono"), start("app"), start("app")]);
  try {
    const rates: number[] = [];
    const ratios = { same: [] as number[], fresh: [] as number[] };
    for (let round = 0; round <= ROUNDS; round++) {
      const bare = await load(hono.port, true);
      const ofSame = await load(same.port, true);
      const ofFresh = await load(fresh.port, false);
      if (round === 0) continue; // warms up
      rates.push(bare);
      ratios.same.push(ofSame / bare);
      ratios.fresh.push(ofFresh / bare);
    }
    const ratio = median(ratios.same);
    console.log(`${runtime}: a bare Hono handler answers ${Math.round(median(rates))} requests/s`);
    console.log(`${runtime}: app.fetch, the same body: ${ratio.toFixed(2)} of that, wanted ${WANTED}`);
    console.log(`${runtime}: app.fetch, only new events: ${median(ratios.fresh).toFixed(2)} of that`);
    if (ratio < WANTED) process.exitCode = 1;
  } finally {
    for (const { child } of [hono, same, fresh]) {
      child.removeAllListeners("exit");
      child.kill();
    }
  }
}

const kind = process.argv[2];
await (kind === undefined ? compare() : serveChild(kind));
