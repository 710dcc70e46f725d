import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { type App, createApp, memoryStorage } from "@b24/onappupdate";
import { serve, toNodeHandler } from "@b24/onappupdate/node-server";
import { type OperatorConsole, operatorConsole } from "@b24/onappupdate/operator-console";
import { getRequestListener } from "@hono/node-server";
import { Hono } from "hono";
import { passwordHash } from "../../../src/cli/password.ts";
import { quietLogger, trustAll } from "../../support/app.ts";
import { before, describe, it } from "../../support/test.ts";
import { type Mounted, MOUNTS } from "./_frameworks.ts";

const ORIGIN = "https://ops.example";
const PASSWORD = "correct horse battery";

let hash: string;
before(async () => {
  hash = await passwordHash(PASSWORD, new Uint8Array(16).fill(7));
});

function consoleAt(base: string): OperatorConsole & { readonly app: App; readonly lines: string[] } {
  const app = createApp({ storage: memoryStorage(), logger: quietLogger, checks: false, tickEveryMs: false }).use(
    trustAll,
  );
  const lines: string[] = [];
  const logger = { ...quietLogger, warn: (message: string) => void lines.push(message) };
  const guard = { users: [{ name: "ada", passwordHash: hash, role: "operate" as const }] };
  return { ...operatorConsole({ app, guard, origin: ORIGIN, base, logger }), app, lines };
}

/** Signs in at a console, opens a page and its stream, and acts. */
async function useConsole(url: string, base: string, app: App): Promise<void> {
  const send = (path: string, form: Record<string, string>, cookie = ""): Promise<Response> =>
    fetch(`${url}${path}`, {
      method: "POST",
      redirect: "manual",
      body: new URLSearchParams(form),
      headers: { cookie, origin: ORIGIN, "sec-fetch-site": "same-origin" },
    });
  const open = (path: string, cookie = ""): Promise<Response> =>
    fetch(`${url}${path}`, { redirect: "manual", headers: { cookie } });

  const refused = await open("/");
  assert.deepEqual([refused.status, refused.headers.get("location")], [303, `${base}/login`]);
  await refused.body?.cancel();
  const signedIn = await send("/login", { name: "ada", password: PASSWORD, next: "/?x=ä b" });
  await signedIn.body?.cancel();
  assert.deepEqual([signedIn.status, signedIn.headers.get("location")], [303, `${base}/?x=%C3%A4%20b`]);
  const cookie = signedIn.headers.getSetCookie()[0]!.split(";")[0]!;

  const page = await open("/", cookie);
  assert.equal(page.status, 200);
  const text = await page.text();
  assert.match(text, new RegExp(`action="${base}/logout"`));
  assert.match(page.headers.get("content-security-policy")!, /^default-src 'none'/);

  const acted = await send("/act/pause", { reason: "Заявка 17", back: "/" }, cookie);
  await acted.body?.cancel();
  assert.deepEqual([acted.status, acted.headers.get("location")], [303, `${base}/`]);
  assert.deepEqual(
    [(await app.admin.paused())?.by, (await app.admin.paused())?.reason],
    ["ada", "Заявка 17"],
  );
  const foreign = await fetch(`${url}/act/resume`, {
    ...{
      method: "POST",
      headers: { cookie, origin: "https://evil.example" },
      body: new URLSearchParams({ reason: "x" }),
    },
  });
  await foreign.body?.cancel();
  assert.equal(foreign.status, 403);

  const stream = await open("/live", cookie);
  const chunks = stream.body!.getReader();
  let events = "";
  while (!events.includes("event: totals")) events += new TextDecoder().decode((await chunks.read()).value);
  const exported = await open("/export/audit?format=csv", cookie);
  assert.match(exported.headers.get("content-type")!, /^text\/csv/);
  assert.match(await exported.text(), /Заявка 17/);
  await app.close();
  while (!(await chunks.read()).done);
}

async function listening(fetch: (request: Request) => Response | Promise<Response>): Promise<Mounted> {
  const server = createServer(getRequestListener(fetch, { overrideGlobalObjects: false }));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

describe("operatorConsole()", () => {
  for (const { name, mount } of MOUNTS) {
    it(`works in ${name}`, async () => {
      const { app, fetch } = consoleAt("/events");
      const server = await mount(toNodeHandler({ fetch }));
      try {
        await useConsole(server.url, "/events", app);
      } finally {
        await server.close();
      }
    });
  }

  it("works in Hono, by mount() and by a route", async () => {
    const mounts: readonly ((hono: Hono, console: OperatorConsole) => unknown)[] = [
      (hono, { fetch }) => hono.mount("/ops", (request) => fetch(request)),
      (hono, { fetch }) => hono.all("/ops/*", (context) => fetch(context.req.raw)),
    ];
    for (const mount of mounts) {
      const { app, fetch, lines } = consoleAt("/ops");
      const hono = new Hono();
      mount(hono, { fetch });
      const server = await listening(hono.fetch);
      try {
        await useConsole(`${server.url}/ops`, "/ops", app);
        // The server has passed nothing besides the request.
        assert.match(lines.join(), /client addresses are not known/);
      } finally {
        await server.close();
      }
    }
  });

  it("works in serve(), which knows the addresses of clients and stops while a page is open", async () => {
    const { app, fetch: answer, lines } = consoleAt("");
    const server = await serve({ fetch: answer, close: app.close }, { port: 0, signals: [] });
    const login = await fetch(`${server.url}/login`, {
      method: "POST",
      redirect: "manual",
      body: new URLSearchParams({ name: "ada", password: PASSWORD }),
      headers: { origin: ORIGIN, "sec-fetch-site": "same-origin" },
    });
    await login.body?.cancel();
    assert.doesNotMatch(lines.join(), /client addresses are not known/);
    const cookie = login.headers.getSetCookie()[0]!.split(";")[0]!;
    const stream = await fetch(`${server.url}/live`, { headers: { cookie } });
    // Else its connection would be idle afterwards, and the server would wait for it.
    assert.equal(stream.headers.get("connection"), "close");
    const chunks = stream.body!.getReader();
    await chunks.read();
    const closed = server.close();
    while (!(await chunks.read()).done);
    await closed;
  });
});
