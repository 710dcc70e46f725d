import assert from "node:assert/strict";
import {
  askNow,
  canAsk,
  type Claim,
  type ClaimKind,
  contradicted,
  covers,
  describeClaims,
  type NewClaim,
  nextAskAt,
  settled,
  unanswered,
  withEvent,
  withoutTokens,
} from "../../../src/portal/claims.ts";
import { describe, it } from "../../support/test.ts";

const NOW = 1_785_300_000_000;
const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

const version = (version: string, ts = NOW / 1000): NewClaim => ({ kind: "version", version, raw: version, ts });
const removal = (clean: boolean, ts = NOW / 1000): NewClaim => ({ kind: "removal", clean, ts });
const opened = (claim: NewClaim): Claim => withEvent(undefined, claim, NOW, true);

/** Returns the times, after the first answer, at which a claim is asked about that is always contradicted. */
function timesOf(kind: ClaimKind, claim: Claim): { readonly times: number[]; readonly last: Claim } {
  const times: number[] = [];
  let now = NOW;
  let current = contradicted(kind, claim, now);
  while (current.nextAskAt !== undefined) {
    now = current.nextAskAt;
    times.push(now - NOW);
    current = contradicted(kind, current, now);
  }
  return { times, last: current };
}

describe("a claim", () => {
  it("is asked about at once, and without a token not before there is one", () => {
    assert.deepEqual(opened(version("3.0.0")), {
      ...{ version: "3.0.0", raw: "3.0.0", ts: NOW / 1000, since: NOW, nextAskAt: NOW },
    });
    const waiting = withEvent(undefined, version("3.0.0"), NOW, false);
    assert.equal(waiting.nextAskAt, undefined);
    assert.equal(nextAskAt({ version: waiting }), undefined);
    assert.equal(nextAskAt(askNow({ version: waiting }, NOW + 7)), NOW + 7);
  });

  for (
    const [kind, claim, times] of [
      ["version", version("3.0.0"), [MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR, 6 * HOUR, 24 * HOUR]],
      ["removal", removal(true), [MINUTE, 10 * MINUTE, HOUR, 24 * HOUR]],
      ["payment", { kind: "payment", ts: 1 }, []],
    ] as const
  ) {
    it(`of a ${kind} that is contradicted is asked about again, and then dropped`, () => {
      const { times: found, last } = timesOf(kind, opened(claim));
      assert.deepEqual(found, times);
      assert.deepEqual(last.settled, { as: "dropped", at: NOW + (times.at(-1) ?? 0) });
      assert.equal(last.wasContradicted, true);
    });
  }

  it("that is contradicted by many checks at once is asked about for as long as by few", () => {
    let claim = opened(version("3.0.0"));
    for (let i = 0; i < 20; i++) claim = contradicted("version", claim, NOW + i);
    assert.equal(claim.nextAskAt, NOW + MINUTE);
    assert.equal(claim.settled, undefined);
  });

  it("without an answer is asked about with back-off, and the day counts from the first answer", () => {
    let claim = opened(version("3.0.0"));
    const delays: number[] = [];
    for (let i = 0; i < 8; i++) {
      const now = claim.nextAskAt!;
      claim = unanswered("version", claim, now);
      delays.push((claim.nextAskAt! - now) / SECOND);
    }
    assert.deepEqual(delays, [30, 60, 120, 240, 480, 600, 600, 600]);
    const late = claim.nextAskAt! + 48 * HOUR;
    const answered = contradicted("version", claim, late);
    assert.deepEqual([answered.nextAskAt, answered.unanswered], [late + MINUTE, undefined]);
  });

  it("is not asked about earlier because a check at another time had no answer", () => {
    const claim = contradicted("version", opened(version("3.0.0")), NOW);
    assert.equal(unanswered("version", claim, NOW + SECOND), claim);
  });

  it("of a payment is dropped after a day without an answer", () => {
    const claim = opened({ kind: "payment", ts: 1 });
    assert.equal(unanswered("payment", claim, NOW + 23 * HOUR).settled, undefined);
    assert.deepEqual(unanswered("payment", claim, NOW + 24 * HOUR).settled, { as: "dropped", at: NOW + 24 * HOUR });
  });

  it("without tokens waits, and stays contradicted", () => {
    const claim = withoutTokens(contradicted("removal", opened(removal(true)), NOW));
    assert.deepEqual([claim.nextAskAt, claim.wasContradicted], [undefined, true]);
  });
});

