import assert from "node:assert/strict";
import { type B24Event, coerced, deployed, mapped, parseEvent, type VersionScheme } from "@b24/onappupdate";
import { InputError } from "@b24/onappupdate/errors";
import type { PortalRecord } from "../../../src/portal/record.ts";
import type { StoredTokens } from "../../../src/portal/tokens.ts";
import {
  type Claim,
  type ClaimKind,
  contradicted,
  mapClaims,
  settled,
  withoutTokens,
} from "../../../src/portal/claims.ts";
import { applyEvent, applyOrDefer } from "../../../src/portal/apply_event.ts";
import type { StoredVerification } from "../../../src/portal/event_facts.ts";
import { targetOfEvent } from "../../../src/portal/event_versions.ts";
import { MEMBER_ID } from "../../support/app.ts";
import { describe, it } from "../../support/test.ts";

/** Start of all histories in these tests, in seconds since 1970. */
const START = 1_785_300_000;
/** Long after all events. */
const RECEIVED_AT = (START + 1_000_000) * 1000;
const FULL_PAIR = { access: true, refresh: true };

interface Sent {
  readonly data?: Readonly<Record<string, string>>;
  /** Hours after {@linkcode START}. */
  readonly hour?: number;
  readonly pair?: { readonly access: boolean; readonly refresh: boolean };
  readonly domain?: string;
}

function event(
  name: string,
  { data = {}, hour = 0, pair = FULL_PAIR, domain = "example.bitrix24.de" }: Sent,
): B24Event {
  return parseEvent(
    JSON.stringify({
      event: name,
      ts: START + hour * 3600,
      data,
      auth: {
        member_id: MEMBER_ID,
        domain,
        application_token: "as verified",
        ...(pair.access ? { access_token: `access at ${hour}`, expires: START + hour * 3600 + 3600, user_id: 1 } : {}),
        ...(pair.refresh ? { refresh_token: `refresh at ${hour}` } : {}),
        scope: "crm",
      },
    }),
    "json",
    RECEIVED_AT,
  );
}

const install = (version: string, sent: Sent = {}): B24Event =>
  event("ONAPPINSTALL", { data: { VERSION: version }, ...sent });
const update = (from: string, to: string, sent: Sent = {}): B24Event =>
  event("ONAPPUPDATE", { data: { VERSION: to, PREVIOUS_VERSION: from }, ...sent });
const uninstall = (sent: Sent = {}): B24Event =>
  event("ONAPPUNINSTALL", { data: { CLEAN: "0" }, pair: { access: false, refresh: false }, ...sent });
const userReady = (sent: Sent = {}): B24Event =>
  event("ONAPPUSERREADY", {
    data: { access_token: "access of the app", refresh_token: "refresh of the app", expires_in: "3600", user_id: "9" },
    ...sent,
  });
const payment = (sent: Sent = {}): B24Event =>
  event("ONAPPPAYMENT", {
    data: { CODE: "a", VERSION: "9", STATUS: "S", PAYMENT_EXPIRED: "N" },
    pair: { access: true, refresh: false },
    ...sent,
  });

function next(
  record: PortalRecord | undefined,
  event: B24Event,
  verification: StoredVerification = {},
  { versions = coerced(), receivedAt = RECEIVED_AT }: { versions?: VersionScheme; receivedAt?: number } = {},
): PortalRecord {
  return applyEvent(freeze(record), event, { verification, versions, receivedAt, canRefresh: true });
}

/** Freezes a value deeply, so that changing it throws. */
function freeze<T>(value: T): T {
  if (typeof value === "object" && value !== null) {
    Object.values(value).forEach(freeze);
    Object.freeze(value);
  }
  return value;
}

/** An event and its verification. */
interface Received {
  readonly event: B24Event;
  readonly verification: StoredVerification;
}

const verified = (applicationTokenDigest: string, installedVersion: string): StoredVerification => ({
  applicationTokenDigest,
  installedVersion,
  clientEndpoint: "https://example.bitrix24.de/rest/",
});

/** The history of one portal. Its application token changes with an update, and again when the app is installed again. */
const HISTORY = {
  install2: { event: install("2", { hour: 1 }), verification: verified("A", "2") },
  update3: { event: update("2", "3", { hour: 2 }), verification: verified("A", "3") },
  update4: { event: update("3", "4", { hour: 3 }), verification: verified("B", "4") },
  removal: { event: uninstall({ hour: 4 }), verification: { applicationTokenDigest: "B" } },
  install4: { event: install("4", { hour: 5 }), verification: verified("C", "4") },
  update5: { event: update("4", "5", { hour: 6 }), verification: verified("C", "5") },
} as const satisfies Readonly<Record<string, Received>>;
type Name = keyof typeof HISTORY;

/** Applies the events in order to an unknown portal. */
function applyAll(names: readonly Name[], verify: Verifier = alwaysVerified): PortalRecord | undefined {
  let record: PortalRecord | undefined;
  for (const name of names) {
    const verification = verify(HISTORY[name], record);
    if (verification !== undefined) record = next(record, HISTORY[name].event, verification);
  }
  return record;
}

/** Returns the verification of an event; `undefined` if it is refused. */
type Verifier = (received: Received, record: PortalRecord | undefined) => StoredVerification | undefined;

const alwaysVerified: Verifier = ({ verification }) => verification;

/** Verifies as `applicationToken()` does: not if the token is known, and not without an access token. */
const verifiedIfNeeded: Verifier = ({ event, verification }, record) => {
  const { current, previous } = record?.applicationToken ?? {};
  const known = verification.applicationTokenDigest === current ||
    previous?.some(({ digest }) => verification.applicationTokenDigest === digest);
  if (known && (record?.status === "installed" || event.auth.accessToken === undefined)) return {};
  return event.auth.accessToken === undefined ? undefined : verification;
};

/** The tokens of the one user that these events have. */
function pair(tokens: PortalRecord["tokens"]): StoredTokens | undefined {
  assert((tokens?.length ?? 0) <= 1);
  return tokens?.[0];
}

function* permutations<T>(values: readonly T[]): Generator<T[]> {
  if (values.length === 0) yield [];
  for (const [i, value] of values.entries()) {
    for (const rest of permutations(values.toSpliced(i, 1))) yield [value, ...rest];
  }
}

describe("applyEvent() called again", () => {
  const versions = coerced();
  const facts = { verification: {}, versions, receivedAt: RECEIVED_AT, canRefresh: true };
  const record = applyEvent(undefined, install("2"), facts);

  it("returns the same record for the same event, and parses its version once", () => {
    let parsed = 0;
    const counting = { ...versions, parse: (raw: string) => (parsed++, versions.parse(raw)) };
    const counted = { ...facts, versions: counting };
    const raised = update("2", "3", { hour: 1 });
    const next = applyEvent(record, raised, counted);
    assert.equal(next.target, "3.0.0");
    const once = parsed;
    assert.equal(applyEvent(record, raised, counted), next);
    assert.equal(parsed, once);
  });

  it("applies another event, and the same one to another record", () => {
    const raised = update("2", "3", { hour: 1 });
    const next = applyEvent(record, raised, facts);
    assert.equal(applyEvent(record, update("2", "4", { hour: 1 }), facts).target, "4.0.0");
    assert.equal(applyEvent({ ...next, target: "5.0.0" }, raised, facts).target, "5.0.0");
    assert.equal(applyEvent(undefined, raised, facts).version, "2.0.0");
  });
});

