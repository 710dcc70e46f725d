import assert from "node:assert/strict";
import {
  type App,
  type AppOptions,
  coerced,
  createApp,
  deployed,
  mapped,
  memoryStorage,
  NonRetriableError,
  type Storage,
} from "@b24/onappupdate";
import { fakeBitrix24, type FakePortal } from "@b24/onappupdate/testing";
import {
  appliedUpgrades,
  CLIENT_ID,
  MEMBER_ID,
  movableClock,
  OTHER_MEMBER_ID,
  post,
  quietLogger,
  trustAll,
} from "../support/app.ts";
import { openStorage, placeFor, type StorageName } from "../chaos/_storages.ts";
import { describe, it } from "../support/test.ts";
import { withoutWrite } from "../support/without_write.ts";
import { OPERATOR } from "../support/operator.ts";

/** Portals, and a storage that outlives deploys. */
function environment(storage: Storage = memoryStorage()): {
  /** Returns a newly deployed app, without upgrades yet. */
  readonly deploy: (options?: Partial<AppOptions>) => App;
  readonly portal: (memberId?: string) => FakePortal;
  readonly later: () => void;
} {
  const bitrix24 = fakeBitrix24({ clientId: CLIENT_ID });
  const { clock, later } = movableClock();
  return {
    deploy: (options) =>
      createApp({ storage, clock, logger: quietLogger, acknowledge: "handled", ...options }).use(trustAll),
    portal: (memberId = MEMBER_ID) => bitrix24.portal({ memberId }),
    later,
  };
}

async function send(app: App, body: string): Promise<void> {
  assert.equal((await app.fetch(post(body))).status, 200);
}

async function versionOf(app: App, memberId: string = MEMBER_ID): Promise<string | undefined> {
  return (await app.portal(memberId))?.version;
}

describe("an upgrade that a deploy adds", () => {
  it("runs for portals below its version, not for portals that have passed it or were installed above it", async () => {
    const { deploy, portal } = environment();
    const old = deploy().upgrade("3", ({ memberId }) => {
      if (memberId === MEMBER_ID) throw new NonRetriableError("not on this portal");
    });
    const [below, passed, installedAbove] = [portal(), portal(OTHER_MEMBER_ID), portal("c".repeat(32))];
    for (const portal of [below, passed]) {
      await send(old, portal.install(2));
      await send(old, portal.update(3));
    }
    await send(old, installedAbove.install(3));
    assert.deepEqual([await versionOf(old), await versionOf(old, OTHER_MEMBER_ID)], ["2.0.0", "3.0.0"]);

    const ran: string[] = [];
    const next = deploy().upgrade("3", ({ memberId }) => void ran.push(`3 ${memberId[0]}`))
      .upgrade("2.5", ({ memberId }) => void ran.push(`2.5 ${memberId[0]}`));
    for (const portal of [below, passed, installedAbove]) {
      await send(next, portal.update(4));
      assert.equal(await versionOf(next, portal.memberId), "4.0.0");
    }
    assert.deepEqual(ran, ["2.5 a", "3 a"]);
  });

  it("runs before a started upgrade of a higher version, which then resumes after its finished steps", async () => {
    const { deploy, portal, later } = environment();
    const ran: string[] = [];
    const three = (app: App): App =>
      app.upgrade("3", async ({ step, sleep }) => {
        await step("first", () => void ran.push("3 first"));
        await sleep("a while", 60_000);
        await step("second", () => void ran.push("3 second"));
      });
    const { install, update } = portal();
    const old = three(deploy());
    await send(old, install(2));
    await send(old, update(3));
    later();
    const next = three(deploy()).upgrade("2.5", ({ step }) => step("only", () => void ran.push("2.5 only")));
    await next.tick();
    assert.deepEqual(ran, ["3 first", "2.5 only", "3 second"]);
    assert.deepEqual((await appliedUpgrades(next)).map(({ id }) => id), ["2.5", "3"]);
  });

  it("counts as a new upgrade if its id has changed, and runs for portals that are still below it", async () => {
    const { deploy, portal } = environment();
    const ran: string[] = [];
    const { install, update } = portal();
    const old = deploy().upgrade("2.5", () => void ran.push("old id"), { id: "reports" })
      .upgrade("3", () => Promise.reject(new NonRetriableError("not yet")));
    await send(old, install(2));
    await send(old, update(3));
    const next = deploy().upgrade("2.5", () => void ran.push("new id"), { id: "reports-2" }).upgrade("3", () => {});
    await send(next, update(4));
    assert.deepEqual(ran, ["old id", "new id"]);
  });
});

