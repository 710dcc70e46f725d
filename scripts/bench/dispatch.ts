/**
 * Compares `app.fetch` over memory storage with a bare Hono handler that only reads and parses the same body: requests per
 * second over HTTP, as a ratio. The same server serves both, in processes of their own, which take turns round by round.
 *
 * Both receive one body repeatedly, which the app verifies and recognizes as a duplicate. The rate of new events, which the
 * app also stores and processes, is printed but has no goal.
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
import { FORM, post, quietLogger } from "../../tests/support/app.ts";
import { report } from "./_bench.ts";

/** Minimum share of the bare handler's rate. */
const WANTED = 0.6;
const ROUNDS = 9;
const ROUND_MS = 700;
const CONNECTIONS = 16;
/** Each connection has a portal of its own, because the events of one portal are processed one after another. */
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

/** Returns the handler of an app on which all portals are installed. */
async function installedApp(): Promise<Handler> {
  const bitrix24 = fakeBitrix24({ clientId: "app.5f3a" });
  const counting: Plugin = { name: "counting", around: (_ctx, next) => next() };
  const app = createApp({
    storage: memoryStorage(),
    clientId: "app.5f3a",
    fetch: bitrix24.fetch,
    logger: quietLogger,
  }).use(applicationToken()).use(counting).upgrade("2", () => {});
  for (const memberId of MEMBER_IDS) await app.fetch(post(bitrix24.portal({ memberId }).install(2)));
  return app.fetch;
}

/** Serves one of the handlers and prints the port: the program of the child processes. */
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
    child.on("exit", () => reject(new Error(`the server of "${kind}" ended before it printed its port`)));
  });
  return { child, port };
}

let sent = 0;

/** Returns a function that makes requests as they go over the wire, each with a `ts` of its own unless `repeated`. */
function requests(memberId: string, repeated: boolean): () => string {
  const portal = fakeBitrix24({ clientId: "app.5f3a" }).portal({ memberId });
  portal.install(2);
  const body = portal.update(2);
  const head = "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: " +
    `${FORM}\r\ncontent-length: ${body.length}\r\n\r\n`;
  return () => head + (repeated ? body : body.replace(/&ts=\d+/, `&ts=${1785303600 + sent++}`));
}

/** Sends requests on all connections for ROUND_MS and returns the rate per second. */
async function load(port: number, repeated: boolean): Promise<number> {
  let answered = 0;
  let running = true;
  const start = performance.now();
  const connections = MEMBER_IDS.map((memberId) =>
    new Promise<void>((resolve, reject) => {
      const request = requests(memberId, repeated);
      const socket = connect(port, "127.0.0.1", () => socket.write(request()));
      socket.setNoDelay(true);
      socket.on("error", reject);
      socket.on("close", () => resolve());
      socket.on("data", (data) => {
        // A connection sends one request at a time and answers have no body, so each chunk is one answer.
        if (!String(data).startsWith("HTTP/1.1 200")) return reject(new Error(`wanted the status 200, saw ${data}`));
        answered++;
        if (running) socket.write(request());
        else socket.destroy();
      });
    })
  );
  setTimeout(() => running = false, ROUND_MS);
  await Promise.all(connections);
  return answered / (performance.now() - start) * 1000;
}

async function compare(): Promise<void> {
  const [hono, repeated, fresh] = await Promise.all([start("hono"), start("app"), start("app")]);
  try {
    const rates: number[] = [];
    const ratios = { repeated: [] as number[], fresh: [] as number[] };
    for (let round = 0; round <= ROUNDS; round++) {
      const bare = await load(hono.port, true);
      const ofRepeated = await load(repeated.port, true);
      const ofFresh = await load(fresh.port, false);
      if (round === 0) continue; // warm-up
      rates.push(bare);
      ratios.repeated.push(ofRepeated / bare);
      ratios.fresh.push(ofFresh / bare);
    }
    report({ name: "requests that a bare Hono handler answers", values: rates, unit: "per second" });
    report({
      name: "requests per second, repeated event ÷ bare Hono",
      values: ratios.repeated,
      wanted: { atLeast: WANTED },
      isExact: true,
    });
    report({ name: "requests per second, new events ÷ bare Hono", values: ratios.fresh });
  } finally {
    for (const { child } of [hono, repeated, fresh]) {
      child.removeAllListeners("exit");
      child.kill();
    }
  }
}

const kind = process.argv[2];
await (kind === undefined ? compare() : serveChild(kind));
