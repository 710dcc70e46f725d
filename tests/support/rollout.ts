/** Portals and code for tests of rollouts. */
import {
  type App,
  type AppOptions,
  createApp,
  deployed,
  memoryStorage,
  type Plugin,
  type RolloutOptions,
  type Storage,
} from "@b24/onappupdate";
import { PORTAL_FORMAT, type PortalRecord } from "../../src/portal/record.ts";
import { writeRecord } from "../../src/portal/record_store.ts";
import { createTotals } from "../../src/portal/totals.ts";
import { rolloutHash } from "../../src/rollout/membership.ts";
import { quietLogger, trustAll } from "./app.ts";
import { virtualTime } from "./time.ts";

/** Returns the `member_id` of a portal, which looks like a real one. */
function memberIdOf(n: number): string {
  return Array.from(n.toString(16).padStart(32, "0")).reverse().join("");
}

/** Returns the `member_id`s of portals 0 to `count`. */
export function memberIds(count: number): string[] {
  return Array.from({ length: count }, (_, n) => memberIdOf(n));
}

/** Returns the portals in the order in which a target reaches them. */
export function inOrderOf(target: string, ids: readonly string[]): string[] {
  return [...ids].sort((a, b) => rolloutHash(target, a) - rolloutHash(target, b));
}

/** Stores portals that are installed and on a version. */
export async function storeInstalled(storage: Storage, ids: readonly string[], version: string): Promise<void> {
  const totals = createTotals({ storage, time: virtualTime(), log: quietLogger });
  for (const memberId of ids) {
    const record: PortalRecord = {
      ...{ format: PORTAL_FORMAT, memberId, domain: `${memberId}.bitrix24.de`, status: "installed", generation: 1 },
      ...{ initialVersion: version, version, target: version, applied: [], installedTs: 1, latestTs: 1 },
      installer: "done",
    };
    await writeRecord(storage, memberId, () => ({ record }), null);
  }
  await totals.close();
}

/** An app of a deployed version, with one upgrade to it. */
export interface Code {
  readonly app: App;
  /** The portals whose handler has begun, in order. */
  readonly begun: string[];
}

export interface CodeOptions extends Partial<AppOptions> {
  readonly storage: Storage;
  /** The handler of the upgrade. It succeeds by default. */
  readonly upgrade?: (memberId: string) => void | Promise<void>;
  readonly plugins?: readonly Plugin[];
}

/** Returns code of a version, whose upgrade has the id of the version. */
export function codeAt(version: string, { upgrade = () => {}, plugins = [], ...options }: CodeOptions): Code {
  const begun: string[] = [];
  const app = createApp({
    ...{ versions: deployed(version), logger: quietLogger, tickEveryMs: false, checks: false },
    ...options,
  }).use(trustAll).upgrade(version, async ({ memberId }) => {
    begun.push(memberId);
    await upgrade(memberId);
  });
  for (const plugin of plugins) app.use(plugin);
  return { app: app as App, begun };
}

/** Code of version 2.0.0, and its storage. */
export interface Release extends Code {
  readonly storage: Storage;
}

/** Stores portals on version 1.0.0, and returns code that rolls version 2.0.0 out to them. */
export async function release(
  ids: readonly string[],
  rollout: RolloutOptions,
  more: Partial<CodeOptions> = {},
): Promise<Release> {
  const storage = memoryStorage();
  await storeInstalled(storage, ids, "1.0.0");
  return { storage, ...codeAt("2.0.0", { storage, rollout, ...more }) };
}

/** Ticks until a tick does nothing, at most `max` times. */
export async function tickOut(app: App, max = 50): Promise<void> {
  for (let i = 0; i < max; i++) {
    const { handled, failed } = await app.tick({ limit: 10_000 });
    if (handled + failed === 0) return;
  }
}

/** Returns the number of portals on each version. */
export async function versionsOf(storage: Storage, ids: readonly string[]): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const id of ids) {
    const version = (await storage.get<PortalRecord>(["portal", id]))?.value.version ?? "none";
    counts[version] = (counts[version] ?? 0) + 1;
  }
  return counts;
}
