import assert from "node:assert/strict";
import { isVersionUnknown } from "../../../src/portal/origin.ts";
import type { PortalFailure } from "../../../src/portal/portal.ts";
import type { PortalRecord } from "../../../src/portal/record.ts";
import { PORTAL_FORMAT } from "../../../src/portal/record.ts";
import { defineUpgrade, type Upgrade } from "../../../src/upgrade/definition.ts";
import { isBelowTarget, isDue, type NextAction, nextAction } from "../../../src/upgrade/next_action.ts";
import { MEMBER_ID } from "../../support/app.ts";
import { describe, it } from "../../support/test.ts";

const NOW = 1_785_300_000_000;
const LATER = NOW + 1000;
const EARLIER = NOW - 1000;

const two = defineUpgrade("2", () => {});
const three = defineUpgrade("3", () => {});
const scoped = defineUpgrade("4", () => {}, { requires: { scope: ["crm", "tasks"] } });
const upgrades: readonly Upgrade[] = [two, three, scoped];

function portal(fields: Partial<PortalRecord> = {}): PortalRecord {
  return {
    ...{ format: PORTAL_FORMAT, memberId: MEMBER_ID, domain: "a.bitrix24.com", status: "installed", generation: 1 },
    ...{ version: "1.0.0", target: "3.0.0", applied: [], installedTs: 1, latestTs: 1 },
    ...fields,
  } as PortalRecord;
}

const applied = (...ids: string[]): Pick<PortalRecord, "applied"> => ({
  applied: ids.map((id) => ({ id, from: "1.0.0", to: "3.0.0", at: 1 })),
});
const failure = (fields: Partial<PortalFailure>): Pick<PortalRecord, "failure"> => ({
  failure: { to: "3.0.0", upgradeId: "2", message: "no", attempts: 1, at: 1, ...fields },
});
const blocked = (nextTryAt: number): Pick<PortalRecord, "blocked"> => ({
  blocked: { on: "payment", message: "not paid", since: 1, nextTryAt },
});
const run = (wakeAt?: number): Pick<PortalRecord, "run"> => ({
  run: { id: "1", from: "1.0.0", startedAt: 1, upgrades: [], ...(wakeAt === undefined ? {} : { wakeAt }) },
});
const tokens = (...scope: string[]): Pick<PortalRecord, "tokens"> => ({
  tokens: [{ owner: "user", accessToken: "a", expiresAt: LATER, scope, ts: 1 }],
});
const wait = (why: "newer_code" | "blocked" | "retry" | "sleep", until: number): NextAction => ({
  action: "wait",
  until,
  why,
});
const needs = (...scope: string[]): NextAction => ({
  action: "block",
  on: "scope",
  message: `upgrade 4 needs ${scope.join(", ")}`,
});
const onlyScoped = { ...applied("2", "3"), target: "4.0.0" };

