import assert from "node:assert/strict";
import { inspect } from "node:util";
import {
  type App,
  type AppOptions,
  CannotVerifyError,
  createApp,
  memoryStorage,
  NotAuthenticError,
  type Plugin,
  type Storage,
} from "@b24/onappupdate";
import { serve } from "@b24/onappupdate/node-server";
import {
  appliedUpgrades,
  FORM,
  MEMBER_ID,
  movableClock,
  post,
  quietLogger,
  recorder,
  recordingLogger,
  rig,
  trustAll,
} from "../../support/app.ts";
import {
  BAD_REQUESTS,
  type BadRequest,
  fixture,
  fixtureTokens,
  GOOD,
  GOOD_REQUESTS,
} from "../../support/bad_requests.ts";
import { chunked, openConnection, type Reply, request } from "../../support/raw_http.ts";
import { after, before, describe, test, waitFor } from "../../support/test.ts";
import { withoutWrite } from "../../support/without_write.ts";
import { until } from "../../support/until.ts";

const TITLES: Readonly<Record<number, string>> = {
  400: "Bad Request",
  403: "Forbidden",
  405: "Method Not Allowed",
  408: "Request Timeout",
  413: "Content Too Large",
  415: "Unsupported Media Type",
  503: "Service Unavailable",
};
const TOKENS = fixtureTokens();
const encode = (text: string | Uint8Array): Uint8Array =>
  typeof text === "string" ? new TextEncoder().encode(text) : text;

interface TestApp {
  readonly app: App;
  readonly storage: Storage;
  readonly lines: string[];
  readonly reports: ReturnType<typeof recorder>["reports"];
}

/** Returns an app whose verification accepts everything, so that only malformed requests are refused. */
function trustingApp(options: Partial<AppOptions> = {}): TestApp {
  const storage = options.storage ?? memoryStorage();
  const { logger, lines } = recordingLogger();
  const { plugin, reports } = recorder();
  const app = createApp({ acknowledge: "handled", tickEveryMs: false, logger, ...options, storage }).use(trustAll).use(
    plugin,
  );
  return { app, storage, lines, reports };
}

/** Returns what is stored, but for totals, which are added within a second. */
async function stored(storage: Storage): Promise<unknown[]> {
  const all: unknown[] = [];
  for await (const { key, value, version } of storage.list([])) {
    // The start stores whose storage it is.
    if (key[0] !== "total" && key[0] !== "app") all.push([key, value, version]);
  }
  return all;
}

/** Asserts a problem as in RFC 9457 that reveals nothing else to the sender. */
function assertProblem({ status, headers, body }: Reply, wanted: number, detail?: RegExp): void {
  assert.equal(status, wanted, body);
  assert.equal(headers.get("content-type"), "application/problem+json");
  assert.equal(headers.get("cache-control"), "no-store");
  assert.equal(headers.get("allow"), wanted === 405 ? "POST" : null);
  const problem = JSON.parse(body);
  assert.equal(problem.type, "about:blank");
  assert.equal(problem.title, TITLES[wanted]);
  assert.equal(problem.status, wanted);
  if (detail === undefined) assert.deepEqual(Object.keys(problem), ["type", "title", "status"]);
  else assert.match(problem.detail, detail);
  if (wanted === 400) {
    assert.equal(
      problem.issues.map((issue: Record<string, string>) =>
        `${issue.path || "body"}: saw ${issue.saw}, wanted ${issue.wanted}`
      ).join("; "),
      problem.detail,
    );
  }
  assert(body.length < 2000, body);
  for (const token of TOKENS) assert(!body.includes(token), body);
}

async function replyOf(response: Response): Promise<Reply> {
  return { status: response.status, headers: response.headers, body: await response.text() };
}

function requestOf({ method = "POST", type = FORM, body }: Pick<BadRequest, "method" | "type" | "body">): Request {
  return new Request("http://localhost/b24/events?secret=1", {
    method,
    ...(body === "" ? {} : { body: encode(body) as Uint8Array<ArrayBuffer> }),
    headers: type === null ? {} : { "content-type": type },
  });
}

