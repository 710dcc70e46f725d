/** The fields of rollouts, in requests and in answers. */
import type {
  PauseWhen,
  RolloutBreaker,
  RolloutChanges,
  RolloutFailure,
  RolloutStageStatus,
  RolloutState,
  RolloutStatus,
  RolloutWait,
  RolloutWindow,
} from "../../mod.ts";
import { all, MEMBER_ID, UPGRADE_ID } from "./parameters.ts";
import { list, object, type ObjectSchema, optional, type Schema } from "./schema.ts";
import { message, number, oneOf, text, time } from "./values.ts";

/** All members of the types of a union. */
type MembersOf<Union> = { readonly [Name in Union extends unknown ? keyof Union : never]?: unknown };

const WAITS: readonly RolloutWait["on"][] = all<RolloutWait["on"]>({
  ...{ resume: true, failures: true, window: true, time: true, promote: true, set: true, portals: true },
});

const STATES: readonly RolloutState[] = all<RolloutState>({
  ...{ running: true, finished: true, aborted: true, superseded: true },
});

function integer(minimum: number, maximum: number, description: string): Schema {
  return { type: "integer", minimum, maximum, description };
}

const PERCENT: Schema = { type: "number", minimum: 0, maximum: 100 };

/** A stage has `portals` or `percent`. */
const STAGE_MEMBERS = {
  portals: optional(integer(1, 100, "A number of portals; without `percent`")),
  percent: optional({ ...PERCENT, description: "This part of all portals; without `portals`" }),
  forMs: optional({
    ...{ type: "number", minimum: 0 },
    description: "Milliseconds that it lasts once its portals are done; without it, it waits for `promote`",
  }),
} as const;

const STAGE = object<Omit<RolloutStageStatus, "state">>(STAGE_MEMBERS);

const PAUSE_WHEN = object<PauseWhen>({
  failed: optional(integer(1, 1_000_000_000, "Number of failed portals")),
  percent: optional({ ...PERCENT, description: "Percentage of the portals that have finished" }),
});

const CLOCK_TIME: Schema = {
  ...{ type: "string", pattern: "^([01]\\d|2[0-3]):[0-5]\\d$" },
  wanted: 'a time of day such as "22:00"',
};

const WINDOW = object<RolloutWindow>({
  from: CLOCK_TIME,
  to: CLOCK_TIME,
  days: optional(list(integer(1, 7, "1 for Monday"))),
  timeZone: text,
});

/** The changes of `rollout.set`. */
export const CHANGES: ObjectSchema = object<RolloutChanges>({
  stages: optional(list(STAGE)),
  first: optional(list(MEMBER_ID)),
  hold: optional(list(MEMBER_ID)),
  pauseWhen: optional(PAUSE_WHEN),
  window: optional({ ...WINDOW, isNullable: true, description: "`null`: at any time" }),
});

const OPTIONS = object<RolloutStatus["options"]>({
  stages: list(STAGE),
  first: list(text),
  hold: list(text),
  pauseWhen: PAUSE_WHEN,
  window: optional(WINDOW),
  concurrency: number,
});

const WAIT = object<MembersOf<RolloutWait>>({
  on: optional(oneOf(...WAITS)),
  by: optional(text),
  reason: optional(message),
  since: optional(time),
  upgradeIds: optional(list(text)),
  until: optional(time),
});

const BREAKER = object<RolloutBreaker>({
  upgradeId: UPGRADE_ID,
  inFlight: number,
  finished: number,
  failed: number,
  pausesAt: number,
  trippedAt: optional(time),
});

const FAILURE = object<RolloutFailure>({
  fingerprint: text,
  upgradeId: optional(text),
  message,
  count: number,
  memberIds: list(text),
});

/** A rollout. */
export const ROLLOUT: ObjectSchema = object<RolloutStatus>({
  target: text,
  state: oneOf(...STATES),
  startedAt: time,
  stages: list(object<RolloutStageStatus>({ ...STAGE_MEMBERS, state: oneOf("over", "present", "later") })),
  stageSince: time,
  options: OPTIONS,
  waitsFor: optional({ ...WAIT, description: "What it waits for; absent if it is over" }),
  counts: object<RolloutStatus["counts"]>({
    ...{ current: number, upgrading: number, blocked: number, parked: number, held: number },
  }),
  perMinute: number,
  remainingMs: optional(number),
  breakers: list(BREAKER),
  failures: list(FAILURE),
}, "RolloutStatus");
