/** The fields that answers may have. A field that is not here never leaves the process. */
import type {
  AppliedUpgrade,
  AuditEntry,
  Batch,
  CheckReport,
  FailedAttempt,
  FailedWith,
  FinishedRun,
  OutboxMessage,
  Pause,
  Plan,
  PlannedUpgrade,
  Portal,
  PortalBlock,
  PortalClaim,
  PortalCount,
  PortalDelivery,
  PortalFailure,
  PortalHistory,
  PortalPage,
  PortalRun,
  RecordedRun,
  RecordedStep,
  RegisteredUpgrade,
  RollbackReport,
  RolledBackStep,
  RunProgress,
  StartedBatch,
  UnverifiedEvent,
  UnverifiedEvents,
} from "../../mod.ts";
import { HIDDEN, list, object, type ObjectSchema, optional, page, type Schema } from "./schema.ts";
import { BATCH_ACTIONS, BLOCKED_REASONS, MATCH, PORTAL_STATES } from "./parameters.ts";

export const text: Schema = { type: "string" };
/** A message for people. It has no tokens; if one has slipped through all the same, it is removed here. */
export const message: Schema = { type: "string", isRedacted: true };
export const number: Schema = { type: "number" };
export const flag: Schema = { type: "boolean" };
/** A time. */
export const time: Schema = { type: "number", description: "Milliseconds since 1970" };

function oneOf(...values: readonly string[]): Schema {
  return { type: "string", enum: values };
}

const APPLIED = object<AppliedUpgrade>({ id: text, from: text, to: text, at: time, skipped: optional(flag) });

const FAILED_WITH = object<FailedWith>({ name: text, code: optional(text), b24Code: optional(text) });

const FAILURE = object<PortalFailure>({
  upgradeId: optional(text),
  to: text,
  step: optional(text),
  message,
  fingerprint: optional(text),
  error: optional(FAILED_WITH),
  attempts: number,
  at: time,
  retryAt: optional(time),
});

const PROGRESS = object<RunProgress>({ done: number, total: optional(number), note: optional(message) });

const RUN = object<PortalRun>({
  id: text,
  from: text,
  startedAt: time,
  current: optional(object<NonNullable<PortalRun["current"]>>({ upgradeId: text, attempt: number })),
  progress: optional(PROGRESS),
  wakeAt: optional(time),
});

const BLOCK = object<PortalBlock>({
  on: oneOf(...BLOCKED_REASONS),
  message,
  since: time,
  nextTryAt: optional(time),
});

const CLAIM = object<PortalClaim>({
  kind: oneOf("version", "removal", "payment"),
  version: optional(text),
  since: time,
  state: oneOf("open", "unconfirmed"),
  isContradicted: flag,
  nextAskAt: optional(time),
});

const PORTAL_MEMBERS = {
  memberId: text,
  domain: text,
  clientEndpoint: optional(text),
  status: oneOf("installed", "uninstalled"),
  state: oneOf(...PORTAL_STATES),
  generation: number,
  initialVersion: optional(text),
  version: optional(text),
  target: optional(text),
  applied: list(APPLIED),
  failure: optional(FAILURE),
  run: optional(RUN),
  blocked: optional(BLOCK),
  scope: optional(list(text)),
  applicationToken: HIDDEN,
  pendingApplicationTokens: HIDDEN,
  claims: optional(list(CLAIM)),
} as const;

/** A portal in a list. */
export const PORTAL: ObjectSchema = object<Portal>(PORTAL_MEMBERS, "Portal");

/** A portal by itself. */
export const STORED_PORTAL: ObjectSchema = object<Portal & { readonly unverifiedEvents?: number }>(
  { ...PORTAL_MEMBERS, unverifiedEvents: optional(number) },
  "StoredPortal",
);

/** Enough of a portal to tell it from another one with its domain. */
export const NAMED_PORTAL: ObjectSchema = object<Pick<Portal, "memberId" | "domain" | "state" | "version">>({
  memberId: text,
  domain: text,
  state: oneOf(...PORTAL_STATES),
  version: optional(text),
});

