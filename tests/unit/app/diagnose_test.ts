import assert from "node:assert/strict";
import { createApp, type Finding, memoryStorage } from "@b24/onappupdate";
import { StorageError } from "@b24/onappupdate/errors";
import { createDiagnose, type DiagnoseOptions } from "../../../src/app/diagnose.ts";
import type { RuntimeEnvironment } from "../../../src/net/runtime.ts";
import type { AppRuntime } from "../../../src/plugin/runtime.ts";
import { quietLogger, trustAll } from "../../support/app.ts";
import { describe, it } from "../../support/test.ts";
import { virtualTime } from "../../support/time.ts";

const NOW = 1_785_400_000_000;
const ENVIRONMENT: RuntimeEnvironment = {
  ...{ variable: () => undefined, isWorker: false, isCloudflareWorker: false, mayConnect: () => true },
  permissions: () => undefined,
};

function optionsOf(more: Partial<DiagnoseOptions> = {}, storage = memoryStorage()): DiagnoseOptions {
  const runtime = {
    ...{ storage, time: virtualTime(), clock: () => NOW, plugins: [], versions: { name: "coerced()" } },
    signal: new AbortController().signal,
  };
  return {
    // The parts that a diagnosis reads.
    runtime: runtime as unknown as AppRuntime,
    ...{ fetch: () => Promise.resolve(new Response("")), oauthHosts: ["https://oauth.example"], dev: undefined },
    ...{
      warnings: () => [],
      isRunning: () => true,
      isInert: () => false,
      tickEveryMs: false,
      tickedAt: () => undefined,
    },
    environment: ENVIRONMENT,
    ...more,
  };
}

async function findings(more: Partial<DiagnoseOptions> = {}, storage = memoryStorage()): Promise<readonly Finding[]> {
  return (await createDiagnose(optionsOf(more, storage))()).findings;
}

async function finding(about: string, more: Partial<DiagnoseOptions> = {}): Promise<Finding | undefined> {
  return (await findings(more)).find((one) => one.about === about);
}

