/** Mutants of rehearsals: each would let one have an effect, or report what a run does not do. */
import { type Mutant, mutantsOf } from "./mutant.ts";

const TESTS = ["answers", "context", "life", "raw_batches", "refusals", "rehearse"].map((name) =>
  `tests/unit/app/rehearse/${name}_test.ts`
);

export const REHEARSAL: readonly Mutant[] = [
  ...mutantsOf("src/app/rehearsal_guards.ts", TESTS, [
    [
      "a rehearsal writes to the app's storage",
      "if (runningRehearsal() === undefined) return undefined;",
      "if (key !== null) return undefined;",
    ],
    [
      "a rehearsal calls other portals",
      "if (rehearsal.scope.memberId === memberId) return rehearsal.credentials;",
      "return rehearsal.credentials;",
    ],
  ]),
  ...mutantsOf("src/plugin/rehearsal.ts", TESTS, [
    [
      "a refreshed token pair is not stored by a rehearsal",
      "return running === 0 ? work() : rehearsals.run(undefined, work);",
      "return work();",
    ],
    [
      "calls that a queue makes leave their rehearsal, or enter another one",
      "runningRehearsal() === here ? work() : rehearsals.run(here, work)",
      "work()",
    ],
  ]),
  ...mutantsOf("src/credentials/rehearsal.ts", TESTS, [
    ["a rehearsal verifies a token pair for ever", "changes.push(change);", ""],
  ]),
  ...mutantsOf("src/app/rehearse.ts", TESTS, [
    ["a portal is rehearsed that a worker is processing", "assertIdle(runtime, stored);", ""],
    ["what a handler has left behind is still answered", 'recorder.stop("it is over");', ""],
  ]),
  ...mutantsOf("src/upgrade/rehearsal/rehearse_run.ts", TESTS, [
    ["plugins run that do not say { rehearsal: true }", "plugin.rehearsal === true && isUsed", "isUsed"],
    ["upgrades run that do not say { rehearsal: true }", "if (!upgrade.isRehearsable) {", "if (end === null) {"],
  ]),
  ...mutantsOf("src/upgrade/rehearsal/recorder.ts", TESTS, [
    ["a rehearsal sends any number of reads", "if (sent++ < MAX_READS) return;", "if (sent++ < Infinity) return;"],
    ["the portal is asked about what was only recorded", "found.find((id) => ids.has(id))", "found.find(() => false)"],
  ]),
  ...mutantsOf("src/upgrade/rehearsal/recording.ts", TESTS, [
    ["recordings have access tokens", "text.replaceAll(token, REDACTED)", "text.concat()"],
    ["a recording of another portal is played", "earlier.memberId !== memberId", "earlier.memberId === undefined"],
  ]),
  ...mutantsOf("src/upgrade/rehearsal/portal_answers.ts", TESTS, [
    ["the refusal of an expired token is recorded", "if (!isRefused) tape.add", "tape.add"],
  ]),
  ...mutantsOf("src/upgrade/rehearsal/batch_answers.ts", TESTS, [
    ["a batch with two lists of commands is sent", "if (new Set(names).size < names.length) return undefined;", ""],
    ["a halted batch goes on to its writes", "if (halts && answered.result_error.size > 0) break;", ""],
    [
      "a batch sends its writes",
      "isWhole ? params : readsOf(params, run.commands, answered)",
      "params",
    ],
  ]),
];
