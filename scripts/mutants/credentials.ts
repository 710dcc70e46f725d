/** Mutants of `src/credentials/`, without those of adoption and rehearsals. */
import { type Mutant, mutantsOf } from "./mutant.ts";

const TESTS = ["tests/unit/credentials/provider_test.ts"];

export const CREDENTIALS: readonly Mutant[] = [
  ...mutantsOf("src/credentials/refresh_lock.ts", TESTS, [
    [
      "a released lock ends that of the process that took it over",
      "return refreshing?.id === id ? rest : record;",
      "return refreshing === undefined ? record : rest;",
    ],
    [
      "two processes refresh a pair at a time",
      "const isHeld = other !== undefined && ",
      "const isHeld = other === null && ",
    ],
  ]),
  ...mutantsOf("src/credentials/refresh.ts", TESTS, [
    [
      "a stored pair ends the lock of the process that took it over",
      "refreshing === undefined || refreshing.id === lockId ? rest",
      "lockId !== undefined ? rest",
    ],
    [
      "a pair that could not be stored is requested again",
      "unstored.get(refreshToken) ??",
      "unstored.get(refreshToken + lockId) ??",
    ],
  ]),
  ...mutantsOf("src/credentials/verify_tokens.ts", TESTS, [
    [
      "the refusal of an unverified token blocks the portal",
      "if (error instanceof B24Error && tokens.isVerified === true) {",
      "if (error instanceof B24Error) {",
    ],
    [
      "a pair of another app is believed",
      "if (!isOfPortal || (clientId !== undefined && info.clientId !== clientId)) {",
      "if (!isOfPortal) {",
    ],
  ]),
  ...mutantsOf("src/credentials/refusals.ts", ["tests/unit/credentials"], [
    [
      "the refusal of a replaced token blocks the portal",
      'if (record.status === "uninstalled" || !isCurrent(record, tokens)) return { record };',
      'if (record.status === "uninstalled") return { record };',
    ],
  ]),
];
