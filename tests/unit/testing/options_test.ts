import assert from "node:assert/strict";
import { createApp, memoryStorage } from "@b24/onappupdate";
import {
  crashEverywhere,
  type FakeBitrix24,
  fakeBitrix24,
  type FakePortal,
  type Faults,
  faultyStorage,
  storageConformance,
} from "@b24/onappupdate/testing";
import { startWorker } from "../../../src/testing/storage/worker.ts";
import { MEMBER_ID } from "../../support/app.ts";
import { type Mistake, none, refuses } from "../../support/refusals.ts";
import { describe, it } from "../../support/test.ts";

describe("fakeBitrix24()", () => {
  const make = (options: object): unknown => fakeBitrix24({ clientId: "app.1", ...options });
  const cannot = "cannot create a fake Bitrix24 with";
  const LIMIT = { perSecond: 2, bucket: 50 };
  refuses([
    [`${cannot} clientId undefined, wanted the client_id of the app`, () => make({ clientId: undefined })],
    // A secret is not shown.
    [
      `${cannot} clientSecret a number, wanted the client_secret of the app, or no clientSecret`,
      () => make({ clientSecret: 7 }),
    ],
    [
      `${cannot} clientSecret an empty string, wanted the client_secret of the app, or no clientSecret`,
      () => make({ clientSecret: "" }),
    ],
    [
      `${cannot} oauthHost "oauth.example", wanted an address such as "https://oauth.bitrix24.tech"`,
      () => make({ oauthHost: "oauth.example" }),
    ],
    [
      `${cannot} oauthHost "ftp://oauth.example", wanted an address such as "https://oauth.bitrix24.tech"`,
      () => make({ oauthHost: "ftp://oauth.example" }),
    ],
    [`${cannot} clock 0, wanted a function`, () => make({ clock: 0 })],
    [`${cannot} accessTokenSeconds 0, wanted a number from 1`, () => make({ accessTokenSeconds: 0 })],
    [
      `${cannot} rateLimit.perSecond -1, wanted a number from 0`,
      () => make({ rateLimit: { ...LIMIT, perSecond: -1 } }),
    ],
    [`${cannot} rateLimit.bucket undefined, wanted a number from 1`, () => make({ rateLimit: { perSecond: 2 } })],
    [
      `${cannot} the option rateLimit.burst that does not exist, wanted bucket`,
      () => make({ rateLimit: { ...LIMIT, burst: 1 } }),
    ],
    [`${cannot} handler "app", wanted the fetch of an app, or its URL`, () => make({ handler: "app" })],
    [`${cannot} handler an object, wanted the fetch of an app, or its URL`, () => make({ handler: { fetch: none } })],
    [`${cannot} the option clientID that does not exist, wanted clientId`, () => make({ clientID: "app.2" })],
    [
      'cannot deliver events with handler "app", wanted the fetch of an app, or its URL',
      () => fakeBitrix24({ clientId: "app.1" }).deliverTo("app"),
    ],
    [
      'cannot start an outage with kind "dwon", wanted "down" or "hanging"',
      () => fakeBitrix24({ clientId: "app.1" }).outage("dwon" as never),
    ],
    [
      "cannot delay reports with ms -1, wanted a number from 0",
      () => fakeBitrix24({ clientId: "app.1" }).lag(-1),
    ],
  ]);
  it("accepts a function, a string and a URL as receivers", () => {
    for (const handler of [none, "http://127.0.0.1/", new URL("http://127.0.0.1/")]) make({ handler });
  });
});