describe("createDiagnose()", () => {
  const clocks: readonly (readonly [aheadMs: number, Finding])[] = [
    [0, { level: "ok", about: "clock", message: "as that of Bitrix24" }],
    [60_000, { level: "ok", about: "clock", message: "as that of Bitrix24" }],
    [61_000, {
      ...{ level: "problem", about: "clock", message: "61 s ahead of that of Bitrix24" },
      todo: "synchronize it (NTP): tokens expire by it",
    }],
    [-300_000, {
      ...{ level: "problem", about: "clock", message: "300 s behind that of Bitrix24" },
      todo: "synchronize it (NTP): tokens expire by it",
    }],
  ];
  for (const [ahead, expected] of clocks) {
    it(`compares a clock that is ${ahead} ms ahead with that of the OAuth host`, async () => {
      const headers = { date: new Date(NOW - ahead).toUTCString() };
      const fetch = () => Promise.resolve(new Response("", { status: 404, headers }));
      assert.deepEqual(await finding("clock", { fetch }), expected);
      assert.equal((await finding("host oauth.example", { fetch }))?.level, "ok");
    });
  }

  it("says nothing about the clock if no host sends a date", async () => {
    assert.equal(await finding("clock"), undefined);
  });

  it("sends each OAuth host one request, without a token and without following redirects", async () => {
    const asked: (readonly [string, RequestInit | undefined])[] = [];
    const fetch: typeof globalThis.fetch = (url, init) => {
      asked.push([String(url), init]);
      return Promise.resolve(new Response(""));
    };
    await findings({ fetch, oauthHosts: ["https://a.example", "https://b.example:8443"] });
    assert.deepEqual(asked.map(([url]) => url), ["https://a.example/rest/", "https://b.example:8443/rest/"]);
    for (const [, init] of asked) assert.deepEqual([init?.redirect, init?.headers], ["manual", undefined]);
  });

  it("returns the same result for 30 seconds, also to those who ask at the same time", async () => {
    let [now, count] = [NOW, 0];
    const fetch = () => {
      count++;
      return Promise.resolve(new Response(""));
    };
    const options = optionsOf({ fetch });
    const diagnose = createDiagnose({ ...options, runtime: { ...options.runtime, clock: () => now } });
    const [first, second] = await Promise.all([diagnose(), diagnose()]);
    assert.equal(first, second);
    now += 29_999;
    assert.equal((await diagnose()).at, NOW);
    assert.equal(count, 1);
    now += 1;
    assert.deepEqual([(await diagnose()).at, count], [NOW + 30_000, 2]);
    // A clock that is set back must not keep an old result for hours.
    now -= 3_600_000;
    assert.equal((await diagnose()).at, now);
  });

  it("does not wait longer than 5 seconds for a host", async () => {
    const options = optionsOf({ fetch: () => new Promise(() => {}) });
    const diagnosis = createDiagnose(options)();
    await (options.runtime.time as ReturnType<typeof virtualTime>).elapse(5000);
    const { message } = (await diagnosis).findings.find(({ about }) => about === "host oauth.example")!;
    assert.equal(message, "does not answer: it took longer than 5000 ms");
  });

  it("says why a host or the storage does not answer, without a token", async () => {
    const cause = new Error("getaddrinfo ENOTFOUND oauth.example");
    const fetch = () => Promise.reject(new TypeError("fetch failed", { cause }));
    assert.equal(
      (await finding("host oauth.example", { fetch }))?.message,
      "does not answer: fetch failed: getaddrinfo ENOTFOUND oauth.example",
    );
    const leaky = () => Promise.reject(new Error("GET /?access_token=0123456789abcdef0123456789abcdef"));
    assert.doesNotMatch((await finding("host oauth.example", { fetch: leaky }))!.message, /0123456789abcdef/);
    const down = { ...memoryStorage(), get: () => Promise.reject(new StorageError("connect ECONNREFUSED")) };
    const storage = (await findings({}, down)).find(({ about }) => about === "storage memory");
    assert.deepEqual([storage?.level, storage?.message], ["problem", "does not answer: connect ECONNREFUSED"]);
  });

  it("asks no host that Deno may not connect to, and lists its permissions", async () => {
    const environment: RuntimeEnvironment = {
      ...ENVIRONMENT,
      mayConnect: () => false,
      permissions: () => [
        { name: "net", state: "partial" },
        { name: "env", state: "granted" },
        { name: "read", state: "granted" },
        { name: "run", state: "withheld" },
      ],
    };
    const fetch = () => assert.fail("a request");
    const host = await finding("host oauth.example", { fetch, environment });
    assert.deepEqual([host?.level, host?.message], ["problem", "Deno may not connect to it"]);
    assert.match(host!.todo!, /--allow-net=oauth\.example:443/);
    assert.equal(
      (await finding("permissions", { fetch, environment }))?.message,
      "granted: env, read; granted but for some: net; not granted, or only for some: run",
    );
    assert.equal((await finding("permissions"))?.message, "this runtime withholds none");
  });

  it("asks the stand-in during development, and no host of Bitrix24", async () => {
    const dev = "http://127.0.0.1:4024/";
    const asked: string[] = [];
    const fetch: typeof globalThis.fetch = (url) => {
      asked.push(String(url));
      return Promise.resolve(new Response(""));
    };
    assert.deepEqual(await finding("stand-in for Bitrix24", { dev, fetch }), {
      ...{ level: "warning", about: "stand-in for Bitrix24" },
      message: "http://127.0.0.1:4024/ answers in place of Bitrix24, whose hosts and clock are not looked at",
      todo: "leave the option dev out in production",
    });
    assert.deepEqual(asked, [dev]);
    const down = await finding("stand-in for Bitrix24", { dev, fetch: () => Promise.reject(new Error("refused")) });
    assert.deepEqual([down?.level, down?.message], [
      ...["problem", "http://127.0.0.1:4024/ does not answer in place of Bitrix24: refused"],
    ]);
  });

  it("says when this process has ticked, or that it has not started the app", async () => {
    assert.equal(
      (await finding("ticks", { tickEveryMs: 30_000, tickedAt: () => NOW - 12_000 }))?.message,
      "this process ticks every 30 s: the last one ended 12 s ago",
    );
    assert.equal((await finding("ticks"))?.message, "this process ticks only when app.tick() is called: none yet");
    assert.equal((await finding("ticks", { isRunning: () => false }))?.level, "warning");
    assert.equal(await finding("ticks", { isInert: () => true }), undefined);
  });
});

describe("app.admin.diagnose()", () => {
  it("looks at the app as it is configured, and at its ticks", async () => {
    const asked: string[] = [];
    const fetch: typeof globalThis.fetch = (url) => {
      asked.push(String(url));
      return Promise.resolve(new Response(""));
    };
    let now = NOW;
    const app = createApp({
      ...{ storage: memoryStorage(), logger: quietLogger, tickEveryMs: false, clock: () => now, fetch },
      oauthHosts: ["https://oauth.example"],
    }).use(trustAll);
    const of = async (about: string): Promise<readonly string[]> =>
      (await app.admin.diagnose()).findings.filter((one) => one.about === about).map(({ message }) => message);
    assert.deepEqual(await of("ticks"), ["this process has not started the app"]);
    await app.tick();
    now += 45_000;
    assert.deepEqual(await of("ticks"), [
      "this process ticks only when app.tick() is called: the last one ended 45 s ago",
    ]);
    const [first, ...warnings] = await of("configuration");
    assert.match(first!, /^the app is set up: versions .+, plugins /);
    assert.deepEqual(warnings, ["access tokens cannot be refreshed without clientSecret"]);
    assert.deepEqual(asked, ["https://oauth.example/rest/", "https://oauth.example/rest/"]);
    await app.close();
  });
});
