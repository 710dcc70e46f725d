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

/** What is stored after all of these came, by the names of their access tokens. */
function after(...pairs: StoredTokens[]): string {
  const stored = pairs.reduce<readonly StoredTokens[] | undefined>(mergeTokens, undefined) ?? [];
  return stored.map(({ accessToken }) => accessToken.slice("access ".length)).join();
}

describe("withTokens() keeps", () => {
  const verified = { isVerified: true } as const;
  const cases: Readonly<Record<string, readonly [pairs: readonly StoredTokens[], kept: string]>> = {
    "the newer of two that are not verified": [[pair("a"), pair("b", { ts: 11 })], "b"],
    "the newer of two that are not verified, in any order": [[pair("b", { ts: 11 }), pair("a")], "b"],
    "a verified one beside a newer one that is not": [[pair("a", verified), pair("b", { ts: 11 })], "a,b"],
    "a verified one, and no older one that is not": [[pair("a", { ...verified, ts: 11 }), pair("b")], "a"],
    "what is verified, and nothing that it replaces": [[
      pair("a", verified),
      pair("b", { ts: 11 }),
      pair("b", { ...verified, ts: 11 }),
    ], "b"],
    "a newer one that is not verified when an older one is": [[pair("b", { ts: 12 }), pair("a", verified)], "b"],
    "those of different users apart": [[pair("a"), pair("b", { userId: 2 })], "a,b"],
    "the system user's apart from those of people": [[pair("a"), pair("s", { owner: "system" })], "a,s"],
    "one system user's, whatever its number": [[
      pair("s", { owner: "system", userId: 7 }),
      pair("t", { owner: "system", userId: 8, ts: 11 }),
    ], "t"],
    "of more than four people the latest": [
      [1, 2, 3, 4, 5, 6].map((userId) => pair(String(userId), { userId, ts: 100 - userId, ...verified })),
      "1,2,3,4",
    ],
    "of more than two people that are not verified the latest": [
      [1, 2, 3, 4].map((userId) => pair(String(userId), { userId, ts: 100 - userId })),
      "1,2",
    ],
    "an administrator's that is not verified beside four people's that are": [
      [
        ...[1, 2, 3, 4].map((userId) => pair(String(userId), { userId, ts: userId, ...verified })),
        pair("new", { userId: 5, ts: 9, isAdmin: true }),
        pair("others", { userId: 6, ts: 10 }),
        pair("more", { userId: 7, ts: 11 }),
      ],
      "1,2,3,4,new,more",
    ],
    "of more than four people an administrator's": [
      [1, 2, 3, 4, 5].map((userId) =>
        pair(String(userId), { userId, ts: userId, ...verified, ...(userId === 1 ? { isAdmin: true } : {}) })
      ),
      "1,3,4,5",
    ],
    "of more than four people those that are verified": [
      [1, 2, 3, 4, 5, 6].map((userId) => pair(String(userId), { userId, ts: userId, ...(userId < 3 ? verified : {}) })),
      "1,2,5,6",
    ],
    "the system user's when many people come": [
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

  it("the same list when the same pair comes again", () => {
    const stored = mergeTokens(undefined, pair("a", { isVerified: true }))!;
    assert.equal(mergeTokens(stored, pair("a")), stored);
    assert.equal(mergeTokens(stored, pair("a", { isVerified: true })), stored);
  });

  it("that somebody is an administrator, also where a later event does not say so", () => {
    const admin = pair("a", { userId: 1, isAdmin: true, isVerified: true });
    const isAdmin = (next: StoredTokens): unknown[] => mergeTokens([admin], next)!.map((one) => one.isAdmin);
    assert.deepEqual(isAdmin(pair("b", { userId: 1, ts: 99, isVerified: true })), [true]);
    assert.deepEqual(
      isAdmin(pair("b", { userId: 1, ts: 99 })),
      [true, undefined],
      "but not by what nobody has verified",
    );
    assert.deepEqual(isAdmin(pair("b", { userId: 2, ts: 99, isVerified: true })), [true, undefined]);
  });

  it("what an event said of a pair when an OAuth host says whose it is", () => {
    const event = pair("a", { isAdmin: true, server: "https://oauth.bitrix.info" });
    const { userId: _, ...anonymous } = event;
    const [stored] = mergeTokens([anonymous], pair("a", { isVerified: true, userId: 5 }))!;
    assert.deepEqual(stored, { ...event, isVerified: true, userId: 5 });
  });
});

describe("ranked()", () => {
  it("gives the system user's first, then the latest of an administrator, then the latest", () => {
    const list = [
      pair("old admin", { isAdmin: true, ts: 1 }),
      pair("user", { userId: 3, ts: 99 }),
      pair("admin", { userId: 2, isAdmin: true, ts: 2 }),
      pair("system", { owner: "system", ts: 0 }),
    ];
    const names = rankTokens(list, NOW).map(({ accessToken }) => accessToken.slice("access ".length));
    assert.deepEqual(names, ["system", "admin", "old admin", "user"]);
  });

  it("leaves out what has ended and cannot be renewed", () => {
    const { refreshToken: _, ...half } = pair("half", { expiresAt: NOW });
    assert.deepEqual(rankTokens([half, pair("whole", { expiresAt: NOW })], NOW).map(({ accessToken }) => accessToken), [
      "access whole",
    ]);
  });
});
