import assert from "node:assert/strict";
import {
  createApp,
  deployed,
  memoryStorage,
  NonRetriableError,
  type RolloutChanges,
  type Storage,
} from "@b24/onappupdate";
import { writeRecord } from "../../../src/portal/record_store.ts";
import { quietLogger, recordingLogger, trustAll } from "../../support/app.ts";
import { OPERATOR } from "../../support/operator.ts";
import { codeAt, inOrderOf, memberIds, release, storeInstalled, tickOut } from "../../support/rollout.ts";
import { describe, it } from "../../support/test.ts";
import { virtualTime } from "../../support/time.ts";

const IDS = memberIds(40);
const HOUR = 60 * 60 * 1000;

/** Returns all entries of rollouts. */
async function rolloutEntries(storage: Storage): Promise<string> {
  return JSON.stringify(await Array.fromAsync(storage.list(["rollout"])));
}

describe("app.admin.rollout refuses, and changes nothing", () => {
  it("what there is no rollout of, or what is over", async () => {
    const { app, storage } = await release(IDS, { stages: [{ portals: 5 }, { percent: 100 }] });
    await tickOut(app);
    const { rollout } = app.admin;
    const before = await rolloutEntries(storage);
    const refused = async (code: string, act: () => Promise<unknown>): Promise<void> => {
      await assert.rejects(act, (error: { code?: string }) => error.code === code);
    };
    for (const act of ["pause", "resume", "promote", "abort"] as const) {
      await refused("unknown_rollout", () => rollout[act]("3.0.0", OPERATOR));
    }
    await refused("unknown_rollout", () => rollout.set("3.0.0", {}, OPERATOR));
    await refused("version", () => rollout.pause("latest", OPERATOR));
    assert.equal(await rolloutEntries(storage), before);
    await rollout.abort("2.0.0", OPERATOR);
    const aborted = await rolloutEntries(storage);
    for (const act of ["pause", "resume", "promote", "abort"] as const) {
      await refused("rollout_over", () => rollout[act]("2.0.0", OPERATOR));
    }
    await refused("rollout_over", () => rollout.set("2.0.0", { hold: [] }, OPERATOR));
    assert.equal(await rolloutEntries(storage), aborted);
    await app.close();
  });

  it("a promote beyond the last stage", async () => {
    const { app, storage } = await release(IDS, { stages: [{ portals: 5 }, { percent: 50 }] });
    await tickOut(app);
    await app.admin.rollout.promote("2.0.0", OPERATOR);
    await tickOut(app);
    assert.equal((await app.admin.rollout.status())?.waitsFor?.on, "set");
    const before = await rolloutEntries(storage);
    await assert.rejects(
      () => app.admin.rollout.promote("2.0.0", OPERATOR),
      /cannot promote the rollout of 2.0.0: stage 2 is the last one/,
    );
    assert.equal(await rolloutEntries(storage), before);
    await app.close();
  });

  it("a promote of a stage that is over: two at once begin one", async () => {
    const { app } = await release(IDS, { stages: [{ portals: 5 }, { percent: 50 }, { percent: 100 }] });
    await tickOut(app);
    const promote = (stage: number): Promise<void> => app.admin.rollout.promote("2.0.0", { ...OPERATOR, stage });
    const ends = await Promise.allSettled([promote(1), promote(1)]);
    const refused = ends.filter((end) => end.status === "rejected");
    assert.deepEqual(refused.map(({ reason }) => [reason.code, reason.message]), [
      ["other_stage", "cannot promote the rollout of 2.0.0: its present stage is 2, wanted 1"],
    ]);
    await promote(2);
    assert.equal((await app.admin.rollout.status())?.stages.findIndex(({ state }) => state === "present"), 2);
    const { items } = await app.admin.audit({ action: "rollout.promote" });
    assert.deepEqual(items.map(({ outcome }) => outcome).sort(), ["done", "done", "refused"]);
    await assert.rejects(promote(0), TypeError);
    await app.close();
  });

  it("options that are wrong, and portals that are not there", async () => {
    const { app, storage } = await release(IDS, { stages: [{ portals: 5 }, { percent: 100 }] });
    await tickOut(app);
    const before = await rolloutEntries(storage);
    const refused: readonly (readonly [RolloutChanges, RegExp])[] = [
      [{ stages: [{ percent: 50 }, { percent: 20 }] }, /stages.1.percent 20, wanted more than the 50/],
      [{ pauseWhen: { percent: 101 } }, /pauseWhen.percent 101/],
      [{ window: { from: "22:00", to: "06:00", timeZone: "x" } }, /window.timeZone "x"/],
      [{ hold: ["nobody"] }, /no portal nobody is stored/],
      [{ first: ["nobody"] }, /no portal nobody is stored/],
    ];
    for (const [changes, message] of refused) {
      await assert.rejects(
        () => app.admin.rollout.set("2.0.0", changes, OPERATOR),
        (error: Error) => message.test(error.message),
      );
    }
    const noReason = { by: "ada", reason: "" };
    await assert.rejects(() => app.admin.rollout.pause("2.0.0", noReason), TypeError);
    await assert.rejects(() => app.admin.rollout.set("2.0.0", {}, noReason), TypeError);
    await assert.rejects(() => app.admin.rollout.resume("2.0.0", { ...noReason, retryParked: true }), TypeError);
    assert.equal(await rolloutEntries(storage), before);
    await app.close();
  });
});

