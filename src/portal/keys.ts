/**
 * Every key under which the core stores something. Each key has one owner module, and an entry lives until its owner
 * deletes it or its TTL expires. `docs/architecture.md` has the table.
 */
import { checkOptions, option } from "../check_options.ts";
import type { Key } from "../storage/storage.ts";

/** Prefix of all portal records. Owner: `record.ts`. Kept forever; a removed portal is reduced by `purge.ts`. */
export const PORTALS = ["portal"] as const;

const memberIdRule = option.required(
  option.value("the member_id of a portal", (memberId) => typeof memberId === "string"),
);

/**
 * Key of a portal's record.
 *
 * @throws {TypeError} if `memberId` is not a string
 */
export function portalKey(memberId: string): Key {
  if (typeof memberId !== "string") checkOptions("cannot find a portal", { memberId }, { memberId: memberIdRule });
  return [...PORTALS, memberId];
}

/** Prefix of the token pairs of portals. Owner: `credentials_record.ts`. Deleted when the app is removed. */
export const CREDENTIALS = ["credentials"] as const;

/** Key of a portal's token pairs. */
export function credentialsKey(memberId: string): Key {
  return [...CREDENTIALS, memberId];
}

/** Prefix of the deliveries that do not fit portals' records. Owner: `inbox.ts`. Deleted when their work is done. */
export const DELIVERIES = ["delivery"] as const;

/** Key of a delivery that does not fit the portal's record. */
export function deliveryKey(memberId: string, id: string): Key {
  return [...DELIVERIES, memberId, id];
}

/** Prefix of the finished runs of a portal. Owner: `run_history.ts`. The last 20 are kept. */
export function runPrefix(memberId: string): Key {
  return ["run", memberId];
}

/** Key of a finished run. `name`: see `nameOf` there. */
export function runKey(memberId: string, name: string): Key {
  return [...runPrefix(memberId), name];
}

/** Prefix of the journals of a portal. Owner: `journal.ts`. Deleted with their runs. */
export function journalPrefix(memberId: string): Key {
  return ["journal", memberId];
}

/** Key of chunk `n` of the journal of an upgrade, counted from 0. Keys sort by `n`. */
export function journalKey(memberId: string, runId: string, upgradeId: string, n: number): Key {
  return [...journalPrefix(memberId), runId, upgradeId, String(n).padStart(8, "0")];
}

/** Prefix of the step results of a portal that are too large for its journals. Owner: `journal.ts`. Deleted with their runs. */
export function resultPrefix(memberId: string): Key {
  return ["result", memberId];
}

/** Key of a step result that is too large for its journal. */
export function resultKey(memberId: string, runId: string, unique: string): Key {
  return [...resultPrefix(memberId), runId, unique];
}

/** Prefix of the failed attempts of a portal. Owner: `failed_attempts.ts`. The last 50 are kept, and up to 10 older ones. */
export function attemptPrefix(memberId: string): Key {
  return ["attempt", memberId];
}

/** Key of a failed attempt. `name`: its number, from 1, and a fencing token. Keys sort by the number. */
export function attemptKey(memberId: string, name: string): Key {
  return [...attemptPrefix(memberId), name];
}

/** Prefix of the index. Owner: `portal_index.ts`. Deleted when the record of the portal no longer names the entry. */
export const INDEX = ["index"] as const;

/**
 * What portals are indexed by. Values are the state, the version, and so on; for `failure` the id of an upgrade, for `former` a
 * domain that the portal had before a rename.
 */
export type IndexKind = "state" | "version" | "domain" | "former" | "blocked" | "failure" | "fingerprint";

/** Prefix of the index entries of all portals with this value; of a domain, the SHA-256 of it. */
export function indexPrefix(kind: IndexKind, value: string): Key {
  return [...INDEX, kind, value];
}

/** Key of an index entry of a portal. */
export function indexKey(kind: IndexKind, value: string, memberId: string): Key {
  return [...indexPrefix(kind, value), memberId];
}

/** Prefix of the totals by version and state, and by cause. Owner: `totals.ts`. At most 256 entries, kept forever. */
export const TOTALS = ["total"] as const;

/** Key of the total of the portals of a shard. */
export function totalKey(shard: string): Key {
  return [...TOTALS, shard];
}

/** Prefix of the snapshots of an interval. Owner: `count_snapshots.ts`. TTL: 90 days for `hour`, two years for `day`. */
export function snapshotPrefix(interval: "hour" | "day"): Key {
  return ["snapshot", interval];
}

/** Key of a snapshot. Later snapshots have greater names. */
export function snapshotKey(interval: "hour" | "day", name: string): Key {
  return [...snapshotPrefix(interval), name];
}

/** Key of the progress of the recount. Owner: `worker/recount.ts`. One entry. */
export const RECOUNT: Key = ["recount"];

/** Prefix of the schedule. Owner: `schedule.ts`. Deleted when the portal is no longer due at that time. */
export const SCHEDULE = ["due"] as const;

/** Key of a schedule entry. */
export function dueKey(due: string, memberId: string): Key {
  return [...SCHEDULE, due, memberId];
}

