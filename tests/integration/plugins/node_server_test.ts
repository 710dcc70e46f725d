import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { Agent, createServer, get, type IncomingMessage } from "node:http";
import { type AddressInfo, connect } from "node:net";
import process from "node:process";
import { createInterface } from "node:readline";
import type { Writable } from "node:stream";
import { fileURLToPath } from "node:url";
import type { Servable } from "@b24/onappupdate/node-server";
import { Hono } from "hono";
import { test } from "../../support/test.ts";

const globals = { Request, Response, Headers, fetch };
const { serve, toNodeHandler } = await import("@b24/onappupdate/node-server");

/** A promise to settle by hand. */
function gate(): { opened: Promise<void>; open: () => void } {
  let open: () => void = () => {};
  const opened = new Promise<void>((resolve) => open = resolve);
  return { opened, open };
}

interface SlowApp extends Servable {
  readonly log: string[];
  readonly asked: Promise<void>;
}

/** An app that answers when `mayAnswer` is settled, and notes what happens to it. */
function slowApp(mayAnswer: Promise<void> = Promise.resolve()): SlowApp {
  const log: string[] = [];
  const asked = gate();
  return {
    log,
    asked: asked.opened,
    fetch: async (): Promise<Response> => {
      log.push("asked");
      asked.open();
      await mayAnswer;
      log.push("answered");
      return new Response("done");
    },
    close: (): Promise<void> => {
      log.push("closed");
      return Promise.resolve();
    },
  };
}

test("serve() does not replace the global Request, Response, Headers and fetch", async () => {
  const server = await serve(slowApp(), { port: 0 });
  await server.close();
  assert.deepEqual({ Request, Response, Headers, fetch }, globals);
  for (const [name, value] of Object.entries(globals)) {
    assert.equal(Reflect.get(globalThis, name), value, name);
  }
});

test("serve() passes the request to the app and returns its answer", async () => {
  const server = await serve({
    fetch: async (request) => {
      const { method, url, headers } = request;
      return Response.json({
        method,
        path: new URL(url).pathname,
        test: headers.get("x-test"),
        body: await request.text(),
      }, {
        status: 202,
        headers: { "x-answer": "yes" },
      });
    },
    close: () => Promise.resolve(),
  }, { port: 0 });
  const response = await fetch(`${server.url}/events?a=1`, {
    method: "POST",
    body: "тело",
    headers: { "x-test": "1" },
  });
  assert.equal(response.status, 202);
  assert.equal(response.headers.get("x-answer"), "yes");
  assert.deepEqual(await response.json(), { method: "POST", path: "/events", test: "1", body: "тело" });
  await server.close();
});

test("serve() and toNodeHandler() accept the fetch of a router of Hono, which gets Node's own request", async () => {
  const site = new Hono<{ Bindings: { incoming: IncomingMessage } }>();
  site.get("/sync", (c) => c.text(c.env.incoming.url ?? ""));
  site.post("/async", async (c) => c.text(await c.req.text()));
  const ended: string[] = [];
  const server = await serve({ fetch: site.fetch, close: () => Promise.resolve(void ended.push("closed")) }, {
    port: 0,
  });
  const mounted = createServer(toNodeHandler(site));
  await new Promise<void>((resolve) => mounted.listen(0, "127.0.0.1", resolve));
  const { port } = mounted.address() as AddressInfo;
  for (const url of [server.url, `http://127.0.0.1:${port}`]) {
    const answers = await Promise.all([fetch(`${url}/sync?a=1`), fetch(`${url}/async`, { method: "POST", body: "b" })]);
    assert.deepEqual(await Promise.all(answers.map((answer) => answer.text())), ["/sync?a=1", "b"]);
  }
  await new Promise((resolve) => {
    mounted.close(resolve);
    mounted.closeAllConnections();
  });
  await server.close();
  assert.deepEqual(ended, ["closed"]);
});

