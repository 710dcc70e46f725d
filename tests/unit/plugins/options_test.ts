import assert from "node:assert/strict";
import type { App, Portal } from "@b24/onappupdate";
import { b24jssdk } from "@b24/onappupdate/b24jssdk";
import { denoKvStorage, type KvLike } from "@b24/onappupdate/deno-kv-storage";
import { fileStorage } from "@b24/onappupdate/file-storage";
import { type Servable, serve } from "@b24/onappupdate/node-server";
import { openingPage } from "@b24/onappupdate/opening-page";
import { postgresStorage } from "@b24/onappupdate/postgres-storage";
import { redisStorage } from "@b24/onappupdate/redis-storage";
import { type Declaration, registrations } from "@b24/onappupdate/registrations";
import { type B24, rest } from "@b24/onappupdate/rest";
import { type Mistake, none, refuses } from "../../support/refusals.ts";
import { describe, it } from "../../support/test.ts";
import { counter } from "./rest/_rest.ts";

describe("serve()", () => {
  const APP = "an app of createApp(), or an object with fetch() and close()";
  const app: Servable = { fetch: none, close: none };
  // It listens nowhere: the port of a server that was started is reported.
  const start = (served: unknown, options: object = {}): Promise<unknown> =>
    serve(served as Servable, { port: 0, onListen: none, ...options });
  refuses([
    [`cannot serve with app undefined, wanted ${APP}`, () => start(undefined)],
    [`cannot serve with app an object, wanted ${APP}`, () => start({})],
    [`cannot serve with app an object, wanted ${APP}`, () => start({ fetch: none })],
    [`cannot serve with app an object, wanted ${APP}`, () => start({ close: none })],
    [`cannot serve with app a function, wanted ${APP}`, () => start(none)],
    ["cannot serve with port 65536, wanted a whole number from 0 to 65535", () => start(app, { port: 65_536 })],
    ['cannot serve with hostname "", wanted an address to listen on', () => start(app, { hostname: "" })],
    [
      'cannot serve with signals.0 "SIGINTT", wanted ' +
      '"SIGINT" or "SIGTERM" or "SIGHUP" or "SIGQUIT" or "SIGBREAK" or "SIGUSR2"',
      () => start(app, { signals: ["SIGINTT"] }),
    ],
    ["cannot serve with graceMs -1, wanted a number from 0 to 2147483647", () => start(app, { graceMs: -1 })],
    ["cannot serve with onListen 1, wanted a function", () => start(app, { onListen: 1 })],
    [
      "cannot serve with the option hostName that does not exist, wanted hostname",
      () => start(app, { hostName: "::" }),
    ],
  ]);
});

describe("denoKvStorage()", () => {
  const KV = "an open database of Deno.openKv(), or of openKv() of @deno/kv";
  const kv = { get: none, list: none, atomic: none } as KvLike;
  const make = (database: unknown, options?: object): unknown => denoKvStorage(database as KvLike, options);
  refuses([
    [`cannot use Deno KV with kv undefined, wanted ${KV}`, () => make(undefined)],
    [`cannot use Deno KV with kv an object, wanted ${KV}`, () => make({})],
    [`cannot use Deno KV with kv an object, wanted ${KV}`, () => make({ get: none, list: none })],
    [`cannot use Deno KV with kv an object, wanted ${KV}`, () => make(Promise.resolve(kv))],
    [`cannot use Deno KV with kv "app.db", wanted ${KV}`, () => make("app.db")],
    ['cannot use Deno KV with prefix "a", wanted the first parts of every key', () => make(kv, { prefix: "a" })],
    ["cannot use Deno KV with prefix.1 1, wanted a string", () => make(kv, { prefix: ["a", 1] })],
    [
      'cannot use Deno KV with scope "disk", wanted "process" or "host" or "network"',
      () => make(kv, { scope: "disk" }),
    ],
    ["cannot use Deno KV with clock 0, wanted a function", () => make(kv, { clock: 0 })],
    ["cannot use Deno KV with timeoutMs 0, wanted a number from 1 to 2147483647", () => make(kv, { timeoutMs: 0 })],
    ["cannot use Deno KV with the option scop that does not exist, wanted scope", () => make(kv, { scop: "host" })],
  ]);
  it("accepts a database", () => assert.equal(denoKvStorage(kv).name, "deno-kv"));
});