describe("app.admin.rollout", () => {
  it("records who has done what, and why", async () => {
    const { app } = await release(IDS, { stages: [{ portals: 5 }, { percent: 100 }] });
    await tickOut(app);
    await app.admin.rollout.pause("2.0.0", OPERATOR);
    await app.admin.rollout.resume("2", { ...OPERATOR, retryParked: true });
    await app.admin.rollout.promote("9", OPERATOR).catch(() => {});
    const { items } = await app.admin.audit();
    assert.deepEqual(items.map(({ action, by, reason, outcome, details }) => [action, by, reason, outcome, details]), [
      ["rollout.promote", OPERATOR.by, OPERATOR.reason, "refused", { target: "9" }],
      ["rollout.resume", OPERATOR.by, OPERATOR.reason, "done", { target: "2", retryParked: true }],
      ["rollout.pause", OPERATOR.by, OPERATOR.reason, "done", { target: "2.0.0" }],
    ]);
    await app.close();
  });

  it("begins nothing while paused, and promotes also then", async () => {
    const { app, begun } = await release(IDS, { stages: [{ portals: 5 }, { percent: 100 }] });
    await tickOut(app);
    await app.admin.rollout.pause("2.0.0", OPERATOR);
    await app.admin.rollout.promote("2.0.0", OPERATOR);
    await tickOut(app);
    assert.equal(begun.length, 5);
    await app.admin.rollout.resume("2.0.0", OPERATOR);
    await tickOut(app);
    assert.equal(begun.length, 40);
    await app.close();
  });

  it("holds portals, and lets them go when that ends, also after the rollout has finished", async () => {
    const held = IDS.slice(0, 3);
    const { app, begun } = await release(IDS, { hold: held });
    await tickOut(app);
    assert.equal(begun.length, 37);
    assert.equal((await app.admin.rollout.status())?.state, "finished");
    const portal = (await app.portal(held[0]!))!;
    assert.deepEqual([portal.target, portal.blocked?.on], ["1.0.0", "rollout"]);
    assert.match(portal.blocked!.message, /the rollout of 2.0.0 has not reached the portal/);
    await app.check(held[0]!).catch(() => {});
    await tickOut(app);
    assert.equal(begun.length, 37);
    await app.admin.rollout.set("2.0.0", { hold: [] }, OPERATOR);
    await tickOut(app);
    assert.equal(begun.length, 40);
    await app.close();
  });

  it("begins with the first portals, which count", async () => {
    const mine = inOrderOf("2.0.0", IDS).at(-1)!;
    const { app, begun } = await release(IDS, { first: [mine], stages: [{ portals: 3 }, { percent: 100 }] });
    await tickOut(app);
    assert.deepEqual([...begun].sort(), [mine, ...inOrderOf("2.0.0", IDS).slice(0, 2)].sort());
    await app.close();
  });

  it("begins only in its window; what has begun goes on", async () => {
    let now = Date.parse("2026-01-07T12:00:00Z");
    const window = { from: "22:00", to: "06:00", timeZone: "UTC" };
    const { app, begun, storage } = await release(IDS, { window }, { clock: () => now });
    await tickOut(app);
    assert.deepEqual(begun, []);
    assert.deepEqual((await app.admin.rollout.status())?.waitsFor, {
      on: "window",
      until: Date.parse("2026-01-07T22:00:00Z"),
    });
    assert.match((await app.portal(IDS[0]!))!.blocked!.message, /waits for its window/);
    // They are not written, either.
    for (const id of IDS) assert.equal((await app.portal(id))!.target, "1.0.0");
    now = Date.parse("2026-01-07T22:00:00Z");
    await app.close();
    const night = codeAt("2.0.0", { storage, rollout: { window }, clock: () => now });
    await tickOut(night.app);
    assert.equal(night.begun.length, 40);
    await night.app.close();
  });

  it("never has more portals in flight than concurrency", async () => {
    let [running, most] = [0, 0];
    const upgrade = async (): Promise<void> => {
      most = Math.max(most, ++running);
      await new Promise((resolve) => setTimeout(resolve, 1));
      running--;
    };
    const { app, begun } = await release(IDS, { concurrency: 2 }, { upgrade });
    await app.settled();
    assert.deepEqual([most, begun.length], [2, 40]);
    await app.close();
  });

  it("warns of other options for the same version, and keeps the stored ones", async () => {
    const { app, storage, begun } = await release(IDS, { stages: [{ portals: 5 }, { percent: 100 }] });
    await tickOut(app);
    const { logger, lines } = recordingLogger();
    const other = codeAt("2.0.0", { storage, rollout: { stages: [{ percent: 100 }] }, logger });
    await tickOut(other.app);
    assert.equal(begun.length + other.begun.length, 5);
    const [line] = lines.filter((line) => line.includes("rollout.options_differ"));
    const { stored, given } = JSON.parse(line!);
    assert.deepEqual([stored.stages, given.stages], [[{ portals: 5 }, { percent: 100 }], [{ percent: 100 }]]);
    await app.close();
    await other.app.close();
  });

  it("warns of portals in its options that are not stored, once", async () => {
    const { logger, lines } = recordingLogger();
    const { app } = await release(IDS, { hold: [IDS[0]!, "nobody"], first: ["somebody"] }, { logger });
    for (let i = 0; i < 3; i++) await app.tick();
    const warnings = lines.filter((line) => line.includes("rollout.portals_unknown"));
    assert.deepEqual(warnings.map((line) => JSON.parse(line).memberIds), [["somebody", "nobody"]]);
    await app.close();
  });

  it("lets a higher version take over, from its own first stage on", async () => {
    const { app, storage, begun } = await release(IDS, { stages: [{ portals: 5 }, { percent: 100 }] });
    await tickOut(app);
    const next = codeAt("2.1.0", { storage, rollout: { stages: [{ portals: 4 }, { percent: 100 }] } });
    await tickOut(next.app);
    assert.deepEqual([begun.length, next.begun.length], [5, 4]);
    assert.equal((await next.app.admin.rollout.status("2.0.0"))?.state, "superseded");
    await app.tick();
    assert.equal(begun.length, 5);
    await next.app.admin.rollout.promote("2.1.0", OPERATOR);
    await tickOut(next.app);
    assert.deepEqual(await next.app.admin.counts(), [{ status: "current", version: "2.1.0", count: 40 }]);
    await app.close();
    await next.app.close();
  });

  it("counts portals that it holds, and says how fast it is", async () => {
    const time = virtualTime();
    let now = time.now();
    const stages = [{ portals: 10 }, { percent: 100 }];
    const { app, storage } = await release(IDS, { stages, pauseWhen: { failed: 10 } }, { clock: () => now });
    await tickOut(app);
    assert.deepEqual(await app.admin.counts(), [
      { status: "held", version: "1.0.0", count: 30 },
      { status: "current", version: "2.0.0", count: 10 },
    ]);
    now += 5 * 60_000;
    const status = (await app.admin.rollout.status())!;
    assert.deepEqual(status.counts, { current: 10, upgrading: 0, blocked: 0, parked: 0, held: 30 });
    assert.deepEqual(status.stages.map(({ state }) => state), ["present", "later"]);
    assert(status.perMinute > 1.5 && status.perMinute <= 2.5, String(status.perMinute));
    assert(status.remainingMs! > 12 * 60_000 && status.remainingMs! < 20 * 60_000, String(status.remainingMs));
    assert.deepEqual(
      status.breakers.map((
        { upgradeId, inFlight, finished, failed, pausesAt },
      ) => [upgradeId, inFlight, finished, failed, pausesAt]),
      [["2.0.0", 0, 10, 0, 10]],
    );
    assert.ok(storage);
    await app.close();
  });

  it("tells observers that it has finished", async () => {
    const finished: string[] = [];
    const plugin = {
      name: "pager",
      observe: { rolloutFinished: ({ target }: { target: string }) => void finished.push(target) },
    };
    const { app } = await release(IDS, {}, { plugins: [plugin] });
    await tickOut(app);
    await app.tick();
    assert.deepEqual(finished, ["2.0.0"]);
    await app.close();
  });
});