test("serve() passes Node's own request to the app, besides the standard one", async () => {
  let address: unknown;
  const server = await serve({
    fetch: (_request, platform) => {
      address = (platform as { incoming: IncomingMessage }).incoming.socket.remoteAddress;
      return Promise.resolve(new Response());
    },
    close: () => Promise.resolve(),
  }, { port: 0 });
  await (await fetch(server.url)).text();
  assert.equal(address, "127.0.0.1");
  await server.close();
});

test("serve() listens on this host only by default, and returns the address", async () => {
  const told: unknown[] = [];
  const server = await serve(slowApp(), { port: 0, onListen: (listening) => told.push(listening) });
  assert.equal(server.hostname, "127.0.0.1");
  assert.notEqual(server.port, 0);
  assert.equal(server.url, `http://127.0.0.1:${server.port}`);
  assert.deepEqual(told, [{ hostname: server.hostname, port: server.port, url: server.url }]);
  await server.close();
});

test("serve() keeps answering after a request that is not HTTP", async () => {
  const server = await serve(slowApp(), { port: 0 });
  const socket = connect(server.port, server.hostname);
  socket.end("no http\r\n\r\n");
  socket.resume();
  await once(socket, "close");
  assert.equal(await (await fetch(server.url)).text(), "done");
  await server.close();
});

test("serve() names a port that is in use", async () => {
  const first = await serve(slowApp(), { port: 0 });
  await assert.rejects(serve(slowApp(), { port: first.port }), (error: Error) => {
    assert.equal(
      error.message,
      `cannot listen on 127.0.0.1:${first.port}: the port is in use, wanted a free one`,
    );
    assert.equal((error.cause as { code?: string }).code, "EADDRINUSE");
    return true;
  });
  await first.close();
});

test("serve() refuses options out of range", async () => {
  for (const graceMs of [-1, NaN, Infinity, 2 ** 31]) {
    await assert.rejects(serve(slowApp(), { port: 0, graceMs }), TypeError, `graceMs ${graceMs}`);
  }
  for (const port of [-1, 65536, 1.5]) {
    await assert.rejects(serve(slowApp(), { port }), TypeError, `port ${port}`);
  }
});

test("serve() handles its signals until it is closed, and none if there are none", async () => {
  const count = (): number[] => ["SIGTERM", "SIGINT"].map((signal) => process.listenerCount(signal));
  const [terms = 0, ints = 0] = count();
  const quiet = await serve(slowApp(), { port: 0, signals: [] });
  assert.deepEqual(count(), [terms, ints]);
  const server = await serve(slowApp(), { port: 0 });
  assert.deepEqual(count(), [terms + 1, ints + 1]);
  await server.close();
  assert.deepEqual(count(), [terms, ints]);
  await quiet.close();
});

test("NodeServer.close() finishes the request in flight, then closes the app", async () => {
  const { opened, open } = gate();
  const app = slowApp(opened);
  const server = await serve(app, { port: 0 });
  const response = fetch(server.url);
  await app.asked;
  const closed = server.close();
  open();
  assert.equal(await (await response).text(), "done");
  assert.equal((await response).headers.get("connection"), "close");
  await closed;
  assert.deepEqual(app.log, ["asked", "answered", "closed"]);
});

test("NodeServer.close() refuses new connections", async () => {
  const { opened, open } = gate();
  const app = slowApp(opened);
  const server = await serve(app, { port: 0 });
  const response = fetch(server.url);
  await app.asked;
  const closed = server.close();
  await assert.rejects(once(connect(server.port, server.hostname), "connect"), { code: "ECONNREFUSED" });
  open();
  await (await response).text();
  await closed;
});

