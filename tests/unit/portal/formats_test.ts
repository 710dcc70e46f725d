import assert from "node:assert/strict";
import { memoryStorage, type Storage } from "@b24/onappupdate";
import type { Key } from "@b24/onappupdate/storage";
import { portalKey } from "../../../src/portal/keys.ts";
import type { PortalRecord } from "../../../src/portal/record.ts";
import { MEMBER_ID, type Rig, rig } from "../../support/app.ts";
import { describe, it } from "../../support/test.ts";

/** The id of a delivery. */
const DELIVERY = "ONAPPUPDATE:4:1785303600";

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

  it("a delivery with a key of its own stays unchanged, and the others are handled", async () => {
    const key = ["delivery", MEMBER_ID, DELIVERY] as const;
    const { app, storage, send, update, ran, later, lines } = await afterNewerCode(key);
    const record = (await storage.get<PortalRecord>(portalKey(MEMBER_ID)))!;
    await storage.put(record.key, { ...record.value, overflow: { events: 0, size: 0, lifeCycle: { ONAPPUPDATE: 1 } } });
    const before = await storage.get(key);
    assert.equal(await send(update), 200);
    for (let tick = 0; tick < 2; tick++) {
      later();
      assert.deepEqual(await app.tick(), { handled: 0, failed: 1 });
    }
    assert.deepEqual(await storage.get(key), before);
    assert.equal(ran(), 1);
    assert.ok(
      lines.some((line) => line.includes(`delivery ${MEMBER_ID} ${DELIVERY} has format 2`)),
      lines.at(-1) ?? "no line",
    );
  });
});
