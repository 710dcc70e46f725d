/**
 * Groups: what notifications are about, as it is stored. Things with the same kind and labels are one group, and one message.
 * Pure functions.
 */
import type { BlockedReason } from "../../mod.ts";
import type { NotificationKind, NotificationMessage } from "./message.ts";

/** The labels that all members of a group share. */
export interface GroupLabels {
  /** The version that portals are to reach. */
  readonly target?: string;
  /** Id of the upgrade. */
  readonly upgradeId?: string;
  /** Name of the step. */
  readonly step?: string;
  /** As in `portal.failure.fingerprint`. */
  readonly fingerprint?: string;
  /** The need of the portals. */
  readonly blockedOn?: BlockedReason;
  /** The name of a channel. */
  readonly channel?: string;
  /** The name of a plugin. */
  readonly plugin?: string;
}

/** The details that the latest member of a group gives about all of them. */
export interface Details {
  /** Message of an error, without tokens. */
  readonly error?: string;
  /** The operator who paused or resumed a rollout. */
  readonly by?: string;
  readonly reason?: string;
}

/** Things that were counted since the last message. */
export interface Counted {
  readonly count: number;
  /** `member_id`s of some of the portals, without duplicates. */
  readonly memberIds: readonly string[];
}

/** A message that is about to be put into the outbox. */
export interface PendingMessage {
  readonly message: NotificationMessage;
  /** The names of the channels. */
  readonly channels: readonly string[];
  readonly generation: number;
  /** Number of portals, events or messages that it is about. */
  readonly count: number;
  /** When it was composed. */
  readonly at: number;
  /** Until then, the process that composed it puts it into the outbox; another one may do so afterwards. */
  readonly until: number;
  /** The group ends with it. */
  readonly isLast: boolean;
}

/** A group. Times in milliseconds since 1970. */
export interface Group {
  readonly format: typeof GROUP_FORMAT;
  readonly kind: NotificationKind;
  readonly labels: GroupLabels;
  /** Tells the messages of this group from those of an earlier one with the same key. */
  readonly incarnation: string;
  /** When the first thing happened. */
  readonly since: number;
  /** When the latest thing happened. */
  readonly latestAt: number;
  readonly details: Details;
  /** The actor or the cause that has ended it, if that is known before its end is found. */
  readonly ending?: Details;
  /** Something has happened since the last message. */
  readonly hasChanged: boolean;
  /** Number of messages so far. */
  readonly generation: number;
  /** When it is looked at next. */
  readonly checkAt: number;
  /** The last message that said that the problem is there. */
  readonly told?: {
    readonly at: number;
    readonly count: number;
    readonly portals: NotificationMessage["portals"];
  };
  readonly counted?: Counted;
  readonly pending?: PendingMessage;
}

/** Raised if older code would misread a group. */
export const GROUP_FORMAT = 1;

/** Maximum number of portals that a message names. */
export const MAX_SHOWN = 10;

/** Something that has happened. */
export interface Occurrence {
  readonly kind: NotificationKind;
  readonly labels: GroupLabels;
  readonly details?: Details;
  /** To be counted. */
  readonly counted?: Counted;
}

/** Returns a group with something that has happened; a new one if there is none. */
export function withOccurrence(
  group: Group | undefined,
  { kind, labels, details, counted }: Occurrence,
  { now, waitMs, incarnation }: { readonly now: number; readonly waitMs: number; readonly incarnation: string },
): Group {
  const { ending: _, ...known } = group ?? {
    ...{
      format: GROUP_FORMAT,
      kind,
      labels,
      incarnation,
      since: now,
      latestAt: now,
      details: {},
      hasChanged: true,
    } as const,
    ...{ generation: 0, checkAt: now + waitMs },
  };
  return {
    ...known,
    latestAt: Math.max(now, known.latestAt),
    hasChanged: true,
    ...(details !== undefined && { details }),
    ...(counted !== undefined && { counted: sumOf(known.counted, counted) }),
  };
}

/** Returns both counts together. */
export function sumOf(one: Counted | undefined, other: Counted): Counted {
  const memberIds = [...new Set([...one?.memberIds ?? [], ...other.memberIds])].slice(0, MAX_SHOWN);
  return { count: (one?.count ?? 0) + other.count, memberIds };
}

/**
 * Returns the group with a message about what `seen`, an earlier state of it, shows. What has happened since belongs to the next
 * message.
 */
export function withPending(group: Group, seen: Group, pending: PendingMessage, checkAt: number): Group {
  const { counted, ...rest } = group;
  const left = (counted?.count ?? 0) - (seen.counted?.count ?? 0);
  return {
    ...rest,
    ...{ generation: pending.generation, hasChanged: group.latestAt !== seen.latestAt, checkAt, pending },
    ...(left > 0 && { counted: { count: left, memberIds: counted!.memberIds } }),
  };
}

/** Returns the group once its pending message is in the outbox; `undefined` if it ends with it. */
export function withoutPending(
  { pending, told: _, ...group }: Group & { readonly pending: PendingMessage },
): Group | undefined {
  const { isLast, at, count, message: { portals } } = pending;
  if (!isLast) return { ...group, told: { at, count, portals } };
  // Something has happened since: it is reported as a new problem.
  return group.hasChanged ? { ...group, since: group.latestAt } : undefined;
}

/** Returns the id of a message: the same for each attempt to send it, and for no other message. */
export function messageId(
  key: string,
  { incarnation }: Pick<Group, "incarnation">,
  generation: number,
  channel: string,
): string {
  return `${key}.${incarnation}.${generation}.${channel}`;
}
