/** The observers of the notifier. They add events to groups, count, and notify customers. */
import type { BlockedReason, Observers, PluginHost } from "../../mod.ts";
import { composeForCustomer } from "./compose.ts";
import type { OutboxEntry } from "./flush.ts";
import { type Counted, type GroupLabels, sumOf } from "./group.ts";
import { type GroupStore, keyOf } from "./group_store.ts";
import { CUSTOMER_BLOCKS, OPERATOR_BLOCKS } from "./kinds.ts";
import { nameOf } from "./level.ts";
import type { NotificationKind, NotificationLanguage, NotificationMessage } from "./message.ts";
import type { Routing } from "./routing.ts";
import type { Watch } from "./watch.ts";

/** The parts of the notifier that observers use, once the app has set it up. */
export interface ObservingParts {
  readonly host: PluginHost;
  readonly store: GroupStore;
  readonly watch: Watch;
  readonly tally: Tally;
}

/** Things that are counted in this process until the next tick. */
export interface Tally {
  readonly count: (kind: NotificationKind, labels: GroupLabels, memberId?: string) => void;
  /** Adds the counts to their groups. What cannot be stored is kept for the next time. */
  readonly store: (store: GroupStore) => Promise<void>;
}

/** Maximum number of groups that are counted at a time. */
const MAX_COUNTED = 100;

/** Returns a tally that has counted nothing. */
export function createTally({ portal }: Pick<PluginHost, "portal">): Tally {
  let counts = new Map<
    string,
    { readonly kind: NotificationKind; readonly labels: GroupLabels; readonly counted: Counted }
  >();
  const add = (kind: NotificationKind, labels: GroupLabels, counted: Counted): void => {
    const key = JSON.stringify([kind, labels]);
    if (!counts.has(key) && counts.size >= MAX_COUNTED) return;
    counts.set(key, { kind, labels, counted: sumOf(counts.get(key)?.counted, counted) });
  };
  /** Returns the counts without names of portals that were removed or erased since. */
  async function withoutRemoved<T extends { readonly counted: Counted }>(one: T): Promise<T> {
    const { count, memberIds } = one.counted;
    // One that cannot be read keeps its name: `store` rejects if the storage fails.
    const stateOf = (memberId: string) => portal(memberId).then((stored) => stored?.state, () => undefined);
    const states = await Promise.all(memberIds.map(stateOf));
    return { ...one, counted: { count, memberIds: memberIds.filter((_, i) => states[i] !== "uninstalled") } };
  }

  return {
    count: (kind, labels, memberId) =>
      add(kind, labels, { count: 1, memberIds: memberId === undefined ? [] : [memberId] }),
    store: async (store) => {
      const all = [...counts.values()];
      counts = new Map();
      while (all.length > 0) {
        try {
          await store.add(await withoutRemoved(all[0]!));
        } catch (error) {
          for (const { kind, labels, counted } of all) add(kind, labels, counted);
          throw error;
        }
        all.shift();
      }
    },
  };
}

/** The status of an event that is not authentic. */
const NOT_AUTHENTIC = 403;

/** The name of the plugin that reports registrations that differ. */
const REGISTRATIONS = "registrations";

