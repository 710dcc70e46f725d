import assert from "node:assert/strict";
import type { RolloutWindow } from "@b24/onappupdate";
import { isOpen, nextOpening } from "../../../src/rollout/window.ts";
import { describe, it } from "../../support/test.ts";

const at = (text: string): number => Date.parse(text);
const berlin = (from: string, to: string, days?: readonly number[]): RolloutWindow => ({
  ...{ from, to, timeZone: "Europe/Berlin" },
  ...(days !== undefined && { days }),
});

describe("isOpen()", () => {
  const table: readonly (readonly [string, RolloutWindow, string, boolean])[] = [
    ["at its begin", berlin("10:00", "12:00"), "2026-01-07T09:00:00Z", true],
    ["just before its begin", berlin("10:00", "12:00"), "2026-01-07T08:59:59.999Z", false],
    ["just before its end", berlin("10:00", "12:00"), "2026-01-07T10:59:59.999Z", true],
    ["at its end", berlin("10:00", "12:00"), "2026-01-07T11:00:00Z", false],
    ["in summer time", berlin("10:00", "12:00"), "2026-07-07T08:00:00Z", true],
    ["before midnight", berlin("22:00", "06:00"), "2026-01-07T22:30:00Z", true],
    ["after midnight", berlin("22:00", "06:00"), "2026-01-08T04:59:00Z", true],
    ["at the end after midnight", berlin("22:00", "06:00"), "2026-01-08T05:00:00Z", false],
    // 9 January 2026 is a Friday.
    ["on the day on which it begins", berlin("22:00", "06:00", [5]), "2026-01-09T21:30:00Z", true],
    ["on the morning after it", berlin("22:00", "06:00", [5]), "2026-01-10T04:00:00Z", true],
    ["on the evening after it", berlin("22:00", "06:00", [5]), "2026-01-10T21:30:00Z", false],
    ["on a Monday morning after a Sunday", berlin("22:00", "06:00", [7]), "2026-01-12T04:00:00Z", true],
    // Clocks go from 02:00 to 03:00 at 01:00 UTC on 29 March 2026.
    ["before a begin that does not exist", berlin("02:30", "05:00"), "2026-03-29T00:59:59Z", false],
    ["at the next time that exists", berlin("02:30", "05:00"), "2026-03-29T01:00:00Z", true],
    // Clocks go from 03:00 to 02:00 at 01:00 UTC on 25 October 2026.
    ["in the first of two hours", berlin("02:15", "02:45"), "2026-10-25T00:30:00Z", true],
    ["between both hours", berlin("02:15", "02:45"), "2026-10-25T00:50:00Z", false],
    ["in the second of two hours", berlin("02:15", "02:45"), "2026-10-25T01:30:00Z", true],
  ];
  for (const [name, window, time, isWanted] of table) {
    it(`${name}: ${isWanted}`, () => assert.equal(isOpen(window, at(time)), isWanted));
  }
});

describe("nextOpening()", () => {
  const next = (window: RolloutWindow, time: string): string | undefined => {
    const opening = nextOpening(window, at(time));
    return opening === undefined ? undefined : new Date(opening).toISOString();
  };

  it("is now if the window is open", () => {
    assert.equal(next(berlin("10:00", "12:00"), "2026-01-07T09:30:00.500Z"), "2026-01-07T09:30:00.500Z");
  });

  it("is the next begin", () => {
    assert.equal(next(berlin("10:07", "12:00"), "2026-01-07T12:00:00Z"), "2026-01-08T09:07:00.000Z");
    assert.equal(next(berlin("10:07", "10:11"), "2026-01-07T12:00:00Z"), "2026-01-08T09:07:00.000Z");
  });

  it("is the begin on the next of its days", () => {
    assert.equal(next(berlin("22:00", "06:00", [5]), "2026-01-10T06:00:00Z"), "2026-01-16T21:00:00.000Z");
  });

  it("is the next time that exists, if clocks are put forward over the begin", () => {
    assert.equal(next(berlin("02:30", "05:00"), "2026-03-28T22:00:00Z"), "2026-03-29T01:00:00.000Z");
  });

  it("is the second of two hours after the first one", () => {
    assert.equal(next(berlin("02:15", "02:45"), "2026-10-25T00:50:00Z"), "2026-10-25T01:15:00.000Z");
  });

  it("skips a day on which clocks are put forward over the whole window", () => {
    assert.equal(next(berlin("02:15", "02:45"), "2026-03-28T22:00:00Z"), "2026-03-30T00:15:00.000Z");
    assert.equal(next(berlin("02:15", "02:45", [7]), "2026-03-28T22:00:00Z"), "2026-04-05T00:15:00.000Z");
  });
});