describe("app.fetch() refuses", () => {
  for (const bad of BAD_REQUESTS) {
    test(`${bad.name}: ${bad.status}`, async () => {
      const { app, storage, lines, reports } = trustingApp();
      await app.fetch(post(fixture("install.form")));
      const before = await stored(storage);
      lines.length = reports.length = 0;
      assertProblem(await replyOf(await app.fetch(requestOf(bad))), bad.status, bad.detail);
      assert.deepEqual(await stored(storage), before);
      assert.deepEqual(reports.map((report) => [report.name, "status" in report && report.status]), [
        ["eventRejected", bad.status],
      ]);
      // Load balancers and crawlers would fill the log.
      assert.equal(lines.filter((line) => !line.includes('"level":"debug"')).length, bad.status === 405 ? 0 : 1);
      for (const token of TOKENS) assert(!lines.join().includes(token), lines.join());
      assert.equal((await app.fetch(post(GOOD))).status, 200);
      assert.notDeepEqual(await stored(storage), before);
    });
  }
});

test("app.fetch() refuses a first ONAPPUPDATE that has an invalid previous version: 400", async () => {
  const { app, storage } = trustingApp();
  const reply = await replyOf(await app.fetch(post(`${GOOD}&data[PREVIOUS_VERSION]=?`)));
  assertProblem(reply, 400, /^data\.PREVIOUS_VERSION: saw "\?", wanted a version such as "3" or "2\.1\.0"$/);
  assert.deepEqual(await stored(storage), []);
  assert.equal((await app.fetch(post(GOOD))).status, 200);
});

describe("app.fetch() at the health path", () => {
  const at = (path: string, method: string, init: RequestInit = {}): Request =>
    new Request(`http://localhost${path}`, { method, ...init });

  test("answers GET and HEAD 200, without a line of the log and a report", async () => {
    const { app, lines, reports } = trustingApp();
    await app.start();
    lines.length = 0;
    for (const method of ["GET", "HEAD"]) {
      const reply = await replyOf(await app.fetch(at("/health?from=balancer", method)));
      assert.deepEqual([reply.status, reply.body], [200, method === "GET" ? "ok" : ""]);
    }
    assert.deepEqual([lines, reports], [[], []]);
    for (const [path, method] of [["/healthy", "GET"], ["/", "HEAD"], ["/health", "PUT"], ["/health", "OPTIONS"]]) {
      assert.equal((await app.fetch(at(path!, method!))).status, 405);
    }
    assert.equal(
      (await app.fetch(at("/health", "POST", { body: GOOD, headers: { "content-type": FORM } }))).status,
      200,
    );
    await app.close();
    assert.equal((await app.fetch(at("/health", "HEAD"))).status, 503);
  });

  test("answers 503 while the app cannot start", async () => {
    const { app } = trustingApp();
    app.use({ name: "broken", setup: () => Promise.reject(new Error("no database")) });
    assert.equal((await app.fetch(at("/health", "GET"))).status, 503);
  });

  test("is an option", async () => {
    const { app } = trustingApp({ healthPath: "/b24/alive" });
    assert.equal((await app.fetch(at("/b24/alive", "GET"))).status, 200);
    assert.equal((await app.fetch(at("/health", "GET"))).status, 405);
    for (const healthPath of ["health", "/a?b", "", "//x", 1]) {
      assert.throws(
        () => trustingApp({ healthPath: healthPath as string }),
        /healthPath.*wanted a path such as "\/health"/,
      );
    }
  });
});

describe("app.fetch() accepts", () => {
  for (const [name, type, body] of GOOD_REQUESTS) {
    test(name, async () => {
      const { app } = trustingApp();
      assert.equal((await app.fetch(post(encode(body) as Uint8Array<ArrayBuffer>, type))).status, 200);
      assert.equal((await app.portal(MEMBER_ID))?.version, "3.0.0");
      assert.deepEqual(Object.keys(Object.prototype), []);
    });
  }

  test("the maximum number of bytes of other events", async () => {
    const { app } = trustingApp();
    const deal = GOOD.replace("ONAPPUPDATE", "ONCRMDEALADD");
    assert.equal((await app.fetch(post(deal + "&".repeat(2 ** 20 - deal.length)))).status, 200);
    await app.close();
  });
});

interface Listening {
  readonly name: string;
  readonly port: number;
  readonly close: () => Promise<void>;
}

