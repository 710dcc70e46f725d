import assert from "node:assert/strict";
import { memoryStorage } from "@b24/onappupdate";
import { PAUSE } from "../../../src/portal/keys.ts";
import { MEMBER_ID, rig } from "../../support/app.ts";
import { withoutKeyOf } from "../../support/lost_key.ts";
import { OPERATOR } from "../../support/operator.ts";
import { describe, it } from "../../support/test.ts";
import { until } from "../../support/until.ts";

describe("admin.pause()", () => {
  it("keeps all work until the app is resumed, and loses no event", async () => {
    const { app, send, portal, later } = rig();
    const handled: string[] = [];
    app.on("ONAPPTEST", () => void handled.push("event")).upgrade("3", () => void handled.push("upgrade"));
    await send(portal.install(2));
    await app.admin.pause({ by: "ada", reason: "wrong prices" });
    assert.equal(await send(portal.update(3)), 200);
    assert.equal(await send(portal.event("ONAPPTEST", {})), 200);
    later();
    await app.tick();
    assert.deepEqual(handled, []);
    assert.equal((await app.portal(MEMBER_ID))?.version, "2.0.0");

    const paused = await app.admin.paused();
    assert.deepEqual([paused?.by, paused?.reason, typeof paused?.since], ["ada", "wrong prices", "number"]);
    await app.admin.resume(OPERATOR);
    await until("the work is done", () => handled.length === 2);
    assert.deepEqual(handled.toSorted(), ["event", "upgrade"]);
    assert.equal(await app.admin.paused(), undefined);
    assert.deepEqual((await app.admin.audit()).items.map(({ action }) => action), ["resume", "pause"]);
    await app.close();
  });

  it("suspends a running upgrade at its next step, and counts no attempt", async () => {
    const { app, send, portal } = rig();
    const steps: string[] = [];
    app.upgrade("3", async ({ step, attempt }) => {
      await step("first", async () => {
        steps.push(`first ${attempt}`);
        await app.admin.pause(OPERATOR);
      });
      await step("second", () => void steps.push(`second ${attempt}`));
    });
    await send(portal.install(2));
    await send(portal.update(3));
    await app.settled();
    assert.deepEqual(steps, ["first 1"]);
    const { run, failure } = (await app.portal(MEMBER_ID))!;
    assert.deepEqual([run?.from, failure], ["2.0.0", undefined]);
    await app.admin.resume(OPERATOR);
    await app.settled();
    assert.deepEqual(steps, ["first 1", "second 1"]);
    await app.close();
  });

  it("holds in other processes, also in those that start later, and is logged there", async () => {
    const storage = memoryStorage();
    const first = rig({ storage });
    await first.send(first.portal.install(2));
    await first.app.admin.pause({ by: "ada", reason: "wrong prices" });

    const second = rig({ storage, fetch: first.bitrix24.fetch });
    let runs = 0;
    second.app.upgrade("3", () => void runs++);
    await second.app.start();
    assert.ok(second.lines.some((line) => line.includes('"app.paused"') && line.includes("wrong prices")));
    await second.send(first.portal.update(3));
    second.later();
    await second.app.tick();
    assert.equal(runs, 0);
    await second.app.admin.resume(OPERATOR);
    await second.app.settled();
    assert.equal(runs, 1);
    await Promise.all([first.app.close(), second.app.close()]);
  });

  for (const why of ["newer code has stored it", "its encryption key is missing"]) {
    it(`holds although ${why}`, async () => {
      const inner = memoryStorage();
      const first = rig({ storage: inner });
      await first.send(first.portal.install(2));
      await first.app.admin.pause({ by: "ada", reason: "wrong prices" });
      if (why.startsWith("newer")) await inner.put(PAUSE, { format: 1000 });
      const storage = await withoutKeyOf(inner, why.startsWith("newer") ? [] : [PAUSE]);

      const second = rig({ storage, fetch: first.bitrix24.fetch });
      let runs = 0;
      second.app.upgrade("3", () => void runs++);
      await second.send(first.portal.update(3));
      second.later();
      await second.app.settled();
      assert.equal(runs, 0);
      assert.equal((await second.app.admin.paused())?.reason, "the stored pause cannot be read");
      await second.app.admin.resume(OPERATOR);
      await second.app.settled();
      assert.equal(runs, 1);
      await Promise.all([first.app.close(), second.app.close()]);
    });
  }

  it("stores what operators do, and does it afterwards", async () => {
    const { app, send, portal } = rig({ retry: { maxAttempts: 1 } });
    let isBroken = true;
    app.upgrade("3", () => {
      if (isBroken) throw new Error("no");
    });
    await send(portal.install(2));
    await send(portal.update(3));
    isBroken = false;
    await app.admin.pause(OPERATOR);
    await app.admin.retry(MEMBER_ID, OPERATOR);
    await app.settled();
    assert.equal((await app.portal(MEMBER_ID))?.version, "2.0.0");
    await app.admin.resume(OPERATOR);
    await app.settled();
    assert.equal((await app.portal(MEMBER_ID))?.version, "3.0.0");
    await app.close();
  });
});