describe("resume with retryParked", () => {
  it("stores a batch operation, which another process goes on with, and which retries no other portal", async () => {
    let isBroken = true;
    const upgrade = (): void => {
      if (isBroken) throw new NonRetriableError("no");
    };
    const { app, storage, begun } = await release(IDS, {}, { upgrade });
    await tickOut(app);
    assert.equal(begun.length, 3);
    // One that was parked on its way to another version.
    const other = IDS.find((id) => !begun.includes(id))!;
    await writeRecord(storage, other, (record) => ({
      record: {
        ...record!,
        target: "1.5.0",
        failure: { upgradeId: "1.5.0", to: "1.5.0", message: "no", attempts: 1, at: 1 },
      },
    }));
    await app.close();
    isBroken = false;
    // A process that ends before it has retried one.
    const operators = codeAt("2.0.0", { storage, rollout: {} });
    await operators.app.admin.rollout.resume("2.0.0", { ...OPERATOR, retryParked: true });
    const [batch] = await operators.app.admin.batches.list();
    const { action, rollout, state, matched, done, by } = batch!;
    assert.deepEqual([action, rollout, state, matched, done, by], ["retry", "2.0.0", "running", 3, 0, OPERATOR.by]);
    const { items: [resumed] } = await operators.app.admin.audit();
    assert.deepEqual([resumed?.action, resumed?.batchId], ["rollout.resume", batch!.id]);
    await operators.app.close();
    const next = codeAt("2.0.0", { storage, rollout: { hold: [other] } });
    await next.app.admin.rollout.set("2.0.0", { hold: [other] }, OPERATOR);
    await tickOut(next.app);
    const [ended] = await next.app.admin.batches.list();
    assert.deepEqual([ended?.state, ended?.done, ended?.refused, ended?.changed], ["finished", 3, 0, 0]);
    for (const id of begun) assert.equal((await next.app.portal(id))?.version, "2.0.0");
    assert.equal((await next.app.portal(other))?.failure?.attempts, 1);
    await next.app.close();
  });
});