describe("an upgrade that a deploy removes", () => {
  for (const state of ["sleeps", "waits for its next attempt"]) {
    it(`does not block a portal on which it ${state}, and stays in the history of its run`, async () => {
      const { deploy, portal, later } = environment();
      const { install, update } = portal();
      const ran: string[] = [];
      const old = deploy().upgrade("2.5", async ({ step, sleep }) => {
        await step("one", () => 1, { undo: () => void ran.push("undo") });
        if (state === "sleeps") await sleep("a while", 60_000);
        throw new Error("not yet");
      }).upgrade("3", () => {});
      await send(old, install(2));
      await send(old, update(3));
      assert.equal(await versionOf(old), "2.0.0");
      later();
      const next = deploy().upgrade("3", ({ step }) => step("three", () => void ran.push("3")));
      assert.deepEqual(await next.tick(), { handled: 1, failed: 0 });
      const { version, failure, run } = (await next.portal(MEMBER_ID))!;
      const applied = await appliedUpgrades(next);
      assert.deepEqual([version, failure, run, applied.map(({ id }) => id)], ["3.0.0", undefined, undefined, ["3"]]);
      const [finished] = await next.admin.runs(MEMBER_ID);
      assert.deepEqual(finished?.upgrades.map(({ upgradeId }) => upgradeId), ["2.5", "3"]);
      // The code that could undo its steps is gone.
      const { undone, without } = await next.admin.rollback(MEMBER_ID, OPERATOR);
      assert.deepEqual(undone, []);
      assert(without.some(({ upgradeId, step }) => upgradeId === "2.5" && step === "one"));
      assert.deepEqual(ran, ["3"]);
    });
  }

  it("no longer blocks a portal that it parked after the portal's next event or admin.retry()", async () => {
    for (const how of ["event", "retry"] as const) {
      const { deploy, portal, later } = environment();
      const { install, update, event } = portal();
      const old = deploy().upgrade("3", () => Promise.reject(new NonRetriableError("no")));
      await send(old, install(2));
      await send(old, update(3));
      const next = deploy().on("ONAPPTEST", () => {});
      later();
      assert.deepEqual(await next.tick(), { handled: 0, failed: 0 });
      assert.equal(await versionOf(next), "2.0.0");
      if (how === "event") await send(next, event("ONAPPTEST", {}));
      else {
        await next.start();
        await next.admin.retry(MEMBER_ID, OPERATOR);
        await next.close();
      }
      assert.equal(await versionOf(next), "3.0.0", how);
    }
  });
});

describe("a version scheme with a latest version", () => {
  const schemes = [
    { older: deployed("2.2.0"), newer: deployed("2.3.0"), raw: [1, 1], from: "2.2.0", to: "2.3.0" },
    {
      older: mapped({ 1: "2.2.0" }),
      newer: mapped({ 1: "2.2.0", 2: "2.3.0" }),
      raw: [1, 2],
      from: "2.2.0",
      to: "2.3.0",
    },
    { older: coerced({ latest: "2" }), newer: coerced({ latest: "3" }), raw: [2, 3], from: "2.0.0", to: "3.0.0" },
  ] as const;
  for (const { older, newer, raw, from, to } of schemes) {
    it(`${older.name}(): older code does not touch a portal that newer code is upgrading`, async () => {
      const { deploy, portal, later } = environment();
      const { install, update, event } = portal();
      const ran: string[] = [];
      const old = deploy({ versions: older }).on("ONAPPTEST", () => void ran.push("event"));
      const next = deploy({ versions: newer }).upgrade("2.3.0", async ({ step, sleep }) => {
        await step("one", () => void ran.push("one"));
        await sleep("a while", 60_000);
        await step("two", () => void ran.push("two"));
      });
      await send(old, install(raw[0]));
      await send(next, update(raw[1]));
      for (let tick = 0; tick < 3; tick++) {
        later();
        await old.tick();
      }
      await send(old, event("ONAPPTEST", {}));
      const { version, target, failure } = (await old.portal(MEMBER_ID))!;
      assert.deepEqual([version, target, failure], [from, to, undefined]);
      later();
      await next.tick();
      assert.equal(await versionOf(next), to);
      assert.deepEqual(ran, ["one", "event", "two"]);
    });
  }
});

