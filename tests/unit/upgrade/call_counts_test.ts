import assert from "node:assert/strict";
import { countCall, createApp, memoryStorage } from "@b24/onappupdate";
import { rest } from "@b24/onappupdate/rest";
import { countingStorage } from "../../support/counting_storage.ts";
import { backgroundWork, MEMBER_ID, post, quietLogger, rig, trustAll } from "../../support/app.ts";
import { describe, it } from "../../support/test.ts";

/** Returns the calls of the last run. */
async function callsOf({ app }: Pick<ReturnType<typeof rig>, "app">): Promise<Readonly<Record<string, number>>> {
  const { runs: [run] } = await app.admin.history(MEMBER_ID);
  return run!.calls;
}

describe("countCall()", () => {
  it("counts for the run, over failed attempts, sleeps and upgrades, inside and outside of steps", async () => {
    const made = rig();
    const { app, portal, send, later } = made;
    let fails = true;
    app.upgrade("3", async ({ step, sleep }) => {
      countCall("a");
      await step("one", () => countCall("b"));
      await step("two", () => {
        countCall("c");
        if (fails) throw new Error("no");
      });
      await sleep("long", 1000);
    }).upgrade("4", () => countCall("b"));
    await send(portal.install(2));
    await send(portal.update(4));
    assert.deepEqual(await callsOf(made), { a: 1, b: 1, c: 1 });
    fails = false;
    for (let tick = 0; tick < 2; tick++) {
      later();
      await app.tick();
    }
    assert.deepEqual(await callsOf(made), { a: 3, b: 2, c: 2 });
    assert.equal((await app.admin.runs(MEMBER_ID))[0]?.calls["a"], 3);
    assert.equal("calls" in (await app.portal(MEMBER_ID))!, false);
    await app.close();
  });

  it("does nothing outside of upgrades, and after the attempt", async () => {
    countCall("nobody");
    const made = rig();
    let late: Promise<void> | undefined;
    const { promise, resolve } = Promise.withResolvers<void>();
    made.app.on("ONAPPUPDATE", () => countCall("handler")).upgrade("3", () => {
      late = promise.then(() => countCall("late"));
    });
    await made.send(made.portal.install(2));
    await made.send(made.portal.update(3));
    resolve();
    await late;
    assert.deepEqual(await callsOf(made), {});
    await made.app.close();
  });

  it("counts at most 50 names, and the rest together", async () => {
    const made = rig();
    made.app.upgrade("3", () => {
      for (const name of ["constructor", "__proto__"]) countCall(name);
      for (let n = 0; n < 60; n++) countCall(`${n}${"x".repeat(1000)}`);
    });
    await made.send(made.portal.install(2));
    await made.send(made.portal.update(3));
    const calls = await callsOf(made);
    assert.equal(Object.keys(calls).length, 51);
    assert.deepEqual([calls["constructor"], Object.entries(calls)[1], calls["other"]], [1, ["__proto__", 1], 12]);
    assert(JSON.stringify(calls).length < 6000);
    await made.app.close();
  });

  it("costs no operation of the storage", async () => {
    const operations: number[] = [];
    for (const counts of [false, true]) {
      const { storage, inSequence, reset, idle } = countingStorage(memoryStorage());
      const { app, portal, send } = rig({ storage, tickEveryMs: false });
      app.upgrade("3", async ({ step }) => {
        for (let n = 0; n < 10; n++) await step(`${n}`, () => counts ? countCall("a") : undefined);
      });
      await send(portal.install(2));
      await app.settled();
      await idle();
      reset();
      await send(portal.update(3));
      await app.settled();
      operations.push(inSequence());
      await app.close();
    }
    assert.equal(operations[1], operations[0]);
  });
});

describe("rest() in an upgrade", () => {
  it("counts each method, also those of the commands of a batch, and refused calls", async () => {
    const made = rig({ clientSecret: "secret" });
    const { bitrix24, portal } = made;
    portal.answer("crm.deal.list", () => []);
    const { platform, settled } = backgroundWork();
    const app = createApp({
      ...{ storage: memoryStorage(), fetch: bitrix24.fetch, logger: quietLogger, checks: false },
      ...{ clientId: "app.5f3a2b1c", clientSecret: "secret" },
    }).use(trustAll).use(rest()).upgrade("3", async ({ b24, step }) => {
      await b24.call("profile");
      await step("batch", async () => {
        await b24.batch({
          one: { method: "crm.deal.list" },
          two: { method: "crm.deal.list" },
          me: { method: "profile" },
        });
        await b24.call("no.such.method").catch(() => {});
      });
    });
    for (const body of [portal.install(2), portal.update(3)]) {
      await app.fetch(post(body), platform);
      await settled();
    }
    const [run] = await app.admin.runs(MEMBER_ID);
    assert.deepEqual(run?.calls, { profile: 2, "crm.deal.list": 2, "no.such.method": 1 });
    await app.close();
    await made.app.close();
  });
});
