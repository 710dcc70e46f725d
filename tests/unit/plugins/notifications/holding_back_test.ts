import assert from "node:assert/strict";
import { createIsQuiet } from "../../../../plugins/notifications/quiet_hours.ts";
import { OPERATOR } from "../../../support/operator.ts";
import { describe, it } from "../../../support/test.ts";
import { virtualTime } from "../../../support/time.ts";
import { HOUR, MINUTE, notifier } from "./_notifier.ts";

const DAY = 24 * HOUR;

describe("silences of notifications", () => {
  it("hold back what they match, until they end", async () => {
    const made = await notifier();
    await made.install(4);
    const until = made.time.now() + HOUR;
    await made.app.admin.silences.add({ upgradeId: "3", kinds: ["portal_parked"], until, ...OPERATOR });
    await made.park(0, 2);
    await made.time.elapse(50 * MINUTE);
    assert.deepEqual(made.news(), []);
    await made.time.elapse(11 * MINUTE);
    assert.deepEqual(made.news(), ["firing 2 portals are parked in upgrade 3"]);
    await made.close();
  });

  it("hold nothing else back, and end when they are removed", async () => {
    const made = await notifier();
    await made.install(4);
    const until = made.time.now() + DAY;
    for (
      const match of [{ upgradeId: "4" }, { kinds: ["rollout_paused"] }, { target: "4.0.0" }, { fingerprint: "0" }]
    ) {
      await made.app.admin.silences.add({ ...match, until, ...OPERATOR });
    }
    await made.park(0, 1);
    await made.time.elapse(2 * MINUTE);
    assert.equal(made.news().length, 1);
    const { id } = await made.app.admin.silences.add({ target: "3.0.0", until, ...OPERATOR });
    await made.retry(0, 1);
    await made.time.elapse(HOUR);
    assert.deepEqual(made.news(), []);
    await made.app.admin.silences.remove(id, OPERATOR);
    await made.time.elapse(MINUTE);
    assert.deepEqual(made.news(), ["resolved 1 portal is no longer parked in upgrade 3"]);
    await made.close();
  });
});

describe("quiet hours", () => {
  const BERLIN = { from: "22:00", to: "07:00", timeZone: "Europe/Berlin" };

  it("delay what is not critical until they are over, as one message", async () => {
    const time = virtualTime(Date.parse("2027-01-10T22:30:00+01:00"));
    const made = await notifier({ world: { time }, options: { quietHours: BERLIN } });
    await made.install(6);
    await made.park(0, 2);
    await time.elapse(4 * HOUR);
    await made.park(2, 6);
    await time.elapse(4 * HOUR);
    assert.deepEqual(made.news(), []);
    await time.elapse(31 * MINUTE);
    assert.deepEqual(made.news(), ["firing 6 portals are parked in upgrade 3"]);
    await made.close();
  });

  it("begin and end by the clock of their time zone, across midnight and when clocks are put forward or back", () => {
    const isQuiet = createIsQuiet(BERLIN);
    for (
      const [time, quiet] of [
        ["2027-01-10T21:59:59+01:00", false],
        ["2027-01-10T22:00:00+01:00", true],
        ["2027-01-11T00:00:00+01:00", true],
        ["2027-01-11T06:59:59+01:00", true],
        ["2027-01-11T07:00:00+01:00", false],
        // Summer time begins on March 28, and ends on October 31.
        ["2027-03-28T04:59:59Z", true],
        ["2027-03-28T05:00:00Z", false],
        ["2027-10-31T05:59:59Z", true],
        ["2027-10-31T06:00:00Z", false],
      ] as const
    ) {
      assert.equal(isQuiet(Date.parse(time)), quiet, time);
    }
    const night = createIsQuiet({ from: "02:15", to: "02:45", timeZone: "Europe/Berlin" });
    // The hour from 2 to 3 does not exist on March 28, and comes twice on October 31.
    assert.equal(night(Date.parse("2027-03-28T01:30:00Z")), false);
    assert.equal(night(Date.parse("2027-10-31T00:30:00Z")), true);
    assert.equal(night(Date.parse("2027-10-31T01:30:00Z")), true);
  });
});
