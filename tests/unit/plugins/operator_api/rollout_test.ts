import assert from "node:assert/strict";
import { deployed, memoryStorage, type RolloutOptions } from "@b24/onappupdate";
import { memberIds, storeInstalled, tickOut } from "../../../support/rollout.ts";
import { describe, it } from "../../../support/test.ts";
import { type ApiRig, apiRig, READ } from "./_api.ts";

const STAGES = [{ portals: 5 }, { percent: 50, forMs: 60_000 }, { percent: 100 }];
const WINDOW = { from: "22:00", to: "06:00", timeZone: "Europe/Berlin" };
const REASON = { reason: "ticket 17" };

/** Returns an API of an app that releases 2.0.0 to 40 portals. */
async function releaseRig(rollout: RolloutOptions = { stages: STAGES }, upgrade = (): void => {}): Promise<ApiRig> {
  const storage = memoryStorage();
  await storeInstalled(storage, memberIds(40), "1.0.0");
  const api = apiRig({ storage, versions: deployed("2.0.0"), rollout, retry: { maxAttempts: 1 } });
  api.app.upgrade("2.0.0", upgrade);
  await tickOut(api.app);
  return api;
}

describe("operatorApi() rollouts", () => {
  it("are shown with stages, counts and what they wait for", async () => {
    const { app, call } = await releaseRig();
    const { status, body: { rollout } } = await call("GET /rollout", undefined, { token: READ });
    assert.equal(status, 200);
    assert.deepEqual([rollout.target, rollout.state, rollout.waitsFor], ["2.0.0", "running", { on: "promote" }]);
    assert.deepEqual(rollout.stages.map(({ state, ...stage }: object & { state: string }) => [state, stage]), [
      ["present", STAGES[0]],
      ["later", STAGES[1]],
      ["later", STAGES[2]],
    ]);
    assert.deepEqual(rollout.counts, { current: 5, upgrading: 0, blocked: 0, parked: 0, held: 35 });
    assert.equal((await call("GET /rollout?target=2")).body.rollout.target, "2.0.0");
    assert.deepEqual((await call("GET /rollout?target=9")).body, {});
    const unknown = await call("GET /rollout?target=next");
    assert.deepEqual([unknown.status, unknown.body.error.issues[0].path], [400, "target"]);
    const { items: [{ memberId }] } = (await call("GET /portals?version=1.0.0&limit=1")).body;
    const held = (await call(`GET /portals/${memberId}`)).body;
    assert.deepEqual([held.state, held.blocked.on], ["blocked", "rollout"]);
    assert.deepEqual((await call("GET /counts")).body.items, [
      { version: "1.0.0", status: "held", count: 35 },
      { version: "2.0.0", status: "current", count: 5 },
    ]);
    await app.close();
  });

  it("are paused, resumed, promoted, changed and aborted in the name of the token", async () => {
    const { app, call } = await releaseRig();
    const waitsFor = async (): Promise<unknown> => (await call("GET /rollout")).body.rollout.waitsFor;
    assert.deepEqual((await call("POST /rollout/2.0.0/pause", REASON)).body, { target: "2.0.0" });
    const { since: _, ...wait } = await waitsFor() as { since: number };
    assert.deepEqual(wait, { on: "resume", by: "ada", reason: "ticket 17" });
    await call("POST /rollout/2.0.0/resume", REASON);
    assert.deepEqual(await waitsFor(), { on: "promote" });
    await call("POST /rollout/2.0.0/promote", REASON);
    const changes = { pauseWhen: { failed: 7 }, window: WINDOW, hold: [memberIds(1)[0]] };
    assert.equal((await call("POST /rollout/2.0.0", { ...changes, ...REASON })).status, 200);
    const { options, stages } = (await call("GET /rollout")).body.rollout;
    assert.deepEqual([options.pauseWhen, options.window, options.hold, stages[1].state], [
      ...[{ failed: 7, percent: 0 }, WINDOW, changes.hold, "present"],
    ]);
    assert.equal((await call("POST /rollout/2.0.0", { window: null, ...REASON })).status, 200);
    assert.equal((await call("GET /rollout")).body.rollout.options.window, undefined);
    await call("POST /rollout/2.0.0/abort", REASON);
    assert.equal((await call("GET /rollout?target=2.0.0")).body.rollout.state, "aborted");
    const { body } = await call("GET /audit");
    assert.deepEqual(
      body.items.map(({ action, by, details }: Record<string, unknown>) => [action, by, details]),
      [
        ["rollout.abort", "ada", { target: "2.0.0" }],
        ["rollout.set", "ada", { target: "2.0.0", changes: { window: null } }],
        ["rollout.set", "ada", { target: "2.0.0", changes }],
        ["rollout.promote", "ada", { target: "2.0.0" }],
        ["rollout.resume", "ada", { target: "2.0.0", retryParked: false }],
        ["rollout.pause", "ada", { target: "2.0.0" }],
      ],
    );
    await app.close();
  });

  it("show failures by cause, and retry parked portals with their resume", async () => {
    let isBroken = true;
    const { app, call } = await releaseRig({ stages: [{ percent: 100 }] }, () => {
      if (isBroken) throw new Error("no such list");
    });
    const { waitsFor, failures, breakers, counts } = (await call("GET /rollout")).body.rollout;
    assert.deepEqual([waitsFor.on, waitsFor.upgradeIds, counts.parked], ["failures", ["2.0.0"], 3]);
    assert.deepEqual([failures.length, failures[0].count, failures[0].message], [1, 3, "no such list"]);
    assert.equal(failures[0].memberIds.length, 3);
    assert.deepEqual([breakers[0].failed, breakers[0].pausesAt], [3, 3]);
    isBroken = false;
    assert.equal((await call("POST /rollout/2.0.0/resume", { retryParked: true, ...REASON })).status, 200);
    await tickOut(app);
    assert.equal((await call("GET /rollout")).body.rollout.counts.current, 40);
    await app.close();
  });

  it("refuse what is invalid, unknown or over", async () => {
    const { app, call } = await releaseRig();
    const statusOf = async (route: string, body: object, token?: string): Promise<unknown> => {
      const { status, body: { error } } = await call(
        route,
        { ...body, ...REASON },
        token === undefined ? {} : { token },
      );
      return [status, error.code];
    };
    const route = "POST /rollout/2.0.0";
    assert.deepEqual(await statusOf(`${route}/pause`, {}, READ), [403, "forbidden"]);
    const { items: [refused] } = await app.admin.audit();
    assert.deepEqual([refused?.action, refused?.outcome, refused?.details], [
      ...["rollout.pause", "refused", { target: "2.0.0" }],
    ]);
    for (
      const changes of [
        ...[{ stages: [] }, { stages: [{ percent: 5, portals: 5 }] }, { stages: null }, { window: { from: "25:00" } }],
        ...[{ pauseWhen: { failed: 0 } }, { concurrency: 5 }, { window: { ...WINDOW, timeZone: "Europe/Nowhere" } }],
      ]
    ) assert.deepEqual(await statusOf(route, changes), [400, "invalid"], JSON.stringify(changes));
    assert.deepEqual(await statusOf("POST /rollout/next/pause", {}), [400, "invalid"]);
    assert.deepEqual(await statusOf("POST /rollout/3.0.0/pause", {}), [404, "unknown_rollout"]);
    assert.deepEqual(await statusOf(route, { hold: ["f".repeat(32)] }), [404, "unknown_portal"]);
    for (let i = 0; i < 2; i++) await call(`${route}/promote`, REASON);
    assert.deepEqual(await statusOf(`${route}/promote`, {}), [409, "last_stage"]);
    assert.deepEqual(await statusOf(`${route}/promote`, { stage: 7 }), [409, "other_stage"]);
    await call(`${route}/abort`, REASON);
    assert.deepEqual(await statusOf(`${route}/pause`, {}), [409, "rollout_over"]);
    await app.close();
  });
});