test("NodeServer.close() answers a request that has partly arrived, and closes its connection", async () => {
  const app = slowApp();
  const server = await serve(app, { port: 0 });
  const socket = connect(server.port, server.hostname).setEncoding("utf8");
  await once(socket, "connect");
  await new Promise((resolve) => socket.write("GET / HTTP/1.1\r\nHost: localhost\r\n", resolve));
  // The server has seen the half once it has answered another.
  await (await fetch(server.url)).text();
  const closed = server.close();
  socket.write("\r\n");
  let answer = "";
  for await (const text of socket) answer += text;
  assert.match(answer, /^HTTP\/1\.1 200 OK\r\n[\s\S]*^connection: close\r\n[\s\S]*done/im);
  await closed;
  assert.deepEqual(app.log.at(-1), "closed");
});

test("NodeServer.close() does not wait for an idle connection", async () => {
  const app = slowApp();
  const server = await serve(app, { port: 0 });
  const agent = new Agent({ keepAlive: true });
  await new Promise<void>((resolve, reject) => {
    get(server.url, { agent }, (response) => response.resume().once("end", resolve)).once("error", reject);
  });
  assert.equal(Object.keys(agent.freeSockets).length, 1, "the client holds its connection");
  await server.close();
  assert.deepEqual(app.log, ["asked", "answered", "closed"]);
  agent.destroy();
});

test("NodeServer.close() does not wait for connections that have sent no request", async () => {
  const app = slowApp();
  const server = await serve(app, { port: 0, graceMs: 2 ** 31 - 1 });
  const sockets = Array.from({ length: 10 }, () => connect(server.port, server.hostname));
  await Promise.all(sockets.map((socket) => once(socket, "connect")));
  const ended = sockets.map((socket) => once(socket.resume(), "close"));
  // The server has seen the connections once it has answered another.
  await (await fetch(server.url)).text();
  await server.close();
  await Promise.all(ended);
  assert.deepEqual(app.log, ["asked", "answered", "closed"]);
});

test("NodeServer.close() destroys a connection that is busy after graceMs, and still closes the app", async () => {
  const app = slowApp(new Promise(() => {}));
  const server = await serve(app, { port: 0, graceMs: 1 });
  const response = assert.rejects(fetch(server.url));
  await app.asked;
  await server.close();
  await response;
  assert.deepEqual(app.log, ["asked", "closed"]);
});

test("NodeServer.close() closes the app while a request waits for its handlers, which end then", async () => {
  const { opened, open } = gate();
  const app = slowApp(opened);
  // Docker ends a process after ten seconds; a request may wait for 20.
  const server = await serve({ ...app, close: () => (open(), app.close()) }, { port: 0, graceMs: 3_600_000 });
  const response = fetch(server.url);
  await app.asked;
  await server.close();
  assert.equal(await (await response).text(), "done");
  assert.deepEqual(app.log, ["asked", "closed", "answered"]);
});

test("NodeServer.close() rejects if the app does not close within graceMs", async () => {
  const app = { ...slowApp(), close: () => new Promise<void>(() => {}) };
  const server = await serve(app, { port: 0, graceMs: 1 });
  await assert.rejects(server.close(), {
    message: "cannot close the app: it is still working after 1 ms, wanted it to finish within graceMs",
  });
  await assert.rejects(server.finished, /still working/);
});

test("NodeServer.close() rejects as the app's close does", async () => {
  const failure = new Error("storage gone");
  const server = await serve({ ...slowApp(), close: () => Promise.reject(failure) }, { port: 0 });
  await assert.rejects(server.close(), failure);
});

test("NodeServer.close() closes once, however often it is called", async () => {
  const app = slowApp();
  const server = await serve(app, { port: 0 });
  const first = server.close();
  assert.equal(server.close(), first);
  assert.equal(server.finished, first);
  await first;
  await server.close();
  assert.deepEqual(app.log, ["closed"]);
});

interface Child {
  readonly stdin: Writable;
  readonly kill: (signal: "SIGINT" | "SIGTERM") => void;
  /** The next line that it prints. */
  readonly line: () => Promise<string>;
  /** Its output after the last line taken, and its exit. */
  readonly end: () => Promise<{ lines: string[]; code: number | null; signal: string | null }>;
}