describe("an event with a VERSION that mapped() does not know yet", () => {
  it("waits without limit for code that knows it", async () => {
    const { deploy, portal, later } = environment();
    const { install, update } = portal();
    const old = deploy({ versions: mapped({ 1: "1.0.0" }), retry: { maxAttempts: 2 } });
    await send(old, install(1));
    await send(old, update(2));
    for (let tick = 0; tick < 20; tick++) {
      later();
      await old.tick();
    }
    const ran: string[] = [];
    const next = deploy({ versions: mapped({ 1: "1.0.0", 2: "1.4.0" }) })
      .upgrade("1.4.0", ({ from, to }) => void ran.push(`${from} -> ${to}`));
    later();
    await next.tick();
    assert.deepEqual([ran, await versionOf(next)], [["1.0.0 -> 1.4.0"], "1.4.0"]);
  });
});

describe("the result of a step", () => {
  it("is the JSON form of the returned value, at first and after an interruption alike", async () => {
    const { deploy, portal, later } = environment();
    const { install, update } = portal();
    const results: unknown[] = [];
    const app = deploy().upgrade("3", async ({ step, attempt }) => {
      results.push(await step("when", () => ({ at: new Date(0), gone: undefined, list: [undefined] })));
      if (attempt === 1) throw new Error("not yet");
    });
    await send(app, install(2));
    await send(app, update(3));
    later();
    await app.tick();
    const expected = { at: "1970-01-01T00:00:00.000Z", list: [null] };
    assert.deepEqual(results, [expected, expected]);
  });

  it("parks the portal at once if it has no JSON form", async () => {
    const { deploy, portal } = environment();
    const { install, update } = portal();
    const app = deploy().upgrade("3", ({ step }) => step("helper", () => () => 1).then(() => {}));
    await send(app, install(2));
    await send(app, update(3));
    const { failure } = (await app.portal(MEMBER_ID))!;
    assert.deepEqual([failure?.step, failure?.retryAt], ["helper", undefined]);
    assert.match(failure!.message, /cannot store the result of step "helper": it is of type function, wanted a value/);
  });

  for (const name of ["file", "deno-kv", "redis"] satisfies StorageName[]) {
    it(`is read back after a deploy, up to the largest value of ${name}`, async () => {
      const place = await placeFor(name);
      const storage = await openStorage(name, place.at);
      try {
        const { deploy, portal, later } = environment(storage);
        const { install, update } = portal();
        const bytes = Math.min(storage.capabilities.maxValueBytes ?? Infinity, 2 ** 21);
        const large = "x".repeat(bytes - 2);
        const isComplete: boolean[] = [];
        let runs = 0;
        const upgrade = (app: App, isBroken: boolean): App =>
          app.upgrade("3", async ({ step }) => {
            isComplete.push(
              await step("large", () => {
                runs++;
                return large;
              }) === large,
            );
            if (isBroken) throw new Error("not yet");
          });
        const old = upgrade(deploy(), true);
        await send(old, install(2));
        await send(old, update(3));
        later();
        const next = upgrade(deploy(), false);
        await next.tick();
        assert.deepEqual([isComplete, runs, await versionOf(next)], [[true, true], 1, "3.0.0"]);
      } finally {
        await storage.close?.();
        await place.remove();
      }
    });
  }

  it("parks the portal at once if it is larger than the storage allows, with both sizes in the message", async () => {
    const inner = memoryStorage();
    const { deploy, portal } = environment({
      ...withoutWrite(inner),
      capabilities: { ...inner.capabilities, maxValueBytes: 20_000 },
    });
    const { install, update } = portal();
    const app = deploy().upgrade("3", ({ step }) => step("large", () => "x".repeat(30_000)).then(() => {}));
    await send(app, install(2));
    await send(app, update(3));
    const { version, failure } = (await app.portal(MEMBER_ID))!;
    assert.deepEqual([version, failure?.step, failure?.retryAt], ["2.0.0", "large", undefined]);
    assert.match(failure!.message, /step "large": it has 30002 bytes of JSON, memory takes at most 20000/);
  });
});