describe("applyEvent() in order", () => {
  it("records the history of a portal", () => {
    const states = (Object.keys(HISTORY) as Name[]).map((_, i, names) => {
      const { status, generation, initialVersion, version, target, applicationToken, tokens } = applyAll(
        names.slice(0, i + 1),
      )!;
      const { current, previous } = applicationToken!;
      return [
        status,
        generation,
        initialVersion,
        version,
        target,
        current,
        previous?.map(({ digest }) => digest).join(),
        pair(tokens)?.accessToken,
      ];
    });
    assert.deepEqual(states, [
      ["installed", 1, "2.0.0", "2.0.0", "2.0.0", "A", undefined, "access at 1"],
      ["installed", 1, "2.0.0", "2.0.0", "3.0.0", "A", undefined, "access at 2"],
      ["installed", 1, "2.0.0", "2.0.0", "4.0.0", "B", "A", "access at 3"],
      ["uninstalled", 1, "2.0.0", "2.0.0", "4.0.0", "B", "A", undefined],
      ["installed", 2, "4.0.0", "4.0.0", "4.0.0", "C", undefined, "access at 5"],
      ["installed", 2, "4.0.0", "4.0.0", "5.0.0", "C", undefined, "access at 6"],
    ]);
  });

  it("returns a complete record for the first event", () => {
    assert.deepEqual(next(undefined, HISTORY.update3.event, HISTORY.update3.verification), {
      format: 1,
      memberId: MEMBER_ID,
      domain: "example.bitrix24.de",
      status: "installed",
      generation: 1,
      applied: [],
      installedTs: START + 7200,
      latestTs: START + 7200,
      initialVersion: "2.0.0",
      version: "2.0.0",
      target: "3.0.0",
      clientEndpoint: "https://example.bitrix24.de/rest/",
      applicationToken: { current: "A" },
      tokens: [{
        owner: "user",
        userId: 1,
        accessToken: "access at 2",
        refreshToken: "refresh at 2",
        expiresAt: (START + 10_800) * 1000,
        scope: ["crm"],
        ts: START + 7200,
      }],
      applicationTokenTs: START + 7200,
    });
  });

  it("returns records that survive JSON unchanged", () => {
    for (const names of permutations(["install2", "update4", "removal", "install4"] as const)) {
      const record = applyAll(names);
      assert.deepEqual(JSON.parse(JSON.stringify(record)), record);
    }
  });
});

const VERIFIERS: Readonly<Record<string, Verifier>> = {
  "all events verified": alwaysVerified,
  "events verified if needed": verifiedIfNeeded,
};

for (const [mode, verify] of Object.entries(VERIFIERS)) {
  describe(`applyEvent() in any order, ${mode}`, () => {
    /** Runs `check` for each order of `names`. Its errors name the order. */
    const everyOrder = (
      names: readonly Name[],
      check: (record: PortalRecord, order: readonly Name[]) => void,
    ): void => {
      for (const order of permutations(names)) {
        const record = applyAll(order, verify);
        assert(record !== undefined);
        try {
          check(record, order);
        } catch (cause) {
          throw new Error(`after ${order.join(", ")}`, { cause });
        }
      }
    };
    const whole = Object.keys(HISTORY) as Name[];

    it("a portal that is installed at the end has the newest target and the newest tokens", () => {
      everyOrder(whole, ({ status, target, applicationToken, tokens }) => {
        assert.deepEqual([status, target, applicationToken?.current], ["installed", "5.0.0", "C"]);
        assert.deepEqual([pair(tokens)?.accessToken, pair(tokens)?.refreshToken], ["access at 6", "refresh at 6"]);
      });
    });

    it("a portal that was not removed is installed, with the newest target", () => {
      everyOrder(["install2", "update3", "update4"], ({ status, generation, target, applicationToken }) => {
        assert.deepEqual([status, generation, target], ["installed", 1, "4.0.0"]);
        assert.equal(applicationToken?.current, "B");
      });
    });

    it("a portal that was removed is uninstalled, without tokens", () => {
      everyOrder(["install2", "update3", "update4", "removal"], (record, order) => {
        // The removal has no access token to verify it with: it is refused if the application token is unknown.
        const refused = verify === verifiedIfNeeded && order.indexOf("removal") < order.indexOf("update4");
        if (refused) return assert.equal(record.status, "installed");
        assert.equal(record.status, "uninstalled");
        assert.equal(record.tokens, undefined);
      });
    });

    it("an installation that overtakes the removal before it survives that removal", () => {
      everyOrder(["update4", "removal", "install4"], ({ status, target, tokens }) => {
        assert.deepEqual([status, target, pair(tokens)?.accessToken], ["installed", "4.0.0", "access at 5"]);
      });
    });

    it("an update that overtakes its installation is not lost", () => {
      everyOrder(["update4", "removal", "install4", "update5"], ({ status, target }) => {
        assert.deepEqual([status, target], ["installed", "5.0.0"]);
      });
    });

    it("the initial version is that of the event that was applied first", () => {
      const starts: Readonly<Record<Name, string>> = {
        install2: "2.0.0",
        update3: "2.0.0",
        update4: "3.0.0",
        removal: "none",
        install4: "4.0.0",
        update5: "4.0.0",
      };
      everyOrder(whole, ({ generation, initialVersion, version }, order) => {
        assert.equal(version, initialVersion);
        // After a removal that is applied first, older events change nothing.
        const first = order.find((name) => name !== "removal")!;
        const removedFirst = order[0] === "removal" && verify === alwaysVerified;
        const renewed = removedFirst || generation === 2;
        assert.equal(initialVersion, renewed ? "4.0.0" : starts[first]);
        assert(generation === 1 || (generation === 2 && !removedFirst));
      });
    });

    it("generations, targets and times only rise", () => {
      for (const order of permutations(whole)) {
        let before: PortalRecord | undefined;
        for (let length = 1; length <= order.length; length++) {
          const record = applyAll(order.slice(0, length), verify);
          if (record === undefined) continue;
          if (before !== undefined) {
            assert(record.generation >= before.generation);
            assert(record.latestTs >= before.latestTs);
            assert(record.installedTs >= before.installedTs);
            if (record.generation === before.generation) {
              assert((record.uninstalledTs ?? 0) >= (before.uninstalledTs ?? 0));
              assert((record.target ?? "0.0.0") >= (before.target ?? "0.0.0"));
              assert.equal(record.version, before.version);
            }
          }
          before = record;
        }
      }
    });

    it("an event that is applied again returns the same object", () => {
      for (const order of permutations(whole)) {
        const record = applyAll(order, verify);
        const last = HISTORY[order.at(-1)!];
        const verification = verify(last, record);
        if (verification !== undefined) assert.equal(next(record, last.event, verification), record, order.join(", "));
      }
    });

    it("events that are applied again, in any order, change nothing", () => {
      for (const order of permutations(whole)) {
        const record = applyAll(order, verify);
        for (const again of [order, order.toReversed(), whole]) {
          const twice = again.reduce((current, name) => {
            const verification = verify(HISTORY[name], current);
            return verification === undefined ? current : next(current, HISTORY[name].event, verification);
          }, record);
          assert.deepEqual({ ...twice, applicationToken: undefined }, { ...record, applicationToken: undefined });
          assert.equal(twice?.applicationToken?.current, record?.applicationToken?.current);
        }
      }
    });
  });
}