/** Starts every HTTP server of this runtime. */
async function listen(app: App): Promise<Listening[]> {
  const node = await serve(app, { port: 0, signals: [], graceMs: 60_000 });
  const servers = [{ name: "node:http", port: node.port, close: node.close }];
  const { Deno } = globalThis as {
    Deno?: {
      serve: (options: object, handler: App["fetch"]) => { addr: { port: number }; shutdown: () => Promise<void> };
    };
  };
  if (Deno !== undefined) {
    const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {} }, app.fetch);
    servers.push({ name: "Deno.serve", port: server.addr.port, close: () => server.shutdown() });
  }
  return servers;
}

/** Returns a request with its body delimited by length and by chunks. */
function framed(
  { method = "POST", type = FORM, body }: Pick<BadRequest, "method" | "type" | "body">,
): Map<"sized" | "chunked", Uint8Array> {
  const bytes = encode(body);
  const headers = { "content-type": type ?? undefined };
  if (bytes.byteLength === 0) {
    return new Map([["sized", request(method, method === "POST" ? { ...headers, "content-length": "0" } : headers)]]);
  }
  return new Map([
    ["sized", request(method, { ...headers, "content-length": String(bytes.byteLength) }, bytes)],
    ["chunked", request(method, { ...headers, "transfer-encoding": "chunked" }, chunked(bytes))],
  ]);
}

/** Returns true if the server closes the connection after the reply. The header may have more than one value. */
function closes({ headers }: Reply): boolean {
  return headers.get("connection")?.includes("close") ?? false;
}

const GOOD_BYTES = [...framed({ body: GOOD }).values()];

describe("app.fetch() over a real connection", () => {
  const { app, storage, reports } = trustingApp();
  let refusal = Promise.withResolvers<void>();
  let requests = 0;
  app.use({ name: "waiting", observe: { eventRejected: () => refusal.resolve() } });
  const impatient = trustingApp({ limits: { bodyTimeoutMs: 200 } });
  let servers: Listening[] = [];
  let impatientServers: Listening[] = [];
  before(async () => {
    servers = await listen({
      ...app,
      fetch: (request, ...platform) => {
        requests++;
        return app.fetch(request, ...platform);
      },
    });
    impatientServers = await listen(impatient.app);
    // From here on, this event is a duplicate and writes nothing.
    await app.fetch(post(GOOD));
  });
  after(async () => {
    for (const { close } of [...servers, ...impatientServers].toReversed()) await close();
  });

  for (const bad of BAD_REQUESTS) {
    test(`${bad.name}: ${bad.status}, and the next request on the connection is answered`, async () => {
      const before = await stored(storage);
      for (const { port } of servers) {
        for (const [framing, bytes] of framed(bad)) {
          let connection = await openConnection(port);
          const reply = await connection.send(bytes, bad.method);
          if (bad.method === "HEAD") assert.equal(reply.status, bad.status);
          else assertProblem(reply, bad.status, bad.detail);
          // The end of a chunked body is unknown, so the connection of one that is too large closes.
          const ends = bad.status === 413 && framing === "chunked";
          assert.equal(closes(reply), ends);
          if (ends) {
            await connection.close();
            connection = await openConnection(port);
          }
          for (const good of GOOD_BYTES) assert.equal((await connection.send(good)).status, 200);
          await connection.close();
        }
      }
      assert.deepEqual(await stored(storage), before);
    });
  }

  for (const [name, type, body] of GOOD_REQUESTS) {
    test(`${name}: 200`, async () => {
      for (const { port } of servers) {
        const connection = await openConnection(port);
        for (const bytes of framed({ type, body }).values()) assert.equal((await connection.send(bytes)).status, 200);
        await connection.close();
      }
    });
  }

  for (
    const framing of [
      { "content-length": "10", "transfer-encoding": "chunked" },
      { "transfer-encoding": "chunked", "content-length": "10" },
      { "content-length": "-1" },
      { "content-length": "0x10" },
      { "content-length": "10, 11" },
      { "transfer-encoding": "chunked, identity" },
    ]
  ) {
    test(`a body with an ambiguous end (${Object.values(framing).join(" and ")}): 400`, async () => {
      for (const { port } of servers) {
        const connection = await openConnection(port);
        const bytes = request("POST", { "content-type": FORM, ...framing }, chunked(encode(GOOD)));
        assert.equal((await connection.send(bytes)).status, 400);
        await connection.close();
      }
    });
  }

  for (const host of ["a b", "[::", "a:b"]) {
    test(`a Host header that no URL can have (${host}): answered, and no event is lost`, async () => {
      const hosted = (bytes: Uint8Array): Uint8Array =>
        encode(new TextDecoder().decode(bytes).replace("host: localhost", `host: ${host}`));
      for (const { name, port } of servers) {
        for (const [method, status] of [["GET", 405], ["HEAD", 405], ["POST", 200]] as const) {
          const connection = await openConnection(port);
          const bytes = method === "POST" ? GOOD_BYTES[0]! : request(method, {});
          // `node:http` refuses it.
          assert.equal((await connection.send(hosted(bytes), method)).status, name === "Deno.serve" ? status : 400);
          await connection.close();
        }
      }
    });
  }

  test("a body in chunks of one byte: 200", async () => {
    for (const { port } of servers) {
      const connection = await openConnection(port);
      const bytes = request("POST", { "content-type": FORM, "transfer-encoding": "chunked" }, chunked(encode(GOOD), 1));
      assert.equal((await connection.send(bytes)).status, 200);
      await connection.close();
    }
  });

  for (const [framing, body] of [["content-length", "abc"], ["transfer-encoding", "3\r\nabc\r\n"]] as const) {
    const half = request(
      "POST",
      { "content-type": FORM, [framing]: framing === "content-length" ? String(GOOD.length) : "chunked" },
      encode(body),
    );

    test(`a body that arrives too slowly (${framing}): 408`, async () => {
      for (const { port } of impatientServers) {
        const connection = await openConnection(port);
        const reply = await connection.send(half);
        assertProblem(reply, 408, /^wanted the body within 200 ms$/);
        assert(closes(reply));
        await connection.close();
        for (const good of GOOD_BYTES) {
          // A busy machine may take too long for a whole body, too.
          await until("a whole body is answered 200", async () => {
            const next = await openConnection(port);
            const { status } = await next.send(good);
            await next.close();
            return status === 200;
          });
        }
      }
    });

    test(`a connection that breaks in the middle of a body (${framing}): nothing is stored`, async () => {
      const before = await stored(storage);
      for (const { port } of servers) {
        reports.length = 0;
        refusal = Promise.withResolvers();
        const before = requests;
        const connection = await openConnection(port);
        connection.socket.write(half);
        await until("the app has the request", () => requests > before);
        const next = await openConnection(port);
        for (const good of GOOD_BYTES) assert.equal((await next.send(good)).status, 200);
        await connection.close();
        for (const good of GOOD_BYTES) assert.equal((await next.send(good)).status, 200);
        await next.close();
        await waitFor("the app refuses the body", refusal.promise);
        const refused = reports.flatMap((report) => report.name === "eventRejected" ? report.error.message : []);
        assert.deepEqual(refused, ["body: saw a connection that was interrupted, wanted a complete body"]);
      }
      assert.deepEqual(await stored(storage), before);
    });
  }
});

