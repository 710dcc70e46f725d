import assert from "node:assert/strict";
import {
  type App,
  createApp,
  deployed,
  memoryStorage,
  NonRetriableError,
  type RolloutOptions,
  type Storage,
} from "@b24/onappupdate";
import type { PortalRecord } from "../../../src/portal/record.ts";
import { writeRecord } from "../../../src/portal/record_store.ts";
import type { Breaker } from "../../../src/rollout/breaker.ts";
import { quietLogger, rig, trustAll } from "../../support/app.ts";
import { OPERATOR } from "../../support/operator.ts";
import {
  codeAt,
  type CodeOptions,
  inOrderOf,
  memberIds,
  type Release,
  release,
  storeInstalled,
  tickOut,
  versionsOf,
} from "../../support/rollout.ts";
import { describe, it } from "../../support/test.ts";

const IDS = memberIds(12);
const HOUR = 60 * 60 * 1000;
const FIRST = inOrderOf("2.0.0", IDS)[0]!;

interface TimedRelease extends Release {
  readonly later: (ms: number) => void;
  readonly clock: () => number;
}

/** Returns a release whose clock only `later` moves. */
async function timedRelease(rollout: RolloutOptions, more: Partial<CodeOptions> = {}): Promise<TimedRelease> {
  let now = Date.parse("2026-01-07T23:00:00Z");
  const clock = (): number => now;
  return { clock, later: (ms) => void (now += ms), ...await release(IDS, rollout, { clock, ...more }) };
}

async function inFlight(storage: Storage): Promise<string[]> {
  const breakers = await Array.fromAsync(storage.list<Breaker>(["rollout", "upgrade"]));
  return breakers.flatMap(({ value }) => Object.keys(value.slots));
}

describe("a portal in flight that is left", () => {
  const change = (to: (record: PortalRecord) => PortalRecord) => ({ storage }: Release): Promise<unknown> =>
    writeRecord(storage, FIRST, (record) => ({ record: to(record!) }));
  const ways: readonly (readonly [string, (release: Release) => Promise<unknown>])[] = [
    ["removes the app", change(({ run: _, failure: _f, ...record }) => ({ ...record, status: "uninstalled" }))],
    ["is forgotten", ({ app }) => app.admin.forget(FIRST, OPERATOR)],
    [
      "is reinstalled on the new version",
      change(({ run: _, failure: _f, ...record }) => ({ ...record, generation: 2, version: "2.0.0", target: "2.0.0" })),
    ],
    ["is rolled back", ({ app }) => app.admin.rollback(FIRST, OPERATOR)],
    ["skips the upgrade", ({ app }) => app.admin.skip(FIRST, "2.0.0", OPERATOR)],
  ];
  for (const [name, leave] of ways) {
    it(`gives its slot back: it ${name}`, async () => {
      const upgrade = (memberId: string): void => {
        if (memberId === FIRST) throw new Error("not now");
      };
      const made = await timedRelease({ first: [FIRST], pauseWhen: { failed: 2 } }, { upgrade });
      const { app, storage, later, begun } = made;
      await tickOut(app);
      assert.deepEqual(await inFlight(storage), [FIRST]);
      await leave(made);
      for (let i = 0; i < 4; i++) {
        await tickOut(app);
        later(2 * 60_000);
      }
      assert.deepEqual(await inFlight(storage), []);
      assert.equal(new Set(begun).size, 12);
      assert.equal((await app.admin.rollout.status())?.state, "finished");
      await app.close();
    });
  }

  it("keeps its slot through a pause, and goes on after it", async () => {
    let isBroken = true;
    const upgrade = (): void => {
      if (isBroken) throw new Error("not now");
    };
    const { app, storage, later } = await timedRelease({ stages: [{ portals: 1 }] }, { upgrade });
    await app.tick();
    await app.admin.rollout.pause("2.0.0", OPERATOR);
    isBroken = false;
    for (let i = 0; i < 4; i++) {
      later(HOUR);
      await app.tick();
    }
    assert.deepEqual(await inFlight(storage), [FIRST]);
    await app.admin.rollout.resume("2.0.0", OPERATOR);
    await tickOut(app);
    assert.deepEqual([await inFlight(storage), (await app.portal(FIRST))?.version], [[], "2.0.0"]);
    await app.close();
  });
});

describe("a stage", () => {
  it("does not end while one of its portals waits for a retry", async () => {
    let isBroken = true;
    const upgrade = (): void => {
      if (isBroken) throw new Error("not now");
    };
    const stages = [{ portals: 1, forMs: 0 }, { percent: 100 }];
    const { app, begun, later } = await timedRelease({ stages }, { upgrade });
    await tickOut(app);
    await app.tick();
    assert.deepEqual([begun, (await app.admin.rollout.status())?.waitsFor?.on], [[FIRST], "portals"]);
    isBroken = false;
    later(HOUR);
    await tickOut(app);
    assert.equal(new Set(begun).size, 12);
    await app.close();
  });
});

