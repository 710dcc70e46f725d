/** The parameters of requests. */
import type { AuditedAction, AuditFilter, BlockedReason, NewBatch, PortalMatch, PortalState } from "../../mod.ts";
import { object, type ObjectSchema, optional, type Schema } from "./schema.ts";

/** Returns the members of a union. The compiler requires all of them. */
export function all<Name extends string>(names: Readonly<Record<Name, true>>): readonly Name[] {
  return Object.keys(names) as Name[];
}

export const PORTAL_STATES: readonly PortalState[] = all<PortalState>({
  ...{ current: true, upgrading: true, blocked: true, parked: true, uninstalled: true },
});

export const BLOCKED_REASONS: readonly BlockedReason[] = all<BlockedReason>({
  ...{ scope: true, payment: true, confirmation: true, administrator: true, authorization: true, installation: true },
  ...{ configuration: true, version: true, rollout: true },
});

export const BATCH_ACTIONS: readonly NewBatch["action"][] = all<NewBatch["action"]>({
  ...{ retry: true, skip: true, rollback: true, setTarget: true, setInitialVersion: true },
});

export const AUDITED_ACTIONS: readonly AuditedAction[] = all<AuditedAction>({
  ...{ retry: true, skip: true, rollback: true, setInitialVersion: true, setTarget: true, forget: true, pause: true },
  ...{ resume: true, batch: true, adopt: true, "outbox.retry": true, recount: true, check: true },
  ...{ rehearse: true, export: true },
  ...{ "rollout.set": true, "rollout.pause": true, "rollout.resume": true, "rollout.promote": true },
  ...{ "rollout.abort": true, "silence.add": true, "silence.remove": true },
});

/** A pattern of strings that are not blank, without control characters and those that change the direction of text. */
export const LINE = "^(?=.*\\S)[^\\p{Cc}\\u2028\\u2029\\u061c\\u200e\\u200f\\u202a-\\u202e\\u2066-\\u2069]*$";

/** A string that is not blank and has no control characters. */
export function line(maxLength: number, description?: string): Schema {
  return {
    type: "string",
    ...{ minLength: 1, maxLength, pattern: LINE },
    ...(description !== undefined && { description }),
    wanted: `1 to ${maxLength} characters without control characters, also of text direction`,
  };
}

export const REASON: Schema = line(500, "Why the operator acts, such as a ticket. The audit log shows it");

export const VERSION: Schema = line(100, 'A version, such as "3", "2.1" or "2.1.0"');

export const UPGRADE_ID: Schema = line(1000, "The id of an upgrade");

/** Describes portals: the same as `PortalMatch`. */
export const MATCH: ObjectSchema = object<PortalMatch>({
  version: optional({
    ...{ type: "string", maxLength: 100, pattern: "^\\d+\\.\\d+\\.\\d+([-+][0-9A-Za-z.+-]+)?$" },
    description: "Only portals on this version, spelled as in `portal.version`",
    wanted: 'a version as portals have it, such as "2.0.0"',
  }),
  status: optional({ type: "string", enum: PORTAL_STATES, description: "Only portals in this state" }),
  domain: optional(line(253, "Only portals with this domain")),
  formerDomain: optional(line(253, "Only portals that had this domain before they were renamed")),
  blockedOn: optional({ type: "string", enum: BLOCKED_REASONS, description: "Only portals that are blocked on this" }),
  upgradeId: optional(line(1000, "Only portals whose last failure was in the upgrade with this id")),
  fingerprint: optional(line(100, "Only portals whose last failure has this fingerprint")),
}, "PortalMatch");

const AFTER: Schema = line(1000, "Only what comes after this: `next` of a page");

export const MEMBER_ID: Schema = {
  type: "string",
  pattern: "^[0-9a-f]{32}$",
  wanted: "32 lower-case hexadecimal digits",
  description: "The `member_id` of a portal",
};

/** The number of items of a page. */
export function limit(maximum: number): Schema {
  return { type: "integer", minimum: 1, maximum, description: "Maximum number of items" };
}

/** Parameters of a page. */
export const PAGE = { after: optional(AFTER), limit: optional(limit(1000)) } as const;

/** Selects entries of the audit log. */
export type AuditMatch = Omit<AuditFilter, "after" | "limit">;

/** Selects entries of the audit log. */
export const AUDIT_MATCH: ObjectSchema = object<AuditMatch>({
  memberId: optional(MEMBER_ID),
  by: optional(line(100, "Only actions of this operator")),
  action: optional({ type: "string", enum: AUDITED_ACTIONS, description: "Only these actions" }),
  batchId: optional(line(200, "Only the start, the stop and the actions of this batch operation")),
});