describe("redisStorage()", () => {
  const CLIENT = "a client of redis (node-redis) 5 or later, but no pool, or of ioredis";
  const client = { evalsha: none, on: () => {} };
  const make = (made: unknown, options?: object): unknown => redisStorage(made as never, options);
  refuses([
    [`cannot use Redis with client undefined, wanted ${CLIENT}`, () => make(undefined)],
    [`cannot use Redis with client an object, wanted ${CLIENT}`, () => make({})],
    // A URL may have a password.
    [`cannot use Redis with client a string, wanted ${CLIENT}`, () => make("redis://:password@127.0.0.1")],
    // node-redis 4, whose clients have no `withCommandOptions`.
    [`cannot use Redis with client an object, wanted ${CLIENT}`, () => make({ evalSha: none, eval: none })],
    ['cannot use Redis with prefix "{a}", wanted a text without braces', () => make(client, { prefix: "{a}" })],
    ["cannot use Redis with durable 1, wanted true or false", () => make(client, { durable: 1 })],
    [
      "cannot use Redis with timeoutMs NaN, wanted a number from 1 to 2147483647",
      () => make(client, { timeoutMs: NaN }),
    ],
    ["cannot use Redis with clock 0, wanted a function", () => make(client, { clock: 0 })],
    [
      "cannot use Redis with the option timeout that does not exist, wanted timeoutMs",
      () => make(client, { timeout: 5 }),
    ],
  ]);
  it("accepts a client", () => assert.equal(redisStorage(client as never).name, "redis"));
});

describe("postgresStorage()", () => {
  const CLIENT = "a client with query() (pg, PGlite) or with unsafe() (Postgres.js)";
  const TABLE = "a name, or a schema and a name, of letters, digits and _, each of at most 50 characters";
  const client = { query: none };
  const make = (made: unknown, options?: object): unknown => postgresStorage(made as never, options);
  refuses([
    [`cannot use PostgreSQL with client undefined, wanted ${CLIENT}`, () => make(undefined)],
    [`cannot use PostgreSQL with client an object, wanted ${CLIENT}`, () => make({})],
    [`cannot use PostgreSQL with client a string, wanted ${CLIENT}`, () => make("postgres://me:password@127.0.0.1")],
    [`cannot use PostgreSQL with table "a b", wanted ${TABLE}`, () => make(client, { table: "a b" })],
    [`cannot use PostgreSQL with table 1, wanted ${TABLE}`, () => make(client, { table: 1 })],
    ['cannot use PostgreSQL with durable "yes", wanted true or false', () => make(client, { durable: "yes" })],
    [
      "cannot use PostgreSQL with timeoutMs 0, wanted a number from 1 to 2147483647",
      () => make(client, { timeoutMs: 0 }),
    ],
    ["cannot use PostgreSQL with clock 0, wanted a function", () => make(client, { clock: 0 })],
    [
      "cannot use PostgreSQL with the option tabel that does not exist, wanted table",
      () => make(client, { tabel: "a" }),
    ],
  ]);
  it("accepts clients, also those that are functions", () => {
    assert.equal(postgresStorage(client).name, "postgres");
    assert.equal(postgresStorage(Object.assign(() => {}, { unsafe: none })).name, "postgres");
  });
});

describe("fileStorage()", () => {
  const PATH = "the path of a file; to keep entries in memory, use memoryStorage()";
  const make = (options: unknown): unknown => fileStorage(options as never);
  const wrongTimeout = (busyTimeoutMs: unknown): Mistake => [
    `cannot open a file with busyTimeoutMs ${busyTimeoutMs}, wanted a whole number from 0 to 2147483647`,
    () => make({ path: "/nowhere/app.db", busyTimeoutMs }),
  ];
  refuses([
    [
      "cannot open a file with options undefined, wanted an object with path, clock, busyTimeoutMs",
      () => make(undefined),
    ],
    [`cannot open a file with path undefined, wanted ${PATH}`, () => make({})],
    [`cannot open a file with path ":memory:", wanted ${PATH}`, () => make({ path: ":memory:" })],
    ["cannot open a file with clock 0, wanted a function", () => make({ path: "/nowhere/app.db", clock: 0 })],
    ...[-1, 0.5, 2 ** 31, Infinity].map(wrongTimeout),
    [
      "cannot open a file with the option file that does not exist, wanted path or clock or busyTimeoutMs",
      () => make({ file: "/nowhere/app.db" }),
    ],
  ]);
});