describe("applyEvent(): a removal", () => {
  it("of an unknown portal is stored, to recognize late events", () => {
    const removed = next(undefined, uninstall({ hour: 4 }));
    assert.deepEqual([removed.status, removed.generation, removed.target], ["uninstalled", 0, undefined]);
    assert.equal(next(removed, install("2", { hour: 1 }), verified("A", "2")).status, "uninstalled");
    assert.deepEqual(
      next(removed, install("2", { hour: 5 })),
      { ...next(undefined, install("2", { hour: 5 })), generation: 1, uninstalledTs: START + 4 * 3600 },
    );
  });

  it("keeps what later events are compared with, and neither tokens nor the failure", () => {
    const failure = { upgradeId: "3", to: "3.0.0", message: "broken", attempts: 2, at: 1 };
    const before = {
      ...applyAll(["install2", "update4"])!,
      failure,
      applied: [{ id: "3", from: "2", to: "4", at: 1 }],
    };
    const { tokens, failure: gone, ...removed } = next(before, uninstall({ hour: 4 }));
    assert.deepEqual([tokens, gone], [undefined, undefined]);
    assert.deepEqual([removed.target, removed.applied.length, removed.applicationToken?.current], ["4.0.0", 1, "B"]);
  });

  it("is followed by a new installation without applied upgrades", () => {
    const before = { ...applyAll(["install2"])!, applied: [{ id: "3", from: "2", to: "4", at: 1 }] };
    const { applied, generation, initialVersion } = next(
      next(before, uninstall({ hour: 4 })),
      install("4", { hour: 5 }),
    );
    assert.deepEqual([applied, generation, initialVersion], [[], 2, "4.0.0"]);
  });

  const afterwards: Readonly<
    Record<string, readonly [event: B24Event, verification: StoredVerification, status: string]>
  > = {
    "a newer installation": [install("4", { hour: 5 }), {}, "installed"],
    "an installation of the same second that comes after it": [install("4", { hour: 4 }), {}, "installed"],
    "an older installation": [install("4", { hour: 3 }), {}, "uninstalled"],
    "an older installation that Bitrix24 confirms": [install("4", { hour: 3 }), verified("B", "4"), "uninstalled"],
    "a newer update of an app that Bitrix24 reports as installed": [
      update("4", "5", { hour: 5 }),
      verified("B", "5"),
      "installed",
    ],
    "a newer update without verification": [update("4", "5", { hour: 5 }), {}, "uninstalled"],
    "an older update": [update("3", "4", { hour: 3 }), verified("B", "4"), "uninstalled"],
    "a newer payment without verification": [payment({ hour: 5 }), {}, "uninstalled"],
    "a newer payment of an app that Bitrix24 reports as installed": [
      payment({ hour: 5 }),
      verified("B", "4"),
      "installed",
    ],
    "another removal": [uninstall({ hour: 6 }), {}, "uninstalled"],
  };
  for (const [name, [late, verification, status]] of Object.entries(afterwards)) {
    it(`is ${status === "installed" ? "" : "not "}ended by ${name}`, () => {
      const removed = applyAll(["install2", "update3", "removal"])!;
      const after = next(removed, late, verification);
      assert.equal(after.status, status);
      assert.equal(after.generation, status === "installed" ? 2 : 1);
      assert.equal("tokens" in after, status === "installed");
    });
  }

  it("before a later removal keeps the time of the later one", () => {
    const removed = next(next(applyAll(["install2"]), uninstall({ hour: 6 })), uninstall({ hour: 4 }));
    assert.equal(next(removed, install("4", { hour: 5 })).status, "uninstalled");
    assert.equal(next(removed, install("4", { hour: 7 })).status, "installed");
  });

  it("of an earlier installation does not change a later one", () => {
    const record = applyAll(["install4"])!;
    assert.equal(next(record, uninstall({ hour: 4 })), record);
    assert.equal(next(applyAll(["install2", "update5"]), uninstall({ hour: 4 })).status, "installed");
  });

  it("separates installations: late or repeated events of the earlier one do not change the next", () => {
    const again = next(next(applyAll(["install2", "update4"]), uninstall({ hour: 4 })), install("3", { hour: 5 }));
    assert.deepEqual([again.generation, again.version, again.target], [2, "3.0.0", "3.0.0"]);
    for (const late of [update("3", "4", { hour: 3 }), install("4", { hour: 1 }), payment({ hour: 2 })]) {
      assert.equal(next(again, late, verified("Z", "4")), again);
    }
    assert.equal(next(again, update("3", "4", { hour: 6 })).target, "4.0.0");
  });

  it("keeps what a check found, when tokens are verified, which is recorded as a check", () => {
    const findings = { at: 1, problems: [{ code: "registrations", message: "triggers paid: not registered" }] };
    const event = update("2", "3", { hour: 2 });
    const checked = { ...next(undefined, install("2")), check: { at: 1 }, findings };
    const verification = { ...verified("A", "3"), tokens: { isAdmin: true } };
    const after = next(checked, event, verification as StoredVerification);
    assert.ok(after.check!.at > 1);
    assert.equal(after.findings, findings);
  });

  it("keeps what a later check reported, when the last event is applied again", () => {
    const event = update("2", "3", { hour: 2 });
    const before = next(applyAll(["install2"]), event, { ...verified("A", "3"), scope: ["crm"] });
    const checked = { ...before, scope: ["crm", "task"], check: { at: Number.MAX_SAFE_INTEGER } };
    assert.deepEqual(next(checked, event, { ...verified("A", "3"), scope: ["crm"] }).scope, ["crm", "task"]);
  });

  it("is compared with installations and updates only", () => {
    const paid = next(applyAll(["install2"]), payment({ hour: 6 }));
    assert.equal(next(paid, uninstall({ hour: 4 })).status, "uninstalled");
  });
});

describe("applyEvent(): a ts in the future", () => {
  const soon = { receivedAt: (START + 3 * 3600) * 1000 };

  it("of an update does not hide later removals", () => {
    const record = next(applyAll(["install2"]), update("2", "3", { hour: 1_000_000 }), {}, soon);
    assert.deepEqual([record.installedTs, record.latestTs], [START + 3 * 3600, START + 3 * 3600]);
    assert.equal(next(record, uninstall({ hour: 4 })).status, "uninstalled");
  });

  it("of a removal does not hide later installations", () => {
    const removed = next(applyAll(["install2"]), uninstall({ hour: 1_000_000 }), {}, soon);
    assert.equal(removed.uninstalledTs, START + 3 * 3600);
    assert.equal(next(removed, install("4", { hour: 5 })).status, "installed");
  });

  it("of tokens does not hide later tokens", () => {
    const record = next(applyAll(["install2"]), update("2", "3", { hour: 1_000_000 }), verified("X", "3"), soon);
    const { tokens, applicationToken } = next(record, update("3", "4", { hour: 4 }), verified("B", "4"));
    assert.deepEqual([pair(tokens)?.accessToken, applicationToken?.current], ["access at 4", "B"]);
  });
});

