import assert from "node:assert/strict";
import { type B24Event, coerced, deployed, mapped, parseEvent, type VersionScheme } from "@b24/onappupdate";
import { InputError } from "@b24/onappupdate/errors";
import { type PortalRecord, snapshot } from "../../../src/portal/record.ts";
import type { StoredTokens } from "../../../src/portal/tokens.ts";
import { announcedVersion, applyEvent, type StoredVerification } from "../../../src/portal/apply_event.ts";
import { MEMBER_ID } from "../../support/app.ts";
import { describe, it } from "../../support/test.ts";

/** Seconds since 1970 at which the lives of these tests begin. */
const START = 1_785_300_000;
/** Long after all of their events. */
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
        application_token: "as proved",
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
  return applyEvent(freeze(record), event, { verification, versions, receivedAt });
}

/** Whoever changes what is frozen, throws. */
function freeze<T>(value: T): T {
  if (typeof value === "object" && value !== null) {
    Object.values(value).forEach(freeze);
    Object.freeze(value);
  }
  return value;
}

/** An event with the verification that it came with. */
interface Step {
  readonly event: B24Event;
  readonly verification: StoredVerification;
}

const proved = (applicationTokenDigest: string, installedVersion: string): StoredVerification => ({
  applicationTokenDigest,
  installedVersion,
  clientEndpoint: "https://example.bitrix24.de/rest/",
});

/** The life of one portal: the token changes with an update, and again when it is installed anew. */
const LIFE = {
  install2: { event: install("2", { hour: 1 }), verification: proved("A", "2") },
  update3: { event: update("2", "3", { hour: 2 }), verification: proved("A", "3") },
  update4: { event: update("3", "4", { hour: 3 }), verification: proved("B", "4") },
  removal: { event: uninstall({ hour: 4 }), verification: { applicationTokenDigest: "B" } },
  install4: { event: install("4", { hour: 5 }), verification: proved("C", "4") },
  update5: { event: update("4", "5", { hour: 6 }), verification: proved("C", "5") },
} as const satisfies Readonly<Record<string, Step>>;
type Name = keyof typeof LIFE;

/** Takes in one step after the other; `undefined` stands for a portal that nobody knows. */
function live(names: readonly Name[], proofOf: ProofOf = alwaysProved): PortalRecord | undefined {
  let record: PortalRecord | undefined;
  for (const name of names) {
    const verification = proofOf(LIFE[name], record);
    if (verification !== undefined) record = next(record, LIFE[name].event, verification);
  }
  return record;
}

/** What is proved of a step; `undefined` refuses it. */
type ProofOf = (step: Step, record: PortalRecord | undefined) => StoredVerification | undefined;

const alwaysProved: ProofOf = ({ verification }) => verification;

/** As `applicationToken()` does it: a known token needs no verification, and without tokens there is none. */
const provedWhereNeeded: ProofOf = ({ event, verification }, record) => {
  const { current, previous } = record?.applicationToken ?? {};
  const known = verification.applicationTokenDigest === current ||
    verification.applicationTokenDigest === previous?.digest;
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

describe("nextRecord() in order", () => {
  it("takes a portal through its life", () => {
    const states = (Object.keys(LIFE) as Name[]).map((_, i, names) => {
      const { status, generation, initialVersion, version, target, applicationToken, tokens } = live(
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
        previous?.digest,
        pair(tokens)?.accessToken,
      ];
    });
    assert.deepEqual(states, [
      ["installed", 1, "2.0.0", "2.0.0", "2.0.0", "A", undefined, "access at 1"],
      ["installed", 1, "2.0.0", "2.0.0", "3.0.0", "A", undefined, "access at 2"],
      ["installed", 1, "2.0.0", "2.0.0", "4.0.0", "B", "A", "access at 3"],
      ["uninstalled", 1, "2.0.0", "2.0.0", "4.0.0", "B", "A", undefined],
      ["installed", 2, "4.0.0", "4.0.0", "4.0.0", "C", "B", "access at 5"],
      ["installed", 2, "4.0.0", "4.0.0", "5.0.0", "C", "B", "access at 6"],
    ]);
  });

  it("makes a whole record of the first event", () => {
    assert.deepEqual(next(undefined, LIFE.update3.event, LIFE.update3.verification), {
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
        isAdmin: true,
      }],
    });
  });

  it("makes records that JSON keeps as they are", () => {
    for (const names of permutations(["install2", "update4", "removal", "install4"] as const)) {
      const record = live(names);
      assert.deepEqual(JSON.parse(JSON.stringify(record)), record);
    }
  });
});