/** `maxFiles`: the number of file descriptors that the child may open. */
function startChild(maxFiles?: number): Child {
  const file = fileURLToPath(new URL("./node_server_child.ts", import.meta.url));
  const args = [process.execPath, ...process.versions.deno === undefined ? [file] : ["run", "-A", file]];
  const limited = maxFiles === undefined ? args : ["sh", "-c", `ulimit -n ${maxFiles}; exec "$@"`, "sh", ...args];
  const child = spawn(limited[0]!, limited.slice(1), { stdio: ["pipe", "pipe", "inherit"] });
  const exited = once(child, "exit") as Promise<[number | null, string | null]>;
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const line = async (): Promise<string> => (await lines.next()).value ?? "";
  return {
    stdin: child.stdin,
    // Not child.kill(): on Deno that also closes the child's stdin.
    kill: (signal) => process.kill(child.pid!, signal),
    line,
    end: async () => {
      const [code, signal] = await exited;
      const rest: string[] = [];
      for (let next = await lines.next(); !next.done; next = await lines.next()) rest.push(next.value);
      return { lines: rest, code, signal };
    },
  };
}

for (const signal of ["SIGTERM", "SIGINT"] as const) {
  test(`serve() ends with exit code 0 at ${signal}, after the request in flight`, async () => {
    const child = startChild();
    const url = await child.line();
    const response = fetch(url);
    assert.equal(await child.line(), "request");
    child.kill(signal);
    await refused(url);
    child.stdin.end("answer\n");
    assert.equal(await (await response).text(), "finished");
    assert.deepEqual(await child.end(), { lines: ["app closed"], code: 0, signal: null });
  });
}

test("serve() ends at once with exit code 1 at a second signal", async () => {
  const child = startChild();
  const url = await child.line();
  const response = assert.rejects(fetch(url));
  assert.equal(await child.line(), "request");
  child.kill("SIGTERM");
  await refused(url);
  child.kill("SIGTERM");
  assert.deepEqual(await child.end(), { lines: [], code: 1, signal: null });
  await response;
});

/** Resolves when nothing listens at `url`. */
async function refused(url: string): Promise<void> {
  const { port, hostname } = new URL(url);
  for (;;) {
    const socket = connect(Number(port), hostname);
    try {
      await once(socket, "connect");
      socket.destroy();
    } catch {
      return;
    }
  }
}

test("serve() closes the oldest connections that have sent no request, and answers others", async () => {
  const server = await serve(slowApp(), { port: 0 });
  const sockets = [];
  const closed = [];
  // One more than the server keeps.
  for (let i = 0; i < 129; i++) {
    const socket = connect(server.port, "127.0.0.1");
    socket.on("error", () => {});
    sockets.push(socket);
    closed.push(once(socket, "close"));
    await once(socket, "connect");
  }
  await closed[0];
  assert.equal(sockets.at(-1)!.destroyed, false);
  assert.equal(await (await fetch(server.url)).text(), "done");
  for (const socket of sockets) socket.destroy();
  await server.close();
});

test("serve() outlives 400 silent connections with 300 file descriptors, and answers meanwhile", async () => {
  const child = startChild(300);
  const url = await child.line();
  child.stdin.end("answer\n");
  const port = Number(new URL(url).port);
  const sockets = Array.from({ length: 400 }, () => {
    const socket = connect(port, "127.0.0.1");
    socket.on("error", () => {});
    return socket;
  });
  await Promise.all(sockets.map((socket) => socket.connecting ? once(socket, "connect") : undefined));
  assert.equal(await (await fetch(url)).text(), "finished");
  assert.equal(await child.line(), "request");
  child.kill("SIGTERM");
  assert.deepEqual(await child.end(), { lines: ["app closed"], code: 0, signal: null });
  for (const socket of sockets) socket.destroy();
});