describe("applyEvent(): the target", () => {
  const installed = applyAll(["install2"])!;

  it("rises, and never falls", () => {
    let record = installed;
    const targets = ["3", "2.5", "5", "4", "5.0.0", "5.0.0-rc.1", "1", "10"].map((version, hour) => {
      record = next(record, update("2", version, { hour: hour + 2 }));
      return record.target;
    });
    assert.deepEqual(targets, ["3.0.0", "3.0.0", "5.0.0", "5.0.0", "5.0.0", "5.0.0", "5.0.0", "10.0.0"]);
    assert.deepEqual([record.version, record.initialVersion], ["2.0.0", "2.0.0"]);
  });

  it("is raised by a second installation event, which apps without an interface receive at an update", () => {
    const { target, version, generation } = next(installed, install("3", { hour: 2 }));
    assert.deepEqual([target, version, generation], ["3.0.0", "2.0.0", 1]);
  });

  it("ignores PREVIOUS_VERSION if the version is known", () => {
    for (const previous of ["1", "2.5", "9", "latest"]) {
      const { version, initialVersion } = next(installed, update(previous, "3", { hour: 2 }));
      assert.deepEqual([version, initialVersion], ["2.0.0", "2.0.0"]);
    }
  });

  it("keeps the failure and the applied upgrades", () => {
    const busy: PortalRecord = {
      ...installed,
      failure: { upgradeId: "3", to: "3.0.0", message: "broken", attempts: 2, at: 1 },
      applied: [{ id: "2.5", from: "2.0.0", to: "3.0.0", at: 1 }],
    };
    const { failure, applied } = next(busy, update("2", "4", { hour: 2 }));
    assert.deepEqual([failure, applied], [busy.failure, busy.applied]);
  });

  const first: readonly (readonly [previous: string, to: string, version: string, target: string])[] = [
    ["2", "3", "2.0.0", "3.0.0"],
    ["2.0.3", "2.1.0", "2.0.3", "2.1.0"],
    ["3", "3", "3.0.0", "3.0.0"],
    // An initial version above the target becomes the target.
    ["4", "3", "3.0.0", "3.0.0"],
  ];
  for (const [previous, to, version, target] of first) {
    it(`of an unknown portal, at an update from ${previous} to ${to}`, () => {
      const record = next(undefined, update(previous, to));
      assert.deepEqual([record.initialVersion, record.version, record.target], [version, version, target]);
    });
  }

  it("of an unknown portal is what Bitrix24 reports, if the installation event differs", () => {
    const record = next(undefined, install("2"), verified("A", "4"));
    assert.deepEqual([record.initialVersion, record.version, record.target], ["2.0.0", "2.0.0", "4.0.0"]);
    const above = next(undefined, install("4"), verified("A", "2"));
    assert.deepEqual([above.initialVersion, above.version, above.target], ["2.0.0", "2.0.0", "2.0.0"]);
  });

  it("is unknown until an event names a version", () => {
    const record = next(undefined, payment());
    assert.deepEqual([record.status, record.version, record.target], ["installed", undefined, undefined]);
    assert.equal("target" in record || "version" in record || "initialVersion" in record, false);
    const told = next(record, update("2", "3", { hour: 2 }));
    assert.deepEqual([told.initialVersion, told.version, told.target], ["2.0.0", "2.0.0", "3.0.0"]);
  });
});

describe("targetOfEvent()", () => {
  const said: readonly (readonly [said: string, installed: string | undefined, version: string])[] = [
    ["3", undefined, "3.0.0"],
    ["3", "3", "3.0.0"],
    ["3", "4", "4.0.0"],
    ["4", "3", "3.0.0"],
    ["9", "3", "3.0.0"],
    ["2.1.0", "2", "2.1.0"],
    ["v2.1.0", "2", "2.1.0"],
    ["2.1.0", "3", "3.0.0"],
    ["21.0.0", "2", "2.0.0"],
    ["2.0.0-beta.1", "2", "2.0.0-beta.1"],
    ["2-beta", "2", "2.0.0"],
    ["2.10", "2.1", "2.1.0"],
    ["latest", "3", "3.0.0"],
  ];
  for (const [version, installedVersion, announced] of said) {
    it(`of ${version} if Bitrix24 reports ${installedVersion ?? "nothing"}`, () => {
      const verification = installedVersion === undefined ? {} : { installedVersion };
      const facts = { verification, versions: coerced(), receivedAt: RECEIVED_AT, canRefresh: true };
      assert.equal(targetOfEvent(install(version), facts), announced);
      assert.equal(targetOfEvent(update("1", version), facts), announced);
      // A payment's VERSION is not that of the installation.
      assert.equal(
        targetOfEvent(payment(), facts),
        verification.installedVersion && coerced().parse(verification.installedVersion),
      );
    });
  }

  it("returns undefined for other events if the verified version is unreadable", () => {
    for (const versions of [coerced(), mapped({ 1: "1.0.0" })]) {
      const facts = {
        verification: { installedVersion: "latest" },
        versions,
        receivedAt: RECEIVED_AT,
        canRefresh: true,
      };
      assert.equal(targetOfEvent(payment(), facts), undefined);
    }
  });

  it("returns the deployed version for every event", () => {
    const facts = {
      verification: verified("A", "1"),
      versions: deployed("2.3.0"),
      receivedAt: RECEIVED_AT,
      canRefresh: true,
    };
    for (const event of [install("1"), update("1", "latest"), payment(), uninstall()]) {
      assert.equal(targetOfEvent(event, facts), "2.3.0");
    }
  });

  it("raises the target of any event by the verified version", () => {
    const record = next(applyAll(["install2"]), payment({ hour: 2 }), verified("A", "3"));
    assert.deepEqual([record.version, record.target], ["2.0.0", "3.0.0"]);
  });
});

describe("applyEvent(): a portal whose first contact is no installation", () => {
  const bareUpdate = (version: string, hour = 1): Received => ({
    event: event("ONAPPUPDATE", { data: { VERSION: version }, hour }),
    verification: verified("A", version),
  });
  const contact = (version: string, hour = 1): Received => ({
    event: payment({ hour }),
    verification: verified("A", version),
  });
  const sent = (event: B24Event, version: string): Received => ({ event, verification: verified("A", version) });
  const versionsAfter = (received: readonly Received[]): unknown[] => {
    let record: PortalRecord | undefined;
    for (const { event, verification } of received) record = next(record, event, verification);
    const { initialVersion, version, target } = record!;
    assert.equal(version, initialVersion);
    return [version, target];
  };

  type Case = readonly [received: readonly Received[], version: string | undefined, target: string];
  const cases: Readonly<Record<string, Case>> = {
    "an update without PREVIOUS_VERSION": [[bareUpdate("3")], undefined, "3.0.0"],
    "an update with a PREVIOUS_VERSION that cannot be read": [[sent(update("?", "3"), "3")], undefined, "3.0.0"],
    "a contact": [[contact("3")], undefined, "3.0.0"],
    "a contact, then the installation that it has overtaken": [
      [contact("3"), sent(install("3", { hour: 1 }), "3")],
      ...["3.0.0", "3.0.0"] as const,
    ],
    "a contact, then an ONAPPINSTALL of a higher version": [
      [contact("2"), sent(install("3", { hour: 2 }), "3")],
      ...["2.0.0", "3.0.0"] as const,
    ],
    "a contact, then an update": [[contact("2"), sent(update("2", "3", { hour: 2 }), "3")], "2.0.0", "3.0.0"],
    "a contact, then an update without PREVIOUS_VERSION": [[contact("2"), bareUpdate("3", 2)], "2.0.0", "3.0.0"],
    "a contact, then one after a missed update": [[contact("2"), contact("3", 2)], "2.0.0", "3.0.0"],
    "a contact, then an update to the same version": [[contact("3"), bareUpdate("3", 2)], undefined, "3.0.0"],
    "two updates without PREVIOUS_VERSION": [[bareUpdate("2"), bareUpdate("3", 2)], undefined, "3.0.0"],
    // Whether the data reached version 2 is not known.
    "an update without PREVIOUS_VERSION, then one from there": [
      [bareUpdate("2"), sent(update("2", "3", { hour: 2 }), "3")],
      ...[undefined, "3.0.0"] as const,
    ],
    "an update without PREVIOUS_VERSION, and another copy with it": [
      [bareUpdate("3"), sent(update("2", "3", { hour: 1 }), "3")],
      ...["2.0.0", "3.0.0"] as const,
    ],
    "an update without PREVIOUS_VERSION, then its ONAPPINSTALL": [
      [bareUpdate("3"), sent(install("3", { hour: 2 }), "3")],
      ...[undefined, "3.0.0"] as const,
    ],
    "a removal, then a contact: it was installed again": [
      [sent(uninstall({ hour: 0 }), "1"), contact("3")],
      ...["3.0.0", "3.0.0"] as const,
    ],
  };
  for (const [name, [received, version, target]] of Object.entries(cases)) {
    it(`${name}: ${version ?? "its version is unknown"}`, () => {
      assert.deepEqual(versionsAfter(received), [version, target]);
    });
  }

  it("starts on what Bitrix24 has reported if an ONAPPINSTALL with its application_token follows within an hour", () => {
    const claims = { claims: "always" } as const;
    const soon = { receivedAt: (START + 3600) * 1000 };
    for (const versions of [coerced(), deployed("3.0.0")]) {
      for (const [hours, version] of [[2, "3.0.0"], [2.1, undefined]] as const) {
        const contacted = next(undefined, userReady(), verified("A", "3"), { ...soon, versions });
        const options = { receivedAt: (START + hours * 3600) * 1000, versions };
        const after = next(contacted, install("9", { hour: 1 }), claims, options);
        assert.deepEqual([after.version, after.target], [version, "3.0.0"]);
      }
    }
  });

  it("starts on the PREVIOUS_VERSION of an update that is believed", () => {
    const claims = { claims: "when-possible" } as const;
    const sentAlone = { pair: { access: false, refresh: false } };
    const installation = next(undefined, install("1", sentAlone), claims);
    assert.deepEqual([installation.version, installation.target], [undefined, undefined]);
    const believed = next(installation, update("1", "3", { hour: 2, ...sentAlone }), claims);
    assert.deepEqual([believed.version, believed.target, believed.isTargetUnconfirmed], ["1.0.0", "3.0.0", true]);
  });

  it("is no longer blocked on its version once that is known", () => {
    const unknown = next(undefined, payment({ hour: 1 }), verified("A", "2"));
    for (const on of ["version", "payment"] as const) {
      const blocked = { on, message: "", since: RECEIVED_AT, nextTryAt: 0 };
      const raised = next({ ...unknown, blocked }, payment({ hour: 2 }), verified("A", "3"));
      assert.deepEqual([raised.version, raised.blocked?.on], ["2.0.0", undefined]);
    }
  });
});

