/** Mutants of `src/rollout/`. */
import { type Mutant, mutantsOf } from "./mutant.ts";

const OPERATOR = "tests/unit/rollout/operator_test.ts";
const LEFT = "tests/unit/rollout/left_portals_test.ts";

export const ROLLOUT: readonly Mutant[] = [
  ...mutantsOf("src/rollout/breaker.ts", ["tests/unit/rollout/breaker_test.ts"], [
    [
      "a breaker trips one failed portal too late",
      "parked + draft.failing >= tripsAt(draft.rest)",
      "parked + draft.failing > tripsAt(draft.rest)",
    ],
    [
      "the percentage lowers the number of portals that may fail",
      "return Math.max(failed, Math.floor(",
      "return Math.min(failed, Math.floor(",
    ],
    [
      "more portals are in flight than may fail",
      "Math.min(tripsAt(breaker) - parked, limits.concurrency, MAX_SLOTS)",
      "Math.min(tripsAt(breaker), limits.concurrency, MAX_SLOTS)",
    ],
    [
      "a portal that has a slot passes a breaker that has tripped",
      '!isForced && draft.rest.trippedAt !== undefined) return "tripped"',
      '!isForced && known === undefined && draft.rest.trippedAt !== undefined) return "tripped"',
    ],
    [
      "a failing portal that asks for its slot again has recovered",
      "known?.isFailing ? { ...slot, isFailing: true } : slot",
      "slot",
    ],
    [
      "a resume takes the slots of portals in flight",
      "slots: Object.fromEntries(slots), finished: 0, parked: 0",
      "slots: {}, finished: 0, parked: 0",
    ],
  ]),
  ...mutantsOf("src/rollout/slot_outcome.ts", ["tests/unit/rollout/slot_outcome_test.ts"], [
    [
      "a portal that waits for its resume gives its slot up",
      'blocked !== undefined && blocked.on !== "rollout") return "freed"',
      'blocked !== undefined) return "freed"',
    ],
    [
      "a portal that waits for a retry gives its slot up",
      "failure.to === target && failure.retryAt === undefined",
      "failure.to === target && failure.attempts > 0",
    ],
    [
      "a sleeping portal keeps its slot",
      "run.wakeAt > now) return",
      "run.wakeAt < now) return",
    ],
    [
      "a portal that has removed the app keeps its slot",
      'record === undefined || record.status === "uninstalled"',
      "record === undefined",
    ],
    [
      "a portal whose upgrade is done keeps its slot until it is on its target",
      " || applied.some(({ id }) => id === upgradeId)) return",
      ") return",
    ],
  ]),
  ...mutantsOf("src/rollout/permits.ts", ["tests/unit/rollout/permits_test.ts"], [
    [
      "a portal is admitted although another process may have its slot",
      " || permit.until <= time.monotonic()) return false;",
      ") return false;",
    ],
    [
      "a portal is admitted by an earlier lease",
      "?.fencingToken === fencingToken,",
      "?.fencingToken !== undefined,",
    ],
    [
      "portals that another process works on count against the limit",
      "fencingToken !== undefined || until > time.monotonic();",
      "fencingToken !== undefined || until > 0;",
    ],
  ]),
  ...mutantsOf("src/rollout/reclaim.ts", ["tests/unit/rollout/reclaim_test.ts"], [
    [
      "slots of a process whose clock was far ahead are kept",
      " && until <= now + 2 * Math.max(leaseMs, LOOK_MS)) continue;",
      ") continue;",
    ],
    [
      "no slots are freed because newer code works on one portal",
      'if (entry === "unreadable") continue;',
      'if (entry === "unreadable") return;',
    ],
    [
      "a slot that another process takes meanwhile is freed",
      "if (breaker.slots[memberId]?.until !== until) return breaker;",
      "",
    ],
    [
      "the slot of a portal that is still at work is looked after at each tick",
      "if (renewed.length === 0) continue;",
      "if (renewed.length >= 0) continue;",
    ],
  ]),
  ...mutantsOf("src/rollout/membership.ts", ["tests/unit/rollout/membership_test.ts"], [
    [
      "a stage loses the portals of those before it",
      "plan.stages.slice(0, stage + 1).some(",
      "plan.stages.slice(stage, stage + 1).some(",
    ],
    [
      "a held portal belongs to the last stage",
      "if (plan.hold.includes(memberId)) return false;",
      "if (plan.hold.includes(memberId) && stage === 0) return false;",
    ],
    [
      "the portals of first come on top of the number of a stage",
      "Math.max(0, portals - first.length)",
      "portals",
    ],
  ]),
  ...mutantsOf("src/rollout/window.ts", ["tests/unit/rollout/window_test.ts"], [
    [
      "a window that crosses midnight closes at midnight",
      "|| (minute < end && begins(dayBefore))",
      "|| (minute < 0 && begins(dayBefore))",
    ],
    [
      "the morning of a window belongs to the day on which it ends",
      "minute < end && begins(dayBefore)",
      "minute < end && begins(day + dayBefore * 0)",
    ],
    [
      "a window is open at its end",
      "minute >= start && minute < end && begins(day)",
      "minute >= start && minute <= end && begins(day)",
    ],
  ]),
  ...mutantsOf("src/rollout/gate.ts", [LEFT, OPERATOR], [
    [
      "a portal begins an upgrade without a slot",
      'if (result === "taken") {',
      "if (result !== undefined) {",
      { tests: ["tests/unit/rollout/customers_test.ts"] },
    ],
    [
      "a portal that is on its way goes on after an abort",
      'if (state.state === "aborted") return',
      'if (state.state === "aborted" && !hasBegun) return',
    ],
    [
      "a portal that is stored meanwhile overtakes its stage",
      "if (!hasBegun && !isReached(state, record.memberId)) return",
      "if (hasBegun && !isReached(state, record.memberId)) return",
    ],
    [
      "portals go on while an operator has paused the rollout",
      "if (state.paused !== undefined) return refused(`is paused",
      "if (state.paused !== undefined && !hasBegun) return refused(`is paused",
    ],
    [
      "a run under way stops when its window closes",
      "if (!hasBegun && window !== undefined",
      "if (window !== undefined",
      { tests: ["tests/unit/rollout/gate_test.ts"] },
    ],
  ]),
  ...mutantsOf("src/rollout/candidates.ts", ["tests/unit/rollout/deployed_test.ts"], [
    [
      "a hotfix of a lower version does not reach the portals of an aborted rollout",
      "(run === undefined && isAborted(before))",
      "(run !== undefined && isAborted(before))",
      { tests: [LEFT] },
    ],
    [
      "the target of a portal that has begun is replaced",
      "(run === undefined && isAborted(before))",
      "isAborted(before)",
      { tests: ["tests/unit/rollout/gate_test.ts"] },
    ],
  ]),
  ...mutantsOf("src/rollout/candidates.ts", ["tests/unit/rollout/deployed_test.ts"], [
    [
      "a portal that newer code wrote stops the rollout",
      'listRecords(storage)) {\n    if (entry === "unreadable") onUnreadable();',
      'listRecords(storage)) {\n    if (entry === "unreadable") return;',
    ],
    [
      "a portal of the index that newer code wrote stops the rollout",
      'findRecord(storage, memberId);\n    if (entry === "unreadable") onUnreadable();',
      'findRecord(storage, memberId);\n    if (entry === "unreadable") throw new Error("newer");',
    ],
  ]),
  ...mutantsOf("src/rollout/gate.ts", ["tests/unit/rollout/deployed_test.ts"], [
    [
      "a process that has not read a change of the rollout lowers a target",
      "    targets.forget();\n    state =",
      "    state =",
    ],
  ]),
  ...mutantsOf("src/rollout/deployed.ts", ["tests/unit/rollout/deployed_test.ts"], [
    [
      "a rollout that was taken over holds lower versions back",
      '(state === "running" || state === "finished")',
      'state !== "aborted"',
    ],
  ]),
  ...mutantsOf("src/rollout/stages.ts", ["tests/unit/rollout/deployed_test.ts"], [
    [
      "the code of an aborted version ends the rollout of a lower one",
      'if (own?.state !== "running" && own?.state !== "finished") return;',
      "if (own === undefined) return;",
    ],
  ]),
  ...mutantsOf("src/rollout/pump.ts", [LEFT], [
    [
      "a portal waits for the pause of a rollout that a higher version has taken over",
      "{ ...withConfirmedTarget(withoutRolloutBlock(record)), target }",
      "{ ...withConfirmedTarget(record), target }",
    ],
    [
      "portals begin after the window has closed",
      "return isRunning(state) && (window === undefined || isOpen(window, now));",
      "return isRunning(state) && (window === undefined || isOpen(window, now) || now > 0);",
      { tests: [OPERATOR] },
    ],
    [
      "portals that begin to wait before a tick stay until the next one",
      "isAsked ||= isTick && hasWaiting;",
      "isAsked = isTick && hasWaiting;",
      { tests: ["tests/unit/rollout/customers_test.ts"] },
    ],
  ]),
  ...mutantsOf("src/rollout/stages.ts", [OPERATOR], [
    [
      "a rollout is superseded by one of a lower version",
      'state === "running" && compareVersions(lower, target) < 0',
      'state === "running" && compareVersions(lower, target) > 0',
    ],
    [
      "a stage ends before its portals are done",
      "if (!await isDone(parts, state)) return false;",
      "await isDone(parts, state);",
      { tests: ["tests/unit/rollout/deployed_test.ts", LEFT] },
    ],
  ]),
  ...mutantsOf("src/rollout/target.ts", [OPERATOR, "tests/unit/rollout/target_test.ts"], [
    [
      "a rollout whose last stage lacks portals is finished",
      'return stage + 1 === stages.length && "percent" in last && last.percent === 100;',
      "return stage + 1 === stages.length;",
    ],
    [
      "an aborted rollout can be resumed",
      'if (state.state !== "running" && !(state.state === "finished"',
      'if (state.state !== "running" && state.state !== "aborted" && !(state.state === "finished"',
    ],
  ]),
  ...mutantsOf("src/app/admin/rollout.ts", [OPERATOR], [
    [
      "a promote beyond the last stage finishes the rollout",
      'next !== undefined && next.state === "running"',
      "next !== undefined",
      { tests: [OPERATOR, "tests/unit/rollout/gate_test.ts"] },
    ],
  ]),
  ...mutantsOf("src/upgrade/rollback.ts", [LEFT], [
    [
      "a portal that is rolled back goes on waiting for its rollout",
      "rest } = withoutRolloutBlock(record);",
      "rest } = withoutRolloutBlock({ ...record, blocked: undefined! }) && record;",
    ],
  ]),
  ...mutantsOf("src/app/admin/batch_match.ts", [OPERATOR], [
    [
      "a resume retries the parked portals of all rollouts",
      "rollout === undefined || hasFailedIn(record, rollout)) };",
      "true) };",
    ],
  ]),
];
