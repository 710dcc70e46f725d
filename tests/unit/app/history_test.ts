import assert from "node:assert/strict";
import {
  B24Error,
  countCall,
  createApp,
  type FailedAttempt,
  memoryStorage,
  NonRetriableError,
  type Plugin,
  type PortalDelivery,
} from "@b24/onappupdate";
import { applicationToken } from "@b24/onappupdate/application-token";
import { crashEverywhere, fakeBitrix24 } from "@b24/onappupdate/testing";
import type { PortalRecord } from "../../../src/portal/record.ts";
import {
  backgroundWork,
  CLIENT_ID,
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
      ["ONAPPUPDATE", true],
      ["ONAPPINSTALL", false],
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
    assert.equal(run?.rolledBackAt, clock());
    // The run that follows is another one.
    await app.admin.retry(MEMBER_ID, OPERATOR);
    await app.settled();
    const runs = (await app.admin.history(MEMBER_ID)).runs.map(({ id, rolledBackAt }) => [id, rolledBackAt]);
    assert.deepEqual(runs, [["00000002", undefined], [run?.id, clock()]]);
    await app.close();
  });
});

describe("admin.history() attempts", () => {
  it("have what failed, when, why, and when it was tried again, without tokens", async () => {
    const { app, portal, send, move, clock } = stopped({ retry: { maxAttempts: 2, initialDelayMs: 1000 } });
    let fails = true;
    app.upgrade("3", async ({ step }) => {
      move(5);
      await step("one", () => move(7));
      await step("two", () => {
        move(11);
        if (fails) throw new Error(`no: access_token=${"a".repeat(40)} ${"x".repeat(1000)}`);
      });
      throw new NonRetriableError("never");
    }).on("ONAPPUPDATE", () => {});
    await send(portal.install(2));
    const start = clock();
    await send(portal.update(3));
    move(2000);
    await app.tick();
    const second = clock();
    fails = false;
    await app.admin.retry(MEMBER_ID, OPERATOR);
    await app.settled();
    const { attempts } = await app.admin.history(MEMBER_ID);
    const shown = attempts.map(({ message, retryAt, fingerprint: _, ...rest }) => ({
      ...{ ...rest, message: message.slice(0, 3), isRetried: retryAt !== undefined },
    }));
    const step = { generation: 1, upgradeId: "3", step: "two" };
    assert.deepEqual(shown, [
      {
        ...{ generation: 1, upgradeId: "3", attempt: 1, startedAt: second, failedAt: clock() },
        ...{ message: "nev", isRetried: false },
      },
      { ...step, attempt: 2, startedAt: second - 11, failedAt: second, message: "no:", isRetried: false },
      { ...step, attempt: 1, startedAt: start + 12, failedAt: start + 23, message: "no:", isRetried: true },
    ]);
    assert.equal(attempts[1]?.message.length, 500);
    assert.doesNotMatch(JSON.stringify(attempts), /a{10}/);
    assert(attempts[2]!.retryAt! > attempts[2]!.failedAt);
    await app.close();
  });

  it("are also those at handlers of life-cycle events, not of ordinary ones", async () => {
    const { app, portal, send, clock } = stopped({ retry: { maxAttempts: 1 } });
    app.on(["ONAPPINSTALL", "ONAPPTEST"], () => Promise.reject(new Error("no")));
    await send(portal.install(2));
    await send(portal.event("ONAPPTEST", {}));
    const { attempts } = await app.admin.history(MEMBER_ID);
    const times = { startedAt: clock(), failedAt: clock() };
    const [{ fingerprint, ...attempt }, ...others] = attempts as [FailedAttempt];
    assert.deepEqual(attempt, { generation: 1, event: "ONAPPINSTALL", attempt: 1, ...times, message: "no" });
    assert.match(fingerprint, /^[0-9a-f]{16}$/);
    assert.deepEqual(others, []);
    await app.close();
  });

  it("show what blocks a portal once, however long it is blocked", async () => {
    const { app, portal, send, move } = stopped();
    const unpaid = { code: "PAYMENT_REQUIRED", description: "", status: 402, method: "profile" };
    app.upgrade("3", () => Promise.reject(new B24Error(unpaid)));
    await send(portal.install(2));
    await send(portal.update(3));
    move(2 * 3_600_000);
    await app.tick();
    const { attempts } = await app.admin.history(MEMBER_ID);
    const { upgradeId, blockedOn, retryAt } = attempts.at(-1)!;
    assert.deepEqual([upgradeId, blockedOn, retryAt], ["3", "payment", undefined]);
    for (let hour = 0; hour < 3; hour++) {
      move(2 * 3_600_000);
      await app.tick();
    }
    assert.deepEqual((await app.admin.history(MEMBER_ID)).attempts, attempts);
    await app.close();
  });
});