describe("applyEvent() with another scheme", () => {
  it("deployed(): the initial version is the deployed version at an installation, and unknown otherwise", () => {
    const versions = deployed("2.3.0");
    for (const event of [update("1", "1"), bare("ONAPPUPDATE", { VERSION: "1" }), payment(), userReady()]) {
      const record = next(undefined, event, {}, { versions });
      assert.deepEqual([record.initialVersion, record.version, record.target], [undefined, undefined, "2.3.0"]);
      const raised = next(record, payment({ hour: 1 }), {}, { versions: deployed("2.4.0") });
      assert.deepEqual([raised.version, raised.target], [undefined, "2.4.0"]);
      const later = next(raised, install("1", { hour: 2 }), {}, { versions: deployed("2.4.0") });
      assert.deepEqual([later.initialVersion, later.version, later.unknownOrigin], ["2.4.0", "2.4.0", undefined]);
    }
    const { initialVersion, version: initial, target: first } = next(undefined, install("1"), {}, { versions });
    assert.deepEqual([initialVersion, initial, first], ["2.3.0", "2.3.0", "2.3.0"]);
    const known = next(undefined, install("1"), {}, { versions });
    const { version, target } = next(known, payment({ hour: 2 }), {}, { versions: deployed("2.4.0") });
    assert.deepEqual([version, target], ["2.3.0", "2.4.0"]);
  });

  it("mapped(): throws if the table lacks the version", () => {
    const versions = mapped({ 1: "1.0.0", 2: "1.4.0" });
    const { initialVersion, target } = next(undefined, update("1", "2"), {}, { versions });
    assert.deepEqual([initialVersion, target], ["1.0.0", "1.4.0"]);
    for (const event of [install("3"), update("1", "3"), update("0", "2")]) {
      assert.throws(() => next(undefined, event, {}, { versions }), RangeError);
    }
  });
});

function bare(name: string, data: Readonly<Record<string, string>>): B24Event {
  return event(name, { data });
}

describe("applyEvent() refuses", () => {
  const cases: Readonly<Record<string, readonly [event: B24Event, verification: StoredVerification, issue: object]>> = {
    "an unreadable VERSION of an update": [update("1", "latest"), {}, {
      path: "data.VERSION",
      saw: '"latest"',
      wanted: 'a version such as "3" or "2.1.0"',
    }],
    "an unreadable VERSION of an installation": [install("1.2.3.4"), {}, {
      path: "data.VERSION",
      saw: '"1.2.3.4"',
      wanted: 'a version such as "3" or "2.1.0"',
    }],
    "an unreadable PREVIOUS_VERSION": [update("1..2", "3"), {}, {
      path: "data.PREVIOUS_VERSION",
      saw: '"1..2"',
      wanted: 'a version such as "3" or "2.1.0"',
    }],
  };
  for (const [name, [event, verification, issue]] of Object.entries(cases)) {
    it(`${name}, for an unknown portal`, () => {
      assert.throws(() => next(undefined, event, verification), (error: unknown) => {
        assert(error instanceof InputError);
        assert.deepEqual(error.issues, [issue]);
        return true;
      });
    });
  }

  it("an unreadable VERSION, for a known portal", () => {
    assert.throws(() => next(applyAll(["install2"]), update("2", "latest", { hour: 2 })), InputError);
  });

  it("no update without PREVIOUS_VERSION, for a known portal", () => {
    const known = applyAll(["install2"]);
    assert.equal(next(known, bare("ONAPPUPDATE", { VERSION: "3" })).target, "3.0.0");
  });

  it("no unreadable VERSION, for a removed portal", () => {
    const removed = applyAll(["install2", "removal"]);
    assert.equal(next(removed, update("2", "latest", { hour: 9 })).status, "uninstalled");
  });
});

describe("applyEvent(): OAuth tokens", () => {
  const full = (hour: number): B24Event => update("1", "1", { hour });
  const half = (hour: number): B24Event => payment({ hour });
  const refreshOnly = (hour: number): B24Event => update("1", "1", { hour, pair: { access: false, refresh: true } });
  const none = (hour: number): B24Event => update("1", "1", { hour, pair: { access: false, refresh: false } });
  const cases: Readonly<Record<string, readonly [events: readonly B24Event[], access?: number, refresh?: number]>> = {
    "the newer pair replaces the older": [[full(1), full(2)], 2, 2],
    "the older pair does not replace the newer": [[full(2), full(1)], 2, 2],
    "a pair without a refresh token does not replace one with it": [[full(1), half(2)], 1, 1],
    "nor does a much newer one": [[full(1), half(2), half(3)], 1, 1],
    "a pair without a refresh token is stored if there is none": [[half(1)], 1],
    "of pairs without a refresh token, the newer replaces the older": [[half(1), half(2)], 2],
    "of pairs without a refresh token, the older does not replace the newer": [[half(2), half(1)], 2],
    "a pair with a refresh token replaces one without": [[half(1), full(2)], 2, 2],
    "even if it is older: it can be refreshed": [[half(2), full(1)], 1, 1],
    "an event without tokens drops none": [[full(1), none(2)], 1, 1],
    "a refresh token alone is not stored": [[refreshOnly(1)]],
    "and does not change a pair": [[full(1), refreshOnly(2)], 1, 1],
  };
  for (const [name, [events, access, refresh]] of Object.entries(cases)) {
    it(name, () => {
      const start = next(undefined, install("1", { pair: { access: false, refresh: false } }));
      const { tokens } = events.reduce((record, event) => next(record, event), start);
      assert.equal(pair(tokens)?.accessToken, access === undefined ? undefined : `access at ${access}`);
      assert.equal(pair(tokens)?.refreshToken, refresh === undefined ? undefined : `refresh at ${refresh}`);
      assert.equal("refreshToken" in (pair(tokens) ?? {}), refresh !== undefined);
      if (access !== undefined) assert.equal(pair(tokens)?.expiresAt, (START + access * 3600 + 3600) * 1000);
    });
  }

  it("of a removed portal are not stored", () => {
    assert.equal("tokens" in next(applyAll(["install2", "removal"]), payment({ hour: 9 })), false);
  });

  it("of an earlier installation are not restored by the next", () => {
    const removed = applyAll(["install2", "removal"]);
    const record = next(removed, install("4", { hour: 5, pair: { access: false, refresh: false } }));
    assert.equal("tokens" in record, false);
  });
});