describe("a portal of fakeBitrix24()", () => {
  const make = (options: object): unknown =>
    fakeBitrix24({ clientId: "app.1" }).portal({ memberId: MEMBER_ID, ...options });
  const cannot = "cannot create a portal with";
  refuses([
    [`${cannot} memberId undefined, wanted 32 hexadecimal digits`, () => make({ memberId: undefined })],
    [`${cannot} memberId "a223", wanted 32 hexadecimal digits`, () => make({ memberId: "a223" })],
    [`${cannot} domain "", wanted a host name`, () => make({ domain: "" })],
    [`${cannot} clientId 1, wanted the client_id of an app`, () => make({ clientId: 1 })],
    [`${cannot} ts 0.5, wanted a whole number from 0`, () => make({ ts: 0.5 })],
    [`${cannot} scope "crm", wanted a list of scopes`, () => make({ scope: "crm" })],
    [`${cannot} scope.0 1, wanted a scope`, () => make({ scope: [1] })],
    [`${cannot} rateLimit.bucket 0, wanted a number from 1`, () => make({ rateLimit: { perSecond: 2, bucket: 0 } })],
    [`${cannot} the option scopes that does not exist, wanted scope`, () => make({ scopes: ["crm"] })],
  ]);
});

describe("the functions of a fake portal", () => {
  type Call = (portal: FakePortal, options: never) => unknown;
  const EVENT: readonly (readonly [options: object, problem: string])[] = [
    [{ tokenless: 1 }, "tokenless 1, wanted true or false"],
    [{ userId: 0 }, "userId 0, wanted a whole number from 1"],
  ];
  const INSTALL: typeof EVENT = [
    ...EVENT,
    [{ finished: "no" }, 'finished "no", wanted true or false'],
    [{ wizard: 1 }, "wizard 1, wanted true or false"],
    [{ finish: true }, "the option finish that does not exist, wanted finished"],
  ];
  const UPDATE: typeof EVENT = [
    ...EVENT,
    [{ rotateToken: 1 }, "rotateToken 1, wanted true or false"],
    [{ dropRegistrations: "all" }, 'dropRegistrations "all", wanted true or false or "bizproc"'],
    [{ as: "ONAPPTEST" }, 'as "ONAPPTEST", wanted "ONAPPUPDATE" or "ONAPPINSTALL"'],
    [{ wizard: 1 }, "wizard 1, wanted true or false"],
    [{ rotateTokens: true }, "the option rotateTokens that does not exist, wanted rotateToken"],
  ];
  const UNINSTALL: typeof EVENT = [
    [{ clean: "Y" }, 'clean "Y", wanted true or false'],
    [{ claen: false }, "the option claen that does not exist, wanted clean"],
  ];
  const USER_READY: typeof EVENT = [
    [{ userId: "7" }, 'userId "7", wanted a whole number from 1'],
    [{ admin: 1 }, "admin 1, wanted true or false"],
    [{ installer: 0 }, "installer 0, wanted a whole number from 1"],
    [{ isAdmin: true }, "the option isAdmin that does not exist, wanted admin"],
  ];
  const DELIVERY: typeof EVENT = [
    [{ lose: 1 }, "lose 1, wanted true or false"],
    [{ duplicate: true }, "duplicate true, wanted a whole number from 0"],
    [{ duplicate: -1 }, "duplicate -1, wanted a whole number from 0"],
    [{ reorder: "later" }, 'reorder "later", wanted true or false'],
    [{ duplicates: 1 }, "the option duplicates that does not exist, wanted duplicate"],
  ];
  const FAULTS: typeof EVENT = [
    [{ times: 0 }, "times 0, wanted a number from 1"],
    [{ method: "" }, 'method "", wanted the name of a method'],
    [{ at: "oauth2" }, 'at "oauth2", wanted "portal" or "oauth"'],
    [{ after: "answer" }, 'after "answer", wanted "effect"'],
    [{ methods: "profile" }, "the option methods that does not exist, wanted method"],
  ];
  const FAILS: typeof EVENT = [
    ...FAULTS,
    [{ status: 42 }, "status 42, wanted a whole number from 200 to 599"],
    [{ description: 1 }, "description 1, wanted a string"],
    [{ resetAt: "soon" }, 'resetAt "soon", wanted a number from 0'],
  ];
  const sends = "cannot send an event";
  const CALLS: readonly (readonly [name: string, cannot: string, mistakes: typeof EVENT, call: Call])[] = [
    ["install", "cannot install the app", INSTALL, (portal, options) => portal.install(2, options)],
    ["update", "cannot update the app", UPDATE, (portal, options) => portal.update(2, options)],
    ["uninstall", "cannot uninstall the app", UNINSTALL, (portal, options) => portal.uninstall(options)],
    ["userReady", "cannot create the user of the app", USER_READY, (portal, options) => portal.userReady(options)],
    ["event", "cannot create an event", EVENT, (portal, options) => portal.event("ONCRMDEALADD", {}, options)],
    ["send", sends, DELIVERY, (portal, options) => portal.send("event=ONAPPTEST", options)],
    ["sends.install", sends, [...INSTALL, ...DELIVERY], (portal, options) => portal.sends.install(2, options)],
    ["sends.installFinish", sends, DELIVERY, (portal, options) => portal.sends.installFinish(options)],
    ["sends.update", sends, [...UPDATE, ...DELIVERY], (portal, options) => portal.sends.update(2, options)],
    ["sends.uninstall", sends, [...UNINSTALL, ...DELIVERY], (portal, options) => portal.sends.uninstall(options)],
    ["sends.stopPayment", sends, DELIVERY, (portal, options) => portal.sends.stopPayment(options)],
    ["sends.pay", sends, DELIVERY, (portal, options) => portal.sends.pay(options)],
    ["sends.userReady", sends, [...USER_READY, ...DELIVERY], (portal, options) => portal.sends.userReady(options)],
    [
      "sends.event",
      sends,
      [...EVENT, ...DELIVERY],
      (portal, options) => portal.sends.event("ONCRMDEALADD", {}, options),
    ],
    ["fail", "cannot make calls fail", FAILS, (portal, options) => portal.fail("ERROR_CORE", options)],
    ["lose", "cannot lose answers", FAULTS, (portal, options) => portal.lose(options)],
    ["open", "cannot open the app", [
      [{ userId: 0 }, "userId 0, wanted a whole number from 1"],
      [{ admin: 1 }, "admin 1, wanted true or false"],
      [{ url: "/app" }, 'url "/app", wanted the address of the app\'s page'],
      [{ placement: "" }, 'placement "", wanted the code of a placement'],
      [{ placementOptions: "ID=1" }, 'placementOptions "ID=1", wanted an object'],
      [{ language: 1 }, "language 1, wanted a language"],
      [{ lang: "de" }, "the option lang that does not exist, wanted language"],
    ], (portal, options) => portal.open(options)],
    ["forge", "cannot forge an event", [
      // Tokens are not shown.
      [{ applicationToken: ["f"] }, "applicationToken a list, wanted an application_token"],
      [{ tokens: "abc" }, "tokens a string, wanted a token pair with accessToken"],
      [{ tokens: { accesToken: "abc" } }, "tokens an object, wanted a token pair with accessToken"],
      [{ ts: "now" }, 'ts "now", wanted a number from 0'],
      [{ auth: { user_id: 7 } }, "auth an object, wanted an object with fields of auth, which are strings"],
      [{ token: "f" }, "the option token that does not exist, wanted tokens"],
    ], (portal, options) => portal.forge("ONAPPUPDATE", {}, options)],
    ["expireTokens", "cannot expire tokens", [
      [{ refresh: 1 }, "refresh 1, wanted true or false"],
      [{ refersh: true }, "the option refersh that does not exist, wanted refresh"],
    ], (portal, options) => portal.expireTokens(options)],
    ["user", "cannot change user 7", [
      [{ admin: "Y" }, 'admin "Y", wanted true or false'],
      [{ name: "" }, 'name "", wanted a name'],
      [{ active: 0 }, "active 0, wanted true or false"],
      [{ isActive: false }, "the option isActive that does not exist, wanted active"],
    ], (portal, options) => portal.user(7, options)],
    ["answer", "cannot replace profile", [
      [{ at: "host" }, 'at "host", wanted "portal" or "oauth"'],
      [{ on: "oauth" }, "the option on that does not exist, wanted at"],
    ], (portal, options) => portal.answer("profile", none, options)],
    ["data", "cannot add crm.item.list", [
      [{ key: 1 }, "key 1, wanted a field of the result"],
      [{ keys: "items" }, "the option keys that does not exist, wanted key"],
    ], (portal, options) => portal.data("crm.item.list", [], options)],
    ["dropRegistrations", "cannot drop registrations", [
      ["robots" as never, 'which "robots", wanted "all" or "bizproc"'],
    ], (portal, which) => portal.dropRegistrations(which)],
  ];

  function made(): { readonly bitrix24: FakeBitrix24; readonly portal: FakePortal } {
    const bitrix24 = fakeBitrix24({ clientId: "app.1", handler: none });
    const portal = bitrix24.portal({ memberId: MEMBER_ID });
    portal.install(1);
    return { bitrix24, portal };
  }

  for (const [name, cannot, mistakes, call] of CALLS) {
    it(`${name} refuses mistakes in its options, and changes nothing`, async () => {
      for (const [options, problem] of mistakes) {
        const { bitrix24, portal } = made();
        const before = portal.state();
        const message = `${cannot} with ${problem}`;
        await assert.rejects(async () => await call(portal, options as never), { name: "TypeError", message });
        assert.deepEqual(portal.state(), before);
        assert.deepEqual(bitrix24.events(), []);
      }
    });
  }

  it("fail and lose of all portals check their options too", () => {
    const { bitrix24 } = made();
    const message = "cannot make calls fail with the option time that does not exist, wanted times";
    assert.throws(() => bitrix24.fail("ERROR_CORE", { time: 2 } as never), { name: "TypeError", message });
    assert.throws(() => bitrix24.lose({ times: -1 }), { name: "TypeError", message: /with times -1, wanted/ });
  });

  it("forge takes the tokens of another portal as tokens() returns them", () => {
    const { portal } = made();
    const tokens = portal.tokens();
    assert.match(portal.forge("ONAPPUPDATE", {}, { tokens }), new RegExp(tokens.accessToken));
  });
});

