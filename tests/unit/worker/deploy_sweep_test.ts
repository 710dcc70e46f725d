import assert from "node:assert/strict";
import { type App, createApp, deployed, memoryStorage, type Storage } from "@b24/onappupdate";
import { StorageError } from "@b24/onappupdate/errors";
import { DEPLOY_SWEEP, indexKey, PAUSE, portalKey } from "../../../src/portal/keys.ts";
import { quietLogger, rig, trustAll } from "../../support/app.ts";
import { withoutKeyOf } from "../../support/lost_key.ts";
import { OPERATOR } from "../../support/operator.ts";
import { describe, it } from "../../support/test.ts";

const IDS = [..."abcdef"].map((digit) => digit.repeat(32));

/** Returns a storage with portals that code of `version` has installed. */
async function installedAt(version: string): Promise<Storage> {
  const storage = memoryStorage();
  const { app, bitrix24, send } = rig({ storage, versions: deployed(version) });
  for (const memberId of IDS) await send(bitrix24.portal({ memberId }).install(1));
  assert.equal((await app.admin.counts())[0]?.count, IDS.length);
  return storage;
}

function codeAt(version: string, storage: Storage, ran: string[]): App {
  return createApp({ storage, versions: deployed(version), logger: quietLogger }).use(trustAll)
    .upgrade(version, ({ memberId, from, to }) => void ran.push(`${memberId[0]} ${from} ${to}`))
    .on("ONAPPUPDATE", ({ event }) => void ran.push(`told ${event.data.version} ${event.auth.accessToken}`));
}

describe("tick() after a deploy of deployed()", () => {
  it("brings every portal to the version of the code, `limit` portals a tick, each once", async () => {
    const storage = await installedAt("2.2.0");
    const ran: string[] = [];
    const app = codeAt("2.3.0", storage, ran);
    const handled: number[] = [];
    for (let tick = 0; tick < 6; tick++) handled.push((await app.tick({ limit: 4 })).handled);
    assert.deepEqual(handled, [4, 2, 0, 0, 0, 0]);
    assert.deepEqual(ran.filter((text) => !text.startsWith("told")).sort(), IDS.map((id) => `${id[0]} 2.2.0 2.3.0`));
    assert.equal(ran.filter((text) => text === "told 2.3.0 undefined").length, IDS.length);
    assert.deepEqual(await app.admin.counts(), [{ status: "current", count: IDS.length, version: "2.3.0" }]);
  });

  it("is not repeated by another process or a later start, nor undone by older code", async () => {
    const storage = await installedAt("2.2.0");
    const ran: string[] = [];
    for (let start = 0; start < 3; start++) {
      const app = codeAt("2.3.0", storage, ran);
      for (let tick = 0; tick < 3; tick++) await app.tick();
    }
    const old = codeAt("2.2.0", storage, ran);
    assert.deepEqual(await old.tick(), { handled: 0, failed: 0 });
    assert.equal(ran.length, 2 * IDS.length);
    assert.deepEqual((await storage.get(DEPLOY_SWEEP))?.value, { version: "2.3.0", isDone: true });
    assert.equal((await old.portal(IDS[0]!))?.version, "2.3.0");
  });

  it("leaves a portal alone that newer code wrote, and raises the others", async () => {
    const storage = await installedAt("2.2.0");
    const newer = { format: 1000, news: true };
    await storage.put(portalKey(IDS[2]!), newer);
    const ran: string[] = [];
    const app = codeAt("2.3.0", storage, ran);
    for (let tick = 0; tick < 2; tick++) assert.equal((await app.tick()).failed, 0);
    const others = IDS.filter((id) => id !== IDS[2]);
    assert.deepEqual(ran.filter((text) => !text.startsWith("told")).sort(), others.map((id) => `${id[0]} 2.2.0 2.3.0`));
    assert.deepEqual((await storage.get(portalKey(IDS[2]!)))?.value, newer);
    assert.deepEqual((await storage.get(DEPLOY_SWEEP))?.value, { version: "2.3.0", isDone: true });
    await app.close();
  });

  it("leaves a portal alone whose encryption key is gone, and raises the others", async () => {
    const inner = await installedAt("2.2.0");
    const storage = await withoutKeyOf(inner, [portalKey(IDS[2]!), indexKey("state", "current", IDS[4]!)]);
    const unreadable = await inner.get(portalKey(IDS[2]!));
    const ran: string[] = [];
    const app = codeAt("2.3.0", storage, ran);
    for (let tick = 0; tick < 2; tick++) assert.equal((await app.tick()).failed, 0);
    const others = IDS.filter((id) => id !== IDS[2]);
    assert.deepEqual(ran.filter((text) => !text.startsWith("told")).sort(), others.map((id) => `${id[0]} 2.2.0 2.3.0`));
    assert.deepEqual(await inner.get(portalKey(IDS[2]!)), unreadable);
    assert.deepEqual((await storage.get(DEPLOY_SWEEP))?.value, { version: "2.3.0", isDone: true });
    await app.close();
  });

  it("stores nothing with a wrong encryption key", async () => {
    const inner = await installedAt("2.2.0");
    const keys = await Array.fromAsync(inner.list([]), ({ key }) => key);
    const app = codeAt("2.3.0", await withoutKeyOf(inner, keys), []);
    await app.tick();
    await app.close();
    assert.deepEqual(await Array.fromAsync(inner.list([]), ({ key }) => key), keys);
  });

  it("goes on with the portals that are due if the others cannot be raised", async () => {
    const storage = await installedAt("2.2.0");
    const ran: string[] = [];
    const paused = codeAt("2.3.0", storage, ran);
    await paused.admin.pause(OPERATOR);
    await paused.tick();
    assert.equal(ran.length, 0);
    await paused.close();
    await storage.delete(PAUSE);
    const broken: Storage = {
      ...storage,
      get: async (key, options) => {
        if (key[0] === DEPLOY_SWEEP[0]) throw new StorageError("no");
        return await storage.get(key, options);
      },
    };
    const app = codeAt("2.3.0", broken, ran);
    assert.equal((await app.tick()).handled, IDS.length);
    assert.equal(ran.filter((text) => !text.startsWith("told")).length, IDS.length);
    await app.close();
  });

  it("ignores removed portals", async () => {
    const storage = memoryStorage();
    const { portal, send } = rig({ storage, versions: deployed("2.2.0") });
    await send(portal.install(1));
    await send(portal.uninstall());
    const ran: string[] = [];
    await codeAt("2.3.0", storage, ran).tick();
    assert.deepEqual(ran, []);
  });
});
