/** The only place that knows how Bitrix24's VERSION looks and how versions compare. */
// @ts-types="@types/semver"
import * as semver from "semver";
import { VersionError } from "./errors.ts";

/**
 * How the VERSION that Bitrix24 sends becomes a semantic version.
 *
 * Bitrix24 sends an integer for Marketplace apps (`"3"`), `"1"` for ever for local apps, and its documentation
 * shows `"2.1.0"`. Take {@linkcode coerced}, {@linkcode mapped} or {@linkcode deployed}, or write your own.
 */
export interface VersionScheme {
  /** For logs. */
  readonly name: string;
  /**
   * The semantic version that `raw` stands for.
   *
   * Throw `VersionError` when `raw` is no version at all: the request is then refused with 400. Any other error
   * means that the app is not ready for it: the event is kept and tried again.
   */
  readonly parse: (raw: string) => string;
  /** The version that the running code is itself; every verified contact raises the portal to it. */
  readonly deployed?: string;
  /** The highest version that the running code knows: portals that are to go beyond it are left to newer code. */
  readonly latest?: string;
}

/**
 * Reads VERSION as it is, with missing numbers taken as zero: `3` is `3.0.0`, `v2.1` is `2.1.0`. The default.
 *
 * `latest` is the version for which the code is: portals that are to go beyond it are left to newer code. Without it, code
 * that runs when a newer version is published takes portals there, past upgrades that it does not have.
 *
 * @throws {VersionError} when `latest` is no version
 *
 * @example
 * ```ts
 * import { coerced } from "@b24/onappupdate";
 * import assert from "node:assert/strict";
 *
 * assert.equal(coerced().parse("3"), "3.0.0");
 * assert.equal(coerced().parse("2.0.0-beta.1"), "2.0.0-beta.1");
 * assert.throws(() => coerced().parse("latest"), /cannot read version "latest"/);
 * ```
 */
export function coerced({ latest }: { readonly latest?: string } = {}): VersionScheme {
  return { name: "coerced", parse: parseVersion, ...(latest === undefined ? {} : { latest: parseVersion(latest) }) };
}

/**
 * Reads VERSION through a table, for Marketplace apps whose integer versions stand for releases of their own
 * numbering. A VERSION that is not in the table is not lost: its event is kept until the table knows it.
 *
 * @throws {VersionError} when a value of the table is no version
 *
 * @example
 * ```ts
 * import { mapped } from "@b24/onappupdate";
 * import assert from "node:assert/strict";
 *
 * const versions = mapped({ 1: "1.0.0", 2: "1.4.0" });
 * assert.equal(versions.parse("2"), "1.4.0");
 * assert.throws(() => versions.parse("3"), /VERSION "3" is not in the table/);
 * ```
 */
export function mapped(versions: Readonly<Record<string | number, string>>): VersionScheme {
  const table = new Map(Object.entries(versions).map(([raw, version]) => [raw, parseVersion(version)]));
  const latest = [...table.values()].sort(compareVersions).at(-1);
  return {
    name: "mapped",
    ...(latest === undefined ? {} : { latest }),
    parse: (raw) => {
      const version = table.get(raw.trim());
      if (version === undefined) {
        throw new RangeError(
          `VERSION ${JSON.stringify(raw.slice(0, 40))} is not in the table of mapped(): add it and deploy`,
        );
      }
      return version;
    },
  };
}

/**
 * Every portal belongs on the version of the code that runs, whatever VERSION says: for local apps, whose VERSION
 * stays `"1"` for ever.
 *
 * @throws {VersionError} when `version` is no version
 *
 * @example
 * ```ts
 * import { deployed } from "@b24/onappupdate";
 * import assert from "node:assert/strict";
 *
 * assert.equal(deployed("2.3.0").parse("1"), "2.3.0");
 * ```
 */
export function deployed(version: string): VersionScheme {
  const current = parseVersion(version);
  return { name: "deployed", parse: () => current, deployed: current, latest: current };
}

// Up to three numbers, perhaps a pre-release; not semver.coerce, which finds a version in any text ("error 500").
const VERSION = /^v?(\d+)(?:\.(\d+))?(?:\.(\d+))?(-[0-9a-z.-]+)?(?:\+[0-9a-z.-]+)?$/i;

/** @throws {VersionError} */
export function parseVersion(raw: string): string {
  // What comes from the environment may be missing.
  const version = typeof raw === "string" ? readVersion(raw) : null;
  if (version === null) throw new VersionError(String(raw));
  return version;
}

/** Whether `text` is one version, in any spelling that {@linkcode parseVersion} reads. */
export function isVersion(text: string): boolean {
  return readVersion(text) !== null;
}

function readVersion(raw: string): string | null {
  const match = VERSION.exec(raw.trim());
  if (match === null) return null;
  // Number() drops leading zeros, which semver refuses and people write ("2.01").
  const [major, minor, patch] = [match[1], match[2], match[3]].map((n) => Number(n ?? 0));
  const version = `${major}.${minor}.${patch}${match[4] ?? ""}`;
  // Without a pre-release, numbers are all there is to check; semver takes a while for it.
  if (match[4] === undefined && [major, minor, patch].every(Number.isSafeInteger)) return version;
  return semver.valid(version);
}

/** Whether `raw` says more of the same than `coarse`: `2.1.0`, and `v2.1`, of `2`. */
export function refines(raw: string, coarse: string): boolean {
  return raw.trim().replace(/^v/i, "").startsWith(`${coarse.trim()}.`);
}

/** Negative, zero or positive; both must be versions that {@linkcode parseVersion} made. */
export function compareVersions(a: string, b: string): number {
  return a === b ? 0 : semver.compare(a, b);
}