describe("app.fetch() and the body", () => {
  interface Watched {
    readonly request: Request;
    readonly seen: { pulled: number; cancelled: number };
  }

  /** Returns a request with a body of `pieces`, followed by `end`. */
  function watched(
    pieces: readonly (string | Uint8Array)[],
    end: "close" | "hang" | "repeat" | "drip" | Error,
    { method = "POST", type = FORM, headers = {} }: {
      readonly method?: string;
      readonly type?: string;
      readonly headers?: Readonly<Record<string, string>>;
    } = {},
  ): Watched {
    const seen = { pulled: 0, cancelled: 0 };
    const body = new ReadableStream({
      pull: async (controller) => {
        const piece = pieces[end === "repeat" || end === "drip" ? seen.pulled % pieces.length : seen.pulled];
        seen.pulled++;
        if (end === "drip") await new Promise((resolve) => setTimeout(resolve, 1));
        if (piece !== undefined) controller.enqueue(encode(piece));
        else if (end instanceof Error) controller.error(end);
        else if (end === "close") controller.close();
        else await new Promise(() => {});
      },
      cancel: () => void seen.cancelled++,
    }, { highWaterMark: 0 });
    const init: RequestInit & { duplex: "half" } = {
      method,
      body,
      headers: { "content-type": type, ...headers },
      duplex: "half",
    };
    return { request: new Request("http://localhost/", init), seen };
  }

  test("cancels a body that it does not need, unread", async () => {
    const unread: readonly (readonly [number, Parameters<typeof watched>[2]])[] = [
      [405, { method: "PUT" }],
      [415, { type: "text/plain" }],
      [413, { headers: { "content-length": "1048577" } }],
      [413, { headers: { "content-length": "99999999999999999999" } }],
    ];
    for (const [status, options] of unread) {
      const { request, seen } = watched([GOOD], "hang", options);
      assert.equal((await trustingApp().app.fetch(request)).status, status);
      assert.deepEqual(seen, { pulled: 0, cancelled: 1 });
    }
  });

  test("cancels the body if the app is closed or cannot start", async () => {
    const closed = trustingApp().app;
    await closed.close();
    const broken = trustingApp().app.use({ name: "broken", setup: () => Promise.reject(new Error("no database")) });
    for (const app of [closed, broken]) {
      const { request, seen } = watched([GOOD], "hang");
      assertProblem(await replyOf(await app.fetch(request)), 503);
      assert.deepEqual(seen, { pulled: 0, cancelled: 1 });
    }
  });

  test("cancels a body as soon as it is too large", async () => {
    const { request, seen } = watched(["a".repeat(2 ** 18)], "repeat");
    assertProblem(
      await replyOf(await trustingApp().app.fetch(request)),
      413,
      /^wanted at most 1048576 bytes \(limits\.bodyBytes\)$/,
    );
    assert.deepEqual(seen, { pulled: 5, cancelled: 1 });
  });

  test("refuses a body that is too large in spite of its content-length", async () => {
    const { request } = watched(["a".repeat(600_000), "a".repeat(600_000)], "close", {
      headers: { "content-length": "10" },
    });
    assertProblem(
      await replyOf(await trustingApp().app.fetch(request)),
      413,
      /^wanted at most 1048576 bytes \(limits\.bodyBytes\)$/,
    );
  });

  test("cancels a body that takes too long, whether it hangs or drips", async () => {
    for (const end of ["hang", "drip"] as const) {
      const { request, seen } = watched(["a"], end);
      const { app } = trustingApp({ limits: { bodyTimeoutMs: 20 } });
      assertProblem(await replyOf(await app.fetch(request)), 408, /^wanted the body within 20 ms$/);
      assert.equal(seen.cancelled, 1);
    }
  });

  test("reads an event to its end, in pieces of any size", async () => {
    const bytes = encode(fixture("test.form"));
    for (const size of [1, 7, 4096]) {
      const pieces: Uint8Array[] = [];
      for (let start = 0; start < bytes.byteLength; start += size) pieces.push(bytes.subarray(start, start + size));
      const { request, seen } = watched(pieces, "close");
      const { app } = trustingApp();
      let query: unknown;
      app.on("ONAPPTEST", ({ event }) => void (query = event.data.query));
      assert.equal((await app.fetch(request)).status, 200);
      assert.deepEqual(JSON.parse(JSON.stringify(query)), { any: "data", nested: { deep: "Привет" } });
      assert.deepEqual(seen, { pulled: pieces.length + 1, cancelled: 0 });
    }
  });

  test("refuses a body that breaks off, for any reason: 400", async () => {
    for (const error of [new TypeError("connection reset"), new DOMException("gone", "AbortError")]) {
      const { app, storage } = trustingApp();
      const { request } = watched([GOOD.slice(0, 100)], error);
      assertProblem(await replyOf(await app.fetch(request)), 400, /^body: saw a connection that was interrupted/);
      assert.deepEqual(await stored(storage), []);
      assert.equal((await app.fetch(post(GOOD))).status, 200);
    }
  });

  test("answers 503 and logs an error if the body was read before", async () => {
    const { app, lines } = trustingApp();
    const used = post(GOOD);
    await used.text();
    assertProblem(await replyOf(await app.fetch(used)), 503);
    assert.match(lines.join(), /"level":"error".*it was read before it was passed to the app/);
  });
});