describe("a held portal", () => {
  const STAGES = [{ portals: 3 }, { percent: 100 }];
  const held = inOrderOf("2.0.0", IDS).at(-1)!;

  it("stays held if an operator retries it, and is reached by its stage", async () => {
    const { app, begun } = await timedRelease({ stages: STAGES });
    await tickOut(app);
    await app.admin.retry(held, OPERATOR);
    await assert.rejects(app.admin.setTarget(held, "2.0.0", OPERATOR), /with deployed\(\), the version of the code/);
    await tickOut(app);
    assert.equal(begun.includes(held), false);
    assert.equal((await app.portal(held))?.blocked?.on, "rollout");
    await app.admin.rollout.promote("2.0.0", OPERATOR);
    await tickOut(app);
    assert.equal(begun.filter((id) => id === held).length, 1);
    await app.close();
  });

  it("says so in its plan and rehearsal, until its stage comes", async () => {
    const { app, storage } = await timedRelease({ stages: STAGES });
    await tickOut(app);
    const why = "the rollout of 2.0.0 has not reached the portal";
    const { from, to, upgrades, held: hold } = await app.plan({ memberId: held });
    assert.deepEqual([from, to, upgrades.map(({ id }) => id), hold], ["1.0.0", "2.0.0", ["2.0.0"], why]);
    assert.equal((await app.rehearse(held)).obstacle, `the portal is blocked on rollout: ${why}`);
    assert.equal((await storage.get<PortalRecord>(["portal", held]))?.value.target, "1.0.0");
    await app.admin.rollout.promote("2.0.0", OPERATOR);
    await tickOut(app);
    const after = await app.plan({ memberId: held });
    assert.deepEqual([after.from, after.upgrades, after.held], ["2.0.0", [], undefined]);
    await app.close();
  });

  it("joins its stage if it is stored meanwhile, and does not overtake", async () => {
    const { app, begun, storage } = await timedRelease({ stages: STAGES });
    await tickOut(app);
    // As an adoption stores it: with the deployed version as its target.
    const [late] = memberIds(13).slice(12) as [string];
    await storeInstalled(storage, [late], "1.0.0");
    await writeRecord(storage, late, (record) => ({ record: { ...record!, target: "2.0.0" } }));
    await app.admin.retry(late, OPERATOR);
    await tickOut(app);
    assert.deepEqual([begun.length, (await app.portal(late))?.target], [3, "1.0.0"]);
    await app.admin.rollout.promote("2.0.0", OPERATOR);
    await tickOut(app);
    assert.deepEqual([begun.length, (await app.portal(late))?.version], [13, "2.0.0"]);
    await app.close();
  });

  it("begins no upgrade after the window has closed, and what has begun ends", async () => {
    let count = 0;
    const window = { from: "22:00", to: "00:00", timeZone: "UTC" };
    const made: TimedRelease = await timedRelease({ window, concurrency: 1 }, {
      upgrade: () => {
        if (++count === 4) made.later(HOUR);
      },
    });
    await tickOut(made.app);
    assert.equal(made.begun.length, 4);
    for (const id of made.begun) assert.equal((await made.app.portal(id))?.version, "2.0.0");
    made.later(22 * HOUR);
    await tickOut(made.app);
    assert.equal(made.begun.length, 12);
    await made.app.close();
  });
});

describe("a portal that waits for a pause to end", () => {
  it("is taken over by a higher version at once", async () => {
    const storage = memoryStorage();
    await storeInstalled(storage, IDS, "1.0.0");
    const before = codeAt("1.5.0", { storage, rollout: { hold: IDS } });
    await tickOut(before.app);
    await before.app.admin.rollout.pause("1.5.0", OPERATOR);
    const blocked = { on: "rollout", message: "paused", since: 1, nextTryAt: Date.now() + HOUR } as const;
    await writeRecord(storage, FIRST, (record) => ({ record: { ...record!, target: "1.5.0", blocked } }));
    const next = codeAt("2.0.0", { storage, rollout: {} });
    await tickOut(next.app);
    assert.deepEqual(await versionsOf(storage, IDS), { "2.0.0": 12 });
    await before.app.close();
    await next.app.close();
  });
});

describe("code without rollout control", () => {
  it("upgrades a portal at once that waited for a rollout", async () => {
    const storage = memoryStorage();
    await storeInstalled(storage, [FIRST], "1.0.0");
    const blocked = { on: "rollout", message: "paused", since: 1, nextTryAt: Date.now() + HOUR } as const;
    await writeRecord(storage, FIRST, (record) => ({ record: { ...record!, target: "1.5.0", blocked } }));
    const { app } = codeAt("2.0.0", { storage });
    await tickOut(app);
    assert.equal((await app.portal(FIRST))?.version, "2.0.0");
    await app.close();
  });
});

