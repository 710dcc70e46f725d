import assert from "node:assert/strict";
import { type App, type AppOptions, NonRetriableError, type Plugin } from "@b24/onappupdate";
import type { FakePortal } from "@b24/onappupdate/testing";
import { type Rig, rig } from "../../support/app.ts";
import { OPERATOR } from "../../support/operator.ts";
import { inOrderOf, memberIds } from "../../support/rollout.ts";
import { describe, it } from "../../support/test.ts";

const IDS = memberIds(12);

interface Customers extends Rig {
  readonly portals: readonly FakePortal[];
  readonly begun: string[];
  readonly behavior: { fail: boolean };
  /** All customers update to version 3. */
  readonly updateAll: () => Promise<void>;
}

async function customers(rollout: AppOptions["rollout"], plugin?: Plugin): Promise<Customers> {
  const made = rig({ rollout: rollout! });
  if (plugin !== undefined) made.app.use(plugin);
  const begun: string[] = [];
  const behavior = { fail: false };
  made.app.upgrade("3", ({ memberId }) => {
    begun.push(memberId);
    if (behavior.fail) throw new NonRetriableError("no");
  });
  const portals = IDS.map((memberId) => made.bitrix24.portal({ memberId, domain: `${memberId}.bitrix24.de` }));
  for (const portal of portals) await made.send(portal.install(2));
  const updateAll = async (): Promise<void> => {
    for (const portal of portals) await made.send(portal.update(3));
  };
  return { ...made, portals, begun, behavior, updateAll };
}

async function statesOf(app: App): Promise<string[]> {
  const states: string[] = [];
  for (const id of IDS) {
    const portal = (await app.portal(id))!;
    states.push(portal.version === "3.0.0" ? "current" : portal.blocked?.on ?? (portal.failure ? "parked" : "other"));
  }
  return states;
}

const count = (states: readonly string[], state: string): number => states.filter((one) => one === state).length;