describe("applyEvent(): verified facts", () => {
  const at = (hour: number, digest: string | undefined, record?: PortalRecord): PortalRecord =>
    next(record, update("1", "1", { hour }), digest === undefined ? {} : { applicationTokenDigest: digest }, {
      receivedAt: RECEIVED_AT + hour,
    });
  const shown = ({ applicationToken }: PortalRecord): unknown => applicationToken;

  it("the first application token has no previous one", () => assert.deepEqual(shown(at(1, "A")), { current: "A" }));
  it("a changed application token keeps the previous one, with the time", () => {
    assert.deepEqual(shown(at(2, "B", at(1, "A"))), {
      current: "B",
      previous: [{ digest: "A", replacedAt: RECEIVED_AT + 2 }],
    });
  });
  it("the last four previous tokens are kept, each with its time", () => {
    const record = ["A", "B", "C", "D", "E", "F"].reduce<PortalRecord | undefined>(
      (record, digest, hour) => at(hour, digest, record),
      undefined,
    );
    assert.deepEqual(shown(record!), {
      current: "F",
      previous: ["E", "D", "C", "B"].map((digest, i) => ({ digest, replacedAt: RECEIVED_AT + 5 - i })),
    });
  });
  it("a token that comes back is the current one, and no longer a previous one", () => {
    assert.deepEqual(shown(at(3, "A", at(2, "B", at(1, "A")))), {
      current: "A",
      previous: [{ digest: "B", replacedAt: RECEIVED_AT + 3 }],
    });
  });
  it("the same token again does not change the time of the previous one", () => {
    assert.deepEqual(shown(at(3, "B", at(2, "B", at(1, "A")))), {
      current: "B",
      previous: [{ digest: "A", replacedAt: RECEIVED_AT + 2 }],
    });
  });
  it("it stays without a verification", () => assert.deepEqual(shown(at(2, undefined, at(1, "A"))), { current: "A" }));
  it("it survives a removal, and the next installation forgets it", () => {
    const removed = next(at(2, "B", at(1, "A")), uninstall({ hour: 3 }));
    assert.equal(removed.applicationToken?.current, "B");
    assert.equal(shown(next(removed, install("1", { hour: 4 }))), undefined);
    assert.deepEqual(shown(next(removed, install("1", { hour: 4 }), verified("C", "1"))), { current: "C" });
  });
  it("that of a late event is ignored", () => {
    const record = at(3, "C", at(1, "A"));
    assert.equal(at(2, "B", record), record);
  });

  it("the address is the newest verified one", () => {
    const endpoint = (hour: number, clientEndpoint: string, record?: PortalRecord): PortalRecord =>
      next(record, update("1", "1", { hour }), { clientEndpoint });
    const first = endpoint(1, "https://a.bitrix24.de/rest/");
    assert.equal(first.clientEndpoint, "https://a.bitrix24.de/rest/");
    assert.equal(endpoint(2, "https://b.bitrix24.de/rest/", first).clientEndpoint, "https://b.bitrix24.de/rest/");
    assert.equal(endpoint(0, "https://b.bitrix24.de/rest/", first).clientEndpoint, "https://a.bitrix24.de/rest/");
    assert.equal(next(first, update("1", "2", { hour: 3 })).clientEndpoint, "https://a.bitrix24.de/rest/");
  });
  it("the address in the event is ignored", () => {
    const body = `event=ONAPPINSTALL&ts=${START}&data[VERSION]=1&auth[member_id]=${MEMBER_ID}&auth[domain]=x.de` +
      "&auth[application_token]=t&auth[client_endpoint]=https://evil.example/rest/";
    assert.equal("clientEndpoint" in next(undefined, parseEvent(body)), false);
  });
  it("the domain is the host of the verified address, whatever events say", () => {
    const installed = applyAll(["install2"])!;
    for (const domain of ["169.254.169.254", "localhost", "evil.example", "new.bitrix24.de"]) {
      const record = next(installed, update("2", "2", { hour: 3, domain }));
      assert.deepEqual([record.domain, record.clientEndpoint], [
        "example.bitrix24.de",
        "https://example.bitrix24.de/rest/",
      ]);
    }
    const address = { clientEndpoint: "https://box.example.com:8443/rest/" };
    assert.equal(
      next(installed, update("2", "2", { hour: 3, domain: "x.de" }), address).domain,
      "box.example.com:8443",
    );
  });
  it("the domain is the host of the address that an event with an unknown version has verified", () => {
    const versions = mapped({ 2: "2.0.0" });
    const first = applyOrDefer(undefined, install("3", { hour: 1 }), {
      ...{ verification: verified("A", "3"), versions, receivedAt: RECEIVED_AT, canRefresh: true },
    });
    assert.deepEqual([first.generation, first.domain], [0, "example.bitrix24.de"]);
    const claims = { claims: "always" } as const;
    const events = [userReady({ hour: 2, domain: "oauth.bitrix.info" }), payment({ hour: 2, domain: "evil.example" })];
    for (const event of events) {
      const { generation, domain, clientEndpoint } = next(first, event, claims, { versions });
      assert.deepEqual([generation, domain, clientEndpoint], [
        ...[1, "example.bitrix24.de", "https://example.bitrix24.de/rest/"],
      ]);
    }
  });

  it("the domain is never that of the OAuth host, which ONAPPUSERREADY names", () => {
    const ready = userReady({ hour: 5, domain: "oauth.bitrix.info" });
    const { clientEndpoint: _, ...unaddressed } = verified("B", "2");
    assert.equal(next(undefined, ready, unaddressed).domain, "");
    const removed = next(next(undefined, install("2", { hour: 1 }), verified("A", "2")), uninstall({ hour: 2 }));
    const again = next(removed, ready, unaddressed);
    assert.deepEqual([again.status, again.domain], ["installed", ""]);
    assert.equal(next(again, update("2", "2", { hour: 6 })).domain, "example.bitrix24.de");
  });

  it("the domain is that of the newest event while no address is verified", () => {
    const bare = next(undefined, install("2", { hour: 1 }));
    assert.equal(bare.domain, "example.bitrix24.de");
    const renamed = next(bare, update("2", "2", { hour: 3, domain: "new.bitrix24.de" }));
    assert.equal(renamed.domain, "new.bitrix24.de");
    assert.equal(next(renamed, update("2", "2", { hour: 2 })).domain, "new.bitrix24.de");
    assert.equal(next(renamed, userReady({ hour: 4, domain: "oauth.bitrix.info" })).domain, "new.bitrix24.de");
    assert.equal(next(renamed, update("2", "2", { hour: 4 }), verified("A", "2")).domain, "example.bitrix24.de");
  });
  it("of a late event count if an OAuth host has answered for its token", () => {
    // Somebody else's event, which nobody has verified, names a `ts` in the future.
    const forged = next(applyAll(["install2"]), update("2", "2", { hour: 1_000_000 }), {}, {
      receivedAt: RECEIVED_AT - 5,
    });
    const { applicationToken, clientEndpoint, domain, scope, tokens } = next(forged, update("2", "3", { hour: 2 }), {
      ...verified("B", "3"),
      clientEndpoint: "https://new.bitrix24.de/rest/",
      scope: ["task"],
      tokens: { scope: ["task"], userId: 1, isAdmin: true },
    });
    assert.deepEqual([applicationToken?.current, applicationToken?.previous?.map(({ digest }) => digest)], ["B", [
      "A",
    ]]);
    assert.deepEqual([clientEndpoint, domain, scope], ["https://new.bitrix24.de/rest/", "new.bitrix24.de", ["task"]]);
    assert.deepEqual(tokens?.map(({ accessToken, isVerified, isAdmin }) => [accessToken, isVerified, isAdmin]), [
      [`access at 1000000`, undefined, undefined],
      ["access at 2", true, true],
    ]);
  });
});

