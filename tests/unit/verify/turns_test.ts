import assert from "node:assert/strict";
import { delay } from "../../../src/async/time.ts";
import { createTurns, type Turns, type TurnsOptions } from "../../../src/verify/turns.ts";
import { describe, it } from "../../support/test.ts";
import { type VirtualTime, virtualTime } from "../../support/time.ts";

interface Setup {
  readonly time: VirtualTime;
  readonly turns: Turns;
  /** Portals in the order of their turns. */
  readonly taken: string[];
  readonly failures: string[];
  readonly abort: () => void;
}

/** Returns turns that take a second each. The budget is renewed at full minutes. */
function setup(take: TurnsOptions["take"]): Setup {
  const time = virtualTime(0);
  const [taken, failures] = [[] as string[], [] as string[]];
  const closing = new AbortController();
  const turns = createTurns({
    runtime: { clock: time.now, time, signal: closing.signal },
    take: async (memberId) => {
      taken.push(memberId);
      await delay(time, 1000);
      return await take(memberId);
    },
    renewedAt: () => (Math.floor(time.now() / 60_000) + 1) * 60_000,
    onFailure: (memberId) => void failures.push(memberId),
  });
  return { time, turns, taken, failures, abort: () => closing.abort() };
}

const names = (count: number): string[] => Array.from({ length: count }, (_, i) => `${i}`);

