import assert from "node:assert/strict";
import { type App, createApp, memoryStorage } from "@b24/onappupdate";
import type { Storage } from "@b24/onappupdate/storage";
import { MEMBER_ID, post, quietLogger, trustAll } from "../../support/app.ts";
import { after, before, describe, test } from "../../support/test.ts";

const INERT = Symbol.for("@b24/onappupdate.inert");

/** A storage in memory that says that others share it. */
function sharedStorage(): Storage {
  const inner = memoryStorage();
  return { ...inner, capabilities: { ...inner.capabilities, scope: "host" } };
}

const create = (storage: Storage): App => createApp({ storage, logger: quietLogger }).use(trustAll);

describe("an app that the command line has loaded", () => {
  // Not at the top level: other files may share the process.
  before(() => void Object.assign(globalThis, { [INERT]: true }));
  after(() => void Reflect.deleteProperty(globalThis, INERT));

  const calls: Readonly<Record<string, (app: App) => Promise<unknown>>> = {
    start: ({ start }) => start(),
    tick: ({ tick }) => tick(),
    settled: ({ settled }) => settled(),
    fetch: ({ fetch }) => fetch(post("event=ONAPPTEST")),
  };
  for (const [name, call] of Object.entries(calls)) {
    test(`refuses ${name}()`, async () => {
      const app = create(sharedStorage());
      await assert.rejects(call(app), /^TypeError: cannot .*Export the app by default from a module of its own/);
      await app.close();
    });
  }

  test("is set up, and its admin works", async () => {
    const app = create(sharedStorage());
    await app.setUp();
    await assert.rejects(app.admin.retry(MEMBER_ID, { by: "ada", reason: "test" }), /no portal .* is stored/);
    assert.deepEqual(await app.admin.counts(), []);
    await app.close();
  });

  test("refuses a storage that belongs to one process", async () => {
    const app = create(memoryStorage());
    await assert.rejects(app.setUp(), /the storage "memory" belongs to one process, .* use --url/);
    await app.close();
  });
});