describe("the event of a customer", () => {
  it("does not take a held portal past its stage", async () => {
    const storage = memoryStorage();
    const before = rig({ storage, versions: deployed("1.0.0") });
    await before.send(before.portal.install(1));
    await before.app.settled();
    let begun = 0;
    const { app, send } = rig({
      ...{ storage, versions: deployed("2.0.0"), fetch: before.bitrix24.fetch },
      rollout: { hold: [before.portal.memberId] },
    });
    app.upgrade("2.0.0", () => void begun++);
    assert.equal(await send(before.portal.update(2)), 200);
    await app.settled();
    const { version, target, blocked } = (await app.portal(before.portal.memberId))!;
    assert.deepEqual([version, target, blocked?.on, begun], ["1.0.0", "1.0.0", "rollout", 0]);
    await app.admin.rollout.set("2.0.0", { hold: [] }, OPERATOR);
    await app.settled();
    assert.deepEqual([(await app.portal(before.portal.memberId))?.version, begun], ["2.0.0", 1]);
    await app.close();
    await before.app.close();
  });
});

describe("an abort", () => {
  it("wakes no portal that sleeps in a step; rolled back, a lower version reaches it", async () => {
    const storage = memoryStorage();
    await storeInstalled(storage, IDS, "1.0.0");
    let now = Date.parse("2026-01-07T23:00:00Z");
    const woken: string[] = [];
    const options = { storage, clock: () => now, logger: quietLogger, tickEveryMs: false, checks: false } as const;
    const sleeping = createApp({ ...options, versions: deployed("2.0.0"), rollout: { stages: [{ portals: 2 }] } })
      .use(trustAll).upgrade("2.0.0", async ({ memberId, sleep }) => {
        await sleep("an hour", HOUR);
        woken.push(memberId);
      });
    await tickOut(sleeping as App);
    await sleeping.admin.rollout.abort("2.0.0", OPERATOR);
    now += 2 * HOUR;
    for (let i = 0; i < 3; i++) await sleeping.tick();
    assert.deepEqual([woken, await inFlight(storage)], [[], []]);
    for (const id of inOrderOf("2.0.0", IDS).slice(0, 2)) {
      assert.match((await sleeping.portal(id))!.blocked!.message, /the rollout of 2.0.0 was aborted/);
      await sleeping.admin.rollback(id, OPERATOR);
      assert.equal((await sleeping.portal(id))!.state, "parked");
    }
    await sleeping.close();
    const fixed = codeAt("1.9.1", { storage, rollout: {}, clock: () => now });
    await tickOut(fixed.app);
    assert.deepEqual(await versionsOf(storage, IDS), { "1.9.1": 12 });
    await fixed.app.close();
  });
});

describe("a portal that is rolled back after the rollout of a lower version is over", () => {
  it("is reached when the options of that are set", async () => {
    const storage = memoryStorage();
    await storeInstalled(storage, IDS, "1.0.0");
    const upgrade = (): never => {
      throw new NonRetriableError("no");
    };
    const bad = codeAt("2.0.0", { storage, rollout: { stages: [{ portals: 1 }, { percent: 100 }] }, upgrade });
    await tickOut(bad.app);
    await bad.app.admin.rollout.abort("2.0.0", OPERATOR);
    const fixed = codeAt("1.9.1", { storage, rollout: {} });
    await tickOut(fixed.app);
    const [left] = bad.begun;
    await fixed.app.admin.rollback(left!, OPERATOR);
    await tickOut(fixed.app);
    assert.deepEqual(await versionsOf(storage, IDS), { "1.0.0": 1, "1.9.1": 11 });
    await fixed.app.admin.rollout.set("1.9.1", {}, OPERATOR);
    await tickOut(fixed.app);
    assert.deepEqual(await versionsOf(storage, IDS), { "1.9.1": 12 });
    await bad.app.close();
    await fixed.app.close();
  });
});

describe("two processes whose clocks differ by five minutes", () => {
  it("share the slots", async () => {
    const storage = memoryStorage();
    await storeInstalled(storage, IDS, "1.0.0");
    const upgrade = (): never => {
      throw new NonRetriableError("no");
    };
    const codes = [0, 5 * 60_000, -5 * 60_000].map((ahead) =>
      codeAt("2.0.0", { storage, rollout: {}, upgrade, clock: () => Date.now() + ahead })
    );
    for (let i = 0; i < 4; i++) for (const { app } of codes) await app.tick();
    assert.equal(new Set(codes.flatMap(({ begun }) => begun)).size, 3);
    assert.deepEqual(await inFlight(storage), []);
    await Promise.all(codes.map(({ app }) => app.close()));
  });
});
