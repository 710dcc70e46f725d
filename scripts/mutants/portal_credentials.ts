/** Mutants of `src/portal/` that are about stored tokens. */
import { type Mutant, mutantsOf } from "./mutant.ts";

export const PORTAL_CREDENTIALS: readonly Mutant[] = [
  ...mutantsOf("src/portal/tokens.ts", ["tests/unit/portal/tokens_test.ts"], [
    [
      "an unverified pair replaces a verified one",
      "return stored.isVerified ? !waits : (stored.pending !== undefined) === waits;",
      "return true;",
    ],
    [
      "an older pair replaces a newer one",
      "next.ts > ts || (next.ts === ts && next.expiresAt >= expiresAt)",
      "next.ts >= 0 || (next.ts === ts && next.expiresAt >= expiresAt)",
    ],
  ]),
  ...mutantsOf("src/portal/credentials_record.ts", ["tests/unit/portal/credentials_record_test.ts"], [
    [
      "token pairs of an installation that is over are used",
      "generation === named.generation && sequence >= named.sequence",
      "sequence >= named.sequence || generation > named.generation * 0",
    ],
    [
      "a refreshed token pair is overwritten by an older one of another process",
      ", ifVersion: credentials?.version ?? null };",
      " };",
    ],
    [
      "the token pairs of a removed portal are kept",
      "return credentials === null ? {} :",
      "return credentials !== undefined ? {} :",
    ],
    [
      "a crash loses an application_token that was just proved",
      "if (proved !== undefined && sequence > record.credentials.sequence)",
      "if (proved !== undefined && sequence > Infinity)",
    ],
    [
      "a refresh writes the record",
      "record: isKept ? stored :",
      "record: isKept && isTouched ? stored :",
    ],
    [
      "token pairs that the record does not name are replaced without the record",
      "belongTo(stored, credentials.value) &&\n    stored.tokens",
      "stored.memberId === memberId &&\n    stored.tokens",
    ],
    [
      "the credentials of a claim are read after its delivery is written",
      "if (knownCredentials(storage, record) === undefined) readCredentials",
      "if (knownCredentials(storage, record) === null) readCredentials",
      { tests: ["tests/unit/costs_test.ts"] },
    ],
  ]),
  ...mutantsOf("src/portal/record_store.ts", ["tests/unit/portal/credentials_record_test.ts"], [
    [
      "token pairs that a refused write left on a removed portal are kept",
      "mustWrite: isAboutCredentials && isRemoved && isLeft",
      "mustWrite: isAboutCredentials && isRemoved && !isLeft",
    ],
    [
      "token pairs in memory are written again after another process has changed them",
      'isAboutCredentials ? "reread" : need)',
      "need)",
    ],
    [
      "a write that leaves its token pairs in the record opens it",
      'need === "unopened" && record?.credentials !== undefined;',
      'need === "unopened" && record?.credentials === null;',
    ],
    [
      "a change that needs all token pairs gets those of the record, because another change leaves it unopened",
      '["reread", "opened", undefined, "unopened"]',
      '["unopened", "reread", "opened", undefined]',
    ],
  ]),
  ...mutantsOf("src/portal/record_change.ts", ["tests/unit/portal/credentials_record_test.ts"], [
    [
      "token pairs are written before the schedule entry",
      "before.splice(before.findLastIndex(isFirst) + 1, 0,",
      "before.splice(before.findIndex(isFirst) * 0, 0,",
    ],
  ]),
  ...mutantsOf("src/portal/stored_credentials.ts", ["tests/unit/portal/credentials_record_test.ts"], [
    [
      "a token pair that the portal has is stored in its record again",
      "known.includes(tokenFingerprintOf(pair)) ||",
      'known.includes(tokenFingerprintOf({ ...pair, accessToken: "" })) ||',
    ],
    [
      "an older event replaces the application token",
      "return ts < applicationTokenTs;",
      "return ts < -applicationTokenTs;",
      { tests: ["tests/unit/portal/apply_event_test.ts"] },
    ],
    [
      "an application token that waits removes the app after a later one was proved",
      "waiting.filter(({ ts }) => !isSuperseded(ts, record))",
      "waiting.filter(({ ts }) => !isSuperseded(ts, {}))",
      { tests: ["tests/unit/credentials/identity_test.ts"] },
    ],
  ]),
];