describe("rest()", () => {
  const make = (options: object): unknown => rest(options);
  refuses([
    ["cannot call portals with rate.burst 0, wanted a number from 1", () => make({ rate: { burst: 0, perSecond: 2 } })],
    ["cannot call portals with rate.perSecond undefined, wanted a number above 0", () => make({ rate: { burst: 9 } })],
    [
      "cannot call portals with the option rate.persecond that does not exist, wanted perSecond",
      () => make({ rate: { burst: 9, persecond: 2 } }),
    ],
    ["cannot call portals with attempts 1.5, wanted a whole number from 1", () => make({ attempts: 1.5 })],
    ["cannot call portals with answerBytes 0, wanted a number from 1", () => make({ answerBytes: 0 })],
    [
      "cannot call portals with timer an object, wanted a timer with now() and sleep()",
      () => make({ timer: { sleep: none } }),
    ],
    ["cannot call portals with the option timeout that does not exist, wanted timeoutMs", () => make({ timeout: 5 })],
  ]);
  it("accepts the same limits of answers as b24jssdk(), also Infinity", () => {
    assert.equal(rest({ answerBytes: Infinity, answerContainers: Infinity }).name, "rest");
  });
  it("refuses the rate that a function returns", async () => {
    const made = counter({ rate: () => ({ burst: 0, perSecond: 2 }) });
    await assert.rejects(made.b24.call("profile"), {
      name: "TypeError",
      message: /^cannot call portal \w+ with burst 0, wanted a number from 1$/,
    });
  });
});

describe("the client of rest()", () => {
  const METHOD = "crm.deal.list";
  type Call = (b24: B24, options: never) => unknown;
  const CALLS: Readonly<Record<string, Call>> = {
    call: (b24, options) => b24.call(METHOD, {}, options),
    batch: (b24, options) => b24.batch({ a: ["profile"] }, options),
    page: (b24, options) => b24.page(METHOD, {}, options),
    list: (b24, options) => b24.list(METHOD, {}, options),
  };
  const ALL: readonly (readonly [options: object | null, problem: string])[] = [
    [{ timeoutMs: 0 }, "timeoutMs 0, wanted a number from 1 to 2147483647"],
    [{ repeatable: "yes" }, 'repeatable "yes", wanted true or false'],
    [{ signal: new AbortController() }, "signal an object, wanted an AbortSignal"],
    [{ timeout: 5 }, "the option timeout that does not exist, wanted timeoutMs"],
    [null, "options null, wanted an object with signal, timeoutMs, repeatable"],
  ];
  const OWN: Readonly<Record<string, typeof ALL>> = {
    call: [[{ halt: true }, "the option halt that does not exist, wanted signal or timeoutMs or repeatable"]],
    batch: [[{ halt: 1 }, "halt 1, wanted true or false"], [
      { hlt: true },
      "the option hlt that does not exist, wanted halt",
    ]],
    page: [
      [{ after: -1 }, "after -1, wanted a whole number from 0"],
      [{ after: "50" }, 'after "50", wanted a whole number from 0'],
      [{ by: "" }, 'by "", wanted the name of the ID in the filter, or "start"'],
      [{ key: "" }, 'key "", wanted the key of the rows in the result'],
      [{ aftr: 50 }, "the option aftr that does not exist, wanted after"],
    ],
    list: [
      [{ by: 1 }, 'by 1, wanted the name of the ID in the filter, or "start"'],
      [{ key: [] }, "key a list, wanted the key of the rows in the result"],
      [{ keys: "items" }, "the option keys that does not exist, wanted key"],
    ],
  };
  for (const [name, call] of Object.entries(CALLS)) {
    for (const [options, problem] of [...ALL, ...OWN[name]!]) {
      it(`${name} refuses ${problem}`, async () => {
        const made = counter();
        const message = `cannot call ${name === "batch" ? name : METHOD} with ${problem}`;
        await assert.rejects(async () => await call(made.b24, options as never), (error: Error) => {
          assert.equal(error.name, "TypeError");
          // `page` and `list` have more options than the message of `call` lists.
          assert.ok(error.message.startsWith(message), error.message);
          return true;
        });
        assert.equal(made.sent.length, 0);
      });
    }
  }

  for (
    const [command, message] of [
      [{ method: METHOD, parms: {} }, "cannot run command a with the option parms that does not exist, wanted params"],
      [{ methd: METHOD }, "cannot run command a with the option methd that does not exist, wanted method"],
      [{}, 'cannot run command a with method undefined, wanted the name of a method, such as "crm.deal.list"'],
      [[], 'cannot run command a with method undefined, wanted the name of a method, such as "crm.deal.list"'],
      [[METHOD, "id=1"], 'cannot run command a with params "id=1", wanted an object with parameters'],
    ] as const
  ) {
    it(`batch refuses ${JSON.stringify(command)}`, async () => {
      const made = counter();
      await assert.rejects(made.b24.batch({ a: command as never }), { name: "TypeError", message });
      assert.equal(made.sent.length, 0);
    });
  }

  it("refuses a method that is no string", async () => {
    const made = counter();
    for (const call of [made.b24.call, made.b24.page]) {
      await assert.rejects(call(undefined as never), { name: "TypeError", message: /^cannot call undefined, wanted / });
    }
    assert.throws(() => made.b24.list(undefined as never), { name: "TypeError", message: /^cannot call undefined/ });
    assert.equal(made.sent.length, 0);
  });
});

