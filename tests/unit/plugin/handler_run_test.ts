import assert from "node:assert/strict";
import { type Crowd, crowd, memberIdOf } from "../../support/crowd.ts";
import { describe, it } from "../../support/test.ts";
import { OPERATOR } from "../../support/operator.ts";

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

/** Returns an app with a portal on version 2, which is updated to version 3. */
async function updating(made: Crowd): Promise<void> {
  await made.install(1);
  await made.update(0, 1);
}

async function failureOf({ app }: Crowd): Promise<string | undefined> {
  return (await app.portal(memberIdOf(0)))?.failure?.message;
}

describe("the time limit of a handler", () => {
  it("is an hour for an upgrade, and aborts its signal", async () => {
    const made = crowd();
    let isAborted = false;
    made.app.upgrade("3", async ({ signal }) => {
      signal.addEventListener("abort", () => isAborted = true);
      await made.takes(9 * HOUR, signal);
    });
    await updating(made);
    await made.time.elapse(HOUR - SECOND);
    assert.deepEqual([isAborted, await failureOf(made)], [false, undefined]);
    await made.time.elapse(2 * SECOND);
    assert.deepEqual([isAborted, await failureOf(made)], [true, "it took longer than 3600000 ms"]);
    await made.close();
  });

  it("counts from the last recorded step or page", async () => {
    const made = crowd();
    made.app.upgrade("3", async ({ step, pages }) => {
      await step("a", () => made.takes(50 * SECOND));
      await pages("b", 1, async (page: number) => {
        await made.takes(50 * SECOND);
        return { next: page < 3 ? page + 1 : null, done: 1 };
      });
      await made.takes(50 * SECOND);
    }, { timeoutMs: MINUTE });
    await updating(made);
    await made.time.elapse(5 * MINUTE);
    assert.equal((await made.app.portal(memberIdOf(0)))?.version, "3.0.0");
    await made.close();
  });

  it("is five minutes for a handler of an event, or as it is set, and counts as an attempt", async () => {
    for (const timeoutMs of [undefined, MINUTE]) {
      const made = crowd();
      const aborted: number[] = [];
      made.app.on("ONCRMDEALADD", async ({ signal }) => {
        const start = made.time.now();
        signal.addEventListener("abort", () => aborted.push(made.time.now() - start));
        await made.takes(HOUR, signal);
      }, timeoutMs === undefined ? {} : { timeoutMs });
      await made.install(1);
      await made.send(made.portal(0).event("ONCRMDEALADD", { "FIELDS[ID]": "7" }));
      await made.time.elapse(5 * MINUTE + SECOND);
      assert.equal(aborted[0], timeoutMs ?? 5 * MINUTE);
      const [failed] = made.reports.filter(({ name }) => name === "eventFailed");
      assert(failed?.name === "eventFailed" && failed.attempt === 1);
      await made.close();
    }
  });

  it("refuses the steps of a handler whose time is over, and keeps the portal for it for 30 seconds", async () => {
    const made = crowd({ retry: { initialDelayMs: 1 } });
    const log: string[] = [];
    const start = made.time.now();
    made.app.upgrade("3", async ({ attempt, step }) => {
      const at = (): number => (made.time.now() - start) / SECOND;
      log.push(`begin ${attempt} at ${at()}`);
      if (attempt > 1) return;
      // Ignores its signal.
      await made.takes(80 * SECOND);
      await step("late", () => assert.fail("must not run")).catch((error) => log.push(error.message));
      await made.takes(5 * SECOND);
      log.push(`end ${attempt} at ${at()}`);
    }, { timeoutMs: MINUTE });
    await updating(made);
    await made.time.elapse(3 * MINUTE);
    const [begin, refusal, end, next, ...others] = log;
    assert.deepEqual([begin, refusal, end, others], [
      "begin 1 at 0.001",
      "it took longer than 60000 ms",
      "end 1 at 85.001",
      [],
    ]);
    // The first tick after that.
    assert.equal(next, "begin 2 at 90");
    await made.close();
  });

  it("lets the next attempt begin after that: it may overlap", async () => {
    const made = crowd({ retry: { initialDelayMs: 1 } });
    const log: string[] = [];
    const start = made.time.now();
    made.app.upgrade("3", async ({ attempt, step }) => {
      log.push(`begin ${attempt} at ${(made.time.now() - start) / SECOND}`);
      if (attempt === 1) await step("hangs", () => made.takes(HOUR));
    }, { timeoutMs: MINUTE });
    await updating(made);
    await made.time.elapse(89 * SECOND);
    assert.deepEqual(log, ["begin 1 at 0.001"]);
    await made.time.elapse(40 * SECOND);
    assert.equal(log.length, 2);
    assert.equal((await made.app.portal(memberIdOf(0)))?.failure, undefined);
    await made.close();
  });

  it("holds for the replay and each undo of a rollback", async () => {
    const made = crowd();
    const undone: string[] = [];
    made.app.upgrade("3", async ({ step, mode }) => {
      await step("a", () => {}, {
        undo: async (_result, { signal }) => {
          undone.push("a");
          if (undone.length === 1) await made.takes(9 * HOUR, signal);
        },
      });
      if (mode === "rollback") await made.takes(9 * HOUR);
    }, { timeoutMs: MINUTE });
    await updating(made);
    await made.time.elapse(SECOND);
    const rollback = async (): Promise<unknown> => {
      let outcome: unknown = "still running";
      void made.app.admin.rollback(memberIdOf(0), OPERATOR).then(
        (report) => outcome = report.undone,
        (error) => outcome = error.message,
      );
      await made.time.elapse(4 * MINUTE);
      return outcome;
    };
    assert.equal(await rollback(), "it took longer than 60000 ms");
    assert.deepEqual(await rollback(), [{ upgradeId: "3", step: "a" }]);
    assert.deepEqual(undone, ["a", "a"]);
    await made.close();
  });

  it("is not in the way of a close", async () => {
    const made = crowd({ limits: { closeMs: 5 * SECOND } });
    made.app.upgrade("3", () => made.takes(HOUR));
    await updating(made);
    await made.time.elapse(SECOND);
    let closedAt: number | undefined;
    const start = made.time.now();
    void made.app.close().then(() => closedAt = made.time.now() - start);
    await made.time.elapse(MINUTE);
    assert(closedAt! <= 6 * SECOND, `${closedAt}`);
  });
});

describe("slowHandlerDetected", () => {
  it("is reported once, after ten minutes, for upgrades and events", async () => {
    const made = crowd();
    const reports: unknown[] = [];
    made.app.use({ name: "slow", observe: { slowHandlerDetected: (report) => void reports.push(report) } });
    made.app.upgrade("3", async ({ step }) => {
      for (let i = 0; i < 6; i++) await step(`${i}`, () => made.takes(5 * MINUTE));
    }).on("ONAPPINSTALL", () => made.takes(10 * MINUTE - 1), { timeoutMs: HOUR })
      .on("ONAPPUPDATE", () => made.takes(11 * MINUTE), { timeoutMs: HOUR });
    await made.install(1);
    await made.time.elapse(10 * MINUTE);
    assert.deepEqual(reports, []);
    await made.update(0, 1);
    await made.time.elapse(9 * MINUTE);
    assert.deepEqual(reports, []);
    await made.time.elapse(2 * HOUR);
    const memberId = memberIdOf(0);
    assert.deepEqual(reports, [
      { memberId, upgradeId: "3", runningMs: 10 * MINUTE },
      { memberId, event: "ONAPPUPDATE", runningMs: 10 * MINUTE },
    ]);
    await made.close();
  });
});