describe("app.fetch() does not reveal why it answers", () => {
  async function answers(status: number, reasons: Readonly<Record<string, () => Promise<Response>>>): Promise<void> {
    const seen = new Map<string, string>();
    for (const [reason, answer] of Object.entries(reasons)) {
      const response = await answer();
      const reply = await replyOf(response);
      assertProblem(reply, status);
      seen.set(JSON.stringify([[...reply.headers], reply.body, response.statusText]), reason);
    }
    assert.equal(seen.size, 1, [...seen.values()].join());
  }
  const verifying = (around: NonNullable<Plugin["around"]>) => (): Promise<Response> => {
    const app = createApp({ storage: memoryStorage(), logger: quietLogger, acknowledge: "handled" });
    return app.use({ name: "verifying", phase: "verify", around }).fetch(post(GOOD));
  };

  test("403: every reason has the same bytes", async () => {
    const { app, portal, send, bitrix24 } = rig();
    await send(portal.install(2));
    const stranger = bitrix24.portal({ memberId: "b".repeat(32) });
    const other = bitrix24.portal({ memberId: MEMBER_ID, clientId: "app.0ther" });
    other.install(1);
    await answers(403, {
      "another token": () => app.fetch(post(portal.update(3, { rotateToken: true, tokenless: true }))),
      "unknown portal": () => app.fetch(post(stranger.event("ONAPPINSTALL", { VERSION: "1" }, { tokenless: true }))),
      "unknown access token": () => app.fetch(post(GOOD)),
      "another app": () =>
        app.fetch(post(`${other.event("ONAPPINSTALL", { VERSION: "1" })}&auth[application_token]=0`)),
      "refused by a plugin": verifying(() => Promise.reject(new NotAuthenticError("the address is not Bitrix24's"))),
      "no next()": verifying(() => Promise.resolve()),
    });
  });

  test("503: every reason has the same bytes", async () => {
    const down = (): Promise<never> => Promise.reject(new Error(`down: ${[...TOKENS].join()}`));
    const failing = (method: "get" | "put") => (): Promise<Response> =>
      trustingApp({ storage: { ...withoutWrite(memoryStorage()), [method]: down } }).app.fetch(post(GOOD));
    const { app, portal } = rig({ fetch: down });
    const flooded = rig({}, { budget: { perPortal: 2 } });
    for (const token of ["acce55-forged", "acce55-forged-too"]) {
      assert.equal(await flooded.send(flooded.portal.install(1).replace(/acce55[^&]*/, token)), 403);
    }
    const behind = rig();
    const newer = memoryStorage();
    await newer.put(["portal", MEMBER_ID], { format: 99 });
    const closed = trustingApp().app;
    await closed.close();
    const broken = trustingApp().app.use({ name: "broken", setup: down });
    await answers(503, {
      "the OAuth host is down": () => app.fetch(post(portal.install(1))),
      "not installed": () => behind.app.fetch(post(behind.portal.event("ONAPPINSTALL", { VERSION: "1" }))),
      "too many verifications": () => flooded.app.fetch(post(flooded.portal.install(1))),
      "storage cannot read": failing("get"),
      "storage cannot write": failing("put"),
      "a newer format": () => trustingApp({ storage: newer }).app.fetch(post(GOOD)),
      "a plugin cannot verify": verifying(() => Promise.reject(new CannotVerifyError("no list of addresses"))),
      "a plugin fails": verifying(down),
      "a plugin throws null": verifying(() => Promise.reject(null)),
      "next() twice": verifying(async (_ctx, next) => {
        await next();
        await next();
      }),
      "the app is closed": () => closed.fetch(post(GOOD)),
      "the app cannot start": () => broken.fetch(post(GOOD)),
    });
  });
});