export const COUNT: ObjectSchema = object<PortalCount>({
  version: optional(text),
  status: oneOf(...PORTAL_STATES),
  count: number,
}, "PortalCount");

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
}, "Plan");

export const CHECK: ObjectSchema = object<CheckReport>({
  memberId: text,
  installed: optional(text),
  version: optional(text),
  target: optional(text),
  isRaised: flag,
  status: optional(text),
  scope: optional(list(text)),
  problems: list(object<CheckReport["problems"][number]>({ code: text, message })),
}, "CheckReport");

const ROLLED_BACK = list(object<RolledBackStep>({ upgradeId: text, step: text }));

export const ROLLBACK: ObjectSchema = object<RollbackReport>(
  { undone: ROLLED_BACK, without: ROLLED_BACK },
  "RollbackReport",
);

export const UPGRADE: ObjectSchema = object<RegisteredUpgrade>({
  id: text,
  range: optional(text),
  due: number,
  running: number,
  blocked: number,
  parked: number,
}, "RegisteredUpgrade");

/** The arguments of actions that the audit log may show. */
const DETAILS: ObjectSchema = {
  type: "object",
  properties: {
    ...{ upgradeId: text, version: text, action: text, match: MATCH, expect: number, stopped: flag },
    ...{ plugin: text, id: text, portal: text, list: text, format: text, filter: { type: "object", values: text } },
  },
  required: [],
};

export const AUDIT_ENTRY: ObjectSchema = object<AuditEntry>({
  id: text,
  at: time,
  action: text,
  by: text,
  reason: message,
  memberId: optional(text),
  details: optional(DETAILS),
  batchId: optional(text),
  outcome: oneOf("pending", "done", "refused", "failed"),
  finishedAt: optional(time),
  error: optional({ type: "object", properties: { code: text, message }, required: ["message"] }),
}, "AuditEntry");

export const BATCH: ObjectSchema = object<Batch>({
  id: text,
  action: oneOf(...BATCH_ACTIONS),
  by: text,
  reason: message,
  upgradeId: optional(text),
  version: optional(text),
  match: MATCH,
  expect: number,
  state: oneOf("running", "finished", "stopped"),
  matched: number,
  done: number,
  refused: number,
  changed: number,
  busy: optional(number),
  startedAt: time,
  endedAt: optional(time),
}, "Batch");

export const STARTED_BATCH: ObjectSchema = object<Required<StartedBatch>>(
  { id: text, matched: number },
  "StartedBatch",
);

export const PAUSE: ObjectSchema = object<Pause>({ by: text, reason: message, since: time }, "Pause");

const UNVERIFIED_EVENT = object<UnverifiedEvent>({
  name: text,
  receivedAt: time,
  size: number,
  isTrusted: flag,
  attempts: number,
  error: optional(message),
  nextTryAt: time,
});

export const UNVERIFIED: ObjectSchema = object<UnverifiedEvents>({
  memberId: text,
  isKnown: flag,
  events: list(UNVERIFIED_EVENT),
}, "UnverifiedEvents");

/** A message of a plugin, without the message: only the plugin knows what is in it. */
export const OUTBOX_MESSAGE: ObjectSchema = object<OutboxMessage>({
  plugin: text,
  id: text,
  message: HIDDEN,
  putAt: time,
  attempts: number,
  error: optional(message),
  nextTryAt: optional(time),
  deadAt: optional(time),
}, "OutboxMessage");

const NEXT: Schema = {
  type: "string",
  description: "Pass it as `after` to get the next page; absent after the last one",
};

/** A page in the order of ids. */
export function pageOf(items: Schema): ObjectSchema {
  return page(items, NEXT);
}

/** A page of portals. */
export const PORTAL_PAGE: ObjectSchema = object<PortalPage>({
  items: list(PORTAL),
  unreadable: optional({
    ...list(text),
    description: "The member_ids of portals on this page that newer code wrote, and this one cannot show",
  }),
  next: optional(NEXT),
}, "PortalPage");
