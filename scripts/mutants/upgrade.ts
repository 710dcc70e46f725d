/** Mutants of `src/upgrade/`. */
import { type Mutant, mutantsOf } from "./mutant.ts";

export const UPGRADE: readonly Mutant[] = [
  ...mutantsOf("src/upgrade/plan.ts", ["tests/unit/upgrade/plan_test.ts"], [
    [
      "an upgrade that the run has applied runs again",
      ".filter(({ id }) => !applied.has(id));\n}",
      '.filter(({ id }) => !applied.has(id + "!"));\n}',
    ],
    [
      "upgrades run in the order of registration",
      ".sort((a, b) => compareThresholds(a.threshold, b.threshold));",
      ".sort((a, b) => 0 * compareThresholds(a.threshold, b.threshold));",
    ],
  ]),
  ...mutantsOf("src/upgrade/next_action.ts", ["tests/unit/upgrade/next_action_test.ts"], [
    [
      "code that lacks the target moves the version",
      "latest !== undefined && compareVersions(latest, target) < 0",
      "latest !== undefined && compareVersions(latest, target) < -1",
    ],
    [
      "a blocked portal is tried before its time",
      "blocked !== undefined && blocked.nextTryAt > now",
      "blocked !== undefined && blocked.nextTryAt > now + Infinity",
    ],
    [
      "a parked upgrade runs again",
      'if (failure.retryAt === undefined) return { action: "parked" };',
      'if (failure.retryAt === undefined && failure.attempts < 0) return { action: "parked" };',
    ],
    ["a new target does not continue a parked portal", "return to === record.target &&", 'return to !== "" &&'],
    [
      "a retry passes an unfinished rollback",
      'if (record.status === "installed" && record.run?.isRollingBack) return { action: "parked" };',
      "",
      { tests: ["tests/unit/app/admin_test.ts"] },
    ],
    [
      "an upgrade runs without the scopes that it requires",
      "return upgrade.scope.filter((name) => !granted.includes(name));",
      "return upgrade.scope.filter((name) => granted.length < 0 && !granted.includes(name));",
    ],
    [
      "a sleeping run is resumed at once",
      "if (run?.wakeAt !== undefined && run.wakeAt > now)",
      "if (run?.wakeAt !== undefined && run.wakeAt > now + Infinity)",
    ],
  ]),
  ...mutantsOf("src/upgrade/attempt.ts", ["tests/unit/upgrade/attempt_test.ts"], [
    ["a step's own retry limit is ignored", "failedStep?.retry ?? retry, unitHash", "retry, unitHash", {
      tests: ["tests/unit/upgrade/step_kinds_test.ts"],
    }],
    ["failures that do not count use up attempts", "attempts: isCounted ? attempts : attempts - 1,", "attempts,"],
    [
      "an upgrade whose process always ends is never parked",
      "if (deathsAlone >= MAX_DEATHS_ALONE) {",
      "if (deathsAlone >= MAX_DEATHS_ALONE * 100) {",
    ],
    [
      "a shutdown counts as a failure",
      "  if (ctx.signal.aborted) {\n    await installation",
      "  if (ctx.signal.aborted && change === undefined) {\n    await installation",
      { tests: ["tests/unit/upgrade/process_deaths_test.ts"] },
    ],
    [
      "a sleep that the handler catches is not one",
      "    if (engine.suspended !== undefined) throw engine.suspended;\n",
      "",
      { tests: ["tests/unit/upgrade/step_engine_test.ts"] },
    ],
    [
      "a former holder of the lease records steps of a skipped upgrade",
      "if (run?.current === undefined || run.current.upgradeId === next) return;",
      'if (run?.current === undefined || run.current.upgradeId !== "") return;',
      { tests: ["tests/unit/upgrade/fencing_test.ts"] },
    ],
    [
      "a block overwrites the last failure",
      "if (blockedOn !== undefined) return next;",
      "if (blockedOn === undefined && next === record) return next;",
      { tests: ["tests/unit/upgrade/step_kinds_test.ts"] },
    ],
  ]),
  ...mutantsOf("src/upgrade/run_record.ts", ["tests/unit/upgrade/run_record_test.ts"], [
    [
      "progress does not reset the attempts of a run",
      "return { ...(hasProgressed ? withoutFailures(record, run.current?.upgradeId) : record), run };",
      "return { ...record, run };",
    ],
    [
      "deaths at an earlier step count for a later one",
      "const deathsAlone = dead === undefined || hasProgressed ? 0",
      "const deathsAlone = dead === undefined ? 0",
    ],
  ]),
  ...mutantsOf("src/upgrade/step_engine.ts", ["tests/unit/upgrade/step_engine_test.ts"], [
    [
      "two steps run at a time",
      "if (this.#running !== undefined) return `step",
      "if (this.#running?.name === name) return `step",
    ],
    [
      "the name of a step is used twice",
      "if (this.#names.has(name)) return",
      'if (this.#names.has(name + "!")) return',
    ],
    ["a step starts without its lease", "    await installation.ensureHeld();\n", "", {
      tests: ["tests/unit/worker/process_delivery_test.ts"],
    }],
  ]),
  ...mutantsOf("src/upgrade/step_scope.ts", ["tests/unit/app/admin_test.ts"], [
    [
      "a step that is repeated after a rollback has its old key",
      "[memberId, generation, rollbacks, upgradeId, name,",
      "[memberId, generation, rollbacks * 0, upgradeId, name,",
    ],
    [
      "a reinstalled app uses the keys of the installation before",
      "[memberId, generation, rollbacks, upgradeId, name,",
      "[memberId, generation * 0, rollbacks, upgradeId, name,",
      { tests: ["tests/unit/upgrade/step_engine_test.ts"] },
    ],
  ]),
  ...mutantsOf("src/upgrade/step_kinds.ts", ["tests/unit/upgrade/step_kinds_test.ts"], [
    [
      "a finished step runs again",
      "if (recorded !== undefined && isDone(recorded, clock())) {",
      'if (recorded !== undefined && name === "") {',
      { tests: ["tests/unit/upgrade"] },
    ],
    [
      "the handler sees another value at the first time than later",
      "return finish(encoded.restored as T);",
      "return finish(value);",
    ],
    ["a sleep begins anew at each attempt", 'recorded?.[2] === "sleep" ? recorded[3] : now + ms;', "now + ms;"],
  ]),
  ...mutantsOf("src/upgrade/pages.ts", ["tests/unit/upgrade/attempt_test.ts"], [
    ["pages start over after an interruption", 'recorded?.[2] === "page" ? recorded[5] : start;', "start;"],
  ]),
  ...mutantsOf("src/upgrade/step_results.ts", ["tests/unit/upgrade/fencing_test.ts"], [
    [
      "a large result is written after the journal names it",
      "before: [{ put: resultKey(memberId, runId, unique), value }],",
      "before: [],",
    ],
    [
      "results of an upgrade overwrite each other",
      "put: resultKey(memberId, runId, unique), value }",
      'put: resultKey(memberId, runId, "same"), value }',
    ],
  ]),
  ...mutantsOf("src/upgrade/installation.ts", ["tests/unit/upgrade/installation_test.ts"], [
    [
      "a removal during a run does not end it",
      'record.status === "installed" && record.generation === generation;',
      'record.status === "installed" || record.generation === generation;',
    ],
    [
      "a reinstallation during a run gets its results",
      'record.status === "installed" && record.generation === generation;',
      'record.status === "installed";',
    ],
  ]),
  ...mutantsOf("src/upgrade/rollback.ts", ["tests/unit/app/admin_test.ts"], [
    [
      "the first step is undone first",
      "for (const { name, undo } of finished.toReversed()) {",
      "for (const { name, undo } of finished) {",
    ],
    ["an undone step is undone again", '    await journal.append([name, runtime.clock(), "undone"]);\n', ""],
    [
      "a run that is being rolled back continues",
      "return { ...record, failure, run: { ...run, isRollingBack: true } };",
      "return { ...record, failure, run };",
    ],
    [
      "a run of an earlier installation is rolled back",
      "last.to !== version || last.generation !== generation",
      "last.to !== version",
    ],
    ["a rollback does not change keys", "(record.rollbacks ?? 0) + 1", "(record.rollbacks ?? 0)"],
  ]),
  ...mutantsOf("src/upgrade/block.ts", ["tests/unit/upgrade/step_kinds_test.ts"], [
    [
      "the block of a portal begins anew at each attempt",
      "record.blocked?.on === on ? record.blocked.since : now",
      "now",
    ],
  ]),
];