test("app.fetch() logs and reports errors of plugins and storages without the tokens of the event", async () => {
  const tokens = [...new URLSearchParams(GOOD)].filter(([name]) => /token/.test(name)).map(([, token]) => token);
  const fail = (): Promise<never> => {
    const cause = Object.assign(new Error(`sent ${tokens.join()}`), { command: { args: tokens }, url: `/?${tokens}` });
    return Promise.reject(new TypeError(`cannot write ${tokens.join()}`, { cause }));
  };
  const nothing = Promise.resolve(null);
  const careless: Plugin = { name: "careless", phase: "verify", around: fail };
  const apps = [
    trustingApp({
      storage: { ...withoutWrite(memoryStorage()), get: ([kind]) => kind === "portal" ? fail() : nothing },
    }),
    trustingApp({
      storage: {
        ...withoutWrite(memoryStorage()),
        put: ([kind]) => kind === "app" ? Promise.resolve({ ok: true, version: "1" }) : fail(),
      },
    }),
    (({ app, ...rest }) => ({ app: app.use(careless), ...rest }))(trustingApp()),
  ];
  for (const { app, lines, reports } of apps) {
    assert.equal((await app.fetch(post(GOOD))).status, 503);
    const isRejected = reports.some(({ name }) => name === "eventRejected");
    // An event that a plugin fails to verify waits.
    assert(
      lines.some((line) =>
        line.includes(isRejected ? "request refused" : '"level":"warn","message":"event not verified yet"')
      ),
    );
    const seen = [...lines, JSON.stringify(reports), inspect(reports, { depth: Infinity, showHidden: true })].join();
    assert.match(seen, /\[redacted\]/);
    for (const token of tokens) assert(!seen.includes(token), seen);
  }
});