const PROOFS: Readonly<Record<string, ProofOf>> = {
  "every event proved": alwaysProved,
  "events proved where needed": provedWhereNeeded,
};

for (const [mode, proofOf] of Object.entries(PROOFS)) {
  describe(`nextRecord() in any order, ${mode}`, () => {
    /** Runs `check` for each order of `names`, and names the order that fails. */
    const everyOrder = (
      names: readonly Name[],
      check: (record: PortalRecord, order: readonly Name[]) => void,
    ): void => {
      for (const order of permutations(names)) {
        const record = live(order, proofOf);
        assert(record !== undefined);
        try {
          check(record, order);
        } catch (cause) {
          throw new Error(`after ${order.join(", ")}`, { cause });
        }
      }
    };
    const whole = Object.keys(LIFE) as Name[];

    it("a portal that is there in the end is there, on the newest version, with the newest tokens", () => {
      everyOrder(whole, ({ status, target, applicationToken, tokens }) => {
        assert.deepEqual([status, target, applicationToken?.current], ["installed", "5.0.0", "C"]);
        assert.deepEqual([pair(tokens)?.accessToken, pair(tokens)?.refreshToken], ["access at 6", "refresh at 6"]);
      });
    });

    it("a portal that was not removed is there, on the newest version", () => {
      everyOrder(["install2", "update3", "update4"], ({ status, generation, target, applicationToken }) => {
        assert.deepEqual([status, generation, target], ["installed", 1, "4.0.0"]);
        assert.equal(applicationToken?.current, "B");
      });
    });

    it("a portal that was removed is not there, and has no tokens", () => {
      everyOrder(["install2", "update3", "update4", "removal"], (record, order) => {
        // The removal carries no tokens to prove it by: from a portal with another token, it is refused.
        const refused = proofOf === provedWhereNeeded && order.indexOf("removal") < order.indexOf("update4");
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

    it("where the portal came from, the event tells that was there first", () => {
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
        // A removal before everything else leaves nothing that older events could begin.
        const first = order.find((name) => name !== "removal")!;
        const removedFirst = order[0] === "removal" && proofOf === alwaysProved;
        const renewed = removedFirst || generation === 2;
        assert.equal(initialVersion, renewed ? "4.0.0" : starts[first]);
        assert(generation === 1 || (generation === 2 && !removedFirst));
      });
    });

    it("no step goes back: generations, targets, and times only rise", () => {
      for (const order of permutations(whole)) {
        let before: PortalRecord | undefined;
        for (let length = 1; length <= order.length; length++) {
          const record = live(order.slice(0, length), proofOf);
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

    it("an event that comes again at once changes nothing: the record is the same object", () => {
      for (const order of permutations(whole)) {
        const record = live(order, proofOf);
        const last = LIFE[order.at(-1)!];
        const verification = proofOf(last, record);
        if (verification !== undefined) assert.equal(next(record, last.event, verification), record, order.join(", "));
      }
    });

    it("all events that come again, in whatever order, change nothing", () => {
      for (const order of permutations(whole)) {
        const record = live(order, proofOf);
        for (const again of [order, order.toReversed(), whole]) {
          const twice = again.reduce((current, name) => {
            const verification = proofOf(LIFE[name], current);
            return verification === undefined ? current : next(current, LIFE[name].event, verification);
          }, record);
          assert.deepEqual({ ...twice, applicationToken: undefined }, { ...record, applicationToken: undefined });
          assert.equal(twice?.applicationToken?.current, record?.applicationToken?.current);
        }
      }
    });
  });
}

describe("nextRecord(): a removal", () => {
  it("of a portal that nobody knows is remembered, for its late events", () => {
    const removed = next(undefined, uninstall({ hour: 4 }));
    assert.deepEqual([removed.status, removed.generation, removed.target], ["uninstalled", 0, undefined]);
    assert.equal(next(removed, install("2", { hour: 1 }), proved("A", "2")).status, "uninstalled");
    assert.deepEqual(
      next(removed, install("2", { hour: 5 })),
      { ...next(undefined, install("2", { hour: 5 })), generation: 1, uninstalledTs: START + 4 * 3600 },
    );
  });

  it("keeps what a reinstallation is compared with, and no tokens and no failure", () => {
    const failure = { upgradeId: "3", to: "3.0.0", message: "broken", attempts: 2, at: 1 };
    const before = { ...live(["install2", "update4"])!, failure, applied: [{ id: "3", from: "2", to: "4", at: 1 }] };
    const { tokens, failure: gone, ...removed } = next(before, uninstall({ hour: 4 }));
    assert.deepEqual([tokens, gone], [undefined, undefined]);
    assert.deepEqual([removed.target, removed.applied.length, removed.applicationToken?.current], ["4.0.0", 1, "B"]);
  });

  it("is ended by a new installation, which begins with nothing applied", () => {
    const before = { ...live(["install2"])!, applied: [{ id: "3", from: "2", to: "4", at: 1 }] };
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
    "an older installation that Bitrix24 confirms": [install("4", { hour: 3 }), proved("B", "4"), "uninstalled"],
    "a newer update of which Bitrix24 says it is installed": [
      update("4", "5", { hour: 5 }),
      proved("B", "5"),
      "installed",
    ],
    "a newer update without that": [update("4", "5", { hour: 5 }), {}, "uninstalled"],
    "an older update": [update("3", "4", { hour: 3 }), proved("B", "4"), "uninstalled"],
    "a newer payment without a word of Bitrix24": [payment({ hour: 5 }), {}, "uninstalled"],
    "a newer payment of which Bitrix24 says it is installed": [payment({ hour: 5 }), proved("B", "4"), "installed"],
    "another removal": [uninstall({ hour: 6 }), {}, "uninstalled"],
  };
  for (const [name, [late, verification, status]] of Object.entries(afterwards)) {
    it(`is ${status === "installed" ? "" : "not "}ended by ${name}`, () => {
      const removed = live(["install2", "update3", "removal"])!;
      const after = next(removed, late, verification);
      assert.equal(after.status, status);
      assert.equal(after.generation, status === "installed" ? 2 : 1);
      assert.equal("tokens" in after, status === "installed");
    });
  }

  it("that is overtaken by a later one keeps the time of the later one", () => {
    const removed = next(next(live(["install2"]), uninstall({ hour: 6 })), uninstall({ hour: 4 }));
    assert.equal(next(removed, install("4", { hour: 5 })).status, "uninstalled");
    assert.equal(next(removed, install("4", { hour: 7 })).status, "installed");
  });

  it("of an earlier installation changes nothing of a later one", () => {
    const record = live(["install4"])!;
    assert.equal(next(record, uninstall({ hour: 4 })), record);
    assert.equal(next(live(["install2", "update5"]), uninstall({ hour: 4 })).status, "installed");
  });

  it("separates installations: an event of the one before, late or done again, changes nothing of the next", () => {
    const again = next(next(live(["install2", "update4"]), uninstall({ hour: 4 })), install("3", { hour: 5 }));
    assert.deepEqual([again.generation, again.version, again.target], [2, "3.0.0", "3.0.0"]);
    for (const late of [update("3", "4", { hour: 3 }), install("4", { hour: 1 }), payment({ hour: 2 })]) {
      assert.equal(next(again, late, proved("Z", "4")), again);
    }
    assert.equal(next(again, update("3", "4", { hour: 6 })).target, "4.0.0");
  });

  it("leaves what Bitrix24 has said since, when the portal's last event is taken in again", () => {
    const event = update("2", "3", { hour: 2 });
    const before = next(live(["install2"]), event, { ...proved("A", "3"), scope: ["crm"] });
    const checked = { ...before, scope: ["crm", "task"], check: { at: Number.MAX_SAFE_INTEGER } };
    assert.deepEqual(next(checked, event, { ...proved("A", "3"), scope: ["crm"] }).scope, ["crm", "task"]);
  });

  it("counts against installations and updates alone, which show that the app is there", () => {
    const paid = next(live(["install2"]), payment({ hour: 6 }));
    assert.equal(next(paid, uninstall({ hour: 4 })).status, "uninstalled");
  });
});

describe("nextRecord(): a ts of the future", () => {
  const soon = { receivedAt: (START + 3 * 3600) * 1000 };

  it("of an update does not keep out removals to come", () => {
    const record = next(live(["install2"]), update("2", "3", { hour: 1_000_000 }), {}, soon);
    assert.deepEqual([record.installedTs, record.latestTs], [START + 3 * 3600, START + 3 * 3600]);
    assert.equal(next(record, uninstall({ hour: 4 })).status, "uninstalled");
  });

  it("of a removal does not keep out installations to come", () => {
    const removed = next(live(["install2"]), uninstall({ hour: 1_000_000 }), {}, soon);
    assert.equal(removed.uninstalledTs, START + 3 * 3600);
    assert.equal(next(removed, install("4", { hour: 5 })).status, "installed");
  });

  it("of tokens does not keep out tokens to come", () => {
    const record = next(live(["install2"]), update("2", "3", { hour: 1_000_000 }), proved("X", "3"), soon);
    const { tokens, applicationToken } = next(record, update("3", "4", { hour: 4 }), proved("B", "4"));
    assert.deepEqual([pair(tokens)?.accessToken, applicationToken?.current], ["access at 4", "B"]);
  });
});

describe("nextRecord(): the target", () => {
  const installed = live(["install2"])!;

  it("rises, and never falls", () => {
    let record = installed;
    const targets = ["3", "2.5", "5", "4", "5.0.0", "5.0.0-rc.1", "1", "10"].map((version, hour) => {
      record = next(record, update("2", version, { hour: hour + 2 }));
      return record.target;
    });
    assert.deepEqual(targets, ["3.0.0", "3.0.0", "5.0.0", "5.0.0", "5.0.0", "5.0.0", "5.0.0", "10.0.0"]);
    assert.deepEqual([record.version, record.initialVersion], ["2.0.0", "2.0.0"]);
  });

  it("is raised by a second installation event, which apps without an interface get at an update", () => {
    const { target, version, generation } = next(installed, install("3", { hour: 2 }));
    assert.deepEqual([target, version, generation], ["3.0.0", "2.0.0", 1]);
  });

  it("keeps the stored version, whatever PREVIOUS_VERSION says", () => {
    for (const previous of ["1", "2.5", "9", "latest"]) {
      const { version, initialVersion } = next(installed, update(previous, "3", { hour: 2 }));
      assert.deepEqual([version, initialVersion], ["2.0.0", "2.0.0"]);
    }
  });

  it("keeps what failed and what is applied", () => {
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
    // Whoever comes from above comes from there at most.
    ["4", "3", "3.0.0", "3.0.0"],
  ];
  for (const [previous, to, version, target] of first) {
    it(`of a portal that nobody knows, at an update from ${previous} to ${to}`, () => {
      const record = next(undefined, update(previous, to));
      assert.deepEqual([record.initialVersion, record.version, record.target], [version, version, target]);
    });
  }

  it("of a portal that nobody knows is what Bitrix24 says, where a late installation says less", () => {
    const record = next(undefined, install("2"), proved("A", "4"));
    assert.deepEqual([record.initialVersion, record.version, record.target], ["2.0.0", "2.0.0", "4.0.0"]);
    const above = next(undefined, install("4"), proved("A", "2"));
    assert.deepEqual([above.initialVersion, above.version, above.target], ["2.0.0", "2.0.0", "2.0.0"]);
  });

  it("is unknown while nothing has told", () => {
    const record = next(undefined, payment());
    assert.deepEqual([record.status, record.version, record.target], ["installed", undefined, undefined]);
    assert.equal("target" in record || "version" in record || "initialVersion" in record, false);
    const told = next(record, update("2", "3", { hour: 2 }));
    assert.deepEqual([told.initialVersion, told.version, told.target], ["2.0.0", "2.0.0", "3.0.0"]);
  });
});

describe("announcedVersion()", () => {
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
    it(`of ${version} where Bitrix24 says ${installedVersion ?? "nothing"}`, () => {
      const verification = installedVersion === undefined ? {} : { installedVersion };
      const facts = { verification, versions: coerced(), receivedAt: RECEIVED_AT };
      assert.equal(announcedVersion(install(version), facts), announced);
      assert.equal(announcedVersion(update("1", version), facts), announced);
      // A payment's VERSION is not that of the installation.
      assert.equal(
        announcedVersion(payment(), facts),
        verification.installedVersion && coerced().parse(verification.installedVersion),
      );
    });
  }

  it("of other events, when what is proved cannot be read, is none", () => {
    for (const versions of [coerced(), mapped({ 1: "1.0.0" })]) {
      const facts = { verification: { installedVersion: "latest" }, versions, receivedAt: RECEIVED_AT };
      assert.equal(announcedVersion(payment(), facts), undefined);
    }
  });

  it("of code that is deployed is its own, at any event", () => {
    const facts = { verification: proved("A", "1"), versions: deployed("2.3.0"), receivedAt: RECEIVED_AT };
    for (const event of [install("1"), update("1", "latest"), payment(), uninstall()]) {
      assert.equal(announcedVersion(event, facts), "2.3.0");
    }
  });

  it("raises a portal by verification alone", () => {
    const record = next(live(["install2"]), payment({ hour: 2 }), proved("A", "3"));
    assert.deepEqual([record.version, record.target], ["2.0.0", "3.0.0"]);
  });
});

describe("nextRecord() with another scheme", () => {
  it("deployed(): a portal's start is the deployed version too, and needs no PREVIOUS_VERSION", () => {
    const versions = deployed("2.3.0");
    for (const event of [install("1"), update("1", "1"), bare("ONAPPUPDATE", { VERSION: "1" }), payment()]) {
      const { initialVersion, version, target } = next(undefined, event, {}, { versions });
      assert.deepEqual([initialVersion, version, target], ["2.3.0", "2.3.0", "2.3.0"]);
    }
    const known = next(undefined, install("1"), {}, { versions });
    const { version, target } = next(known, payment({ hour: 2 }), {}, { versions: deployed("2.4.0") });
    assert.deepEqual([version, target], ["2.3.0", "2.4.0"]);
  });

  it("mapped(): what the table lacks throws, and nothing is changed", () => {
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

describe("nextRecord() refuses", () => {
  const cases: Readonly<Record<string, readonly [event: B24Event, verification: StoredVerification, issue: object]>> = {
    "a VERSION that cannot be read": [update("1", "latest"), {}, {
      path: "data.VERSION",
      saw: '"latest"',
      wanted: "a version that can be read",
    }],
    "that of an installation": [install("1.2.3.4"), {}, {
      path: "data.VERSION",
      saw: '"1.2.3.4"',
      wanted: "a version that can be read",
    }],
    "a PREVIOUS_VERSION that cannot be read": [update("1..2", "3"), {}, {
      path: "data.PREVIOUS_VERSION",
      saw: '"1..2"',
      wanted: "a version that can be read",
    }],
    "an update without PREVIOUS_VERSION": [bare("ONAPPUPDATE", { VERSION: "3" }), proved("A", "3"), {
      path: "data.PREVIOUS_VERSION",
      saw: "nothing",
      wanted: "the version that the portal comes from, for it is not known here yet",
    }],
  };
  for (const [name, [event, verification, issue]] of Object.entries(cases)) {
    it(`${name}, of a portal that nobody knows`, () => {
      assert.throws(() => next(undefined, event, verification), (error: unknown) => {
        assert(error instanceof InputError);
        assert.deepEqual(error.issues, [issue]);
        return true;
      });
    });
  }

  it("a VERSION that cannot be read, of a portal that is known", () => {
    assert.throws(() => next(live(["install2"]), update("2", "latest", { hour: 2 })), InputError);
  });

  it("nothing for a PREVIOUS_VERSION of a portal that is known", () => {
    const known = live(["install2"]);
    assert.equal(next(known, bare("ONAPPUPDATE", { VERSION: "3" })).target, "3.0.0");
  });

  it("nothing for the VERSION of a portal that was removed", () => {
    const removed = live(["install2", "removal"]);
    assert.equal(next(removed, update("2", "latest", { hour: 9 })).status, "uninstalled");
  });
});

describe("nextRecord(): OAuth tokens", () => {
  const full = (hour: number): B24Event => update("1", "1", { hour });
  const half = (hour: number): B24Event => payment({ hour });
  const refreshOnly = (hour: number): B24Event => update("1", "1", { hour, pair: { access: false, refresh: true } });
  const none = (hour: number): B24Event => update("1", "1", { hour, pair: { access: false, refresh: false } });
  const cases: Readonly<Record<string, readonly [events: readonly B24Event[], access?: number, refresh?: number]>> = {
    "the newer pair replaces the older": [[full(1), full(2)], 2, 2],
    "the older pair does not replace the newer": [[full(2), full(1)], 2, 2],
    "half a pair does not replace a whole one": [[full(1), half(2)], 1, 1],
    "nor one that is newer by far": [[full(1), half(2), half(3)], 1, 1],
    "half a pair is better than none": [[half(1)], 1],
    "the newer half replaces the older half": [[half(1), half(2)], 2],
    "the older half does not replace the newer half": [[half(2), half(1)], 2],
    "a whole pair replaces half of one": [[half(1), full(2)], 2, 2],
    "also when it is older: it can be refreshed": [[half(2), full(1)], 1, 1],
    "an event without tokens takes none away": [[full(1), none(2)], 1, 1],
    "a refresh token alone is no pair": [[refreshOnly(1)]],
    "nor does it change one": [[full(1), refreshOnly(2)], 1, 1],
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
    assert.equal("tokens" in next(live(["install2", "removal"]), payment({ hour: 9 })), false);
  });

  it("of an earlier installation do not come back with the next", () => {
    const removed = live(["install2", "removal"]);
    const record = next(removed, install("4", { hour: 5, pair: { access: false, refresh: false } }));
    assert.equal("tokens" in record, false);
  });
});

describe("nextRecord(): what is proved of the portal", () => {
  const at = (hour: number, digest: string | undefined, record?: PortalRecord): PortalRecord =>
    next(record, update("1", "1", { hour }), digest === undefined ? {} : { applicationTokenDigest: digest }, {
      receivedAt: RECEIVED_AT + hour,
    });
  const shown = ({ applicationToken }: PortalRecord): unknown => applicationToken;

  it("the first application token has none before it", () => assert.deepEqual(shown(at(1, "A")), { current: "A" }));
  it("a changed one keeps the one before it, with the time", () => {
    assert.deepEqual(shown(at(2, "B", at(1, "A"))), {
      current: "B",
      previous: { digest: "A", replacedAt: RECEIVED_AT + 2 },
    });
  });
  it("only one before it is kept", () => {
    assert.deepEqual(shown(at(3, "C", at(2, "B", at(1, "A")))), {
      current: "C",
      previous: { digest: "B", replacedAt: RECEIVED_AT + 3 },
    });
  });
  it("the same one again does not extend the time of the one before", () => {
    assert.deepEqual(shown(at(3, "B", at(2, "B", at(1, "A")))), {
      current: "B",
      previous: { digest: "A", replacedAt: RECEIVED_AT + 2 },
    });
  });
  it("it stays when nothing is proved", () => assert.deepEqual(shown(at(2, undefined, at(1, "A"))), { current: "A" }));
  it("it outlives a removal and the next installation", () => {
    const again = next(next(at(1, "A"), uninstall({ hour: 2 })), install("1", { hour: 3 }));
    assert.deepEqual(shown(again), { current: "A" });
  });
  it("that of a late event is not the one of today", () => {
    const record = at(3, "C", at(1, "A"));
    assert.equal(at(2, "B", record), record);
  });

  it("the address is the newest proved one", () => {
    const endpoint = (hour: number, clientEndpoint: string, record?: PortalRecord): PortalRecord =>
      next(record, update("1", "1", { hour }), { clientEndpoint });
    const first = endpoint(1, "https://a.bitrix24.de/rest/");
    assert.equal(first.clientEndpoint, "https://a.bitrix24.de/rest/");
    assert.equal(endpoint(2, "https://b.bitrix24.de/rest/", first).clientEndpoint, "https://b.bitrix24.de/rest/");
    assert.equal(endpoint(0, "https://b.bitrix24.de/rest/", first).clientEndpoint, "https://a.bitrix24.de/rest/");
    assert.equal(next(first, update("1", "2", { hour: 3 })).clientEndpoint, "https://a.bitrix24.de/rest/");
  });
  it("an event's own address is never taken", () => {
    const body = `event=ONAPPINSTALL&ts=${START}&data[VERSION]=1&auth[member_id]=${MEMBER_ID}&auth[domain]=x.de` +
      "&auth[application_token]=t&auth[client_endpoint]=https://evil.example/rest/";
    assert.equal("clientEndpoint" in next(undefined, parseEvent(body)), false);
  });
  it("the domain is that of the newest event", () => {
    const renamed = next(live(["install2"]), update("2", "2", { hour: 3, domain: "new.bitrix24.de" }));
    assert.equal(renamed.domain, "new.bitrix24.de");
    assert.equal(next(renamed, update("2", "2", { hour: 2 })).domain, "new.bitrix24.de");
  });
});

describe("snapshot()", () => {
  it("shows a record without its tokens, and without what only the core needs", () => {
    const portal = snapshot(live(["install2", "update3"])!);
    assert.deepEqual(Object.keys(portal).sort(), [
      ...["applicationToken", "applied", "clientEndpoint", "domain", "generation", "initialVersion", "memberId"],
      ...["status", "target", "version"],
    ]);
    assert.doesNotMatch(JSON.stringify(portal), /access at|refresh at/);
  });
});
