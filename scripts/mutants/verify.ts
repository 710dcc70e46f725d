/** Mutants of `src/verify/`. */
import { type Mutant, mutantsOf } from "./mutant.ts";

export const VERIFY: readonly Mutant[] = [
  ...mutantsOf("src/verify/budget.ts", ["tests/unit/verify/budget_test.ts"], [
    [
      "unknown portals use up the budget of known ones",
      "(!isKnown && isSpent(unknown, perMinute / 2))",
      "(!isKnown && isSpent(unknown, perMinute))",
    ],
    [
      "one portal uses up the budget",
      "(portals.get(memberId) ?? 0) < perPortal;",
      "(portals.get(memberId) ?? 0) < Infinity * perPortal;",
    ],
    ["the budget is never renewed", "if (now === window) return;", "if (window !== -1) return;"],
    [
      "a question that was given back stays counted",
      "total = Math.max(0, total - requests);",
      "total = Math.max(0, total);",
    ],
  ]),
  ...mutantsOf("src/verify/refused_tokens.ts", ["tests/unit/verify/verifier_test.ts"], [
    ["a refused token is asked about again", "digests.add(await digestOf(event));", "await digestOf(event);"],
    ["a token that is refused for one portal is refused for all", "digest(`${auth.memberId} ${auth", "digest(`${auth"],
  ]),
  ...mutantsOf("src/verify/turn_queue.ts", ["tests/unit/verify/turns_test.ts"], [
    [
      "trusted addresses have all turns",
      "trustedInARow < TRUSTED_IN_A_ROW ?",
      "trustedInARow < TRUSTED_IN_A_ROW * 1e9 ?",
    ],
    [
      "a portal with many events comes before portals with one",
      "if (served.has(memberId)) return",
      'if (served.has(memberId + "!")) return',
    ],
    [
      "two turns of a portal run at once",
      "for (const memberId of waiting.keys()) if (!isRunning(memberId)) return memberId;",
      'for (const memberId of waiting.keys()) if (!isRunning(memberId + "!")) return memberId;',
      { tests: ["tests/unit/verify/attempt_test.ts"] },
    ],
  ]),
  ...mutantsOf("src/verify/turns.ts", ["tests/unit/verify/turns_test.ts"], [
    ["more turns than places run at a time", "running.size < CONCURRENCY", "running.size < CONCURRENCY * 100"],
    ["events that wait for the budget are forgotten", "return isStopped ? undefined : spent.add(waiting);", "return;"],
  ]),
  ...mutantsOf("src/verify/verify_event.ts", ["tests/unit/verify/verify_event_test.ts"], [
    [
      "the failure of a plugin refuses an event",
      'throw error instanceof OnAppUpdateError ? error : new CannotVerifyError("a plugin failed", { cause: error });',
      'throw error instanceof OnAppUpdateError ? error : new NotAuthenticError("a plugin failed", { cause: error });',
    ],
    [
      "a plugin that refuses an event lets it in",
      'if (verified === undefined) throw new NotAuthenticError("a plugin returned without calling next()");',
      "verified ??= {};",
    ],
    [
      "an application token does not wait for the proof of its user",
      "facts.tokens !== undefined && facts.tokens.isAdmin === undefined &&",
      "facts.tokens === undefined && facts.tokens !== undefined &&",
      { tests: ["tests/unit/credentials/identity_test.ts"] },
    ],
  ]),
  ...mutantsOf("src/verify/attempt.ts", ["tests/unit/verify/attempt_test.ts"], [
    [
      "an event is verified for ever",
      "if (receivedAt + KEPT_MS <= runtime.clock()) {",
      "if (receivedAt + KEPT_MS * 100 <= runtime.clock()) {",
      { tests: ["tests/unit/verify/verifier_test.ts"] },
    ],
    [
      "a refreshed pair is used before it is stored",
      "if (!await storeRefreshed(runtime, entry, refreshed)) {",
      "if (entry.key.length === 0) {",
      { tests: ["tests/unit/verify/verifier_test.ts"] },
    ],
    ["a made-up token is refreshed", "if (expiry - MAX_CLOCK_SKEW_MS > runtime.clock()) return undefined;", ""],
    [
      "a process that was paused refreshes a pair",
      "if (!await keepUnverified(runtime, event.auth.memberId, owner())) {",
      "if (owner() === undefined) {",
      { tests: ["tests/unit/verify/verifier_test.ts"] },
    ],
    [
      "a failed attempt is repeated without back-off",
      "RETRY_FIRST_MS * 2 ** Math.min(waiting.attempts, 10)",
      "RETRY_FIRST_MS * 2 ** Math.min(waiting.attempts * 0, 10)",
      { tests: ["tests/unit/verify/verifier_test.ts"] },
    ],
  ]),
  ...mutantsOf("src/verify/unknown_bound.ts", ["tests/unit/verify/unknown_bound_test.ts"], [
    [
      "made-up portals fill the storage",
      "if (size + added > maxCharacters()) return false;",
      "if (size + added > maxCharacters() * 100) return false;",
    ],
  ]),
  ...mutantsOf("src/verify/verifier.ts", ["tests/unit/verify/verifier_test.ts"], [
    ["the rest of a portal's events waits for a tick", 'return "again";', 'return "done";'],
  ]),
];
