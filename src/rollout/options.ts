/** The options of rollouts: their rules and defaults. */
import { checkOptions, option, type OptionProblem, type OptionRule, type OptionRules } from "../check_options.ts";
import { defined } from "../defined.ts";
import type { PauseWhen, RolloutChanges, RolloutOptions, RolloutStage, RolloutWindow } from "../plugin/rollout.ts";
import { windowRule } from "./window.ts";

/** Maximum number of portals in flight, and default of `concurrency`: their slots must fit one value of every storage. */
export const MAX_SLOTS = 300;

/** Maximum number of portals of a stage of `portals`. */
const MAX_PORTALS = 100;

/** Maximum number of named portals: they are kept in one value. */
const MAX_NAMED = 150;

const DEFAULT_STAGES: readonly RolloutStage[] = [{ percent: 100 }];
const DEFAULT_PAUSE: Required<PauseWhen> = { failed: 3, percent: 5 };

/** Options of a rollout as they are stored with its target. */
export interface StoredOptions {
  readonly stages: readonly RolloutStage[];
  readonly first: readonly string[];
  readonly hold: readonly string[];
  readonly pauseWhen: Required<PauseWhen>;
  readonly window?: RolloutWindow;
  readonly concurrency: number;
}

/** Returns the options with all defaults. */
export function withDefaults(
  { stages = DEFAULT_STAGES, first = [], hold = [], pauseWhen, window, concurrency = MAX_SLOTS }: RolloutOptions,
): StoredOptions {
  return { stages, first, hold, pauseWhen: pauseOf(pauseWhen), concurrency, ...defined({ window }) };
}

/** Returns the options after a change of `app.admin.rollout.set`. */
export function changedOptions(options: StoredOptions, changes: RolloutChanges): StoredOptions {
  const { window: before, ...rest } = options;
  const { stages, first, hold, pauseWhen, window } = changes;
  const after = window === null ? undefined : window ?? before;
  return {
    ...rest,
    ...defined({ stages, first, hold, window: after }),
    ...(pauseWhen !== undefined && { pauseWhen: pauseOf(pauseWhen) }),
  };
}

function pauseOf(pauseWhen: PauseWhen | undefined): Required<PauseWhen> {
  if (pauseWhen === undefined) return DEFAULT_PAUSE;
  return { failed: pauseWhen.failed ?? DEFAULT_PAUSE.failed, percent: pauseWhen.percent ?? 0 };
}

const forMs = option.number({ min: 0, max: Number.MAX_SAFE_INTEGER });

const PORTALS_RULES: OptionRules<{ readonly portals: number; readonly forMs?: number }> = {
  portals: option.required(option.number({ min: 1, max: MAX_PORTALS, isWhole: true })),
  forMs,
};

const PERCENT_RULES: OptionRules<{ readonly percent: number; readonly forMs?: number }> = {
  percent: option.required(option.number({ min: 0, max: 100 })),
  forMs,
};

const stageRule: OptionRule = (value, path) => {
  const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
  const kinds = isObject ? ["portals", "percent"].filter((kind) => kind in value) : [];
  if (isObject && kinds.length !== 1) {
    const seen = kinds.length === 2 ? "with portals and percent" : "without portals and percent";
    return { path, seen, wanted: "one of them" };
  }
  return isObject && "portals" in value
    ? option.object(PORTALS_RULES)(value, path)
    : option.object(PERCENT_RULES)(value, path);
};

const stagesRule: OptionRule = (value, path) => {
  const problem = option.list("a list of stages such as { portals: 5 } and { percent: 100 }", stageRule)(value, path);
  if (problem !== undefined || value === undefined) return problem;
  const stages = value as readonly RolloutStage[];
  if (stages.length === 0) return { path, seen: "[]", wanted: "at least one stage" };
  return stages.map((stage, i) => i === 0 ? undefined : riseProblem(stages[i - 1]!, stage, `${path}.${i}`))
    .find((problem) => problem !== undefined);
};

/** Returns the problem of a stage that has not more portals than the one before it. */
function riseProblem(before: RolloutStage, stage: RolloutStage, path: string): OptionProblem | undefined {
  if ("portals" in stage) {
    const seen = String(stage.portals);
    if (!("portals" in before)) {
      return { path: `${path}.portals`, seen, wanted: "a percentage, as the stage before it has" };
    }
    if (stage.portals > before.portals) return undefined;
    return { path: `${path}.portals`, seen, wanted: `more than the ${before.portals} of the stage before it` };
  }
  if (!("percent" in before) || stage.percent > before.percent) return undefined;
  return {
    path: `${path}.percent`,
    seen: String(stage.percent),
    wanted: `more than the ${before.percent} of the stage before it`,
  };
}

const memberIds: OptionRule = (value, path) => {
  const problem = option.list("a list of member_ids", option.text("a member_id"))(value, path);
  if (problem !== undefined || value === undefined) return problem;
  const ids = value as readonly string[];
  if (ids.length > MAX_NAMED) return { path, seen: `with ${ids.length} portals`, wanted: `at most ${MAX_NAMED}` };
  const twice = ids.find((id, i) => ids.indexOf(id) !== i);
  return twice === undefined
    ? undefined
    : { path, seen: `with ${JSON.stringify(twice)} twice`, wanted: "each portal once" };
};

const PAUSE_RULES: OptionRules<PauseWhen> = {
  failed: option.number({ min: 1, isWhole: true }),
  percent: option.number({ min: 0, max: 100 }),
};

const SHARED_RULES = {
  stages: stagesRule,
  first: memberIds,
  hold: memberIds,
  pauseWhen: option.object(PAUSE_RULES),
};

const OPTION_RULES: OptionRules<RolloutOptions> = {
  ...SHARED_RULES,
  window: windowRule,
  concurrency: option.number({ min: 1, max: MAX_SLOTS, isWhole: true }),
  appliesTo: option.oneOf("deployed", "all"),
};

const CHANGE_RULES: OptionRules<RolloutChanges> = {
  ...SHARED_RULES,
  window: (value, path) => value === null ? undefined : windowRule(value, path),
};

/** Accepts the options of rollouts. */
export const rolloutRule: OptionRule = (value, path) => {
  const problem = option.object(OPTION_RULES)(value, path);
  if (problem !== undefined || value === undefined) return problem;
  const { first = [], hold = [] } = value as RolloutOptions;
  return namedTwice(first, hold, `${path}.hold`);
};

function namedTwice(first: readonly string[], hold: readonly string[], path: string): OptionProblem | undefined {
  const both = hold.find((memberId) => first.includes(memberId));
  return both === undefined ? undefined : { path, seen: `with ${JSON.stringify(both)}`, wanted: "no portal of first" };
}

/**
 * Checks the changes of `app.admin.rollout.set`.
 *
 * @throws {TypeError} if one is unknown or invalid, or there are fewer stages than have begun
 */
export function checkChanges(changes: RolloutChanges, options: StoredOptions, stage: number): void {
  checkOptions("cannot change the rollout", changes, CHANGE_RULES);
  const { stages, first, hold } = changedOptions(options, changes);
  const problem = namedTwice(first, hold, "hold") ?? (stages.length > stage ? undefined : {
    path: "stages",
    seen: `of length ${stages.length}`,
    wanted: `at least ${stage + 1}: stage ${stage + 1} has begun`,
  });
  if (problem === undefined) return;
  throw new TypeError(`cannot change the rollout with ${problem.path} ${problem.seen}, wanted ${problem.wanted}`);
}
