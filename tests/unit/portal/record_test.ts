import assert from "node:assert/strict";
import {
  PORTAL_FORMAT,
  type PortalRecord,
  portalState,
  snapshot,
  withoutInstallation,
  withoutPurgedFields,
  withoutRemovedFields,
} from "../../../src/portal/record.ts";
import { describe, it } from "../../support/test.ts";

/** A record with every field. */
const RECORD: Required<PortalRecord> = {
  format: PORTAL_FORMAT,
  memberId: "a".repeat(32),
  domain: "x.bitrix24.de",
  clientEndpoint: "https://x.bitrix24.de/rest/",
  status: "installed",
  generation: 2,
  initialVersion: "1.0.0",
  version: "2.0.0",
  target: "3.0.0",
  applied: [{ id: "2", from: "1.0.0", to: "2.0.0", at: 1 }],
  failure: { upgradeId: "3", to: "3.0.0", message: "broken", fingerprint: "f00d", attempts: 1, at: 1 },
  run: {
    ...{ id: "1", from: "2.0.0", startedAt: 1, upgrades: ["3"] },
    current: { upgradeId: "3" },
    underWay: { finished: 1, starts: 2, deaths: 1, deathsAlone: 0 },
  },
  rollbacks: 1,
  installer: { id: "ONAPPINSTALL:2:1", failure: { message: "broken", at: 1 } },
  blocked: { on: "payment", message: "unpaid", since: 1, nextTryAt: 2 },
  endedBlock: { on: "payment", since: 1, endedAt: 2 },
  scope: ["crm"],
  applicationToken: { current: "digest" },
  applicationTokenTs: 1,
  tokens: [{ owner: "user", accessToken: "secret", expiresAt: 1, scope: [], ts: 1 }],
  credentials: { generation: 1, sequence: 1, expiresAt: 1, known: [] },
  refreshing: { id: "1", until: 1 },
  check: { at: 1 },
  findings: { at: 1, problems: [{ code: "registrations", message: "trigger paid is missing" }] },
  plannedChecks: { contact: 2 },
  openedVersion: "3",
  claims: { version: { version: "4.0.0", raw: "4", ts: 1, since: 1, nextAskAt: 2 } },
  unknownOrigin: { target: "updated", since: 1 },
  isTargetUnconfirmed: true,
  targetSetAt: 1,
  removalBelievedAt: 1,
  isCleanUnsure: true,
  owedRemoval: { clean: true, ts: 1 },
  installedTs: 1,
  uninstalledTs: 1,
  latestTs: 1,
  inboxSequence: 1,
  inbox: [{ id: "ONAPPUPDATE:3:1", receivedAt: 1, verification: {}, attempts: 0 }],
  overflow: { events: 1, size: 10, lifeCycle: {} },
  handled: [["ONAPPINSTALL:2:1", 1, 1]],
  batches: ["1"],
  forgottenAt: 1,
  mayPassPause: true,
  runCount: 1,
  runs: ["1-1"],
  lastAttempt: "1-1",
  fencingToken: 1,
  lease: { owner: "1", until: 1 },
  indexedAs: { state: "upgrading", version: "2.0.0" },
  due: "1",
  reports: [{ id: "1", changedAt: 1, change: { kind: "portalUpgraded", from: "1.0.0", to: "2.0.0" } }],
  purgeAt: 1,
};

describe("withoutRemovedFields()", () => {
  it("drops tokens, and everything that waits for Bitrix24 or a retry", () => {
    const { failure: _f, blocked: _b, tokens: _t, refreshing: _r, check: _c, openedVersion: _o, ...others } = RECORD;
    const { claims: _, plannedChecks: _p, installer: _i, endedBlock: _e, credentials: _k, ...more } = others;
    const { mayPassPause: _m, findings: _g, ...rest } = more;
    assert.deepEqual(withoutRemovedFields(RECORD), rest);
  });
});

describe("withoutPurgedFields() and withoutInstallation()", () => {
  it("keep what recognizes late events, and what the work on the portal needs; a new installation no old token", () => {
    const { format, memberId, status, generation, applicationToken, installedTs, uninstalledTs, latestTs } = RECORD;
    const { applicationTokenTs, inboxSequence, inbox, overflow, handled, fencingToken, lease, indexedAs, due } = RECORD;
    const { runCount, runs, lastAttempt, reports, forgottenAt } = RECORD;
    const always = {
      ...{ format, memberId, domain: "", status, generation, applied: [] },
      ...{ installedTs, uninstalledTs, latestTs },
      ...{ inboxSequence, inbox, overflow, handled, runCount, fencingToken, lease, indexedAs, due, reports },
    };
    assert.deepEqual(withoutPurgedFields(RECORD), { ...always, applicationToken, applicationTokenTs, forgottenAt });
    // The finished runs and failed attempts of an earlier installation are stored until a purge.
    assert.deepEqual(withoutInstallation(RECORD), { ...always, runs, lastAttempt });
  });
});

describe("snapshot()", () => {
  it("returns the record without tokens and internal fields", () => {
    const portal = snapshot(RECORD);
    assert.deepEqual(portal.run, {
      ...{ id: "1", from: "2.0.0", startedAt: 1 },
      current: { upgradeId: "3", attempt: 3 },
    });
    assert.deepEqual(portal.claims, [
      { kind: "version", version: "4.0.0", since: 1, state: "open", isContradicted: false, nextAskAt: 2 },
    ]);
    assert.deepEqual(Object.keys(portal).sort(), [
      ...["applicationToken", "applied", "blocked", "checkedAt", "claims", "clientEndpoint", "domain", "failure"],
      ...[
        "findings",
        "generation",
        "initialVersion",
        "memberId",
        "run",
        "scope",
        "state",
        "status",
        "target",
        "version",
      ],
    ]);
    // As lists have it.
    assert.deepEqual([portal.status, portal.state], ["installed", portalState(RECORD)]);
    assert.doesNotMatch(JSON.stringify(portal), /secret/);
  });
});
