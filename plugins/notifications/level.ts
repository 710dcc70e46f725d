/** Whether the problem of a group is there still, and what there is to say about it, as the app itself says. */
import type { PluginHost, Portal, PortalFilter } from "../../mod.ts";
import { type Details, type Group, MAX_SHOWN } from "./group.ts";
import type { NotificationMessage, NotifiedPortal } from "./message.ts";
import type { Watch } from "./watch.ts";

/** Failures with one cause. */
export interface FailureCount {
  readonly count: number;
  readonly message: string;
}

/** The state of the problem of a group. */
export interface Level {
  /** Number of portals, events or messages; 0 if the problem is over. */
  readonly count: number;
  /** There may be more. */
  readonly isAtLeast?: boolean;
  readonly portals: NotificationMessage["portals"];
  readonly failures?: readonly FailureCount[];
  /** Since when nothing happens, or the oldest one waits, in milliseconds since 1970. */
  readonly since?: number;
  /** The actor or the cause that has ended it. */
  readonly ending?: Details;
}

/** Maximum number of portals that are read to count those of a group. */
const MAX_READ = 5000;
const PAGE = 1000;

const NO_PORTALS: Level["portals"] = { shown: [], total: 0 };

/** Returns the function that looks at the problem of a group. */
export function createLevels(
  host: PluginHost,
  { watch, plugin, minRefused }: { readonly watch: Watch; readonly plugin: string; readonly minRefused: number },
): (group: Group) => Promise<Level> {
  const { admin } = host;

  async function portals(filter: PortalFilter, isMeant: (portal: Portal) => boolean): Promise<Level> {
    const shown: NotifiedPortal[] = [];
    let total = 0;
    let read = 0;
    let after: string | undefined;
    do {
      const page = await admin.portals({ ...filter, limit: PAGE, ...(after !== undefined && { after }) });
      for (const portal of page.items) {
        read++;
        if (!isMeant(portal)) continue;
        total++;
        if (shown.length < MAX_SHOWN) shown.push(named(portal));
      }
      after = page.next;
    } while (after !== undefined && read < MAX_READ);
    return { count: total, portals: { shown, total }, ...(after !== undefined && { isAtLeast: true }) };
  }

  async function rollout(target: string): Promise<Level> {
    const status = await admin.rollout.status(target);
    const isPaused = status?.waitsFor?.on === "failures" || status?.waitsFor?.on === "resume";
    if (!isPaused) {
      const reason = status === undefined || status.state === "running" ? undefined : status.state;
      return { count: 0, portals: NO_PORTALS, ...(reason !== undefined && { ending: { reason } }) };
    }
    const failures = status.failures.map(({ count, message }) => ({ count, message }));
    const memberIds = status.failures.flatMap(({ memberIds }) => memberIds);
    const total = status.failures.reduce((sum, { count }) => sum + count, 0);
    return { count: 1, portals: { shown: await namesOf(host, memberIds), total }, failures };
  }

  async function deadLetters(channel: string): Promise<Level> {
    const { items, next } = await admin.outbox.list({ state: "dead", plugin, limit: PAGE });
    const ofChannel = items.filter(({ message }) => (message as { readonly channel?: unknown }).channel === channel);
    const error = ofChannel.at(-1)?.error;
    return {
      ...{ count: ofChannel.length, portals: NO_PORTALS },
      ...(next !== undefined && { isAtLeast: true }),
      ...(error !== undefined && { failures: [{ count: ofChannel.length, message: error }] }),
    };
  }

  return async ({ kind, labels: { target, fingerprint, upgradeId, blockedOn, channel = "" }, counted }) => {
    switch (kind) {
      case "portal_parked": {
        const cause = {
          ...(fingerprint !== undefined && { fingerprint }),
          ...(upgradeId !== undefined && { upgradeId }),
        };
        return await portals({ status: "parked", ...cause }, (portal) => portal.target === target);
      }
      case "portal_blocked":
        return await portals({ status: "blocked", ...(blockedOn !== undefined && { blockedOn }) }, () => true);
      case "rollout_paused":
        return await rollout(target ?? "");
      case "channel_failing":
        return await deadLetters(channel);
      case "nothing_received":
        return { portals: NO_PORTALS, count: 0, ...await watch.silence() };
      case "verification_delayed":
      case "oauth_failing":
        return { portals: NO_PORTALS, count: 0, ...(await watch.delayed())[kind] };
      case "verification_refused": {
        const count = counted?.count ?? 0;
        return { count: count >= minRefused ? count : 0, portals: NO_PORTALS };
      }
      case "registrations_drifted": {
        const { count = 0, memberIds = [] } = counted ?? {};
        // A portal is checked more than once, and only as many are remembered as are shown.
        const total = memberIds.length < MAX_SHOWN ? memberIds.length : count;
        return { count: total, portals: { shown: await namesOf(host, memberIds), total } };
      }
      default:
        return { count: counted?.count ?? 0, portals: NO_PORTALS };
    }
  };
}

function named({ memberId, domain }: Portal): NotifiedPortal {
  return { memberId, ...(domain !== "" && { domain }) };
}

/** Returns the portals with their domains, as far as they are stored. */
async function namesOf(host: PluginHost, memberIds: readonly string[]): Promise<readonly NotifiedPortal[]> {
  return await Promise.all(memberIds.slice(0, MAX_SHOWN).map((memberId) => nameOf(host, memberId)));
}

/** Returns a portal with its domain, if it is stored and can be read: one damaged record must not hold a message back. */
export async function nameOf({ portal }: Pick<PluginHost, "portal">, memberId: string): Promise<NotifiedPortal> {
  return await portal(memberId).then(
    (stored) => stored === undefined ? { memberId } : named(stored),
    () => ({ memberId }),
  );
}