describe("app.fetch() over a storage that fails", () => {
  const FAILURES = ["before", "after"] as const;

  /** Returns a storage whose `nth` call, or with `lasting` every call from it on, fails before or after its effect until `repair()`. */
  function failingAt(
    nth: number,
    { when, lasting, hasWrite }: { when: typeof FAILURES[number]; lasting: boolean; hasWrite: boolean },
  ): Storage & { repair: () => number } {
    const inner = memoryStorage();
    let calls = 0;
    let isRepaired = false;
    const failing =
      <Args extends unknown[], Result>(call: (...args: Args) => Promise<Result>) =>
      async (...args: Args): Promise<Result> => {
        calls++;
        const fails = !isRepaired && (lasting ? calls >= nth : calls === nth);
        if (fails && when === "before") throw new Error(`call ${nth} failed`);
        const result = await call(...args);
        if (fails) throw new Error(`call ${nth} failed after its effect`);
        return result;
      };
    return {
      ...withoutWrite(inner),
      ...(hasWrite ? { write: failing(inner.write!) } : {}),
      get: failing(inner.get) as Storage["get"],
      put: failing(inner.put) as Storage["put"],
      delete: failing(inner.delete),
      repair: () => {
        isRepaired = true;
        return calls;
      },
    };
  }

  for (const acknowledge of ["stored", "handled"] as const) {
    const hows = [false, true].flatMap((hasWrite) =>
      [false, true].flatMap((lasting) => FAILURES.map((when) => ({ when, lasting, hasWrite })))
    );
    for (const { when, lasting, hasWrite } of hows) {
      const how = `${lasting ? "from then on" : "once"}, ${when} the effect, ${hasWrite ? "with" : "without"} write()`;
      test(`with acknowledge "${acknowledge}": an event answered 200 is applied, whichever call fails ${how}`, async () => {
        let failed = true;
        for (let nth = 1; failed; nth++) {
          const storage = failingAt(nth, { when, lasting, hasWrite });
          const { clock, later } = movableClock();
          const { app } = trustingApp({ storage, acknowledge, clock });
          let runs = 0;
          app.upgrade("3", () => void runs++);
          const works: Promise<unknown>[] = [];
          const send = async (): Promise<number> => {
            const response = await app.fetch(post(GOOD), { waitUntil: (work: Promise<unknown>) => works.push(work) });
            await Promise.all(works);
            return response.status;
          };
          const status = await send();
          failed = storage.repair() >= nth;
          assert([200, 503].includes(status), `call ${nth}: ${status}`);
          if (status === 503) assert.equal(await send(), 200, `call ${nth}: the repeated event is refused`);
          later();
          await app.tick();
          const portal = await app.portal(MEMBER_ID);
          assert.deepEqual(
            [portal?.version, (await appliedUpgrades(app)).length],
            ["3.0.0", 1],
            `call ${nth}, answered ${status}`,
          );
          assert(runs >= 1 && runs <= (lasting || when === "after" ? 3 : 2), `call ${nth}: ${runs} runs`);
          assert.deepEqual(await app.tick(), { handled: 0, failed: 0 }, `call ${nth}`);
          const after = runs;
          assert.equal(await send(), 200);
          assert.equal(runs, after, `call ${nth}: a duplicate ran`);
          if (!failed) assert(nth > (hasWrite ? 3 : 5), "nothing failed");
        }
      });
    }
  }
});

test("app.fetch() answers although an observer or a handler fails", async () => {
  const fail = (): never => {
    throw new Error("broken");
  };
  const observer: Plugin = {
    name: "observer",
    observe: { eventRejected: fail, eventReceived: fail, eventHandled: () => Promise.reject(1) },
  };
  const { app } = trustingApp();
  app.use(observer).on("ONAPPUPDATE", fail);
  assert.equal((await app.fetch(post(GOOD))).status, 200);
  assert.equal((await app.fetch(post(""))).status, 400);
});