describe("observers of a rollout", () => {
  it("are notified of what another process has stored, under the same id, and once", async () => {
    const { app, storage } = await release(IDS, { stages: [{ portals: 5 }, { percent: 100 }] });
    await tickOut(app);
    await app.close();
    // Its process has ended before it could notify anybody.
    const key = ["rollout", "target", "2.0.0"] as const;
    const change = { kind: "rolloutPaused", target: "2.0.0", by: "ada", reason: "no" };
    const { value } = (await storage.get<object>(key))!;
    await storage.put(key, { ...value, reports: [{ id: "7", changedAt: 8, change }] });
    const told: unknown[] = [];
    const plugins = [{ name: "pager", observe: { rolloutPaused: (report: unknown) => void told.push(report) } }];
    const codes = [1, 2, 3].map(() => codeAt("2.0.0", { storage, rollout: {}, plugins }));
    for (let i = 0; i < 3; i++) await Promise.all(codes.map(({ app }) => app.tick()));
    assert.deepEqual(told, [{ id: "7", changedAt: 8, target: "2.0.0", by: "ada", reason: "no" }]);
    assert.equal("reports" in (await storage.get<object>(key))!.value, false);
    await Promise.all(codes.map(({ app }) => app.close()));
  });
});

describe("a portal that sleeps", () => {
  it("gives its slot up, and needs one to wake", async () => {
    let now = Date.now();
    const storage = memoryStorage();
    await storeInstalled(storage, IDS, "1.0.0");
    const slept: string[] = [];
    const woken: string[] = [];
    const sleeping = createApp({
      ...{ storage, versions: deployed("2.0.0"), rollout: { pauseWhen: { failed: 1 } }, clock: () => now },
      ...{ logger: quietLogger, tickEveryMs: false, checks: false },
    }).use(trustAll).upgrade("2.0.0", async ({ memberId, sleep }) => {
      slept.push(memberId);
      await sleep("an hour", HOUR);
      woken.push(memberId);
    });
    for (let i = 0; i < 5; i++) await sleeping.tick({ limit: 1000 });
    // One at a time is in flight, and all of them sleep.
    assert.equal(new Set(slept).size, 40);
    await sleeping.admin.rollout.pause("2.0.0", OPERATOR);
    now += 2 * HOUR;
    for (let i = 0; i < 3; i++) await sleeping.tick({ limit: 1000 });
    assert.equal(woken.length, 0);
    await sleeping.admin.rollout.resume("2.0.0", OPERATOR);
    for (let i = 0; i < 5; i++) await sleeping.tick({ limit: 1000 });
    assert.equal(woken.length, 40);
    await sleeping.close();
  });
});
