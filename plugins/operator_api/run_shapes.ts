/** The fields of runs, plans and rehearsals in answers. A field that is not here never leaves the process. */
import type {
  FailedAttempt,
  FinishedRun,
  NotRehearsed,
  Plan,
  PlannedUpgrade,
  PortalDelivery,
  PortalHistory,
  RecordedRun,
  RecordedStep,
  RehearsalReport,
  RehearsedCall,
  RehearsedChange,
  RehearsedStep,
  RehearsedTime,
  RehearsedUpgrade,
  RehearsedWrite,
  RollbackReport,
  RolledBackStep,
} from "../../mod.ts";
import { BLOCKED_REASONS } from "./parameters.ts";
import { APPLIED } from "./portal_shapes.ts";
import { flag, message, number, oneOf, text, time } from "./values.ts";
import { HIDDEN, list, object, type ObjectSchema, optional, type Schema } from "./schema.ts";

const STEP = object<RecordedStep>({
  name: text,
  kind: oneOf("step", "pages", "sleep"),
  startedAt: time,
  finishedAt: optional(time),
  attempts: optional(number),
  pages: optional(number),
  undoneAt: optional(time),
});

const RUN_MEMBERS = {
  id: text,
  generation: number,
  from: text,
  to: text,
  startedAt: time,
  applied: list(APPLIED),
  upgrades: list(object<RecordedRun["upgrades"][number]>({ upgradeId: text, steps: list(STEP) })),
  calls: { type: "object", values: number },
  rolledBackAt: optional(time),
} as const;

/** A run that is finished. */
export const FINISHED_RUN: ObjectSchema = object<FinishedRun>({ ...RUN_MEMBERS, finishedAt: time }, "FinishedRun");

const RECORDED_RUN = object<RecordedRun>({ ...RUN_MEMBERS, finishedAt: optional(time) }, "RecordedRun");

const DELIVERY = object<PortalDelivery>({
  id: text,
  name: text,
  ts: optional({ type: "number", description: "Seconds since 1970" }),
  receivedAt: time,
  state: oneOf("waiting", "retrying", "parked", "handled", "skipped", "unconfirmed", "outdated"),
  doneAt: optional(time),
  attempts: optional(number),
  error: optional(message),
  retryAt: optional(time),
});

const ATTEMPT = object<FailedAttempt>({
  generation: number,
  upgradeId: optional(text),
  event: optional(text),
  step: optional(text),
  attempt: number,
  startedAt: time,
  failedAt: time,
  message,
  fingerprint: text,
  blockedOn: optional(oneOf(...BLOCKED_REASONS)),
  retryAt: optional(time),
});

export const HISTORY: ObjectSchema = object<PortalHistory>({
  deliveries: list(DELIVERY),
  runs: list(RECORDED_RUN),
  attempts: list(ATTEMPT),
}, "PortalHistory");

const PLANNED = object<PlannedUpgrade>({ id: text, range: text });

export const PLAN: ObjectSchema = object<Plan>({
  from: optional(text),
  to: optional(text),
  direction: oneOf("up", "none", "down"),
  upgrades: list(PLANNED),
  skipped: list(PLANNED),
  held: optional(message),
}, "Plan");

const ANY: Schema = { type: "any" };

const REHEARSED_STEP = object<RehearsedStep>({
  name: text,
  kind: oneOf("step", "pages", "sleep"),
  wasDone: optional(flag),
  pages: optional(number),
  done: optional(number),
  ms: optional(number),
});

const REHEARSED_UPGRADE = object<RehearsedUpgrade>({
  id: text,
  range: text,
  outcome: oneOf("rehearsed", "incomplete", "failed", "blocked", "not_rehearsed", "not_reached"),
  why: optional(message),
  steps: list(REHEARSED_STEP),
});

const REHEARSED_WRITE = object<RehearsedWrite>({
  method: text,
  params: optional({ ...ANY, description: "What a run would send, which may be the customer's data, without secrets" }),
  result: HIDDEN,
  upgradeId: optional(text),
  step: optional(text),
  isUnknown: optional(flag),
});

const REHEARSED_CHANGE = object<RehearsedChange>({
  kind: text,
  id: text,
  action: oneOf("add", "update", "remove", "keep"),
  why: message,
});

export const REHEARSAL: ObjectSchema = object<RehearsalReport>({
  memberId: text,
  from: optional(text),
  to: optional(text),
  obstacle: optional(message),
  isComplete: flag,
  upgrades: list(REHEARSED_UPGRADE),
  calls: list(object<RehearsedCall>({ method: text, count: number, isRead: flag })),
  writes: list(REHEARSED_WRITE),
  changes: {
    type: "object",
    values: list(REHEARSED_CHANGE),
    description: "What plugins would change, by the name of the plugin",
  },
  notRehearsed: list(object<NotRehearsed>({ what: text, why: message })),
  time: object<RehearsedTime>({ requests: number, rateMs: number, sleepMs: number, minMs: number }),
  // All that the handlers have read: the customer's data.
  recording: HIDDEN,
  text: message,
}, "RehearsalReport");

const ROLLED_BACK = list(object<RolledBackStep>({ upgradeId: text, step: text }));

export const ROLLBACK: ObjectSchema = object<RollbackReport>(
  { undone: ROLLED_BACK, without: ROLLED_BACK },
  "RollbackReport",
);
