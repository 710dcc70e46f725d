/** The versions of a portal that is adopted: that of its data, and its target. */
import type { AppInfo } from "../../bitrix24/oauth_client.ts";
import type { AppRuntime } from "../../plugin/runtime.ts";
import type { PortalRecord } from "../../portal/record.ts";
import { redactError } from "../../redact.ts";
import { compareVersions, refines, type VersionScheme } from "../../version.ts";
import { versionByOption } from "../../worker/initial_version.ts";
import type { OfferedPortal } from "./adopt_line.ts";
import type { Refusal } from "./adopted_record.ts";

/** The versions of a portal. */
export interface AdoptedVersions {
  readonly version: string;
  readonly target: string;
}

/** The facts that decide about the versions of a portal. */
export interface VersionSources {
  readonly offered: OfferedPortal;
  /** The answer of `app.info`; absent if it was not called, because the portal is known. */
  readonly info?: AppInfo;
  /** Absent if the portal is unknown. */
  readonly record?: PortalRecord;
}

/** Returns the versions of a portal whose version is not known, or why nothing says them. */
export function versionsOf(runtime: AppRuntime, sources: VersionSources): AdoptedVersions | Refusal {
  const { versions, initialVersion } = runtime;
  const { offered: { version, rawVersion }, info, record } = sources;
  const installed = versions.deployed ?? tryParse(info?.version, versions);
  if (version !== undefined && rawVersion !== undefined) {
    const isExact = info?.version !== undefined && refines(rawVersion, info.version) &&
      tryParse(rawVersion, versions) === version;
    // Code that cannot read the installed version leaves its upgrades to newer code.
    const target = record?.target ?? (isExact ? version : installed ?? version);
    return compareVersions(version, target) > 0 ? refused(aboveTarget(version, target, sources)) : { version, target };
  }
  if (record !== undefined) return refused("the version of its data is not known, and the line does not name it");
  if (installed === undefined) return refused("Bitrix24 reports no version that the app can read; name it in the line");
  if (initialVersion !== undefined) return versionsByOption(runtime, sources, installed);
  if (versions.deployed !== undefined) {
    return refused(
      "with deployed(), Bitrix24 does not know the version of its data; name it in the line, or set initialVersion",
    );
  }
  if (info?.isInstalled === false) {
    return refused("its installation or update is not finished; name the version of its data in the line");
  }
  return { version: installed, target: installed };
}

function versionsByOption(
  runtime: AppRuntime,
  { offered: { memberId }, info }: VersionSources,
  target: string,
): AdoptedVersions | Refusal {
  try {
    const domain = info?.clientEndpoint === undefined ? "" : new URL(info.clientEndpoint).host;
    const version = versionByOption(runtime, { memberId, domain, target }, runtime.clock());
    return version === undefined
      ? refused("neither the line nor initialVersion names its version")
      : { version, target };
  } catch (error) {
    return refused(`initialVersion failed: ${redactError(error, []).message}`);
  }
}

function aboveTarget(version: string, target: string, { info }: VersionSources): string {
  const whose = info?.version === undefined ? "its target" : "the version that is installed,";
  return `the version ${version} of the line is above ${whose} ${target}`;
}

function refused(message: string): Refusal {
  return { reason: "version", message };
}

/** Unreadable versions are left to newer code. */
function tryParse(raw: string | undefined, versions: VersionScheme): string | undefined {
  if (raw === undefined) return undefined;
  try {
    return versions.parse(raw);
  } catch {
    return undefined;
  }
}
