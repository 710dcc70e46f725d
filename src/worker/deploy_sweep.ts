/** Raises all portals to the version of the running code. */
import type { AppRuntime } from "../plugin/runtime.ts";
import { DEPLOY_SWEEP, portalKey, PORTALS } from "../portal/keys.ts";
import type { PortalRecord } from "../portal/record.ts";
import type { Entry, Key } from "../storage/storage.ts";
import { compareVersions } from "../version.ts";
import { raiseTarget } from "./missed_updates.ts";

/** How far the raising to the version of this code is. */
interface Sweep {
  readonly version: string;
  /** Absent once it is through. */
  readonly after?: string;
  readonly isDone?: true;
}

/** Raises all portals to the version that is deployed, some at a call; does nothing once all are. */
export function createDeploySweep(core: AppRuntime): (limit: number) => Promise<void> {
  let isDone = core.versions.deployed === undefined;
  return async (limit) => {
    const version = core.versions.deployed;
    if (isDone || version === undefined) return;
    const entry = await core.storage.get<Sweep>(DEPLOY_SWEEP);
    // Newer code is at it already.
    if (entry !== null && compareVersions(entry.value.version, version) > 0) return;
    const begun: Sweep = entry?.value.version === version ? entry.value : { version };
    if (!begun.isDone) await sweepOn(core, entry, begun, limit);
    isDone = begun.isDone ?? false;
  };
}

async function sweepOn(core: AppRuntime, entry: Entry<Sweep> | null, sweep: Sweep, limit: number): Promise<void> {
  const options = sweep.after === undefined ? { limit } : { limit, after: portalKey(sweep.after) };
  let last: string | undefined;
  for await (const { key } of core.storage.list<PortalRecord>(PORTALS, options)) {
    last = key[1]!;
    await raiseTarget(core, last, sweep.version);
  }
  const next: Sweep = last === undefined
    ? { version: sweep.version, isDone: true }
    : { version: sweep.version, after: last };
  // Another process that was faster has the same done.
  await core.storage.put(DEPLOY_SWEEP, next, { ifVersion: entry?.version ?? null });
}