describe("admin.history()", () => {
  it("is true after a crash at any operation", async () => {
    const bitrix24 = fakeBitrix24({ clientId: CLIENT_ID });
    const portal = bitrix24.portal({ memberId: MEMBER_ID });
    let failures = 0;
    let reported = 0;
    const reporter: Plugin = { name: "reporter", observe: { upgradeRetryScheduled: () => void reported++ } };
    await crashEverywhere({
      ...{ atomicWrites: false, pairs: 0, events: [portal.install(2), portal.update(3)], fetch: bitrix24.fetch },
      reset: () => {
        failures = 0;
        reported = 0;
      },
      app: (environment) =>
        createApp({ ...environment, clientId: CLIENT_ID }).use(applicationToken()).use(reporter)
          .upgrade("3", async ({ step, pages }) => {
            await step("one", () => {});
            await pages("two", 0, (cursor) => {
              countCall("two");
              if (cursor === 1 && failures++ < 2) throw new Error("no");
              return { next: cursor === 0 ? 1 : null, done: 1 };
            });
          }),
      check: async ({ admin }) => {
        const { deliveries, runs: [run, ...others], attempts } = await admin.history(MEMBER_ID);
        // The portal is on 3 already when its installation is verified: a missed update.
        const states = new Set(deliveries.map(({ name, state }) => `${name} ${state}`));
        assert.deepEqual([...states].sort(), ["ONAPPINSTALL handled", "ONAPPUPDATE handled"]);
        assert.equal(new Set(deliveries.map(({ id }) => id)).size, deliveries.length);
        assert.deepEqual([run?.to, typeof run?.finishedAt, others], ["3.0.0", "number", []]);
        const steps = run!.upgrades[0]!.steps;
        assert.deepEqual(steps.map(({ name, kind, pages }) => [name, kind, pages]), [
          ["one", "step", undefined],
          ["two", "pages", 2],
        ]);
        for (const { startedAt, finishedAt } of steps) assert(startedAt <= finishedAt!);
        assert(run!.calls["two"]! >= 1);
        // A crash before a failure is recorded loses it; one that was reported is recorded.
        assert(attempts.length >= reported && attempts.length <= failures, `${attempts.length} of ${failures}`);
        assert(attempts.every(({ step }) => step === "two"));
      },
    });
  });

  it("is gone after the purge", async () => {
    const storage = memoryStorage();
    const { app, portal, send, move } = stopped({ storage, retry: { maxAttempts: 1 } });
    let fails = true;
    app.upgrade("3", async ({ step }) => {
      await step("one", () => {});
      if (fails) throw new Error("no");
    });
    await send(portal.install(2));
    await send(portal.update(3));
    fails = false;
    await app.admin.retry(MEMBER_ID, OPERATOR);
    await app.settled();
    const before = await app.admin.history(MEMBER_ID);
    assert.deepEqual([before.runs.length, before.attempts.length], [1, 1]);
    await send(portal.uninstall());
    for (let day = 0; day < 40; day++) {
      move(86_400_000);
      await app.tick();
    }
    const { deliveries, runs, attempts } = await app.admin.history(MEMBER_ID);
    assert.deepEqual([runs, attempts], [[], []]);
    // They are needed to recognize copies.
    assert.deepEqual(deliveries.map(({ name }) => name), ["ONAPPUNINSTALL", "ONAPPUPDATE", "ONAPPINSTALL"]);
    for (const prefix of ["attempt", "run", "journal", "result"]) {
      assert.deepEqual(await Array.fromAsync(storage.list([prefix])), [], prefix);
    }
    await app.close();
  });

  it("is empty for an unknown portal", async () => {
    const { app } = rig();
    assert.deepEqual(await app.admin.history(OTHER_MEMBER_ID), { deliveries: [], runs: [], attempts: [] });
    await app.close();
  });
});
