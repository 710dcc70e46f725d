import assert from "node:assert/strict";
import { mergeTokens, rankTokens, type StoredTokens } from "../../../src/portal/tokens.ts";
import { describe, it } from "../../support/test.ts";

const NOW = 1_785_300_000_000;

function pair(name: string, more: Partial<StoredTokens> = {}): StoredTokens {
  return {
    owner: "user",
    userId: 1,
    accessToken: `access ${name}`,
    refreshToken: `refresh ${name}`,
    expiresAt: NOW + 3_600_000,
    scope: ["crm"],
    ts: 10,
    ...more,
  };
}

/** Returns the names of the pairs that are stored after all of these were merged in order. */
function after(...pairs: StoredTokens[]): string {
  const stored = pairs.reduce<readonly StoredTokens[] | undefined>(mergeTokens, undefined) ?? [];
  return stored.map(({ accessToken }) => accessToken.slice("access ".length)).join();
}

describe("mergeTokens() keeps", () => {
  const verified = { isVerified: true } as const;
  const cases: Readonly<Record<string, readonly [pairs: readonly StoredTokens[], kept: string]>> = {
    "the newer of two unverified pairs": [[pair("a"), pair("b", { ts: 11 })], "b"],
    "the newer of two unverified pairs, in any order": [[pair("b", { ts: 11 }), pair("a")], "b"],
    "a verified pair beside a newer unverified one": [[pair("a", verified), pair("b", { ts: 11 })], "a,b"],
    "a verified pair, and no older unverified one": [[pair("a", { ...verified, ts: 11 }), pair("b")], "a"],
    "a verified pair, and none that it replaces": [[
      pair("a", verified),
      pair("b", { ts: 11 }),
      pair("b", { ...verified, ts: 11 }),
    ], "b"],
    "a verified pair beside a newer unverified one that came first": [
      [pair("b", { ts: 12 }), pair("a", verified)],
      "b,a",
    ],
    "a pair that was refreshed while its event waited, when the event is applied again": [[
      pair("refreshed", { ...verified, expiresAt: NOW + 7_200_000 }),
      pair("of the event", verified),
    ], "refreshed"],
    "pairs of different users": [[pair("a"), pair("b", { userId: 2 })], "a,b"],
    "the system user's pair beside those of people": [[pair("a"), pair("s", { owner: "system" })], "a,s"],
    "one pair of a system user, whatever its id": [[
      pair("s", { owner: "system", userId: 7 }),
      pair("t", { owner: "system", userId: 8, ts: 11 }),
    ], "t"],
    "the newest verified pairs of four people": [
      [1, 2, 3, 4, 5, 6].map((userId) => pair(String(userId), { userId, ts: 100 - userId, ...verified })),
      "1,2,3,4",
    ],
    "the newest unverified pairs of two people": [
      [1, 2, 3, 4].map((userId) => pair(String(userId), { userId, ts: 100 - userId })),
      "1,2",
    ],
    "the newest unverified pairs beside verified ones of four people": [
      [
        ...[1, 2, 3, 4].map((userId) => pair(String(userId), { userId, ts: userId, ...verified })),
        pair("new", { userId: 5, ts: 9 }),
        pair("others", { userId: 6, ts: 10 }),
        pair("more", { userId: 7, ts: 11 }),
      ],
      "1,2,3,4,others,more",
    ],
    "an administrator's pair among those of more than four people": [
      [1, 2, 3, 4, 5].map((userId) =>
        pair(String(userId), { userId, ts: userId, ...verified, ...(userId === 1 ? { isAdmin: true } : {}) })
      ),
      "1,3,4,5",
    ],
    "a pair of a user who may be an administrator among those of people who are none": [
      [1, 2, 3, 4, 5].map((userId) =>
        pair(String(userId), { userId, ts: userId, ...verified, ...(userId === 1 ? {} : { isAdmin: false }) })
      ),
      "1,3,4,5",
    ],
    "an unverified pair that waits for an administrator, beside others that claim to be of the same user": [
      [
        pair("s", { pending: { systemUser: pair("x", { owner: "system" }) } }),
        pair("a", { ts: 11 }),
        pair("b", { ts: 12, ...verified }),
      ],
      "s,b",
    ],
    "verified and unverified pairs, each up to its maximum": [
      [1, 2, 3, 4, 5, 6].map((userId) => pair(String(userId), { userId, ts: userId, ...(userId < 3 ? verified : {}) })),
      "1,2,5,6",
    ],
    "the system user's pair when many people follow": [
      [
        pair("s", { owner: "system", ts: 1 }),
        ...[1, 2, 3, 4, 5].map((id) => pair(String(id), { userId: id, ts: 9 + id })),
      ],
      "s,4,5",
    ],
  };
  for (const [name, [pairs, kept]] of Object.entries(cases)) {
    it(name, () => assert.equal(after(...pairs), kept));
  }

  it("the same list when the same pair is merged again", () => {
    const stored = mergeTokens(undefined, pair("a", { isVerified: true }))!;
    assert.equal(mergeTokens(stored, pair("a")), stored);
    assert.equal(mergeTokens(stored, pair("a", { isVerified: true })), stored);
  });

  it("isAdmin, also if a later pair of the user does not have it", () => {
    const admin = pair("a", { userId: 1, isAdmin: true, isVerified: true });
    const isAdmin = (next: StoredTokens): unknown[] => mergeTokens([admin], next)!.map((one) => one.isAdmin);
    assert.deepEqual(isAdmin(pair("b", { userId: 1, ts: 99, isVerified: true })), [true]);
    assert.deepEqual(
      isAdmin(pair("b", { userId: 1, ts: 99 })),
      [true, undefined],
      "but not for an unverified pair",
    );
    assert.deepEqual(
      isAdmin(pair("b", { userId: 1, ts: 99, isVerified: true, isAdmin: false })),
      [false],
      "but not if the portal says otherwise",
    );
    assert.deepEqual(isAdmin(pair("b", { userId: 2, ts: 99, isVerified: true })), [true, undefined]);
  });

  it("the fields from the event when the pair is verified", () => {
    const event = pair("a", { server: "https://oauth.bitrix.info" });
    const { userId: _, ...anonymous } = event;
    const [stored] = mergeTokens([anonymous], pair("a", { isVerified: true, userId: 5 }))!;
    assert.deepEqual(stored, { ...event, isVerified: true, userId: 5 });
  });
});

describe("rankTokens()", () => {
  it("returns the system user's pair first, then the newest of administrators, then the newest", () => {
    const list = [
      pair("old admin", { isAdmin: true, ts: 1 }),
      pair("user", { userId: 3, ts: 99 }),
      pair("admin", { userId: 2, isAdmin: true, ts: 2 }),
      pair("system", { owner: "system", ts: 0 }),
    ];
    const names = rankTokens(list, NOW).map(({ accessToken }) => accessToken.slice("access ".length));
    assert.deepEqual(names, ["system", "admin", "old admin", "user"]);
  });

  it("leaves out expired pairs without a refresh token", () => {
    const { refreshToken: _, ...half } = pair("half", { expiresAt: NOW });
    assert.deepEqual(rankTokens([half, pair("whole", { expiresAt: NOW })], NOW).map(({ accessToken }) => accessToken), [
      "access whole",
    ]);
  });
});
