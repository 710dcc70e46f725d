import assert from "node:assert/strict";
import { coerced } from "@b24/onappupdate";
import { parseStored } from "../../../src/bitrix24/parse.ts";
import { factsOf } from "../../../src/portal/event_facts.ts";
import { factsAfter } from "../../../src/portal/receipt.ts";
import { PORTAL_FORMAT, type PortalRecord } from "../../../src/portal/record.ts";
import { MEMBER_ID, rig } from "../../support/app.ts";
import { describe, it } from "../../support/test.ts";

const INSTALL = rig().portal.install(2);
const { event } = parseStored({ kind: "form", text: INSTALL }, Date.now());

/** A removed portal, whose removal came after the event. */
const REMOVED: PortalRecord = {
  ...{ format: PORTAL_FORMAT, memberId: MEMBER_ID, domain: "", status: "uninstalled", generation: 1, applied: [] },
  ...{ installedTs: 0, latestTs: 0, uninstalledTs: event.ts + 10, applicationToken: { current: "old" } },
};

describe("factsAfter()", () => {
  const at = (event.ts + 20) * 1000;
  const facts = factsOf(
    { versions: coerced(), canRefresh: false },
    { installedVersion: "2", applicationTokenDigest: "new" },
    at,
  );
  const { applicationToken: _, ...unproved } = REMOVED;
  const ROWS: readonly (readonly [string, PortalRecord, number | undefined])[] = [
    ["lets a verified installation with a token of its own outrank its `ts`", REMOVED, event.ts + 10],
    [
      "does not if it was received before the portal was forgotten",
      { ...REMOVED, forgottenAt: at + 61_000 },
      undefined,
    ],
    [
      "does if it was received after it, by a clock that is behind",
      { ...REMOVED, forgottenAt: at + 5000 },
      event.ts + 10,
    ],
    [
      "does right after a portal was forgotten whose application_token was never proved",
      { ...unproved, forgottenAt: (event.ts + 10) * 1000 },
      event.ts + 10,
    ],
    [
      "does not if no clock explains that it was sent before that portal was forgotten",
      { ...unproved, uninstalledTs: event.ts + 70, forgottenAt: (event.ts + 70) * 1000 },
      undefined,
    ],
    ["does not of a portal that was removed, and whose application_token was never proved", unproved, undefined],
  ];
  const { applicationTokenDigest: _d, ...unprovedEvent } = facts.verification;

  it("lets an installation whose own token is not proved, either, right after the portal was forgotten", () => {
    const unprovedFacts = { ...facts, verification: unprovedEvent };
    const notBefore = (record: PortalRecord): number | undefined =>
      factsAfter(record, event, unprovedFacts).verification.notBeforeTs;
    assert.equal(notBefore({ ...REMOVED, forgottenAt: (event.ts + 10) * 1000 }), event.ts + 10);
    assert.equal(notBefore(REMOVED), undefined);
  });

  for (const [name, record, notBeforeTs] of ROWS) {
    it(name, () => assert.equal(factsAfter(record, event, facts).verification.notBeforeTs, notBeforeTs));
  }
});
