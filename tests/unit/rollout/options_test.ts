import assert from "node:assert/strict";
import { createApp, memoryStorage, type RolloutOptions } from "@b24/onappupdate";
import { changedOptions, checkChanges, withDefaults } from "../../../src/rollout/options.ts";
import { describe, it } from "../../support/test.ts";

describe("createApp({ rollout }) refuses mistakes", () => {
  const window = { from: "22:00", to: "06:00", timeZone: "Europe/Berlin" };
  const table: readonly (readonly [unknown, string])[] = [
    [{ stages: [] }, "with rollout.stages [], wanted at least one stage"],
    [{ stages: [{}] }, "with rollout.stages.0 without portals and percent, wanted one of them"],
    [
      { stages: [{ portals: 5, percent: 5 }] },
      "with rollout.stages.0 with portals and percent, wanted one of them",
    ],
    [
      { stages: [{ percent: 10 }, { percent: 10 }] },
      "with rollout.stages.1.percent 10, wanted more than the 10 of the stage before it",
    ],
    [
      { stages: [{ portals: 5 }, { portals: 4 }] },
      "with rollout.stages.1.portals 4, wanted more than the 5 of the stage before it",
    ],
    [
      { stages: [{ percent: 10 }, { portals: 50 }] },
      "with rollout.stages.1.portals 50, wanted a percentage, as the stage before it has",
    ],
    [{ stages: [{ percent: 101 }] }, "with rollout.stages.0.percent 101, wanted a number from 0 to 100"],
    [{ stages: [{ percent: -1 }] }, "with rollout.stages.0.percent -1, wanted a number from 0 to 100"],
    [{ stages: [{ percent: NaN }] }, "with rollout.stages.0.percent NaN, wanted a number from 0 to 100"],
    [{ stages: [{ portals: 0 }] }, "with rollout.stages.0.portals 0, wanted a whole number from 1 to 100"],
    [{ stages: [{ portals: 101 }] }, "with rollout.stages.0.portals 101, wanted a whole number from 1 to 100"],
    [{ stages: [{ percent: 5, forMs: -1 }] }, "with rollout.stages.0.forMs -1, wanted a number from 0"],
    [{ first: ["a", "a"] }, 'with rollout.first with "a" twice, wanted each portal once'],
    [{ first: ["a"], hold: ["a"] }, 'with rollout.hold with "a", wanted no portal of first'],
    [{ hold: [1] }, "with rollout.hold.0 1, wanted a member_id"],
    [{ pauseWhen: { failed: 0 } }, "with rollout.pauseWhen.failed 0, wanted a whole number from 1"],
    [{ pauseWhen: { percent: 200 } }, "with rollout.pauseWhen.percent 200, wanted a number from 0 to 100"],
    [{ window: { ...window, from: "24:00" } }, 'with rollout.window.from "24:00", wanted a time such as "22:00"'],
    [{ window: { ...window, to: "22:00" } }, 'with rollout.window.to "22:00", wanted another time than from'],
    [
      { window: { ...window, timeZone: "Mars/Olympus" } },
      'with rollout.window.timeZone "Mars/Olympus", wanted a time zone such as "Europe/Berlin"',
    ],
    [{ window: { ...window, timeZone: undefined } }, "with rollout.window.timeZone undefined, wanted a time zone"],
    [{ window: { ...window, days: [0] } }, "with rollout.window.days.0 0, wanted a whole number from 1 to 7"],
    [{ window: { ...window, days: [] } }, "with rollout.window.days [], wanted at least one day, or no days"],
    [{ concurrency: 301 }, "with rollout.concurrency 301, wanted a whole number from 1 to 300"],
    [
      { hold: Array.from({ length: 151 }, (_, i) => String(i)) },
      "with rollout.hold with 151 portals, wanted at most 150",
    ],
    [{ appliesTo: "some" }, 'with rollout.appliesTo "some", wanted "deployed" or "all"'],
    [{ stage: [] }, "with the option rollout.stage that does not exist, wanted stages"],
  ];
  for (const [rollout, message] of table) {
    it(message, () => {
      assert.throws(
        () => createApp({ storage: memoryStorage(), rollout: rollout as RolloutOptions }),
        (error: Error) => error instanceof TypeError && error.message.startsWith(`cannot create an app ${message}`),
      );
    });
  }

  it("accepts all options", async () => {
    const stages = [{ portals: 5 }, { percent: 10, forMs: 0 }, { percent: 100 }];
    const rollout: RolloutOptions = {
      ...{ stages, first: ["a"], hold: ["b"], pauseWhen: { failed: 1 }, window: { ...window, days: [1, 7] } },
      ...{ concurrency: 1, appliesTo: "all" },
    };
    await createApp({ storage: memoryStorage(), rollout }).close();
  });
});

describe("withDefaults()", () => {
  it("pauses at 3 failed portals, or 5 % of the finished ones", () => {
    assert.deepEqual(withDefaults({}), {
      ...{ stages: [{ percent: 100 }], first: [], hold: [], pauseWhen: { failed: 3, percent: 5 }, concurrency: 300 },
    });
    assert.deepEqual(withDefaults({ pauseWhen: { failed: 40 } }).pauseWhen, { failed: 40, percent: 0 });
  });
});

describe("changes of a rollout", () => {
  const window = { from: "22:00", to: "06:00", timeZone: "UTC" };
  const options = withDefaults({ stages: [{ portals: 5 }, { percent: 100 }], hold: ["a"], window });

  it("replace what they name, and keep the rest", () => {
    assert.deepEqual(changedOptions(options, { hold: ["b"] }), { ...options, hold: ["b"] });
    const { window: _, ...rest } = options;
    assert.deepEqual(changedOptions(options, { window: null }), rest);
  });

  it("are refused if they are wrong, also together with what stays", () => {
    const refused: readonly (readonly [object, RegExp])[] = [
      [{ first: ["a"] }, /cannot change the rollout with hold with "a", wanted no portal of first/],
      [{ stages: [{ percent: 5 }] }, /with stages of length 1, wanted at least 2: stage 2 has begun/],
      [{ concurrency: 5 }, /with the option concurrency that does not exist/],
      [{ window: { ...window, timeZone: "x" } }, /with window.timeZone "x"/],
    ];
    for (const [changes, message] of refused) {
      assert.throws(() => checkChanges(changes, options, 1), (error: Error) => message.test(error.message));
    }
    checkChanges({ window: null, stages: [{ percent: 5 }, { percent: 50 }] }, options, 1);
  });
});
