import assert from "node:assert/strict";
import { memoryStorage, type Storage } from "@b24/onappupdate";
import { StorageError } from "@b24/onappupdate/errors";
import { MEMBER_ID, rig } from "../../support/app.ts";
import { describe, it } from "../../support/test.ts";

/** A storage that counts round trips: concurrent calls share one. */
function countingRoundTrips(): { readonly storage: Storage; readonly roundTrips: () => number } {
  const inner = memoryStorage();
  let roundTrips = 0;
  let pending: Promise<void> | undefined;
  const trip = (): Promise<void> =>
    pending ??= new Promise((resolve) =>
      setTimeout(() => {
        roundTrips++;
        pending = undefined;
        resolve();
      }, 1)
    );
  const over = <A extends unknown[], R>(call: (...args: A) => Promise<R>) => (...args: A): Promise<R> =>
    trip().then(() => call(...args));
  return {
    storage: {
      ...inner,
      get: over(inner.get) as Storage["get"],
      put: over(inner.put) as Storage["put"],
      delete: over(inner.delete),
    },
    roundTrips: () => roundTrips,
  };
}

describe("acceptEvent()", () => {
  it("runs the upgrades to a version that only the verification reports, at an event without handlers", async () => {
    const { app, portal, send, names } = rig();
    app.upgrade("3", () => {});
    await send(portal.install(2));
    // The update is lost, and the token has changed with it.
    portal.update(3, { rotateToken: true });
    assert.equal(await send(portal.event("ONAPPTEST", { "QUERY[any]": "data" })), 200);
    const { version, target, applied } = (await app.portal(MEMBER_ID))!;
    assert.deepEqual([version, target, applied.map(({ id }) => id)], ["3.0.0", "3.0.0", ["3"]]);
    // One more than was sent: the lost update is handled too.
    assert.deepEqual(names().slice(2), [
      "eventReceived",
      "runPlanned",
      "upgradeApplied",
      "portalUpgraded",
      "eventHandled",
      "eventHandled",
    ]);
    await app.close();
  });

  it("stores no delivery for an event without handlers and without news", async () => {
    const { app, portal, send, names } = rig();
    await send(portal.install(2));
    assert.equal(await send(portal.event("ONAPPTEST", { "QUERY[any]": "data" })), 200);
    assert.deepEqual(names().slice(2), ["eventReceived"]);
    assert.deepEqual(await app.tick(), { handled: 0, failed: 0 });
    await app.close();
  });

  it("needs three round trips to the storage, and one for a duplicate", async () => {
    const { storage, roundTrips } = countingRoundTrips();
    const { app, portal, send } = rig({ storage });
    await send(portal.install(2));
    const stored = rig({ storage, acknowledge: "stored" });
    const update = portal.update(3);
    let before = roundTrips();
    assert.equal(await stored.send(update), 200);
    assert.equal(roundTrips() - before, 3);
    await stored.app.close();
    before = roundTrips();
    assert.equal(await send(update), 200);
    assert.equal(roundTrips() - before, 1);
    await app.close();
  });

  it("loses nothing if a crash follows the write of the delivery and precedes that of the record", async () => {
    const storage = memoryStorage();
    let isBroken = true;
    const crashing: Storage = {
      ...storage,
      put: (key, value, options) =>
        isBroken && key[0] === "portal" ? Promise.reject(new StorageError("crash")) : storage.put(key, value, options),
    };
    const { app, portal, send, later } = rig({ storage: crashing });
    app.upgrade("3", () => {});
    portal.install(2);
    assert.equal(await send(portal.update(3)), 503);
    isBroken = false;
    assert.equal(await app.portal(MEMBER_ID), undefined);
    later();
    await app.tick();
    const { version, applied } = (await app.portal(MEMBER_ID))!;
    assert.deepEqual([version, applied.map(({ id }) => id)], ["3.0.0", ["3"]]);
    await app.close();
  });
});
