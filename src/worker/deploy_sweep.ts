/** After a deploy of code with `deployed()`: raises the targets of all portals to the version of the code. */
import type { AppRuntime } from "../plugin/runtime.ts";
import { DEPLOY_SWEEP, portalKey, PORTALS } from "../portal/keys.ts";
import { isNewer, type PortalRecord } from "../portal/record.ts";
import type { Entry } from "../storage/storage.ts";
import { compareVersions } from "../version.ts";
import { raiseTarget } from "./missed_updates.ts";

/** The stored progress of a sweep. */
interface Sweep {
  readonly version: string;
  /** The last portal that was raised. */
  readonly after?: string;
  readonly isDone?: true;
}

/** Returns a function that raises the next `limit` portals, and resolves to whether no portal is left. */
export function createDeploySweep(runtime: AppRuntime): (limit: number) => Promise<boolean> {
  const { storage, versions: { deployed: version } } = runtime;
  let isDone = version === undefined;
  return async (limit) => {
    if (isDone || version === undefined) return true;
    const entry = await storage.get<Sweep>(DEPLOY_SWEEP);
    // Another process runs newer code.
    if (entry !== null && compareVersions(entry.value.version, version) > 0) return true;
    const sweep: Sweep = entry?.value.version === version ? entry.value : { version };
    isDone = sweep.isDone === true || await sweepNext(runtime, entry, sweep, limit);
    return isDone;
  };
}

async function sweepNext(
  runtime: AppRuntime,
  stored: Entry<Sweep> | null,
  { version, after }: Sweep,
  limit: number,
): Promise<boolean> {
  const options = after === undefined ? { limit } : { limit, after: portalKey(after) };
  let last: string | undefined;
  for await (const entry of runtime.storage.list<PortalRecord>(PORTALS, options)) {
    last = entry.key[1]!;
    if (!isNewer(entry)) await raiseTarget(runtime, last, version);
    else runtime.log.warn("portal left to newer code", { event: "deploy_sweep.skipped", memberId: last });
  }
  const next: Sweep = last === undefined ? { version, isDone: true } : { version, after: last };
  // If another process has written since, it has raised the same portals.
  await runtime.storage.put(DEPLOY_SWEEP, next, { ifVersion: stored?.version ?? null });
  if (next.isDone) runtime.log.info("deploy sweep finished", { event: "deploy_sweep.finished", version });
  return next.isDone === true;
}
