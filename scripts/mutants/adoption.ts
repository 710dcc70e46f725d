/** Mutants of the adoption of portals. */
import { type Mutant, mutantsOf } from "./mutant.ts";

const TESTS = ["tests/unit/app/adopt_test.ts"];
const TOKENS = ["tests/unit/app/adopt_tokens_test.ts"];
const INTERRUPTED = ["tests/unit/app/adopt_interrupted_test.ts"];

export const ADOPTION: readonly Mutant[] = [
  ...mutantsOf("src/app/admin/adopted_record.ts", TESTS, [
    [
      "a line changes the version of a known portal",
      "if (record.version === undefined && version",
      "if (version",
      { tests: ["tests/unit/app/adopted_record_test.ts"] },
    ],
    [
      "a line replaces the application token of a known portal",
      "if (record.applicationToken === undefined && applicationTokenDigest",
      "if (applicationTokenDigest",
    ],
    [
      "a removed portal is adopted",
      'if (record?.status !== "uninstalled") return undefined;',
      "if (record) return undefined;",
    ],
    ["an adopted portal waits for its installer", 'installer: "done",', ""],
    [
      "a pair replaces one that works",
      "if (pair === undefined || hasPair(record, now)) return next;",
      "if (pair === undefined) return next;",
      { reason: "a pair is verified only if the portal has none that works; this is about a race with an event" },
    ],
  ]),
  ...mutantsOf("src/app/admin/adopted_version.ts", TESTS, [
    [
      "a version above the installed one is adopted",
      "return compareVersions(version, target) > 0 ?",
      "return compareVersions(version, target) > 9 ?",
    ],
    [
      "the installed version is believed with deployed()",
      "if (versions.deployed !== undefined) {",
      "if (initialVersion) {",
    ],
  ]),
  ...mutantsOf("src/app/admin/adopt_portal.ts", TESTS, [
    ["a dry run refreshes tokens", "refresh: options.refresh && !options.dryRun", "refresh: options.refresh", {
      tests: TOKENS,
    }],
    [
      "adopted portals are not checked",
      "const checkAt = checks.dueAt(next);",
      "const checkAt = checks.dueAt(next) && undefined;",
    ],
    ["a portal below its target is not scheduled", "? withWork(next, now, random)", "? { record: next }"],
    [
      "the refreshed pair of an adopted portal stays",
      "after: [...change.after ?? [], { delete: adoptedPairKey(change.record.memberId) }]",
      "after: [...change.after ?? []]",
      { tests: INTERRUPTED },
    ],
  ]),
  ...mutantsOf("src/credentials/adopted_pairs.ts", TOKENS, [
    [
      "a pair of another portal is adopted",
      "if (info.memberId !== memberId) return",
      "if (info.memberId === '') return",
      { tests: TESTS },
    ],
    ["a pair of another app is adopted", "if (info.clientId !== clientId) return", "if (info.clientId === '') return", {
      tests: TESTS,
    }],
    ["tokens are refreshed without being told to", "if (!isExpired || !options.refresh ||", "if (!isExpired ||"],
    [
      "a refreshed pair is not stored before its portal is adopted",
      "await storage.put(adoptedPairKey(owner), stored, { ttlMs: KEPT_MS });",
      "void stored;",
    ],
    [
      "a pair that was refreshed for the wrong line is lost",
      "return isNew ? await verifyOne(memberId, other, options) : answer;",
      "return isNew ? answer : answer;",
    ],
    [
      "a new pair is forgotten if the storage is down",
      "if (unstored.size < MAX_UNSTORED) unstored.set(refreshToken, refreshed);",
      "",
      { reason: "it is stored again for seconds before; this is for a storage that is down longer" },
    ],
  ]),
  ...mutantsOf("src/app/admin/adopt.ts", INTERRUPTED, [
    ["an adoption has no budget", "await pace(requestsFor(server, oauthHosts), signal);", ""],
    ["an adoption gives up at the first failure", "if (attempt < MAX_CALLS) continue;", ""],
    ["all lines are under way at once", "const MAX_IN_FLIGHT = 8;", "const MAX_IN_FLIGHT = 100;"],
    ["an adoption never ends in an outage", "if (++givenUp === MAX_GIVEN_UP) {", "if (++givenUp === -1) {"],
  ]),
  ...mutantsOf("src/app/admin/adopt_line.ts", TESTS, [
    ["a misplaced token is quoted", "&& unknown.length <= MAX_QUOTED ? unknown", "? unknown"],
    ["seconds are read as milliseconds", "value >= EARLIEST_MS &&", "value >= 0 &&"],
  ]),
];