const ROWS: readonly (readonly [name: string, record: PortalRecord, next: NextAction, latest?: string])[] = [
  ["the app is removed", portal({ status: "uninstalled" }), { action: "none" }],
  [
    "the version is unknown",
    portal({ version: undefined as never }),
    { action: "wait", until: NOW, why: "blocked" },
  ],
  [
    "the version is unknown, and the portal is blocked",
    portal({ version: undefined as never, ...blocked(LATER) }),
    { action: "wait", until: LATER, why: "blocked" },
  ],
  ["version and target are unknown", portal({ version: undefined as never, target: undefined as never }), {
    action: "none",
  }],
  ["the target is unknown", portal({ target: undefined as never }), { action: "none" }],
  ["it is on its target", portal({ version: "3.0.0" }), { action: "none" }],
  ["it is above its target", portal({ version: "4.0.0" }), { action: "none" }],
  [
    "it is on its target, with an old failure and block",
    portal({
      ...{ version: "3.0.0", ...failure({}), ...blocked(LATER) },
    }),
    { action: "none" },
  ],

  ["no upgrade has run", portal(), { action: "run", upgrade: two }],
  ["the first upgrade is applied", portal(applied("2")), { action: "run", upgrade: three }],
  ["a later upgrade is applied", portal(applied("3")), { action: "run", upgrade: two }],
  ["all upgrades are applied", portal(applied("2", "3")), { action: "complete" }],
  ["no upgrade is registered for the change", portal({ version: "3.0.0", target: "3.1.0" }), { action: "complete" }],

  ["the target is the latest version of this code", portal(), { action: "run", upgrade: two }, "3.0.0"],
  ["this code does not know the target", portal(), wait("newer_code", NOW + 60_000), "2.9.9"],
  [
    "this code does not know the target, and it is parked",
    portal(failure({})),
    wait("newer_code", NOW + 60_000),
    "2.0.0",
  ],

  ["its installer has not succeeded", portal({ installer: { id: "a" } }), { action: "install" }],
  ["its installer has succeeded", portal({ installer: "done" }), { action: "run", upgrade: two }],
  ["its installer has not succeeded, and it is on its target", portal({ version: "3.0.0", installer: { id: "a" } }), {
    action: "none",
  }],

  ["it is blocked", portal(blocked(LATER)), wait("blocked", LATER)],
  ["its block may be over", portal(blocked(NOW)), { action: "run", upgrade: two }],
  ["it is blocked and parked", portal({ ...blocked(LATER), ...failure({}) }), wait("blocked", LATER)],

  ["an upgrade failed permanently", portal(failure({})), { action: "parked" }],
  ["a plugin failed permanently", portal(failure({ upgradeId: undefined as never })), { action: "parked" }],
  ["a failed upgrade is retried later", portal(failure({ retryAt: LATER })), wait("retry", LATER)],
  ["a failed upgrade is retried now", portal(failure({ retryAt: NOW })), { action: "run", upgrade: two }],
  ["it was parked for another target", portal(failure({ to: "2.0.0" })), { action: "run", upgrade: two }],
  ["the failed upgrade was skipped", portal({ ...failure({}), ...applied("2") }), { action: "run", upgrade: three }],
  ["the failed upgrade left the code", portal(failure({ upgradeId: "gone" })), { action: "run", upgrade: two }],

  ["its run sleeps", portal(run(LATER)), wait("sleep", LATER)],
  ["its run has slept long enough", portal(run(NOW)), { action: "run", upgrade: two }],
  ["its run is interrupted", portal(run()), { action: "run", upgrade: two }],
  ["a retry comes before a sleep", portal({ ...run(LATER + 1), ...failure({ retryAt: LATER }) }), wait("retry", LATER)],

  ["the upgrade needs scopes", portal(onlyScoped), needs("crm", "tasks")],
  ["a scope is missing", portal({ ...onlyScoped, scope: ["crm"] }), needs("tasks")],
  ["all scopes are granted", portal({ ...onlyScoped, scope: ["tasks", "crm"] }), { action: "run", upgrade: scoped }],
  ["tokens have a scope, and Bitrix24 was not asked", portal({ ...onlyScoped, ...tokens("crm") }), needs("tasks")],
  [
    "tokens have all scopes, and Bitrix24 says otherwise",
    portal({
      ...{ ...onlyScoped, ...tokens("crm", "tasks"), scope: [] },
    }),
    needs("crm", "tasks"),
  ],
  ["a later upgrade needs scopes", portal({ target: "4.0.0" }), { action: "run", upgrade: two }],
  ["a missing scope may have been granted", portal({ ...onlyScoped, ...blocked(EARLIER) }), needs("crm", "tasks")],
];

describe("nextAction() if", () => {
  for (const [name, record, expected, latest] of ROWS) {
    it(`${name}: ${expected.action}`, () => {
      assert.deepEqual(nextAction(record, upgrades, NOW, latest), expected);
      assert.equal(isDue(expected), ["run", "complete", "block"].includes(expected.action));
      if (expected.action !== "none") assert(isBelowTarget(record) || isVersionUnknown(record));
    });
  }
});