describe("faultyStorage()", () => {
  const make = (faults: object): unknown => faultyStorage(memoryStorage(), faults, 1);
  const cannot = "cannot inject faults with";
  refuses([
    [
      `${cannot} storage undefined, wanted a storage, such as memoryStorage()`,
      () => faultyStorage(undefined as never, {}, 1),
    ],
    [`${cannot} seed "1", wanted an integer`, () => faultyStorage(memoryStorage(), {}, "1" as never)],
    ...["unavailable", "lostReply", "interrupted", "full"].flatMap((name): readonly Mistake[] =>
      [1.5, -1, NaN, true].map((value) => [
        `${cannot} faults.${name} ${value}, wanted a number from 0 to 1`,
        () => make({ [name]: value }),
      ])
    ),
    [`${cannot} faults.loseReplies -1, wanted a number from 0`, () => make({ loseReplies: -1 })],
    [`${cannot} faults.delayMs -1, wanted a number from 0 to 2147483647`, () => make({ delayMs: -1 })],
    [`${cannot} faults.delayMs.0 -1, wanted a number from 0 to 2147483647`, () => make({ delayMs: [-1, 2] })],
    [`${cannot} faults.delayMs [2,1], wanted [min, max]`, () => make({ delayMs: [2, 1] })],
    [`${cannot} faults.delayMs [5], wanted [min, max]`, () => make({ delayMs: [5] })],
    [`${cannot} the option faults.unavailble that does not exist, wanted unavailable`, () => make({ unavailble: 1 })],
  ]);

  it("refuses a call if a fault has been changed to a mistake", async () => {
    const faults: Faults = {};
    const memory = memoryStorage();
    const storage = faultyStorage(memory, faults, 1);
    await storage.put(["key"], 1);
    Object.assign(faults, { lostReplies: 1 });
    await assert.rejects(storage.put(["key"], 2), {
      name: "TypeError",
      message: "cannot put into memory with the option lostReplies that does not exist, wanted loseReplies",
    });
    assert.equal((await memory.get(["key"]))?.value, 1);
  });
});