/** Key of the progress of the deploy sweep. Owner: `worker/deploy_sweep.ts`. One entry. */
export const DEPLOY_SWEEP: Key = ["deployed"];

/** Prefix of what a plugin stores about a portal. Owner: the plugin. Deleted by `admin.forget`. */
export function pluginPortalPrefix(plugin: string, memberId: string): Key {
  return [...pluginPrefix(plugin), "portal", memberId];
}

/**
 * Key of a token pair that an adoption has refreshed. Owner: `credentials/adopted_pairs.ts`. Deleted when the portal is adopted
 * or removed. TTL: 180 days.
 */
export function adoptedPairKey(memberId: string): Key {
  return ["adopt", memberId];
}

/** Key of the ticket of an opened page, by the digest of the ticket. Owner: `app/tickets.ts`. TTL: 1 hour. */
export function ticketKey(digest: string): Key {
  return ["opening", digest];
}

/** Prefix of the messages that wait for their delivery. Owner: `outbox/messages.ts`. TTL: 8 days. */
export const OUTBOX_MESSAGES = ["outbox", "message"] as const;

/** Key of a message of a plugin. */
export function outboxMessageKey(plugin: string, id: string): Key {
  return [...OUTBOX_MESSAGES, plugin, id];
}

/** Prefix of the schedule of messages. Owner: `outbox/messages.ts`. TTL: 8 days. */
export const OUTBOX_DUE = ["outbox", "due"] as const;

/** Key of a time from which on a message is to be delivered. */
export function outboxDueKey(due: string, plugin: string, id: string): Key {
  return [...OUTBOX_DUE, due, plugin, id];
}

/** Prefix of the messages that could not be delivered. Owner: `outbox/messages.ts`. TTL: 30 days. */
export const DEAD_LETTERS = ["outbox", "dead"] as const;

/** Key of a message that could not be delivered. */
export function deadLetterKey(plugin: string, id: string): Key {
  return [...DEAD_LETTERS, plugin, id];
}

/** Prefix of what a plugin stores. Owner: the plugin. */
export function pluginPrefix(name: string): Key {
  return ["plugin", name];
}

/** Prefix of the lists of events that wait for verification. */
export const UNVERIFIED = ["unverified"] as const;

/** Key of the events of a portal that wait for verification. Owner: `unverified.ts`. TTL: 25 hours. */
export function unverifiedKey(memberId: string): Key {
  return [...UNVERIFIED, memberId];
}

/** Key of one event that waits for verification. Owner: `unverified.ts`. TTL: 25 hours. */
export function unverifiedEventKey(memberId: string, slot: string): Key {
  return ["unverified-event", memberId, slot];
}

/** Prefix of the schedule of verifications. Owner: `unverified.ts`. TTL: 25 hours. */
export const UNVERIFIED_DUE = ["unverified-due"] as const;

/** Key of a time from which on the events of a portal are to be verified. */
export function unverifiedDueKey(time: string, memberId: string): Key {
  return [...UNVERIFIED_DUE, time, memberId];
}

/** Prefix of the audit log. */
export const AUDIT = ["audit"] as const;

/** Key of an action of an operator. Owner: `app/admin/audit.ts`. TTL: 400 days. Later actions come first. */
export function auditKey(id: string): Key {
  return [...AUDIT, id];
}

/** Key of the pause of all work. Owner: `worker/pause.ts`. Deleted by `admin.resume`. */
export const PAUSE: Key = ["pause"];

/** Prefix of the batch operations that are not over. */
export const OPEN_BATCHES = ["batch", "open"] as const;

/** Prefix of the batch operations that are over, the latest first. */
export const ENDED_BATCHES = ["batch", "ended"] as const;

/** Key of a batch operation that is not over. Owner: `app/admin/batches.ts`. Deleted when it ends. */
export function openBatchKey(id: string): Key {
  return [...OPEN_BATCHES, id];
}

/** Key of a batch operation that is over. Owner: `app/admin/batches.ts`. TTL: 400 days. */
export function endedBatchKey(id: string): Key {
  return [...ENDED_BATCHES, id];
}

/** Prefix of the rollouts of targets. */
export const ROLLOUT_TARGETS = ["rollout", "target"] as const;

/** Key of the rollout of a target. Owner: `rollout/targets.ts`. Kept forever. */
export function rolloutTargetKey(version: string): Key {
  return [...ROLLOUT_TARGETS, version];
}

/** Prefix of the breakers of upgrades. */
export const ROLLOUT_UPGRADES = ["rollout", "upgrade"] as const;

/** Key of the breaker of an upgrade. Owner: `rollout/breakers.ts`. Kept forever. */
export function rolloutUpgradeKey(upgradeId: string): Key {
  return [...ROLLOUT_UPGRADES, upgradeId];
}

/** Prefix of the silences of notifications. */
export const SILENCES = ["silence"] as const;

/** Key of a silence. Owner: `app/admin/silences.ts`. Kept until it ends. */
export function silenceKey(id: string): Key {
  return [...SILENCES, id];
}

/** Key of the app that uses the storage. Owner: `app/deployment.ts`. One entry. */
export const APP: Key = ["app"];
