import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { MEMBER_ID, rig } from "./_app.ts";

describe("receive()", () => {
  it("runs the upgrades of a version that only a proof told of, at an event that nobody handles", async () => {
    const { app, portal, send, names } = rig();
    app.upgrade("3", () => {});
    await send(portal.install(2));
    // Its update is lost on the way, and the token is another one since.
    portal.update(3, { rotateToken: true });
    assert.equal(await send(portal.event("ONAPPTEST", { "QUERY[any]": "data" })), 200);
    const { version, target, applied } = (await app.portal(MEMBER_ID))!;
    assert.deepEqual([version, target, applied.map(({ id }) => id)], ["3.0.0", "3.0.0", ["3"]]);
    assert.deepEqual(names().slice(2), ["received", "planned", "applied", "upgraded", "handled"]);
    await app.close();
  });

  it("keeps no work for an event that nobody handles and that tells nothing new", async () => {
    const { app, portal, send, names } = rig();
    await send(portal.install(2));
    assert.equal(await send(portal.event("ONAPPTEST", { "QUERY[any]": "data" })), 200);
    assert.deepEqual(names().slice(2), ["received"]);
    assert.deepEqual(await app.tick(), { handled: 0, failed: 0 });
    await app.close();
  });
});
