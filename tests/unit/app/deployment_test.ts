import assert from "node:assert/strict";
import { type AppOptions, createApp, memoryStorage, type Storage } from "@b24/onappupdate";
import { OnAppUpdateError } from "@b24/onappupdate/errors";
import { faultyStorage } from "@b24/onappupdate/testing";
import { assertDeployment, type DeploymentOptions } from "../../../src/app/deployment.ts";
import { APP } from "../../../src/portal/keys.ts";
import { quietLogger, recordingLogger, trustAll } from "../../support/app.ts";
import { describe, it } from "../../support/test.ts";

/** Starts an app, and closes it. Resolves to the error of its start. */
async function start(storage: Storage, options: Partial<AppOptions>): Promise<string | undefined> {
  const app = createApp({ storage, logger: quietLogger, tickEveryMs: false, ...options }).use(trustAll);
  try {
    await app.start();
    return undefined;
  } catch (error) {
    assert(error instanceof OnAppUpdateError);
    return `${error.code}: ${error.message}`;
  } finally {
    await app.close();
  }
}

describe("a storage belongs to the app that starts on it first", () => {
  it("which stores its client_id and environment, and may start again", async () => {
    const storage = memoryStorage();
    assert.equal(await start(storage, { clientId: "app.1" }), undefined);
    assert.deepEqual((await storage.get(APP))?.value, { format: 1, environment: "production", clientId: "app.1" });
    assert.equal(await start(storage, { clientId: "app.1" }), undefined);
    assert.equal(await start(storage, {}), undefined);
  });

  it("and refuses another client_id or environment, unless allowOther says so", async () => {
    const storage = memoryStorage();
    await start(storage, { clientId: "app.1" });
    const other = await start(storage, { clientId: "app.2" });
    assert.match(other!, /^other_deployment: cannot start the app: it is production of app.2, and the storage memory/);
    assert.match(other!, /belongs to production of app.1; give it a prefix .* or set allowOther: true$/);
    assert.match((await start(storage, { environment: "staging" }))!, /it is staging, and/);
    assert.match((await start(storage, { preview: true }))!, /it is preview, and/);
    assert.equal(await start(storage, { clientId: "app.2", allowOther: true }), undefined);
    assert.deepEqual((await storage.get(APP))?.value, { format: 1, environment: "production", clientId: "app.1" });
  });

  it("and starts during an outage, with a warning", async () => {
    const storage = faultyStorage(memoryStorage(), { unavailable: 1 }, 1);
    const { logger, lines } = recordingLogger();
    assert.equal(await start(storage, { logger }), undefined);
    assert.equal(lines.filter((line) => line.includes("deployment.check_failed")).length, 1);
  });

  it("and starts if the storage throws any other error, which is logged without secrets", async () => {
    const get = (): Promise<never> => Promise.reject(new TypeError("https://user:secret@host is down"));
    const { logger, lines } = recordingLogger();
    assert.equal(await start({ ...memoryStorage(), get }, { logger }), undefined);
    const warnings = lines.filter((line) => line.includes("deployment.check_failed"));
    assert.equal(warnings.length, 1);
    // Nor is it in the lines of what else failed.
    assert.doesNotMatch(lines.join(), /secret@/);
  });

  it("but is not taken by an app with allowOther", async () => {
    const storage = memoryStorage();
    await start(storage, { clientId: "app.2", allowOther: true });
    assert.equal(await storage.get(APP), null);
  });
});

describe("assertDeployment() of a preview deployment", () => {
  const shared = (): Storage => {
    const memory = memoryStorage();
    return { ...memory, name: "redis", capabilities: { ...memory.capabilities, scope: "network" } };
  };
  const check = async (
    storage: Storage,
    options: DeploymentOptions,
    variables: Readonly<Record<string, string>>,
  ): Promise<string | undefined> => {
    const surroundings = { variable: (name: string): string | undefined => variables[name] };
    return await assertDeployment({ storage, log: quietLogger }, options, surroundings).then(
      () => undefined,
      (error) => error.message,
    );
  };
  const branch = { DENO_TIMELINE: "git-branch/main" };

  it("refuses a shared storage, unless the app says preview: true", async () => {
    for (const variables of [branch, { DENO_TIMELINE: "preview/k2x9" }, { VERCEL_ENV: "preview" }]) {
      const message = await check(shared(), {}, variables);
      assert.match(message!, /it is a preview deployment \(.*\) on the storage redis, .*; set preview: true, and give/);
      assert.equal(await check(shared(), { preview: true }, variables), undefined);
    }
    assert.equal(await check(memoryStorage(), {}, branch), undefined);
    assert.equal(await check(shared(), {}, { DENO_TIMELINE: "production" }), undefined);
    assert.equal(await check(shared(), {}, { VERCEL_ENV: "development" }), undefined);
  });

  it("refuses the storage of production also then: it has no prefix of its own", async () => {
    const storage = shared();
    assert.equal(await check(storage, {}, {}), undefined);
    assert.match((await check(storage, { preview: true }, branch))!, /it is git-branch\/main, and the storage redis/);
  });
});
