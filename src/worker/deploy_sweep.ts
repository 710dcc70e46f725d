/** After a deploy of code with `deployed()`: raises the targets of all portals to the version of the code. */
import type { AppRuntime } from "../plugin/runtime.ts";
import { assertRightKey, listRecords } from "../portal/find_record.ts";
import { DEPLOY_SWEEP, portalKey } from "../portal/keys.ts";
import type { Entry } from "../storage/storage.ts";
import { isUnreadable } from "../storage/unreadable.ts";
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
  for await (const [memberId] of listRecords(runtime.storage, options)) {
    last = memberId;
    await raiseUnlessUnreadable(runtime, memberId, version);
  }
  await assertRightKey(runtime.storage);
  const next: Sweep = last === undefined ? { version, isDone: true } : { version, after: last };
  // If another process has written since, it has raised the same portals.
  await runtime.storage.put(DEPLOY_SWEEP, next, { ifVersion: stored?.version ?? null });
  if (next.isDone) runtime.log.info("deploy sweep finished", { event: "deploy_sweep.finished", version });
  return next.isDone === true;
}

/** Raises the target of a portal. One of newer code, or whose encryption key is gone, must not keep the others waiting. */
async function raiseUnlessUnreadable(runtime: AppRuntime, memberId: string, version: string): Promise<void> {
  try {
    await raiseTarget(runtime, memberId, version);
  } catch (err) {
    if (!isUnreadable(err)) throw err;
    runtime.log.warn("portal not readable", { event: "deploy_sweep.skipped", memberId, err });
  }
}
