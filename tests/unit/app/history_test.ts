import assert from "node:assert/strict";
import { createApp, memoryStorage, NonRetriableError, type Plugin, type PortalDelivery } from "@b24/onappupdate";
import type { PortalRecord } from "../../../src/portal/record.ts";
import {
  backgroundWork,
  MEMBER_ID,
  OTHER_MEMBER_ID,
  post,
  quietLogger,
  type Rig,
  rig,
  trustAll,
} from "../../support/app.ts";
import { OPERATOR } from "../../support/operator.ts";
import { describe, it } from "../../support/test.ts";

/** Returns an app whose clock stands still until it is moved. */
function stopped(options: Parameters<typeof rig>[0] = {}): Rig & { readonly move: (ms: number) => void } {
  let now = 1_785_400_000_000;
  const clock = (): number => now;
  return { ...rig({ clock, ...options }), clock, move: (ms) => void (now += ms) };
}

/** The data of an ONAPPMETHODCONFIRM without its method. */
const CONFIRMED = { TOKEN: "t", CONFIRMED: "1", LANGUAGE_ID: "en" };

/** Returns the names and states of the deliveries of a portal, the newest first. */
async function statesOf({ app }: Pick<Rig, "app">): Promise<readonly string[]> {
  const { deliveries } = await app.admin.history(MEMBER_ID);
  return deliveries.map(({ name, state }) => `${name} ${state}`);
}

describe("admin.history() deliveries", () => {
  it("have names, times and what became of them, the newest first", async () => {
    const made = stopped({ retry: { maxAttempts: 2, initialDelayMs: 1000 } });
    const { app, portal, send, move } = made;
    let broken = false;
    app.on("ONAPPUPDATE", () => {
      move(5);
      if (broken) throw new Error("no");
    });
    await send(portal.install(2));
    move(60_000);
    const updatedAt = made.clock();
    await send(portal.update(3));
    broken = true;
    move(60_000);
    const failedAt = Math.ceil(made.clock() / 1000) * 1000;
    move(failedAt - made.clock());
    await send(portal.update(4));
    const { deliveries } = await app.admin.history(MEMBER_ID);
    const [second, first, install] = deliveries as [PortalDelivery, PortalDelivery, PortalDelivery];
    assert.equal(deliveries.length, 3);
    assert.deepEqual([install.name, install.state, install.doneAt], ["ONAPPINSTALL", "handled", install.receivedAt]);
    const ts = updatedAt / 1000;
    assert.deepEqual(first, {
      ...{ id: `ONAPPUPDATE:3:${ts}`, name: "ONAPPUPDATE", ts, receivedAt: updatedAt },
      ...{ state: "handled", doneAt: updatedAt + 5 },
    });
    const { retryAt = 0, ...rest } = second;
    assert(retryAt > failedAt && retryAt < failedAt + 2000);
    assert.deepEqual(rest, {
      ...{ id: `ONAPPUPDATE:4:${failedAt / 1000}`, name: "ONAPPUPDATE", ts: failedAt / 1000, receivedAt: failedAt },
      ...{ state: "retrying", attempts: 1, error: "no" },
    });
    move(2000);
    await app.tick();
    assert.deepEqual((await statesOf(made))[0], "ONAPPUPDATE parked");
    await app.close();
  });

  it("show an update that a check found, and none of ordinary events", async () => {
    const made = stopped();
    const { app, portal, send } = made;
    app.on("ONAPPTEST", () => {});
    await send(portal.install(2));
    await send(portal.event("ONAPPTEST", {}));
    await app.admin.setTarget(MEMBER_ID, "3", OPERATOR);
    await app.settled();
    const { deliveries } = await app.admin.history(MEMBER_ID);
    assert.deepEqual(deliveries.map(({ name, ts }) => [name, ts === undefined]), [
      ["ONAPPINSTALL", false],
      ["ONAPPUPDATE", true],
    ]);
    await app.close();
  });

  it("are outdated if the app is removed during the upgrades", async () => {
    const { portal } = rig();
    const { platform, settled } = backgroundWork();
    const options = { storage: memoryStorage(), acknowledge: "stored", logger: quietLogger, checks: false } as const;
    const app = createApp(options).use(trustAll).upgrade("3", async ({ step }) => {
      await app.fetch(post(portal.uninstall()), platform);
      await step("one", () => {});
    });
    await app.fetch(post(portal.install(2)), platform);
    await settled();
    await app.fetch(post(portal.update(3)), platform);
    await settled();
    const { deliveries } = await app.admin.history(MEMBER_ID);
    const states = Object.fromEntries(deliveries.map(({ name, state }) => [name, state]));
    assert.deepEqual(states, { ONAPPUNINSTALL: "handled", ONAPPUPDATE: "outdated", ONAPPINSTALL: "handled" });
    await app.close();
  });

  it("are skipped if a plugin does not call next(), and outdated if the app is removed before they were handled", async () => {
    let skips = false;
    const skipping: Plugin = {
      name: "skipping",
      around: async ({ event }, next) => {
        if (!skips || event.name !== "ONAPPUPDATE") await next();
      },
    };
    const made = stopped({ retry: { maxAttempts: 1 } });
    made.app.use(skipping).on("ONAPPMETHODCONFIRM", () => Promise.reject(new NonRetriableError("no")));
    const { app, portal, send, move } = made;
    await send(portal.install(2));
    skips = true;
    move(1000);
    await send(portal.update(2));
    move(1000);
    await send(portal.event("ONAPPMETHODCONFIRM", { ...CONFIRMED, METHOD: "user.get" }));
    assert.deepEqual(await statesOf(made), [
      "ONAPPMETHODCONFIRM parked",
      "ONAPPUPDATE skipped",
      "ONAPPINSTALL handled",
    ]);
    move(1000);
    await send(portal.uninstall());
    await app.settled();
    assert.deepEqual((await statesOf(made)).slice(0, 2), ["ONAPPUNINSTALL handled", "ONAPPMETHODCONFIRM outdated"]);
    await app.close();
  });

  it("are skipped if an operator skips the installer, and are listed once", async () => {
    const made = stopped();
    const { app, portal, send } = made;
    app.on("ONAPPINSTALL", () => Promise.reject(new NonRetriableError("no")));
    await send(portal.install(2));
    assert.deepEqual(await statesOf(made), ["ONAPPINSTALL parked"]);
    await app.admin.skip(MEMBER_ID, "ONAPPINSTALL", OPERATOR);
    assert.deepEqual(await statesOf(made), ["ONAPPINSTALL skipped"]);
    await app.settled();
    assert.deepEqual(await statesOf(made), ["ONAPPINSTALL skipped"]);
    await app.close();
  });

  it("include large ones, which have keys of their own", async () => {
    const made = stopped({ retry: { maxAttempts: 1 } });
    made.app.on("ONAPPUPDATE", () => Promise.reject(new NonRetriableError("no")));
    const { app, portal, send } = made;
    await send(portal.install(2));
    await send(`${portal.update(3)}&large=${"x".repeat(5000)}`);
    assert.deepEqual((await statesOf(made))[0], "ONAPPUPDATE parked");
    await app.close();
  });

  it("are the last 64, of at most 120 bytes each, whatever the events contain", async () => {
    const storage = memoryStorage();
    const { app, portal, send, move } = stopped({ storage });
    app.on("ONAPPMETHODCONFIRM", () => {});
    await send(portal.install(2));
    for (let n = 0; n < 70; n++) {
      move(1000);
      await send(portal.event("ONAPPMETHODCONFIRM", { ...CONFIRMED, METHOD: `"${"Ж".repeat(200)}${n}` }));
    }
    const entry = await storage.get<PortalRecord>(["portal", MEMBER_ID]);
    const { handled = [] } = entry!.value;
    assert.equal(handled.length, 64);
    for (const [id, receivedAt] of handled) {
      const longest = [id, receivedAt, 30 * 24 * 60 * 60 * 1000, "unconfirmed"];
      assert(new TextEncoder().encode(JSON.stringify(longest)).length <= 120, id);
    }
    assert.equal((await app.admin.history(MEMBER_ID)).deliveries.length, 64);
    await app.close();
  });
});

