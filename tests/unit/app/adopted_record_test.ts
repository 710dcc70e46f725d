import assert from "node:assert/strict";
import { adoptedRecord, filledIn, hasPair, refusalOf, versionConflict } from "../../../src/app/admin/adopted_record.ts";
import type { PortalRecord } from "../../../src/portal/record.ts";
import { MEMBER_ID } from "../../support/app.ts";
import { describe, it } from "../../support/test.ts";

const NOW = 1_785_400_000_000;

const pair = {
  tokens: { owner: "user", accessToken: "a", refreshToken: "r", expiresAt: NOW + 1000, scope: [], ts: 1 },
  info: {
    ...{
      clientId: "app",
      memberId: MEMBER_ID,
      userId: 7,
      tokenScope: ["crm"],
      scope: ["crm", "im"],
      isInstalled: true,
    },
    clientEndpoint: "https://example.bitrix24.de/rest/",
  },
} as const;

const adoption = { memberId: MEMBER_ID, version: "2.0.0", target: "3.0.0", applicationTokenDigest: "digest", pair };

describe("adoptedRecord()", () => {
  it("returns a portal that was installed long ago, with the verified pair and address", () => {
    const { tokens, ...record } = adoptedRecord(adoption, NOW);
    assert.deepEqual(record, {
      ...{ format: 1, memberId: MEMBER_ID, domain: "example.bitrix24.de", status: "installed", generation: 1 },
      ...{ clientEndpoint: "https://example.bitrix24.de/rest/", applied: [], installer: "done" },
      ...{ initialVersion: "2.0.0", version: "2.0.0", target: "3.0.0", installedTs: 0, latestTs: 0 },
      ...{ applicationToken: { current: "digest" }, scope: ["crm", "im"], check: { at: NOW } },
    });
    assert.deepEqual(tokens, [{ ...pair.tokens, userId: 7, scope: ["crm"], isVerified: true }]);
  });
});

describe("filledIn()", () => {
  it("changes nothing of a portal that lacks nothing", () => {
    const record = adoptedRecord(adoption, NOW);
    const other = { ...pair, tokens: { ...pair.tokens, accessToken: "b", refreshToken: "s", ts: 2 } };
    for (const version of ["1.0.0", "9.0.0"]) {
      const line = { ...adoption, version, target: version, applicationTokenDigest: "other", pair: other };
      assert.equal(filledIn(record, line, NOW), record);
    }
  });

  it("adds a version, an application token, and a pair if none works", () => {
    const { version: _v, initialVersion: _i, applicationToken: _a, tokens: _t, ...bare } = adoptedRecord(adoption, NOW);
    const blocked = { on: "version", message: "unknown", since: 1, nextTryAt: 2 } as const;
    const record: PortalRecord = { ...bare, blocked, unknownOrigin: { target: "reported", since: 1 }, target: "4.0.0" };
    const { version, target, applicationToken, tokens, blocked: after, unknownOrigin } = filledIn(
      record,
      adoption,
      NOW,
    );
    assert.deepEqual([version, target, applicationToken], ["2.0.0", "4.0.0", { current: "digest" }]);
    assert.deepEqual([after, unknownOrigin, tokens?.length], [undefined, undefined, 1]);
    const first = filledIn({ ...record, generation: 0 }, adoption, NOW);
    assert.equal(first.generation, 1, "the event with an unknown version that created it installs nothing anew");
  });
});

describe("hasPair()", () => {
  it("counts verified pairs that are valid or have a refresh token", () => {
    const record = adoptedRecord(adoption, NOW);
    const [stored] = record.tokens!;
    const { refreshToken: _r, ...accessOnly } = stored!;
    const { isVerified: _v, ...unverified } = stored!;
    assert.equal(hasPair(record, NOW + 2000), true);
    assert.equal(hasPair({ ...record, tokens: [accessOnly] }, NOW), true);
    assert.equal(hasPair({ ...record, tokens: [accessOnly] }, NOW + 2000), false);
    assert.equal(hasPair({ ...record, tokens: [unverified] }, NOW), false);
  });
});

describe("refusalOf() and versionConflict()", () => {
  it("tell removed, forgotten and other versions", () => {
    const record = adoptedRecord(adoption, NOW);
    assert.deepEqual([undefined, record].map(refusalOf), [undefined, undefined]);
    assert.equal(refusalOf({ ...record, status: "uninstalled" })?.reason, "removed");
    assert.equal(refusalOf({ ...record, status: "uninstalled", forgottenAt: 1 })?.reason, "forgotten");
    for (const version of [undefined, "2.0.0"]) assert.equal(versionConflict(record, version), undefined);
    assert.match(versionConflict(record, "1.0.0")!.message, /stays on 2\.0\.0, which is above the version 1\.0\.0/);
    assert.match(versionConflict(record, "3.0.0")!.message, /stays on 2\.0\.0, which is below the version 3\.0\.0/);
  });
});