describe("createTurns()", () => {
  it("gives eight portals their turns at a time, in the order in which they were woken", async () => {
    const { time, turns, taken } = setup(() => Promise.resolve("done"));
    for (const name of names(20)) assert.equal(turns.wake(name), true);
    assert.deepEqual(taken, [], "not before the answers");
    await time.elapse(0);
    assert.deepEqual(taken, names(8));
    await time.elapse(1000);
    assert.deepEqual(taken, names(16));
    let isSettled = false;
    const settled = turns.settled().then(() => isSettled = true);
    await time.elapse(999);
    assert.equal(isSettled, false);
    await time.elapse(5000);
    await settled;
    assert.deepEqual(taken, names(20));
    assert.deepEqual(names(20).filter(turns.has), []);
  });

  it("gives a portal that is woken during its turn another one, and never two at a time", async () => {
    const { time, turns, taken } = setup(() => Promise.resolve("done"));
    turns.wake("a");
    await time.elapse(500);
    turns.wake("a");
    turns.wake("a");
    await time.elapse(0);
    assert.deepEqual(taken, ["a"]);
    await time.elapse(5000);
    assert.deepEqual(taken, ["a", "a"]);
  });

  it("lets a new portal wait for few of the many that wait for the budget", async () => {
    let left = 10;
    const { time, turns, taken } = setup(() => Promise.resolve(left-- > 0 ? "done" : "budget_spent"));
    for (const name of names(1000)) turns.wake(name);
    await time.elapse(59_000);
    turns.wake("new");
    await time.elapse(0);
    for (let minute = 0; minute < 4; minute++) {
      left = 0;
      await time.elapse(60_000);
    }
    taken.length = 0;
    left = 10;
    await time.elapse(60_000);
    assert.ok(taken.slice(0, 10).includes("new"), taken.slice(0, 10).join(" "));
    assert.ok(taken.slice(0, 10).filter((name) => Number(name) < 500).length >= 4, "nor do the oldest wait for ever");
  });

  it("prefers portals that had no turn to those with more events", async () => {
    const { time, turns, taken } = setup((memberId) =>
      Promise.resolve(memberId.startsWith("flood") ? "again" : "done")
    );
    for (let i = 0; i < 10; i++) turns.wake(`flood ${i}`);
    await time.elapse(5500);
    const before = taken.length;
    for (const name of names(8)) turns.wake(name);
    // Also one that is woken again stays behind.
    turns.wake("flood 0");
    await time.elapse(1000);
    assert.deepEqual(taken.slice(before).slice(0, 8), names(8));
  });

  it("gives portals with an event from a trusted address three of four turns, and the others the fourth", async () => {
    const { time, turns, taken } = setup(() => Promise.resolve("done"));
    for (let i = 0; i < 300; i++) turns.wake(`made up ${i}`);
    await time.elapse(500);
    for (let i = 0; i < 20; i++) turns.wake(`trusted ${i}`, true);
    const before = taken.length;
    await time.elapse(2000);
    const next = taken.slice(before, before + 16);
    assert.equal(next.filter((name) => name.startsWith("trusted")).length, 12, next.join(" "));
    await time.elapse(40_000);
    assert.equal(taken.length, 320);
  });

  it("moves a portal ahead if a trusted event comes while it waits, also for the budget", async () => {
    let left = 9;
    const { time, turns, taken } = setup(() => Promise.resolve(left-- > 0 ? "done" : "budget_spent"));
    for (const name of names(40)) turns.wake(name);
    turns.wake("20", true);
    await time.elapse(1000);
    assert.equal(taken[8], "20", "the first eight were under way");
    await time.elapse(29_000);
    assert.equal(turns.wake("39", true), false);
    [left, taken.length] = [100, 0];
    await time.elapse(30_000);
    assert.equal(taken[0], "39");
    await time.elapse(10_000);
    assert.equal(new Set(taken).size, 31, "each has one turn");
  });

  it("lets portals wait for the budget, and queues them when it is renewed", async () => {
    let isSpent = true;
    const { time, turns, taken } = setup(() => Promise.resolve(isSpent ? "budget_spent" : "done"));
    turns.wake("a");
    await time.elapse(5000);
    assert.deepEqual([turns.wake("a"), turns.has("a"), taken], [false, true, ["a"]]);
    // It does not count as work that is under way.
    await turns.settled();
    isSpent = false;
    await time.elapse(54_000);
    assert.deepEqual(taken, ["a"]);
    await time.elapse(3000);
    assert.deepEqual([taken, turns.has("a")], [["a", "a"], false]);
  });

  it("continues after a suspension, in which timers do not fire", async () => {
    let now = 0;
    const time = virtualTime(0);
    const taken: string[] = [];
    const turns = createTurns({
      runtime: { clock: () => now, time, signal: new AbortController().signal },
      take: (memberId) => Promise.resolve(taken.push(memberId) === 1 ? "budget_spent" : "done"),
      renewedAt: () => 60_000,
      onFailure: () => {},
    });
    turns.wake("a");
    await time.elapse(1);
    assert.equal(turns.has("a"), true);
    now = 61_000;
    assert.equal(turns.wake("b"), true);
    await time.elapse(1);
    assert.deepEqual(taken, ["a", "a", "b"]);
  });

  it("reports a failure, and goes on", async () => {
    const { time, turns, taken, failures } = setup((memberId) =>
      memberId === "0" ? Promise.reject(new Error("broken")) : Promise.resolve("done")
    );
    for (const name of names(10)) turns.wake(name);
    await time.elapse(5000);
    assert.deepEqual([failures, taken], [["0"], names(10)]);
    assert.equal(turns.wake("0"), true);
  });

  it("ends turns that are under way when it stops, and starts no other", async () => {
    const { time, turns, taken } = setup(() => Promise.resolve("again"));
    for (const name of names(10)) turns.wake(name);
    await time.elapse(500);
    let isStopped = false;
    const stopped = turns.stop().then(() => isStopped = true);
    await time.elapse(400);
    assert.deepEqual([isStopped, turns.isStopped(), turns.wake("late")], [false, true, false]);
    await time.elapse(120_000);
    await stopped;
    assert.deepEqual(taken, names(8));
  });

  it("starts no turn once the app is aborted", async () => {
    const { time, turns, taken, abort } = setup(() => Promise.resolve("again"));
    for (const name of names(10)) turns.wake(name);
    await time.elapse(500);
    abort();
    await time.elapse(10_000);
    assert.deepEqual(taken, names(8));
  });
});
