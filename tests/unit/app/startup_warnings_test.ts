import assert from "node:assert/strict";
import { encrypted, memoryStorage, type Storage } from "@b24/onappupdate";
import type { StorageCapabilities } from "@b24/onappupdate/storage";
import { assertEnvironment, defaultCloseMs, startupWarnings } from "../../../src/app/startup_warnings.ts";
import { type RuntimeEnvironment, threadsChannel } from "../../../src/net/runtime.ts";
import { post, rig } from "../../support/app.ts";
import { describe, it } from "../../support/test.ts";
import { until } from "../../support/until.ts";

const MEMORY: StorageCapabilities = { durable: false, scope: "process" };
const FILE: StorageCapabilities = { durable: true, scope: "host" };
const SHARED: StorageCapabilities = { durable: true, scope: "network" };

const USUAL: RuntimeEnvironment = {
  variable: () => undefined,
  isWorker: false,
  isCloudflareWorker: false,
  mayConnect: () => true,
  permissions: () => undefined,
};

function storageOf(capabilities: StorageCapabilities): Storage {
  return { ...memoryStorage(), name: "mine", capabilities };
}

/** Returns the warnings as `event` or `event: environment`. */
function warned(capabilities: StorageCapabilities, variables: Record<string, string> = {}, isWorker = false): string[] {
  const variable = (name: string): string | undefined => variables[name];
  const app = {
    storage: storageOf(capabilities),
    canRefresh: true,
    handlers: new Map(),
    oauthHosts: [],
    dev: undefined,
  };
  return startupWarnings(app, { ...USUAL, variable, isWorker }).map(({ fields }) => {
    assert.equal(fields["storage"], "mine");
    return [fields["event"], fields["environment"]].filter(Boolean).join(": ");
  });
}

describe("startupWarnings()", () => {
  const environments: readonly (readonly [variables: Record<string, string>, name: string, losesFiles: boolean])[] = [
    [{ DENO_DEPLOYMENT_ID: "k2x9" }, "Deno Deploy", true],
    [{ AWS_LAMBDA_FUNCTION_NAME: "b24" }, "AWS Lambda", true],
    [{ K_SERVICE: "b24" }, "Cloud Run", true],
    [{ K_SERVICE: "b24", KUBERNETES_SERVICE_HOST: "10.0.0.1" }, "Cloud Run", true],
    [{ DYNO: "web.1" }, "Heroku", true],
    [{ KUBERNETES_SERVICE_HOST: "10.0.0.1" }, "Kubernetes", false],
    [{ K_SERVICE: "", NODE_APP_INSTANCE: "1" }, "one of several processes on this host", false],
  ];
  for (const [variables, name, losesFiles] of environments) {
    const set = Object.entries(variables).map((variable) => variable.join("=")).join(" and ");
    it(`recognizes ${name} by ${set}, and warns of storages that do not fit`, () => {
      assert.deepEqual(warned(MEMORY, variables), [`storage.not_shared: ${name}`]);
      assert.deepEqual(warned(FILE, variables), [
        ...(losesFiles ? [`storage.not_persistent: ${name}`] : []),
        "storage.not_encrypted",
      ]);
      assert.deepEqual(
        warned({ ...FILE, encrypted: true }, variables),
        losesFiles ? [`storage.not_persistent: ${name}`] : [],
      );
      assert.deepEqual(warned({ ...SHARED, encrypted: true }, variables), []);
    });
  }

  it("recognizes a worker of node:cluster", () => {
    assert.deepEqual(warned(MEMORY, {}, true), ["storage.not_shared: one of several processes on this host"]);
    assert.deepEqual(warned({ ...FILE, encrypted: true }, {}, true), []);
  });

  it("treats the first process of PM2 as the only one", () => {
    for (const number of ["0", ""]) assert.deepEqual(warned(MEMORY, { NODE_APP_INSTANCE: number }), []);
  });

  it("does not warn of a process-wide storage if nothing indicates several processes", () => {
    assert.deepEqual(warned(MEMORY), []);
  });

  it("warns of every storage that is durable or shared, and not encrypted", () => {
    assert.deepEqual(warned(FILE), ["storage.not_encrypted"]);
    assert.deepEqual(warned(SHARED), ["storage.not_encrypted"]);
    assert.deepEqual(warned({ ...MEMORY, durable: true }), ["storage.not_encrypted"]);
    assert.deepEqual(warned({ ...SHARED, durable: false }), ["storage.not_encrypted"]);
    assert.deepEqual(warned({ ...SHARED, encrypted: false }), ["storage.not_encrypted"]);
    assert.deepEqual(warned({ ...SHARED, encrypted: true }), []);
  });
});

describe("startupWarnings() of permissions", () => {
  const app = (...oauthHosts: string[]) => ({
    ...{ storage: storageOf(MEMORY), canRefresh: true, handlers: new Map() },
    oauthHosts,
    dev: undefined,
  });
  const denied = (...hosts: string[]): RuntimeEnvironment => ({
    ...USUAL,
    mayConnect: (host) => !hosts.includes(host),
  });

  it("names the OAuth hosts that are needed, and those that are missing", () => {
    const hosts = ["https://oauth.bitrix24.tech", "https://oauth.bitrix.info", "http://localhost:8080"];
    const [warning, ...others] = startupWarnings(app(...hosts), denied("oauth.bitrix.info:443", "localhost:8080"));
    const { hint, ...fields } = warning!.fields;
    assert.deepEqual(fields, {
      event: "permission.missing",
      needed: ["oauth.bitrix24.tech:443", "oauth.bitrix.info:443", "localhost:8080"],
      missing: ["oauth.bitrix.info:443", "localhost:8080"],
    });
    assert.match(String(hint), /--allow-net=oauth\.bitrix24\.tech:443,oauth\.bitrix\.info:443,localhost:8080 /);
    assert.deepEqual(others, []);
    assert.deepEqual(startupWarnings(app(...hosts), denied()), []);
    assert.deepEqual(startupWarnings(app(), denied("oauth.bitrix.info:443")), []);
  });
});

