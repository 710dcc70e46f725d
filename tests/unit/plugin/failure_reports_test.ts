import assert from "node:assert/strict";
import { B24Error, NonRetriableError, type Observers, type Plugin } from "@b24/onappupdate";
import { MEMBER_ID, rig } from "../../support/app.ts";
import { describe, it } from "../../support/test.ts";

/** Observers of failures, in any order. */
const FAILURES = ["stepFailed", "upgradeRetryScheduled", "portalBlocked", "portalParked", "eventFailed"] as const;

interface Reported {
  readonly made: ReturnType<typeof rig>;
  /** Names of the reports of failures, with what each report says about the next attempt. */
  readonly reports: string[];
}

/** An app whose plugin records the reports of failures, and whether the failure was stored by then. */
function reported(plugin: Plugin = { name: "other" }): Reported {
  const made = rig({ retry: { maxAttempts: 2 } });
  const reports: string[] = [];
  const observe = Object.fromEntries(
    FAILURES.map((name) => [name, (report: object) => void reports.push("at" in report ? `${name} at` : name)]),
  ) as Partial<Observers>;
  made.app.use({ name: "reports", observe }).use(plugin);
  return { made, reports };
}

const blocked = (): Error =>
  new B24Error({ code: "PAYMENT_REQUIRED", description: "", status: 402, method: "profile" });

describe("a failure has one final report, after that of its step", () => {
  const upgrades: readonly (readonly [string, () => Error, readonly string[]])[] = [
    ["that is retried", () => new Error("no"), ["upgradeRetryScheduled at"]],
    ["that is blocked", blocked, ["portalBlocked"]],
    ["that is parked", () => new NonRetriableError("no"), ["portalParked"]],
  ];
  for (const [what, error, final] of upgrades) {
    for (const step of [false, true]) {
      it(`of an upgrade ${what}, ${step ? "in" : "outside of"} a step`, async () => {
        const { made, reports } = reported();
        const fail = (): never => {
          throw error();
        };
        made.app.upgrade("3", async (ctx) => step ? await ctx.step("one", fail) : fail());
        await made.send(made.portal.install(2));
        await made.send(made.portal.update(3));
        assert.deepEqual(reports, [...step ? ["stepFailed"] : [], ...final]);
        await made.app.close();
      });
    }
  }

  it("of a plugin that keeps the portal below its target", async () => {
    let breaks = false;
    const { made, reports } = reported({
      name: "fragile",
      extend: () => {
        if (breaks) throw new Error("no database");
        return {};
      },
    });
    await made.send(made.portal.install(2));
    breaks = true;
    await made.send(made.portal.update(3));
    made.later();
    await made.app.tick();
    assert.deepEqual(reports, ["upgradeRetryScheduled at", "portalParked"]);
    assert.equal((await made.app.portal(MEMBER_ID))?.failure?.message, "no database");
    await made.app.close();
  });

  it("of the handlers of an event, also after the portal has reached its target", async () => {
    const { made, reports } = reported();
    made.app.on(["ONAPPTEST", "ONAPPUPDATE"], () => {
      throw new Error("no");
    });
    await made.send(made.portal.install(2));
    for (const body of [made.portal.event("ONAPPTEST", {}), made.portal.update(3)]) {
      reports.length = 0;
      await made.send(body);
      made.later();
      await made.app.tick();
      assert.deepEqual(reports, ["eventFailed at", "eventFailed"]);
    }
    await made.app.close();
  });
});
