/** The fields of answers about the whole app. A field that is not here never leaves the process. */
import type {
  AppHealth,
  AuditEntry,
  Batch,
  Diagnosis,
  Finding,
  OutboxMessage,
  Pause,
  RegisteredUpgrade,
  StartedBatch,
} from "../../mod.ts";
import { BATCH_ACTIONS, MATCH } from "./parameters.ts";
import { flag, message, number, oneOf, text, time } from "./values.ts";
import { CHANGES } from "./rollout_shapes.ts";
import { HIDDEN, list, object, type ObjectSchema, optional } from "./schema.ts";

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
    ...{ dryRun: flag, refresh: flag, target: text, changes: CHANGES, retryParked: flag },
    ...{ kinds: { type: "array", items: text }, fingerprint: text, until: time },
    ...{ plugin: text, id: text, channel: text, portal: text },
    ...{ list: text, format: text, filter: { type: "object", values: text } },
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
  rollout: optional(text),
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

/** Numbers are exact up to 1,000. */
export const HEALTH: ObjectSchema = object<AppHealth>({
  isRunning: flag,
  tickedAt: optional(time),
  due: object<AppHealth["due"]>({ entries: number, lagMs: number }),
  unverified: object<AppHealth["unverified"]>({ events: number, portals: number, oldestMs: number }),
  outbox: object<AppHealth["outbox"]>({ waiting: number, dead: number }),
}, "AppHealth");

/** A message of a plugin, without the message: only the plugin knows what is in it. */
export const OUTBOX_MESSAGE: ObjectSchema = object<OutboxMessage>({
  plugin: text,
  id: text,
  channel: optional(text),
  message: HIDDEN,
  putAt: time,
  attempts: number,
  error: optional(message),
  nextTryAt: optional(time),
  deadAt: optional(time),
}, "OutboxMessage");

const FINDING = object<Finding>({
  level: oneOf("ok", "warning", "problem"),
  about: message,
  message,
  todo: optional(message),
}, "Finding");

export const DIAGNOSIS: ObjectSchema = object<Diagnosis>({ at: time, findings: list(FINDING) });