describe("assertEnvironment()", () => {
  it("refuses Cloudflare Workers with the reason, and no other environment", async () => {
    const refusal = {
      name: "TypeError",
      message: /^cannot run on Cloudflare Workers: .*would never run; wanted Node, Deno/,
    };
    assert.throws(() => assertEnvironment({ ...USUAL, isCloudflareWorker: true }), refusal);
    assertEnvironment(USUAL);
    const own = Object.getOwnPropertyDescriptor(globalThis, "navigator")!;
    Object.defineProperty(globalThis, "navigator", { configurable: true, value: { userAgent: "Cloudflare-Workers" } });
    try {
      const { app, send, portal, lines } = rig();
      await assert.rejects(app.start(), refusal);
      assert.equal(await send(portal.install(1)), 503);
      assert(lines.some((line) => line.includes("app.start_failed") && line.includes("Cloudflare Workers")));
      await app.close();
    } finally {
      Object.defineProperty(globalThis, "navigator", own);
    }
  });
});

describe("app.start()", () => {
  it("warns once of other threads of the process that run the program, if the storage is in memory", async () => {
    const other = new BroadcastChannel(threadsChannel());
    const heard: unknown[] = [];
    other.onmessage = ({ data }) => void heard.push(data);
    try {
      for (const [storage, warnings] of [[memoryStorage(), 1], [storageOf(FILE), 0]] as const) {
        heard.length = 0;
        const { app, lines } = rig({ storage });
        await app.start();
        if (warnings > 0) await until("the greeting", () => heard.length > 0);
        for (let i = 0; i < 3; i++) other.postMessage("another thread");
        if (warnings > 0) await until("the answer", () => heard.length > 1);
        const found = lines.map((line) => JSON.parse(line)).filter(({ event }) => event === "storage.not_shared");
        assert.deepEqual(
          found.map(({ environment }) => environment),
          Array(warnings).fill("one of several threads of this process"),
        );
        await app.close();
      }
    } finally {
      other.close();
    }
  });

  it("warns of a missing clientSecret, and says what cannot be done without it", async () => {
    const missing = (lines: readonly string[]) =>
      lines.map((line) => JSON.parse(line)).filter(({ event }) => event === "client_secret.missing");
    const without = rig();
    await without.app.start();
    const [line, ...others] = missing(without.lines);
    assert.deepEqual([line.level, others], ["warn", []]);
    assert.match(line.hint, /can be neither called nor checked.*removal is believed.*clientSecret/);
    const complete = rig({ clientSecret: "secret-0123456789" });
    await complete.app.start();
    assert.deepEqual(missing(complete.lines), []);
    await Promise.all([without.app.close(), complete.app.close()]);
  });

  const unencrypted = (lines: readonly string[]): string[] =>
    lines.filter((line) => line.includes("storage.not_encrypted"));

  it("warns once of a storage that is not encrypted", async () => {
    const { app, lines, send, portal } = rig({ storage: storageOf(FILE) });
    assert.deepEqual(unencrypted(lines), []);
    await Promise.all([app.start(), app.start()]);
    await app.tick();
    assert.equal(await send(portal.install(1)), 200);
    assert.deepEqual(unencrypted(lines).map((line) => JSON.parse(line)), [{
      level: "warn",
      message: "storage is not encrypted",
      storage: "mine",
      event: "storage.not_encrypted",
      hint: "anyone who can read the storage can read OAuth tokens: wrap it in encrypted() of this package",
    }]);
    await app.close();
  });

  it("warns at the first request of an app that was not started before", async () => {
    const { app, lines } = rig({ storage: storageOf(FILE) });
    await app.fetch(post(""));
    assert.equal(unencrypted(lines).length, 1);
    await app.close();
  });

  it("does not warn while the app is only set up, as the command line does", async () => {
    const { app, lines } = rig({ storage: storageOf(FILE) });
    await app.setUp();
    assert.deepEqual(lines, []);
    await app.start();
    assert.equal(unencrypted(lines).length, 1);
    await app.close();
  });

  it("does not warn of an encrypted storage", async () => {
    const storage = encrypted(storageOf(FILE), { keys: { a: new Uint8Array(32) }, current: "a" });
    const { app, lines } = rig({ storage });
    await app.start();
    assert.deepEqual(unencrypted(lines), []);
    await app.close();
  });
});

describe("defaultCloseMs()", () => {
  it("is 5 seconds, and 3 on Deno Deploy", () => {
    const on = (name: string): RuntimeEnvironment => ({
      ...USUAL,
      variable: (asked) => asked === name ? "x" : undefined,
    });
    assert.equal(defaultCloseMs(on("NONE")), 5000);
    assert.equal(defaultCloseMs(on("KUBERNETES_SERVICE_HOST")), 5000);
    assert.equal(defaultCloseMs(on("DENO_DEPLOYMENT_ID")), 3000);
  });
});
