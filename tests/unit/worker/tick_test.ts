import assert from "node:assert/strict";
import { memoryStorage, RetryAfterError, type Storage } from "@b24/onappupdate";
import { StorageError } from "@b24/onappupdate/errors";
import type { Entry } from "@b24/onappupdate/storage";
import { PORTAL_FORMAT, type PortalRecord } from "../../../src/portal/record.ts";
import { dueKey, portalKey } from "../../../src/portal/keys.ts";
import { entryId, listDue } from "../../../src/portal/schedule.ts";
import { MEMBER_ID, OTHER_MEMBER_ID, rig } from "../../support/app.ts";
import { describe, it } from "../../support/test.ts";
import { simulated, virtualTime } from "../../support/time.ts";

/** The portals of all schedule entries, due or not. */
async function scheduled(storage: Storage): Promise<string[]> {
  const members: string[] = [];
  for await (const { memberId } of listDue(storage, Infinity)) members.push(memberId);
  return members;
}

describe("tick()", () => {
  it("deletes entries that crashes have left, and keeps the one of the record", async () => {
    const storage = memoryStorage();
    const { app, portal, send, clock } = rig({ storage });
    app.upgrade("3", ({ step, sleep }) => step("one", () => 1).then(() => sleep("a while", 60_000)));
    await send(portal.install(2));
    await send(portal.update(3));
    assert.deepEqual(await scheduled(storage), [MEMBER_ID]);
    for (let i = 1; i <= 5; i++) await storage.put(dueKey(entryId(clock() - i, `${i}`), MEMBER_ID), {});
    await app.tick();
    assert.deepEqual(await scheduled(storage), [MEMBER_ID, MEMBER_ID, MEMBER_ID, MEMBER_ID, MEMBER_ID]);
    for (let i = 0; i < 4; i++) await app.tick();
    assert.deepEqual(await scheduled(storage), [MEMBER_ID]);
    const { due } = (await storage.get<PortalRecord>(portalKey(MEMBER_ID)))!.value;
    for await (const entry of listDue(storage, Infinity)) assert.equal(entry.due, due);
    await app.close();
  });

  it("processes every portal, however many others are leased or written by newer code", async () => {
    const storage = memoryStorage();
    const { app, portal, send, clock, later } = rig({ storage });
    let isBroken = true;
    app.upgrade("3", () => isBroken ? Promise.reject(new Error("not yet")) : undefined);
    await send(portal.install(2));
    await send(portal.update(3));
    const others = ["leased", "newer code", "without a record"].flatMap((kind) =>
      Array.from({ length: 50 }, (_, i) => ({ kind, memberId: `${kind} ${i}` }))
    );
    for (const { kind, memberId } of others) {
      const due = entryId(clock() - 1000, memberId);
      await storage.put(dueKey(due, memberId), {});
      const record = { memberId, status: "installed", applied: [], due };
      const lease = { owner: "another", until: clock() + 1e9 };
      if (kind === "leased") await storage.put(portalKey(memberId), { ...record, format: PORTAL_FORMAT, lease });
      if (kind === "newer code") await storage.put(portalKey(memberId), { ...record, format: PORTAL_FORMAT + 1 });
    }
    isBroken = false;
    later();
    assert.deepEqual(await app.tick({ limit: 10 }), { handled: 1, failed: 0 });
    assert.equal((await app.portal(MEMBER_ID))?.version, "3.0.0");
    // Entries are kept, except for old ones without a record, which a crash has left.
    const kept = others.filter(({ kind }) => kind !== "without a record").map(({ memberId }) => memberId);
    assert.deepEqual((await scheduled(storage)).toSorted(), kept.toSorted());
    await app.close();
  });

  for (const what of ["fails", "hangs"]) {
    it(`processes portals while the list of events that wait for verification ${what}`, async () => {
      const time = virtualTime();
      const memory = memoryStorage({ clock: time.now });
      const gate = Promise.withResolvers<void>();
      const list = async function* <T>(...[prefix, options]: Parameters<Storage["list"]>): AsyncGenerator<Entry<T>> {
        if (prefix[0] === "unverified-due") {
          await gate.promise;
          throw new StorageError("cannot list");
        }
        yield* memory.list<T>(prefix, options);
      };
      if (what === "fails") gate.resolve();
      const { app, portal, send, lines } = rig({
        ...{ storage: { ...memory, list }, ...simulated(time), tickEveryMs: 30_000, acknowledge: "stored" },
      });
      let isBroken = true;
      app.upgrade("3", () => isBroken ? Promise.reject(new RetryAfterError(10_000)) : undefined);
      await send(portal.install(2));
      await send(portal.update(3));
      await time.elapse(1000);
      isBroken = false;
      await time.elapse(60_000);
      assert.equal((await app.portal(MEMBER_ID))?.version, "3.0.0");
      assert.equal(lines.some((line) => line.includes("verification.tick_failed")), what === "fails");
      gate.resolve();
      await app.close();
    });
  }

  it("keeps a recent entry without a record: the record may be written any moment", async () => {
    const storage = memoryStorage();
    const { app, clock } = rig({ storage });
    await storage.put(dueKey(entryId(clock() - 30 * 60_000, "1"), OTHER_MEMBER_ID), {});
    await app.tick();
    assert.deepEqual(await scheduled(storage), [OTHER_MEMBER_ID]);
    await app.close();
  });
});