describe("a rollout of versions that customers raise", () => {
  it("pauses at failures, and lets waiting portals go on after a resume", async () => {
    const { app, begun, behavior, updateAll } = await customers({});
    behavior.fail = true;
    await updateAll();
    assert.equal(begun.length, 3);
    const states = await statesOf(app);
    assert.deepEqual([count(states, "parked"), count(states, "rollout")], [3, 9]);
    const status = (await app.admin.rollout.status("3"))!;
    assert.deepEqual([status.state, status.stages, status.waitsFor?.on], ["running", [], "failures"]);
    assert.match((await app.portal(IDS[11]!))!.blocked!.message, /the rollout of upgrade 3 is paused: too many/);
    behavior.fail = false;
    await app.admin.rollout.resume("3", { ...OPERATOR, retryParked: true });
    await app.settled();
    assert.equal(count(await statesOf(app), "current"), 12);
    assert.equal((await app.admin.rollout.status("3"))!.counts.current, 12);
    await app.close();
  });

  it("notifies observers of the pause once, and of no portal that waits", async () => {
    const paused: unknown[] = [];
    const others: string[] = [];
    const { app, behavior, updateAll } = await customers({}, {
      name: "pager",
      observe: {
        rolloutPaused: ({ id: _id, changedAt: _at, ...report }) => void paused.push(report),
        rolloutResumed: ({ target, by }) => void paused.push([target, by]),
        portalBlocked: ({ on }) => void others.push(`blocked ${on}`),
        portalUnblocked: ({ on }) => void others.push(`unblocked ${on}`),
      },
    });
    behavior.fail = true;
    await updateAll();
    await app.tick();
    assert.deepEqual(paused, [{ target: "3.0.0", upgradeId: "3", failed: 3, finished: 3 }]);
    behavior.fail = false;
    await app.admin.rollout.resume("3", OPERATOR);
    await app.tick();
    assert.deepEqual(paused.slice(1), [["3.0.0", OPERATOR.by]]);
    assert.deepEqual(others, []);
    await app.close();
  });

  it("holds portals outside of its stages with appliesTo: all, and says so to the page", async () => {
    const stages = [{ portals: 2 }, { percent: 100 }];
    const { app, begun, portals, updateAll } = await customers({ stages, appliesTo: "all" });
    await updateAll();
    await app.tick();
    const order = inOrderOf("3.0.0", IDS);
    assert.deepEqual([...begun].sort(), order.slice(0, 2).sort());
    const held = portals.find((_, i) => IDS[i] === order[5])!;
    const opening = await app.open(held.open());
    assert.equal(opening.upgrade.state, "held");
    assert.match(opening.upgrade.message!, /the rollout of 3.0.0 has not reached the portal/);
    await app.admin.rollout.promote("3", OPERATOR);
    await app.settled();
    assert.equal(count(await statesOf(app), "current"), 12);
    await app.close();
  });

  it("does not hold portals outside of its stages by default", async () => {
    const { app, updateAll } = await customers({ stages: [{ portals: 2 }, { percent: 100 }] });
    await updateAll();
    await app.settled();
    assert.equal(count(await statesOf(app), "current"), 12);
    await app.close();
  });

  it("lets a portal pass a pause if an operator retries it, but not if a batch operation does", async () => {
    const { app, begun, behavior, updateAll } = await customers({});
    behavior.fail = true;
    await updateAll();
    behavior.fail = false;
    const [first, second] = begun as [string, string];
    await app.admin.batches.start({ action: "retry", match: { status: "parked" }, expect: 3, ...OPERATOR });
    await app.settled();
    assert.equal(begun.length, 3);
    await app.admin.retry(first, OPERATOR);
    await app.settled();
    assert.deepEqual([(await app.portal(first))?.version, begun.length], ["3.0.0", 4]);
    assert.equal((await app.portal(second))?.blocked?.on, "rollout");
    // The stages that it has passed are over.
    behavior.fail = true;
    await app.admin.retry(second, OPERATOR);
    await app.settled();
    assert.deepEqual([(await app.portal(second))?.failure?.attempts, begun.length], [1, 5]);
    await app.close();
  });

  it("keeps portals waiting while an operator has paused it", async () => {
    const { app, begun, portals, send, updateAll } = await customers({});
    await send(portals[0]!.update(3));
    await app.admin.rollout.pause("3", OPERATOR);
    await updateAll();
    assert.deepEqual(begun, [IDS[0]]);
    assert.equal(
      (await app.portal(IDS[1]!))?.blocked?.message,
      `the rollout of 3.0.0 is paused by ${OPERATOR.by}: ${OPERATOR.reason}`,
    );
    assert.equal((await app.admin.rollout.status())?.waitsFor?.on, "resume");
    await app.admin.rollout.resume("3", OPERATOR);
    await app.settled();
    assert.equal(begun.length, 12);
    await app.close();
  });

  it("lets a portal go at once if an operator sets another target", async () => {
    const { app, portals, send } = await customers({});
    await send(portals[0]!.update(3));
    await app.admin.rollout.pause("3", OPERATOR);
    await send(portals[1]!.update(3));
    const [, waiting] = IDS as [string, string];
    assert.equal((await app.portal(waiting))?.blocked?.on, "rollout");
    await app.admin.setTarget(waiting, "2.5.0", OPERATOR);
    await app.settled(waiting);
    const { version, blocked } = (await app.portal(waiting))!;
    assert.deepEqual([version, blocked], ["2.5.0", undefined]);
    await app.close();
  });

  it("waits with customers' updates after abort", async () => {
    const { app, begun, behavior, updateAll, portals, send } = await customers({});
    behavior.fail = true;
    await updateAll();
    behavior.fail = false;
    await app.admin.rollout.abort("3", OPERATOR);
    await app.settled();
    assert.equal(begun.length, 3);
    await app.admin.retry(IDS[11]!, OPERATOR);
    await app.settled();
    assert.match((await app.portal(IDS[11]!))!.blocked!.message, /the rollout of 3.0.0 was aborted/);
    for (const portal of portals) await send(portal.update(4));
    await app.admin.rollout.resume("4", OPERATOR);
    await app.settled();
    for (const id of IDS) assert.equal((await app.portal(id))?.version, "4.0.0");
    await app.close();
  });
});
