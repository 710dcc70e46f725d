/** Portals whose data is on an unknown version: the vendor's code returns it, or they are blocked. */
import type { AppRuntime } from "../plugin/runtime.ts";
import type { PortalLease } from "../portal/lease.ts";
import { blockedFrom, isVersionUnknown, withInitialVersion } from "../portal/origin.ts";
import type { PortalRecord } from "../portal/record.ts";
import { redactError } from "../redact.ts";
import { recordBlock } from "../upgrade/block.ts";
import { compareVersions, parseVersion } from "../version.ts";
import { syntheticUpdateEvent } from "./missed_updates.ts";

const UNKNOWN =
  "the version of the portal's data is not known: set it by admin.setInitialVersion(), or by the option initialVersion of " +
  "createApp()";

/** Sets the version of a portal if it is unknown and the option `initialVersion` says it; otherwise blocks the portal. */
export async function findVersion(runtime: AppRuntime, lease: PortalLease): Promise<void> {
  const record = lease.record();
  const now = runtime.clock();
  const from = record.blocked?.nextTryAt ?? blockedFrom(record);
  if (!isVersionUnknown(record) || from > now) return;
  const { memberId, target } = record;
  let message = UNKNOWN;
  try {
    const version = versionByOption(runtime, record, now);
    if (version !== undefined) {
      await lease.update((current) => isVersionUnknown(current) ? withInitialVersion(current, version) : current);
      const fields = { event: "version.initial_set", memberId, version, target };
      return runtime.log.info("initial version set by option", fields);
    }
  } catch (error) {
    message = `initialVersion failed: ${redactError(error, []).message}`;
  }
  await recordBlock(runtime, lease, "version", message);
}

/**
 * Returns the version that the option `initialVersion` says, at most `record.target`; `undefined` if it says none.
 *
 * @throws the error of the option, if it is a function, a TypeError if that returns no string, or a VersionError for its result
 */
export function versionByOption(
  { initialVersion }: Pick<AppRuntime, "initialVersion">,
  record: Pick<PortalRecord, "memberId" | "domain" | "version" | "target">,
  now: number,
): string | undefined {
  const target = record.target!;
  const given: unknown = initialVersion?.(syntheticUpdateEvent(record, target, now));
  if (given === undefined) return undefined;
  if (typeof given !== "string") {
    // The rejection of a promise would end the process.
    Promise.resolve(given).catch(() => {});
    const seen = given instanceof Promise ? "a promise" : given === null ? "null" : `a value of type ${typeof given}`;
    throw new TypeError(`it returned ${seen}, wanted a version as a string, or undefined`);
  }
  const version = parseVersion(given);
  return compareVersions(version, target) > 0 ? target : version;
}