describe("crashEverywhere()", () => {
  const run = (options: object): unknown => crashEverywhere({ app: createApp, events: [], ...options } as never);
  const cannot = "cannot crash an app with";
  refuses([
    [`${cannot} app undefined, wanted a function that creates the app`, () => run({ app: undefined })],
    [`${cannot} events undefined, wanted the bodies of events`, () => run({ events: undefined })],
    [`${cannot} events.0 an object, wanted a body, or a function that creates it`, () => run({ events: [{}] })],
    [`${cannot} fetch 1, wanted a function`, () => run({ fetch: 1 })],
    [`${cannot} reset 1, wanted a function`, () => run({ reset: 1 })],
    [`${cannot} check 1, wanted a function`, () => run({ check: 1 })],
    [`${cannot} atomicWrites "no", wanted true or false`, () => run({ atomicWrites: "no" })],
    [`${cannot} pairs NaN, wanted a number from 0`, () => run({ pairs: NaN })],
    [`${cannot} the option pair that does not exist, wanted pairs`, () => run({ pair: 10 })],
  ]);
});

describe("storageConformance()", () => {
  const VALID = { name: "memory", test: none, create: none, clock: "injected" };
  const run = (options: object): unknown => storageConformance({ ...VALID, ...options } as never);
  const cannot = "cannot test a storage with";
  const backend = { of: none, can: ["stop"] };
  const CAN = '"stop" or "start" or "delay" or "loseReply" or "fill" or "drain"';
  refuses([
    [`${cannot} name "", wanted the name of the storage`, () => run({ name: "" })],
    [`${cannot} test undefined, wanted the test function of the runner`, () => run({ test: undefined })],
    [`${cannot} create undefined, wanted a function that creates a storage`, () => run({ create: undefined })],
    [`${cannot} clock undefined, wanted "injected" or "real"`, () => run({ clock: undefined })],
    [`${cannot} clock "fake", wanted "injected" or "real"`, () => run({ clock: "fake" })],
    [`${cannot} dispose 1, wanted a function`, () => run({ dispose: 1 })],
    [`${cannot} worker 1, wanted a function that returns the command of a worker, or false`, () => run({ worker: 1 })],
    [
      `${cannot} backend.of undefined, wanted a function that returns the backend of a storage`,
      () => run({ backend: { can: [] } }),
    ],
    [
      `${cannot} backend.can "stop", wanted the members of the backend`,
      () => run({ backend: { ...backend, can: "stop" } }),
    ],
    [`${cannot} backend.can.0 "kill", wanted ${CAN}`, () => run({ backend: { ...backend, can: ["kill"] } })],
    [
      `${cannot} the option backend.cna that does not exist, wanted can`,
      () => run({ backend: { ...backend, cna: [] } }),
    ],
    [`${cannot} faultTimeoutMs 0, wanted a number from 1 to 2147483647`, () => run({ faultTimeoutMs: 0 })],
    [`${cannot} the option faultTimeout that does not exist, wanted faultTimeoutMs`, () => run({ faultTimeout: 5 })],
    ["cannot start a worker with command undefined, wanted the path of a program", () => startWorker({} as never)],
    [
      'cannot start a worker with args "a", wanted a list of arguments',
      () => startWorker({ command: "none", args: "a" as never }),
    ],
    [
      "cannot start a worker with args.0 1, wanted a string",
      () => startWorker({ command: "none", args: [1 as never] }),
    ],
    [
      "cannot start a worker with env 1, wanted an object with environment variables",
      () => startWorker({ command: "none", env: 1 as never }),
    ],
    [
      "cannot start a worker with the option arg that does not exist, wanted args",
      () => startWorker({ command: "none", arg: [] } as never),
    ],
  ]);
});
