import assert from "node:assert/strict";
import { memoryStorage, type Storage } from "@b24/onappupdate";
import type { Key } from "@b24/onappupdate/storage";
import { MEMBER_ID, type Rig, rig } from "../../support/app.ts";
import { describe, it } from "../../support/test.ts";

/** The id of the delivery of `portal.update(3)` after `portal.install(2)`. */
const DELIVERY = "ONAPPUPDATE:3:1785303600";

async function entries(storage: Storage): Promise<unknown[]> {
  const found: unknown[] = [];
  for await (const entry of storage.list([])) found.push(entry);
  return found;
}

/** Returns an app with an installed portal, and a storage in which newer code has written `key`. */
async function afterNewerCode(key: Key): Promise<Rig & { storage: Storage; update: string; ran: () => number }> {
  const storage = memoryStorage();
  const made = rig({ storage });
  let runs = 0;
  made.app.upgrade("3", () => void runs++);
  assert.equal(await made.send(made.portal.install(2)), 200);
  const update = made.portal.update(3);
  await storage.put(key, { format: 2, news: true });
  return { ...made, storage, update, ran: () => runs };
}

describe("entries that newer code wrote are neither processed nor overwritten:", () => {
  it("a portal's record answers 503", async () => {
    const { app, storage, send, update, ran, lines } = await afterNewerCode(["portal", MEMBER_ID]);
    const before = await entries(storage);
    assert.equal(await send(update), 503);
    await assert.rejects(app.portal(MEMBER_ID), { code: "format" });
    assert.deepEqual(await entries(storage), before);
    assert.equal(ran(), 0);
    assert.ok(lines.some((line) => line.includes(`portal ${MEMBER_ID} has format 2`)), String(lines.at(-1)));
  });

  it("a receipt answers 503", async () => {
    const { storage, send, update, ran, lines } = await afterNewerCode(["receipt", MEMBER_ID, DELIVERY]);
    const before = await entries(storage);
    assert.equal(await send(update), 503);
    assert.deepEqual(await entries(storage), before);
    assert.equal(ran(), 0);
    assert.ok(
      lines.some((line) => line.includes(`receipt ${MEMBER_ID} ${DELIVERY} has format 2`)),
      String(lines.at(-1)),
    );
  });

  it("a delivery stays in the inbox unchanged, also if its event is repeated", async () => {
    const key = ["inbox", MEMBER_ID, DELIVERY] as const;
    const { app, storage, send, update, ran, names, later, lines } = await afterNewerCode(key);
    const before = await storage.get(key);
    assert.equal(await send(update), 200);
    assert.equal(names().at(-1), "duplicateReceived");
    for (let tick = 0; tick < 2; tick++) {
      later();
      assert.deepEqual(await app.tick(), { handled: 0, failed: 1 });
    }
    assert.deepEqual(await storage.get(key), before);
    assert.equal(ran(), 0);
    assert.ok(
      lines.some((line) => line.includes(`delivery ${MEMBER_ID} ${DELIVERY} has format 2`)),
      String(lines.at(-1)),
    );
  });

  it("a receipt prevents its delivery from being processed or deleted", async () => {
    const { app, storage, ran } = await afterNewerCode(["receipt", MEMBER_ID, DELIVERY]);
    const key = ["inbox", MEMBER_ID, DELIVERY] as const;
    await storage.put(key, { format: 1, body: {}, receivedAt: 0, verification: {}, attempts: 0 });
    const before = await storage.get(key);
    await storage.put(["due", "00000000000001-x", MEMBER_ID], {});
    assert.equal((await app.tick()).failed, 1);
    assert.deepEqual(await storage.get(key), before);
    assert.equal(ran(), 0);
  });
});