describe("registrations()", () => {
  const handler = "https://app.example.com/b24";
  const declared: Required<{ readonly [Key in keyof Declaration]: Required<Declaration>[Key][number] }> = {
    events: { event: "ONCRMDEALADD", handler },
    placements: { placement: "CRM_DEAL_DETAIL_TAB", handler },
    robots: { code: "rate", handler, name: "Rate" },
    activities: { code: "rate", handler, name: "Rate" },
    messageSenders: { code: "sms", handler, name: "SMS" },
    userFieldTypes: { type: "stars", handler, title: "Stars" },
    connectors: { id: "chat", name: "Chat", icon: {}, handler },
    triggers: { code: "paid", name: "Paid" },
  };
  for (const [kind, registration] of Object.entries(declared)) {
    it(`refuses unknown fields of ${kind}, and accepts the others`, () => {
      assert.equal(registrations({ [kind]: [registration] }).name, "registrations");
      assert.throws(() => registrations({ [kind]: [{ ...registration, unknwon: 1 }] }), {
        name: "TypeError",
        message: new RegExp(
          `^cannot declare registrations: ${kind}\\.0: unknown "unknwon", wanted .*\\b${
            Object.keys(registration)[0]
          }\\b`,
        ),
      });
    });
  }

  const portal = { memberId: "a223c6b3710f85df22e9377d6c4f7553" } as Portal;
  const b24 = { batch: none };
  const B24 = "a client of the portal, such as portals.portal(memberId) of rest()";
  const of = (name: "plan" | "apply", target: unknown): unknown => registrations({})[name](target as never);
  refuses([
    [
      'cannot declare registrations: declaration: unknown "event", wanted events, placements, robots, activities, ' +
      "messageSenders, userFieldTypes, connectors, triggers",
      () => registrations({ event: [] } as Declaration),
    ],
    [
      "cannot keep registrations with repair 1, wanted true or false",
      () => registrations({}, { repair: 1 as never }),
    ],
    ...(["plan", "apply"] as const).flatMap((name): readonly Mistake[] => [
      [`cannot ${name} registrations with b24 undefined, wanted ${B24}`, () => of(name, { portal })],
      [`cannot ${name} registrations with b24 an object, wanted ${B24}`, () => of(name, { portal, b24: {} })],
      [
        `cannot ${name} registrations with portal undefined, wanted the portal as app.portal() returns it`,
        () => of(name, { b24, portal: undefined }),
      ],
      [`cannot ${name} registrations with b24 undefined, wanted ${B24}`, () => of(name, undefined)],
    ]),
  ]);
});

describe("openingPage()", () => {
  const app = { open: none, opening: none } as Pick<App, "open" | "opening">;
  const make = (options: object): unknown => openingPage(options as never);
  refuses([
    ["cannot make an opening page with app undefined, wanted an app of createApp()", () => make({ page: none })],
    [
      "cannot make an opening page with app an object, wanted an app of createApp()",
      () => make({ app: { open: none }, page: none }),
    ],
    ["cannot make an opening page with page undefined, wanted a function", () => make({ app })],
    [
      "cannot make an opening page with finishWhenParked 1, wanted true or false",
      () => make({ app, page: none, finishWhenParked: 1 }),
    ],
    [
      'cannot make an opening page with openWhenStuck "no", wanted true or false',
      () => make({ app, page: none, openWhenStuck: "no" }),
    ],
    ['cannot make an opening page with title "", wanted a heading', () => make({ app, page: none, title: "" })],
    [
      "cannot make an opening page with the option openWhenStck that does not exist, wanted openWhenStuck",
      () => make({ app, page: none, openWhenStck: true }),
    ],
  ]);
});

describe("b24jssdk()", () => {
  const B24OAuth = class {};
  const make = (options: object): unknown => b24jssdk({ B24OAuth, ...options } as never);
  refuses([
    ["cannot use the SDK with configure 1, wanted a function", () => make({ configure: 1 })],
    ["cannot use the SDK with answerBytes 0, wanted a number from 1", () => make({ answerBytes: 0 })],
    ["cannot use the SDK with answerContainers NaN, wanted a number from 1", () => make({ answerContainers: NaN })],
    [
      "cannot use the SDK with the option configur that does not exist, wanted configure",
      () => make({ configur: none }),
    ],
  ]);
});