describe("admin.history() runs", () => {
  it("have the times and attempts of their steps, in the order in which they finished", async () => {
    const { app, portal, send, move, clock } = stopped({ retry: { initialDelayMs: 1000 } });
    let failures = 0;
    app.upgrade("3", async ({ step, pages, sleep }) => {
      await step("large", () => {
        move(10);
        return "x".repeat(1000);
      });
      await pages("deals", 0, (cursor) => {
        move(100);
        if (cursor === 1 && failures++ < 2) throw new Error("no");
        return { next: cursor < 2 ? cursor + 1 : null, done: 1 };
      });
      await sleep("a day", 86_400_000);
      await step("last", () => move(1));
    });
    await send(portal.install(2));
    const start = clock();
    await send(portal.update(3));
    const [large, firstPage] = [
      { name: "large", kind: "step", startedAt: start, finishedAt: start + 10, attempts: 1 },
      { name: "deals", kind: "pages", startedAt: start + 10, attempts: 1, pages: 1 },
    ];
    const stepsOf = async () => {
      const { runs: [run, ...others] } = await app.admin.history(MEMBER_ID);
      assert.deepEqual([run?.startedAt, run?.to, others], [start, "3.0.0", []]);
      return { steps: run?.upgrades[0]?.steps, finishedAt: run?.finishedAt };
    };
    // The current run, and the finished one.
    assert.deepEqual(await stepsOf(), { steps: [large, firstPage], finishedAt: undefined });
    for (let tick = 0; tick < 2; tick++) {
      move(2000);
      await app.tick();
    }
    const asleep = clock();
    const deals = { ...firstPage, finishedAt: asleep, attempts: 5, pages: 3 };
    const sleep = { name: "a day", kind: "sleep", startedAt: asleep, finishedAt: asleep + 86_400_000 };
    assert.deepEqual(await stepsOf(), { steps: [large, deals, sleep], finishedAt: undefined });
    move(86_400_000);
    await app.tick();
    const end = clock();
    const last = { name: "last", kind: "step", startedAt: end - 1, finishedAt: end, attempts: 1 };
    assert.deepEqual(await stepsOf(), { steps: [large, deals, sleep, last], finishedAt: end });
    await app.close();
  });

  it("show which steps a rollback has undone", async () => {
    const { app, portal, send, move, clock } = stopped();
    app.upgrade("3", async ({ step }) => {
      await step("one", () => {}, { undo: () => {} });
      await step("two", () => {});
    });
    await send(portal.install(2));
    await send(portal.update(3));
    move(1000);
    await app.admin.rollback(MEMBER_ID, OPERATOR);
    const { runs: [run, ...others] } = await app.admin.history(MEMBER_ID);
    assert.deepEqual(others, []);
    assert.deepEqual(run?.upgrades[0]?.steps.map(({ name, undoneAt }) => [name, undoneAt]), [
      ["one", clock()],
      ["two", undefined],
    ]);
    await app.close();
  });
});

describe("admin.history()", () => {
  it("is empty for an unknown portal", async () => {
    const { app } = rig();
    assert.deepEqual(await app.admin.history(OTHER_MEMBER_ID), { deliveries: [], runs: [] });
    await app.close();
  });
});