/** Returns the observers. Those of changes that no rule wants are left out: the core stores no reports for them. */
export function createObservers(
  { operators, customers }: Routing,
  { plugin, language, parts }: {
    readonly plugin: string;
    readonly language: NotificationLanguage;
    readonly parts: () => ObservingParts;
  },
): Partial<Observers> {
  const isWanted = (kind: NotificationKind, labels: GroupLabels = {}): boolean => operators(kind, labels).length > 0;
  const received = (): void => parts().watch.received();

  async function tellCustomer(
    kind: NotificationKind,
    id: string,
    message: () => Promise<NotificationMessage>,
  ): Promise<void> {
    const channels = customers(kind, {});
    if (channels.length === 0) return;
    const composed = await message();
    for (const channel of channels) {
      const entry: OutboxEntry = { channel, message: composed };
      await parts().host.outbox.put(entry, { id: `customer.${id}.${channel}`, channel });
    }
  }

  return {
    ...(isWanted("portal_parked") && {
      portalParked: async ({ to: target, upgradeId, step, fingerprint, error }) => {
        const labels: GroupLabels = {
          target,
          ...(upgradeId !== undefined && { upgradeId }),
          ...(step !== undefined && { step }),
          ...(fingerprint !== undefined && { fingerprint }),
        };
        await parts().store.add({ kind: "portal_parked", labels, details: { error: error.message } });
      },
    }),
    ...((isWanted("portal_blocked") || customers("portal_blocked", {}).length > 0) && {
      portalBlocked: async ({ memberId, on, since }) => {
        const { host, store } = parts();
        if (OPERATOR_BLOCKS.has(on) && isWanted("portal_blocked")) {
          await store.add({ kind: "portal_blocked", labels: { blockedOn: on } });
        }
        if (!CUSTOMER_BLOCKS.has(on) || customers("portal_blocked", {}).length === 0) return;
        // A block that an answer of Bitrix24 has ended for a moment is reported again.
        const key = ["portal", memberId, "blocked"] as const;
        if ((await host.storage.get<ToldBlock>(key))?.value.on === on) return;
        const message = async () => composeForCustomer(await nameOf(host, memberId), on, language);
        await tellCustomer("portal_blocked", `${memberId}.${on}.${since}`, message);
        await host.storage.put<ToldBlock>(key, { on }, { ttlMs: TOLD_MS });
      },
    }),
    ...(customers("portal_upgraded", {}).length > 0 && {
      portalUpgraded: async ({ memberId, id }) => {
        const message = async () => composeForCustomer(await nameOf(parts().host, memberId), undefined, language);
        await tellCustomer("portal_upgraded", id, message);
      },
    }),
    ...(isWanted("rollout_paused") && {
      rolloutPaused: async ({ target, by, reason }) => {
        const details = { ...(by !== undefined && { by }), ...(reason !== undefined && { reason }) };
        await parts().store.add({ kind: "rollout_paused", labels: { target }, details });
      },
      rolloutResumed: async ({ target, by, reason }) => {
        const { host, store } = parts();
        await store.change(await keyOf(host, "rollout_paused", { target }), (group) => {
          return group && { ...group, ending: { by, reason }, checkAt: Math.min(group.checkAt, host.clock()) };
        });
      },
    }),
    ...(isWanted("rollout_finished") && {
      rolloutFinished: ({ target }) =>
        parts().store.add({ kind: "rollout_finished", labels: { target }, counted: ONE }),
    }),
    ...(isWanted("verification_refused") && {
      eventRejected: ({ status }) => {
        if (status === NOT_AUTHENTIC) parts().tally.count("verification_refused", {});
      },
    }),
    ...(isWanted("nothing_received") && {
      eventReceived: received,
      eventPostponed: received,
      duplicateReceived: received,
    }),
    ...(isWanted("registrations_drifted") && {
      portalChecked: ({ memberId, problems }) => {
        const hasDrifted = problems.some(({ code, message }) =>
          code === REGISTRATIONS && !message.startsWith("check of ")
        );
        if (hasDrifted) parts().tally.count("registrations_drifted", {}, memberId);
      },
    }),
    ...(isWanted("messages_dropped") && {
      outboxDropped: ({ plugin: name, reason, count }) => {
        // A message about it would find no room either.
        if (name === plugin && reason === "full") return;
        for (let i = 0; i < count; i++) parts().tally.count("messages_dropped", { plugin: name });
      },
    }),
  };
}

/** The last block that the customer of a portal was notified of. */
interface ToldBlock {
  readonly on: BlockedReason;
}

/** Time (ms) that it is remembered: a customer is notified of one need at most once a week. */
const TOLD_MS = 7 * 24 * 60 * 60 * 1000;

const ONE: Counted = { count: 1, memberIds: [] };
