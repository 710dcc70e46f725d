/**
 * A server of the accept benchmark: an app, the minimum that does the same, or the receiver of another library.
 *
 *     deno run -A _accept_server.ts <app, minimum or a receiver> <backend> <folder> <port of Redis>
 */
import { timingSafeEqual } from "node:crypto";
import { createAdaptorServer } from "@hono/node-server";
import process from "node:process";
import { createApp } from "@b24/onappupdate";
import { serve } from "@b24/onappupdate/node-server";
import { backgroundWork, post, quietLogger } from "../../tests/support/app.ts";
import { type Backend, openBare, openStorage } from "./_backends.ts";
import { answerCommands, cpuMicros } from "./_child.ts";
import { assertVersion, bench24, benchPortal, CLIENT_ID, forEach, INSTALLED, verification } from "./_portals.ts";
import { startProfile, stopProfile } from "./_profile.ts";
import { RECEIVERS } from "./_receivers.ts";

type Handler = (request: Request) => Promise<Response>;

const work = backgroundWork();

/** Returns the handler of an app on which all portals have version 2. */
async function openApp(backend: Backend, folder: string, redisPort: number): Promise<Handler> {
  const bitrix24 = bench24();
  const app = createApp({
    ...{ storage: await openStorage(backend, folder, redisPort), clientId: CLIENT_ID, fetch: bitrix24.fetch },
    ...{ logger: quietLogger, checks: false },
  }).use(verification()).upgrade("2", () => {});
  await forEach(INSTALLED, 32, async (n) => await app.fetch(post(benchPortal(bitrix24, n).install(2)), work.platform));
  await work.settled();
  await assertVersion(app, INSTALLED, "2.0.0");
  return (request) => app.fetch(request, work.platform);
}

/** Returns the minimum: parses the body, compares the token in constant time, and writes the event once. */
async function openMinimum(backend: Backend, folder: string, redisPort: number): Promise<Handler> {
  const put = await openBare(backend, folder, redisPort);
  const encoder = new TextEncoder();
  const bitrix24 = bench24();
  const tokens = new Map<string, Uint8Array>();
  for (let n = 0; n < INSTALLED; n++) {
    const portal = benchPortal(bitrix24, n);
    const token = new URLSearchParams(portal.install(2)).get("auth[application_token]")!;
    tokens.set(portal.memberId, encoder.encode(token));
  }
  return async (request) => {
    const body = await request.text();
    const form = new URLSearchParams(body);
    const memberId = form.get("auth[member_id]") ?? "";
    const token = encoder.encode(form.get("auth[application_token]") ?? "");
    const wanted = tokens.get(memberId);
    if (wanted === undefined || wanted.length !== token.length || !timingSafeEqual(wanted, token)) {
      return new Response(null, { status: 403 });
    }
    await put(`${memberId}/${form.get("ts")}`, body);
    return new Response(null, { status: 200 });
  };
}

/** Serves a handler as its users do, and resolves to the port. */
async function listen(handler: Handler, isApp: boolean): Promise<number> {
  if ("Deno" in globalThis) {
    return Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {} }, handler).addr.port;
  }
  if (isApp) return (await serve({ fetch: handler, close: () => Promise.resolve() }, { port: 0 })).port;
  const server = createAdaptorServer({ fetch: handler });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as { readonly port: number }).port;
}

const [kind, backend, folder, redisPort] = process.argv.slice(2) as [string, Backend, string, string];
const opened = kind === "app"
  ? await openApp(backend, folder, Number(redisPort))
  : kind === "minimum"
  ? await openMinimum(backend, folder, Number(redisPort))
  : await RECEIVERS[kind]!.open();
const port = typeof opened === "number" ? opened : await listen(opened, kind === "app");
answerCommands({
  ...{ port: () => port, startProfile, stopProfile },
  /** Waits until the work of all requests is done, and returns the processor time so far. */
  cpu: async () => {
    await work.settled();
    return cpuMicros();
  },
});
