/** Looks at the groups that are due, and puts their messages into the outbox. */
import type { PluginHost, Silence } from "../../mod.ts";
import { composeFiring, type ComposeOptions, composeResolved } from "./compose.ts";
import { decide, isDue, type Timing } from "./decide.ts";
import { type Group, messageId, type PendingMessage, withoutPending, withPending } from "./group.ts";
import type { GroupStore } from "./group_store.ts";
import { KINDS } from "./kinds.ts";
import type { Level } from "./level.ts";
import type { NotificationMessage } from "./message.ts";
import type { Route } from "./routing.ts";

/** A message in the outbox. */
export interface OutboxEntry {
  /** The name of the channel. */
  readonly channel: string;
  readonly message: NotificationMessage;
}

/** Dependencies of {@linkcode createFlush}. */
export interface FlushParts {
  readonly host: PluginHost;
  readonly store: GroupStore;
  readonly levelOf: (group: Group) => Promise<Level>;
  readonly route: Route;
  readonly compose: ComposeOptions;
  readonly timing: Timing;
  /** Maximum time (ms) until a group is looked at. */
  readonly maxWaitMs: number;
  /** Returns whether only critical notifications are sent at a time. */
  readonly isQuiet: (at: number) => boolean;
}

/** Time (ms) after which another process puts a message into the outbox whose process has ended. */
const TAKEOVER_MS = 60_000;

/** Time (ms) that a group is kept that no rule wants: in a deploy, those of another process may. */
const UNWANTED_MS = 60 * 60 * 1000;

/** Returns the function that looks at the groups that are due. It rejects with the first error, after all groups had their turn. */
export function createFlush(parts: FlushParts): (signal: AbortSignal) => Promise<void> {
  const { host: { admin, clock, log }, store } = parts;
  return async (signal) => {
    const now = clock();
    const times = { maxWaitMs: parts.maxWaitMs, takeoverMs: TAKEOVER_MS };
    const due = [...await store.all()].filter(([, group]) =>
      Object.hasOwn(KINDS, group.kind) && isDue(group, now, times)
    );
    if (due.length === 0) return;
    const silences = await admin.silences.list();
    let failure: { readonly err: unknown } | undefined;
    for (const [key, group] of due) {
      signal.throwIfAborted();
      try {
        await look(parts, key, group, silences);
      } catch (err) {
        signal.throwIfAborted();
        failure ??= { err };
        log.warn("failed to notify", { event: "notifications.failed", kind: group.kind, err });
      }
    }
    if (failure !== undefined) throw failure.err;
  };
}

async function look(parts: FlushParts, key: string, group: Group, silences: readonly Silence[]): Promise<void> {
  const { host: { clock }, store, route, levelOf, timing, isQuiet } = parts;
  const now = clock();
  if (group.pending !== undefined) return await takeOver(parts, key, group, group.pending);
  const channels = route(group.kind, group.labels);
  const isSame = (other: Group | undefined): other is Group =>
    other?.incarnation === group.incarnation && other.generation === group.generation && other.pending === undefined;
  if (channels.length === 0) {
    if (Math.abs(now - group.latestAt) < UNWANTED_MS) return;
    return void await store.change(key, (other) => isSame(other) ? "delete" : undefined);
  }
  const isHeldBack = silences.some((silence) => isSilenced(group, silence)) ||
    (isQuiet(now) && KINDS[group.kind].severity !== "critical");
  // Looked at again at the next tick. What is counted is forgotten meanwhile as at any other time.
  if (isHeldBack && KINDS[group.kind].end !== "count") return;
  const level = await levelOf(group);
  const decision = decide(group, level, now, timing);
  if (isHeldBack && (decision.action === "fire" || decision.action === "resolve")) return;
  switch (decision.action) {
    case "forget":
      await store.change(key, (other) => isSame(other) && other.latestAt === group.latestAt ? "delete" : undefined);
      return;
    case "wait":
      await store.change(key, (other) => isSame(other) ? { ...other, checkAt: decision.at } : undefined);
      return;
    case "fire":
      if (await isInhibited(parts, group)) {
        const checkAt = now + timing.groupIntervalMs;
        return void await store.change(key, (other) => isSame(other) ? { ...other, checkAt } : undefined);
      }
  }
  const isLast = decision.action === "resolve";
  const compose = isLast ? composeResolved : composeFiring;
  const checkAt = now + timing.groupIntervalMs;
  let pending: PendingMessage | undefined;
  // Whichever process stores it sends it. Composed from the group as it is now: a portal may have been erased from it.
  const isStored = await store.change(key, (other) => {
    if (!isSame(other)) return undefined;
    pending = {
      message: compose(other, level, parts.compose),
      ...{ channels, generation: group.generation + 1, count: level.count, at: now, until: now + TAKEOVER_MS, isLast },
    };
    return withPending(other, group, pending, checkAt);
  });
  if (isStored) await send(parts, key, group.incarnation, pending!);
}

/** Puts a message into the outbox whose process has ended before it could. */
async function takeOver(
  parts: FlushParts,
  key: string,
  { incarnation }: Group,
  pending: PendingMessage,
): Promise<void> {
  const { host: { clock }, store } = parts;
  let taken: PendingMessage | undefined;
  const isMine = await store.change(key, (group) => {
    const isSame = group?.incarnation === incarnation && group.pending?.generation === pending.generation &&
      group.pending.until === pending.until;
    if (!isSame) return undefined;
    // As it is now: a portal may have been erased from it.
    taken = { ...group.pending!, until: clock() + TAKEOVER_MS };
    return { ...group, pending: taken };
  });
  if (isMine) await send(parts, key, incarnation, taken!);
}

/** Puts a message into the outbox, once for each channel. A repetition has the same ids. */
async function send(
  { host, store }: FlushParts,
  key: string,
  incarnation: string,
  pending: PendingMessage,
): Promise<void> {
  const { message, channels, generation } = pending;
  for (const channel of channels) {
    const id = messageId(key, { incarnation }, generation, channel);
    const result = await host.outbox.put({ channel, message } satisfies OutboxEntry, { id, channel });
    // No room: it is tried again once it may be taken over.
    if (result === "dropped") return;
  }
  await store.change(key, (group) => {
    if (group?.incarnation !== incarnation || group.pending?.generation !== generation) return undefined;
    return withoutPending({ ...group, pending: group.pending }) ?? "delete";
  });
}

/** Returns whether a silence holds the notifications of a group back. */
export function isSilenced(
  { kind, labels }: Pick<Group, "kind" | "labels">,
  { kinds, target, upgradeId, fingerprint }: Silence,
): boolean {
  return (kinds?.includes(kind) ?? true) && (target ?? labels.target) === labels.target &&
    (upgradeId ?? labels.upgradeId) === labels.upgradeId &&
    (fingerprint ?? labels.fingerprint) === labels.fingerprint;
}

/** Returns whether another notification says as much: a paused rollout tells of the portals that have failed in it. */
async function isInhibited(
  { host: { admin }, route }: FlushParts,
  { kind, labels: { target } }: Group,
): Promise<boolean> {
  if (kind !== "portal_parked" || target === undefined || route("rollout_paused", { target }).length === 0) {
    return false;
  }
  const on = (await admin.rollout.status(target))?.waitsFor?.on;
  return on === "failures" || on === "resume";
}