describe("applyEvent(): claims", () => {
  const CLAIMS: StoredVerification = { claims: "always" };
  const INSTALLED = next(undefined, install("2", { hour: 1 }), verified("A", "2"));
  const WITHOUT_TOKENS = next(
    undefined,
    install("2", { hour: 1, pair: { access: false, refresh: false } }),
    verified("A", "2"),
  );
  const TOKENLESS = { pair: { access: false, refresh: false } };
  const expired = payment({ hour: 2, data: { CODE: "a", VERSION: "2", STATUS: "S", PAYMENT_EXPIRED: "Y" } });

  it("a version, a removal and a payment state change nothing but the claims", () => {
    for (
      const [event, kind, claim] of [
        [update("2", "3", { hour: 2, ...TOKENLESS }), "version", { version: "3.0.0", raw: "3" }],
        [install("3", { hour: 2, ...TOKENLESS }), "version", { version: "3.0.0", raw: "3" }],
        [uninstall({ hour: 2 }), "removal", { clean: false }],
        [expired, "payment", {}],
      ] as const
    ) {
      const { claims, ...record } = next(INSTALLED, event, CLAIMS);
      const { latestTs: _, tokens: _t, ...before } = INSTALLED;
      const { latestTs, tokens: _n, ...after } = record;
      assert.deepEqual(after, before, kind);
      assert.deepEqual(claims, {
        [kind]: { ...claim, ts: latestTs, since: RECEIVED_AT, nextAskAt: RECEIVED_AT },
      });
    }
  });

  it("applying the event again changes nothing, also after the claim is settled", () => {
    for (const event of [update("2", "3", { hour: 2 }), uninstall({ hour: 2 }), expired]) {
      const open = next(INSTALLED, event, CLAIMS);
      assert.equal(next(open, event, CLAIMS), open);
      const waiting: PortalRecord = { ...open, claims: mapClaims(open.claims!, (_, claim) => withoutTokens(claim)) };
      assert.equal(next(waiting, event, CLAIMS), waiting, "only a new token is a reason to ask");
      for (const as of ["dropped", "confirmed"] as const) {
        const [[kind, claim]] = Object.entries(open.claims!) as [[ClaimKind, Claim]];
        const record: PortalRecord = { ...open, claims: { [kind]: settled(claim, as, RECEIVED_AT) } };
        assert.equal(next(record, event, CLAIMS), record);
      }
    }
  });

  it("nothing is claimed by a version that is reached, a late removal, and the event of the installation itself", () => {
    for (const event of [update("1", "2", { hour: 2 }), uninstall({ hour: 0 }), install("9", { hour: 1 })]) {
      assert.equal(next(INSTALLED, event, CLAIMS).claims, undefined);
    }
    const versions = deployed("2.0.0");
    assert.equal(next(INSTALLED, update("2", "3", { hour: 2 }), CLAIMS, { versions }).claims, undefined);
  });

  it("without claims, the plugin vouches for the event", () => {
    assert.equal(next(INSTALLED, update("2", "3", { hour: 2 })).target, "3.0.0");
    assert.equal(next(INSTALLED, uninstall({ hour: 2 })).status, "uninstalled");
    assert.equal(next(INSTALLED, expired).blocked?.on, "payment");
  });

  it("without a token, a version waits or is believed, a removal is believed, and a payment state is not", () => {
    const event = update("2", "3", { hour: 2, ...TOKENLESS });
    const waiting = next(WITHOUT_TOKENS, event, CLAIMS);
    assert.deepEqual([waiting.target, waiting.claims?.version?.nextAskAt], ["2.0.0", undefined]);
    assert.equal(next(waiting, update("1", "2", { hour: 3 }), CLAIMS).claims?.version?.nextAskAt, RECEIVED_AT);
    const believed = next(WITHOUT_TOKENS, event, { claims: "when-possible" });
    assert.deepEqual([believed.target, believed.claims, believed.isTargetUnconfirmed], ["3.0.0", undefined, true]);
    assert.equal(next(believed, update("2", "3", { hour: 3 }), verified("A", "3")).isTargetUnconfirmed, undefined);

    const removed = next(WITHOUT_TOKENS, uninstall({ hour: 2 }), CLAIMS);
    assert.deepEqual([removed.status, removed.removalBelievedAt, removed.version], [
      ...["uninstalled", RECEIVED_AT, "2.0.0"],
    ]);
    const unpaid = next(WITHOUT_TOKENS, { ...expired, auth: event.auth } as B24Event, CLAIMS);
    assert.deepEqual([unpaid.blocked, unpaid.claims?.payment?.nextAskAt], [undefined, undefined]);
  });

  it("what Bitrix24 has contradicted is not believed", () => {
    const open = next(INSTALLED, uninstall({ hour: 2 }), CLAIMS);
    const { tokens: _, ...record } = {
      ...open,
      claims: { removal: contradicted("removal", open.claims!.removal!, 1) },
    };
    const after = next(record, uninstall({ hour: 3 }), CLAIMS);
    // It does not wait for a token for ever: it is dropped after a day.
    assert.deepEqual([after.status, after.claims?.removal?.nextAskAt], ["installed", RECEIVED_AT + 60_000]);
  });

  it("a believed removal is undone by a contact that is verified, with the same application token", () => {
    const removed = next(WITHOUT_TOKENS, uninstall({ hour: 2 }), CLAIMS);
    const contact = (
      name: "install" | "update",
      digest: string | undefined,
      receivedAt = RECEIVED_AT,
    ): PortalRecord => {
      const event = name === "install" ? install("3", { hour: 3 }) : update("2", "3", { hour: 3 });
      const { applicationTokenDigest: _, ...facts } = verified("", "3");
      const verification = { ...facts, ...CLAIMS, ...(digest === undefined ? {} : { applicationTokenDigest: digest }) };
      return next(removed, event, verification, { receivedAt });
    };
    const same = contact("update", "A");
    assert.deepEqual([same.status, same.generation, same.version, same.target], ["installed", 1, "2.0.0", "3.0.0"]);
    assert.equal(next(same, uninstall({ hour: 2 }), CLAIMS), same, "applied again");
    const { applicationTokenDigest: _, ...facts } = verified("", "3");
    const inTheSameSecond = next(removed, update("2", "3", { hour: 2 }), {
      ...facts,
      ...CLAIMS,
      applicationTokenDigest: "A",
    });
    assert.equal(inTheSameSecond.status, "installed");
    assert.equal(next(inTheSameSecond, uninstall({ hour: 2 }), CLAIMS), inTheSameSecond, "of the same second");
    assert.deepEqual([same.claims, contact("update", undefined).generation], [undefined, 1]);
    assert.equal(contact("install", "A").generation, 1);
    assert.equal(contact("install", undefined).generation, 2);
    assert.equal(contact("install", "B").generation, 2);
    assert.equal(contact("update", "A", RECEIVED_AT + 31 * 24 * 3_600_000).generation, 2);
    const confirmed = next(WITHOUT_TOKENS, uninstall({ hour: 2 }));
    assert.equal(next(confirmed, install("3", { hour: 3 }), verified("A", "3")).generation, 2);
  });

  it("a believed removal that is undone without a proof is completed by an installation with another one", () => {
    const removed = next(WITHOUT_TOKENS, uninstall({ hour: 2 }), CLAIMS);
    const { applicationTokenDigest: _, ...unproved } = verified("", "3");
    const undone = next(removed, payment({ hour: 4 }), { ...unproved, ...CLAIMS });
    assert.deepEqual([undone.status, undone.version, undone.target], ["installed", "2.0.0", "3.0.0"]);
    const { ts, wasContradicted, settled } = undone.claims!.removal!;
    assert.deepEqual([ts, wasContradicted, settled], [START + 2 * 3600, true, undefined]);
    assert.equal(next(undone, uninstall({ hour: 2 }), CLAIMS), undone, "the removal is late");
    const anew = next(undone, install("3", { hour: 3 }), { ...verified("B", "3"), ...CLAIMS });
    assert.deepEqual([anew.generation, anew.version, anew.claims], [2, "3.0.0", undefined]);
    const same = next(undone, install("3", { hour: 3 }), { ...verified("A", "3"), ...CLAIMS });
    assert.deepEqual([same.generation, same.version, same.claims], [1, "2.0.0", {}]);
  });

  it("an event that only has the application token begins no installation, and sets no version", () => {
    const forged = install("9", { hour: 5, ...TOKENLESS });
    const removed = next(INSTALLED, uninstall({ hour: 2 }));
    const after = next(removed, forged, CLAIMS);
    assert.deepEqual([after.status, after.generation, after.version], ["uninstalled", 1, "2.0.0"]);
    const unknown: PortalRecord = { ...INSTALLED, generation: 0 };
    for (const field of ["version", "target", "initialVersion"] as const) {
      delete (unknown as Partial<PortalRecord>)[field];
    }
    const { version, target } = next(unknown, forged, CLAIMS);
    assert.deepEqual([version, target], [undefined, undefined]);
  });

  it("a removal is not late because a contact after it was the first with a known version", () => {
    const unknown: PortalRecord = { ...INSTALLED, generation: 0 };
    for (const field of ["version", "target", "initialVersion"] as const) {
      delete (unknown as Partial<PortalRecord>)[field];
    }
    const known = next(unknown, payment({ hour: 3 }), verified("A", "3"));
    assert.deepEqual([known.generation, known.target], [1, "3.0.0"]);
    assert.equal(next(known, uninstall({ hour: 2 }), CLAIMS).claims?.removal?.ts, START + 2 * 3600);
  });

  it("a verified installation ends an older removal claim: with another application token it is a new one", () => {
    const open = next(INSTALLED, uninstall({ hour: 2 }), CLAIMS);
    const anew = next(open, install("3", { hour: 3 }), { ...verified("B", "3"), ...CLAIMS });
    assert.deepEqual([anew.generation, anew.version, anew.claims, anew.uninstalledTs], [
      ...[2, "3.0.0", undefined, START + 2 * 3600],
    ]);
    const same = next(open, install("3", { hour: 3 }), { ...verified("A", "3"), ...CLAIMS });
    assert.deepEqual([same.generation, same.version, same.target, same.claims], [1, "2.0.0", "3.0.0", {}]);
    assert.equal(next(same, uninstall({ hour: 2 }), CLAIMS), same, "the removal is late");
  });

  it("a removal that is made up after a new installation does not hide it", () => {
    const open = next(next(INSTALLED, uninstall({ hour: 2 }), CLAIMS), uninstall({ hour: 4 }), CLAIMS);
    assert.equal(open.claims?.removal?.ts, START + 4 * 3600);
    for (const [event, uninstalledHour] of [[install("3", { hour: 3 }), 3], [userReady({ hour: 3 }), 2]] as const) {
      const anew = next(open, event, { ...verified("B", "3"), ...CLAIMS });
      assert.deepEqual([anew.generation, anew.version, anew.claims, anew.uninstalledTs], [
        ...[2, "3.0.0", undefined, START + uninstalledHour * 3600],
      ]);
    }
    // Made up before the removal: an update between the two belongs to what was removed.
    const later = next(open, install("3", { hour: 5 }), { ...verified("B", "3"), ...CLAIMS });
    assert.deepEqual([later.generation, later.uninstalledTs], [2, START + 4 * 3600]);
    // The installation that the removal would end: it may have been removed since.
    const same = next(open, install("3", { hour: 3 }), { ...verified("A", "3"), ...CLAIMS });
    assert.deepEqual([same.generation, same.claims?.removal?.ts], [1, START + 4 * 3600]);
  });

  it("the claimed removal is of the installation whose application token was stored then", () => {
    const open = next(INSTALLED, uninstall({ hour: 2 }), CLAIMS);
    const opened = next(open, payment({ hour: 4 }), { ...verified("B", "3"), ...CLAIMS });
    assert.deepEqual([opened.generation, opened.applicationToken?.current], [1, "B"]);
    const anew = next(opened, install("3", { hour: 3 }), { ...verified("B", "3"), ...CLAIMS });
    assert.deepEqual([anew.generation, anew.version, anew.claims], [2, "3.0.0", undefined]);
    const ready = next(open, userReady({ hour: 3 }), { ...verified("B", "3"), ...CLAIMS });
    assert.deepEqual([ready.generation, ready.version, ready.claims], [2, "3.0.0", undefined]);
    const changedBefore = next(
      next(INSTALLED, payment({ hour: 2 }), verified("B", "2"), { receivedAt: RECEIVED_AT - 1 }),
      uninstall({ hour: 3 }),
      CLAIMS,
    );
    const same = next(changedBefore, install("3", { hour: 4 }), { ...verified("B", "3"), ...CLAIMS });
    assert.deepEqual([same.generation, same.claims], [1, {}]);
  });

  it("a payment ends an older claim that the paid period is over", () => {
    const open = next(INSTALLED, expired, CLAIMS);
    assert.equal(next(open, payment({ hour: 3 }), CLAIMS).claims?.payment?.settled?.as, "dropped");
    assert.equal(next(open, payment({ hour: 1 }), CLAIMS).claims?.payment?.settled, undefined);
  });

  it("a version above what app.info says is a claim; a more exact one is an administrator's", () => {
    const behind = next(INSTALLED, update("2", "4", { hour: 2 }), { ...verified("A", "3"), ...CLAIMS });
    assert.deepEqual([behind.target, behind.claims?.version?.version], ["3.0.0", "4.0.0"]);
    for (const [isAdmin, target] of [[true, "3.1.0"], [false, "3.0.0"]] as const) {
      const tokens = { scope: [], isAdmin };
      const exact = next(INSTALLED, update("2", "3.1", { hour: 2 }), { ...verified("A", "3"), ...CLAIMS, tokens });
      assert.deepEqual([exact.target, exact.claims], [target, undefined]);
    }
  });

  it("a portal whose version is unknown does not start on the PREVIOUS_VERSION of a claim", () => {
    const { version: _v, target: _t, initialVersion: _i, ...unknown } = INSTALLED;
    const { version, target, claims } = next(unknown, update("1", "3", { hour: 2 }), CLAIMS);
    assert.deepEqual([version, target, claims?.version?.version], [undefined, undefined, "3.0.0"]);
  });

  it("a new portal starts on the version of its installation, but never above what app.info says", () => {
    // It waited for verification while the portal was updated: upgrades to the newer version are due.
    for (const [version, initial] of [["1", "1.0.0"], ["3", "3.0.0"], ["9", "3.0.0"], ["x", "3.0.0"]] as const) {
      const verification = { ...verified("A", "3"), ...CLAIMS, tokens: { scope: [], isAdmin: false } };
      const { initialVersion, target } = next(undefined, install(version), verification);
      assert.deepEqual([initialVersion, target], [initial, "3.0.0"]);
    }
  });

  it("an event from before an operator set the target does not raise it", () => {
    const raised = next(INSTALLED, update("2", "4", { hour: 2 }));
    const lowered: PortalRecord = { ...raised, target: "3.0.0", targetSetAt: RECEIVED_AT };
    assert.equal(next(lowered, update("2", "4", { hour: 2 })), lowered);
    const later = { receivedAt: RECEIVED_AT + 1 };
    assert.equal(next(lowered, update("2", "5", { hour: 3 }), {}, later).target, "5.0.0");
  });
});
