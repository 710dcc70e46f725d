/** The stored groups. Every change is a compare-and-set, so that one process decides. */
import type { ForgottenPortal, PluginHost } from "../../mod.ts";
import { FormatError } from "../../errors.ts";
import { listEntries } from "../../storage.ts";
import { withoutPortal } from "./forget.ts";
import { type Group, GROUP_FORMAT, type GroupLabels, type Occurrence, withOccurrence } from "./group.ts";
import type { NotificationKind } from "./message.ts";

/** Reads and changes groups. */
export interface GroupStore {
  /** Adds something that has happened to its group. */
  readonly add: (occurrence: Occurrence) => Promise<void>;
  /** Makes a group if there is none. */
  readonly ensure: (occurrence: Occurrence) => Promise<void>;
  /**
   * Changes a group. `change` returns the group to store, `"delete"`, or `undefined` to leave it; it may be called several times.
   * Resolves to whether something was stored or deleted.
   */
  readonly change: (
    key: string,
    change: (group: Group | undefined) => Group | "delete" | undefined,
  ) => Promise<boolean>;
  /** Erases a portal from all groups. */
  readonly forget: (portal: ForgottenPortal) => Promise<void>;
  /** Returns all groups, by their keys. */
  readonly all: () => Promise<ReadonlyMap<string, Group>>;
}

/** Number of hexadecimal digits of the labels in a key. */
const DIGITS = 16;

/** Returns the key of a group. */
export async function keyOf(
  { digest }: Pick<PluginHost, "digest">,
  kind: NotificationKind,
  labels: GroupLabels,
): Promise<string> {
  const { target = "", upgradeId = "", step = "", fingerprint = "", blockedOn = "", channel = "", plugin = "" } =
    labels;
  const text = JSON.stringify([target, upgradeId, step, fingerprint, blockedOn, channel, plugin]);
  return `${kind}-${(await digest(text)).slice(0, DIGITS)}`;
}

/** Returns the groups of an app. */
export function createGroupStore(host: PluginHost, waitMs: number): GroupStore {
  const { storage, clock, random, log } = host;
  /** Changes of the same group that this process has begun: they wait for each other instead of competing. */
  const queues = new Map<string, Promise<unknown>>();

  async function changeNow(key: string, change: Parameters<GroupStore["change"]>[1]): Promise<boolean> {
    while (true) {
      const entry = await storage.get<Group>(["group", key]);
      const next = change(entry === null ? undefined : checked(key, entry.value));
      if (next === undefined || (next === "delete" && entry === null)) return false;
      const condition = { ifVersion: entry?.version ?? null };
      const { ok } = next === "delete"
        ? await storage.delete(["group", key], { ifVersion: entry!.version })
        : await storage.put<Group>(["group", key], next, condition);
      if (ok) return true;
    }
  }

  const change: GroupStore["change"] = async (key, body) => {
    const before = queues.get(key) ?? Promise.resolve();
    const work = before.then(() => changeNow(key, body));
    const ended = work.catch(() => {});
    queues.set(key, ended);
    try {
      return await work;
    } finally {
      if (queues.get(key) === ended) queues.delete(key);
    }
  };

  async function put(occurrence: Occurrence, isKept: boolean): Promise<void> {
    const key = await keyOf(host, occurrence.kind, occurrence.labels);
    // Short: it is a part of ids, and only has to differ from those of earlier groups with this key.
    const incarnation = random().replace(/\W/g, "").slice(0, 8);
    await change(key, (group) => {
      if (group !== undefined && isKept) return undefined;
      return withOccurrence(group, occurrence, { now: clock(), waitMs, incarnation });
    });
  }

  const all: GroupStore["all"] = async () => {
    const groups = new Map<string, Group>();
    for await (const { key, version, value } of listEntries<Group>(storage, ["group"])) {
      const name = key.at(-1)!;
      // One group that this process cannot read must not hold back the notifications of the others.
      if (version !== undefined && value.format === GROUP_FORMAT) groups.set(name, value);
      else log.warn("notifications not readable", { event: "notifications.unreadable", group: name });
    }
    return groups;
  };

  return {
    change,
    all,
    add: (occurrence) => put(occurrence, false),
    ensure: (occurrence) => put(occurrence, true),
    forget: async (portal) => {
      // Rejects if a group cannot be read: it may name the portal.
      for await (const { key } of storage.list<Group>(["group"])) {
        await change(key.at(-1)!, (group) => {
          const left = withoutPortal(group, portal);
          return JSON.stringify(left) === JSON.stringify(group) ? undefined : left;
        });
      }
    },
  };
}

/** @throws {FormatError} if newer code wrote the group */
function checked(key: string, group: Group): Group {
  if (group.format !== GROUP_FORMAT) throw new FormatError(`group ${key}`, group.format, GROUP_FORMAT);
  return group;
}