describe("an event that joins an open claim", () => {
  const contradictedTwice = contradicted(
    "version",
    contradicted("version", opened(version("4.0.0")), NOW),
    NOW + MINUTE,
  );

  it("raises its version, and is asked about soon, with all times before it", () => {
    const at = NOW + 3 * HOUR;
    const joined = withEvent(contradictedTwice, version("5.0.0", at / 1000), at, true);
    assert.deepEqual([joined.version, joined.raw, joined.ts, joined.since], ["5.0.0", "5.0.0", at / 1000, NOW]);
    assert.deepEqual([joined.nextAskAt, joined.contradictedAt, joined.wasContradicted], [
      NOW + 5 * MINUTE,
      undefined,
      true,
    ]);
    const { nextAskAt: _, ...notDue } = contradictedTwice;
    assert.equal(withEvent(notDue, version("5.0.0"), at, true).nextAskAt, at);
    assert.equal(contradicted("version", joined, at).nextAskAt, at + MINUTE);
  });

  it("makes its version known, if the code did not know it, and counts as its event until then", () => {
    const unknown: NewClaim = { kind: "version", raw: "7", ts: NOW / 1000 };
    const known: NewClaim = { ...unknown, version: "7.0.0" };
    const claim = opened(unknown);
    const covered = [{ ...unknown, raw: "6" }, { ...known, raw: "6", version: "6.0.0" }, unknown];
    for (const event of covered) assert(covers(claim, event, NOW), String(event.raw));
    for (const event of [known, { ...unknown, raw: "8" }, { ...unknown, raw: "7.1" }, { ...unknown, raw: "beta" }]) {
      assert(!covers(claim, event, NOW), String(event.raw));
      const joined = withEvent(claim, event, NOW, true);
      assert.deepEqual([joined.raw, joined.version], [event.raw, event.version]);
      assert(covers(joined, unknown, NOW) && covers(joined, event, NOW));
    }
    assert.deepEqual(describeClaims({ version: claim }).map(({ version }) => version), ["7"]);
  });

  it("does not lower its version", () => {
    const joined = withEvent(contradictedTwice, version("3.0.0", NOW / 1000 + 9), NOW + 9 * SECOND, true);
    assert.deepEqual([joined.version, joined.ts], ["4.0.0", NOW / 1000 + 9]);
  });

  it("cannot make Bitrix24 be asked more than once a minute", () => {
    const { nextAskAt: _, ...notDue } = contradictedTwice;
    const now = NOW + MINUTE + SECOND;
    assert.equal(withEvent(notDue, version("5.0.0"), now, true).nextAskAt, NOW + 2 * MINUTE);
  });

  it("replaces one that is settled", () => {
    const dropped = settled(contradictedTwice, "dropped", NOW + 24 * HOUR);
    const { answeredAt } = contradictedTwice;
    const now = NOW + 25 * HOUR;
    assert.deepEqual(withEvent(dropped, version("3.0.0"), now, true), {
      ...opened(version("3.0.0")),
      ...{ answeredAt, since: now, nextAskAt: now },
    });
  });
});

describe("a payment claim that was dropped", () => {
  const claim: NewClaim = { kind: "payment", ts: 100 };
  const dropped = contradicted("payment", opened(claim), NOW);

  it("decides about no event that comes later, also if that was sent before", () => {
    assert.deepEqual([NOW, NOW + 1].map((receivedAt) => covers(dropped, { ...claim, ts: 99 }, receivedAt)), [
      true,
      false,
    ]);
  });

  it("lets Bitrix24 be asked about a later one a minute after its answer", () => {
    const again = withEvent(dropped, claim, NOW + SECOND, true);
    assert.deepEqual([again.nextAskAt, again.settled], [NOW + MINUTE, undefined]);
    assert.equal(withEvent(again, claim, NOW + 2 * SECOND, true).nextAskAt, NOW + MINUTE);
    assert.equal(withEvent(dropped, claim, NOW + 2 * MINUTE, true).nextAskAt, NOW + 2 * MINUTE);
  });
});

it("events that join a claim do not shorten the back-off of a question without an answer", () => {
  const claim = unanswered("version", opened(version("3.0.0")), NOW);
  assert.equal(claim.nextAskAt, NOW + 30 * SECOND);
  assert.equal(withEvent(claim, version("3.0.0"), NOW + SECOND, true).nextAskAt, NOW + 30 * SECOND);
});

describe("covers()", () => {
  const claim = opened(version("4.0.0", 100));
  for (
    const [event, expected] of [
      [version("4.0.0", 100), true],
      [version("3.0.0", 99), true],
      [version("5.0.0", 100), false],
      [version("4.0.0", 101), false],
    ] as const
  ) {
    it(`${expected} for version ${event.version} at ${event.ts}`, () =>
      assert.equal(covers(claim, event, NOW), expected));
  }

  it("a removal by its time", () => {
    const claim = opened(removal(false, 100));
    assert.deepEqual([99, 100, 101].map((ts) => covers(claim, removal(true, ts), NOW)), [true, true, false]);
    assert.equal(covers(undefined, removal(true), NOW), false);
  });
});

describe("describeClaims()", () => {
  it("shows open and dropped claims, and no confirmed ones", () => {
    const open = contradicted("version", opened(version("4.0.0")), NOW);
    assert.deepEqual(
      describeClaims({
        version: open,
        removal: settled(opened(removal(true)), "dropped", NOW + 1),
        payment: settled(opened({ kind: "payment", ts: 1 }), "confirmed", NOW),
      }),
      [
        {
          ...{ kind: "version", version: "4.0.0", since: NOW, state: "open", isContradicted: true },
          nextAskAt: NOW + MINUTE,
        },
        { kind: "removal", since: NOW, state: "unconfirmed", isContradicted: false },
      ],
    );
  });
});

describe("canAsk()", () => {
  const pair = { owner: "user", accessToken: "a", scope: [], ts: 1 } as const;
  it("needs a valid access token, or a refresh token and the app's secret", () => {
    const valid = [{ ...pair, expiresAt: NOW + 1 }];
    const expired = [{ ...pair, expiresAt: NOW }];
    const refreshable = [{ ...pair, expiresAt: NOW, refreshToken: "r" }];
    const found = [undefined, valid, expired, refreshable].map((tokens) => [
      canAsk(tokens, NOW, true),
      canAsk(tokens, NOW, false),
    ]);
    assert.deepEqual(found, [[false, false], [true, true], [false, false], [true, false]]);
  });
});
