/** Reads and compares versions. The only module that knows the format of Bitrix24's VERSION. */
// @ts-types="@types/semver"
import * as semver from "semver";
import { checkOptions, hasFunctions, option, type OptionProblem, type OptionRules } from "./check_options.ts";
import { defined } from "./defined.ts";
import { VersionError } from "./errors.ts";

/**
 * Converts the VERSION that Bitrix24 sends into a semantic version.
 *
 * Bitrix24 sends an integer for Marketplace apps, such as `"3"`, and always `"1"` for local apps; its documentation shows
 * `"2.1.0"`. Use {@linkcode coerced}, {@linkcode mapped} or {@linkcode deployed}, or write a scheme of your own.
 */
export interface VersionScheme {
  /** Name of the scheme, for logs. */
  readonly name: string;
  /**
   * Returns the semantic version for `raw`.
   *
   * Throw `VersionError` if `raw` is not a version: the request is answered 400. Any other error means that this code
   * does not know the version yet: the event is stored and tried again.
   */
  readonly parse: (raw: string) => string;
  /** The version of the running code, if every portal belongs on it: each verified contact raises the portal's target to it. */
  readonly deployed?: string;
  /** The highest version that the running code knows. Portals with a higher target are left to newer code. */
  readonly latest?: string;
}

const semanticVersion = option.value(
  'a semantic version such as "2.1.0"',
  (version) => typeof version === "string" && semver.valid(version) === version,
);

/** The rule of a {@linkcode VersionScheme}, which may be an instance of a class. */
export function schemeRule(scheme: unknown, path: string): OptionProblem | undefined {
  const problem = option.value("a version scheme, such as coerced()", hasFunctions("parse"))(scheme, path);
  if (problem !== undefined || scheme === undefined) return problem;
  const { name, deployed, latest } = scheme as Readonly<Record<keyof VersionScheme, unknown>>;
  return option.required(option.text("the name of the scheme, for logs"))(name, `${path}.name`) ??
    semanticVersion(deployed, `${path}.deployed`) ?? semanticVersion(latest, `${path}.latest`);
}

/** Accepts strings. Those that are not versions are a {@linkcode VersionError}, and so is an absent environment variable. */
const versionText = option.value('a version such as "2.1.0"', (version) => typeof version === "string");

/** Options of {@linkcode coerced}. */
export interface CoercedOptions {
  /**
   * The highest version that this code knows. Portals with a higher target are left to newer code.
   *
   * @default none: this code knows all versions
   */
  readonly latest?: string;
}

const COERCED_RULES: OptionRules<CoercedOptions> = { latest: versionText };

/**
 * Returns a scheme that reads VERSION as a version, with missing numbers as zero: `3` is `3.0.0`, `v2.1` is `2.1.0`. The
 * default scheme.
 *
 * Set `latest` to the version that this code is written for: portals with a higher target are then left to newer code.
 * Without it, old code that still runs when a newer version is published marks portals as upgraded without the upgrades
 * that it does not have.
 *
 * @throws {VersionError} if `latest` is not a version
 * @throws {TypeError} if `latest` is not a string, or an option is unknown
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
export function coerced(options: CoercedOptions = {}): VersionScheme {
  checkOptions("cannot use coerced()", options, COERCED_RULES);
  const { latest } = options;
  const parsed = latest === undefined ? undefined : parseVersion(latest);
  return { name: "coerced", parse: parseVersion, ...defined({ latest: parsed }) };
}

/**
 * Returns a scheme that looks VERSION up in a table, for Marketplace apps with version numbers of their own. An event
 * whose VERSION is not in the table is stored until code with a larger table is deployed.
 *
 * @throws {VersionError} if a value of the table is not a version
 * @throws {TypeError} if the table is no object or empty, or one of its values is not a string
 *
 * @example
 * ```ts
 * import { mapped } from "@b24/onappupdate";
 * import assert from "node:assert/strict";
 *
 * const versions = mapped({ 1: "1.0.0", 2: "1.4.0" });
 * assert.equal(versions.parse("2"), "1.4.0");
 * assert.throws(() => versions.parse("3"), /cannot map VERSION "3"/);
 * ```
 */
export function mapped(versions: Readonly<Record<string | number, string>>): VersionScheme {
  checkOptions("cannot use mapped()", { table: versions }, { table: option.required(tableRule) });
  const table = new Map(Object.entries(versions).map(([raw, version]) => [raw, parseVersion(version)]));
  const latest = [...table.values()].sort(compareVersions).at(-1);
  return {
    name: "mapped",
    ...defined({ latest }),
    parse: (raw) => {
      const version = table.get(raw.trim());
      if (version === undefined) {
        throw new RangeError(
          `cannot map VERSION ${
            JSON.stringify(raw.slice(0, 40))
          }: it is not in the table of mapped(); add it and deploy`,
        );
      }
      return version;
    },
  };
}

function tableRule(table: unknown, path: string): OptionProblem | undefined {
  const isTable = (value: unknown): value is object =>
    typeof value === "object" && value !== null && !Array.isArray(value) && Object.keys(value).length > 0;
  const problem = option.value('the version of each VERSION, such as { 1: "1.0.0" }', isTable)(table, path);
  if (problem !== undefined || !isTable(table)) return problem;
  const required = option.required(versionText);
  return Object.entries(table).map(([raw, version]) => required(version, `${path}.${raw}`))
    .find((problem) => problem !== undefined);
}

/**
 * Returns a scheme with which every portal belongs on the version of the running code, and VERSION is ignored: for local
 * apps, whose VERSION is always `"1"`.
 *
 * @throws {VersionError} if `version` is not a version
 * @throws {TypeError} if it is neither a string nor `undefined`
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
  checkOptions("cannot use deployed()", { version }, { version: versionText });
  const current = parseVersion(version);
  return { name: "deployed", parse: () => current, deployed: current, latest: current };
}

// Up to three numbers and a pre-release. Not semver.coerce, which finds a version in any text, such as "error 500".
const VERSION = /^v?(\d+)(?:\.(\d+))?(?:\.(\d+))?(-[0-9a-z.-]+)?(?:\+[0-9a-z.-]+)?$/i;

/**
 * Returns a semantic version.
 *
 * @throws {VersionError} if `raw` is not a version
 */
export function parseVersion(raw: string): string {
  // A version from an environment variable may be undefined.
  const version = typeof raw === "string" ? readVersion(raw) : null;
  if (version === null) throw new VersionError(String(raw));
  return version;
}

/** Returns whether {@linkcode parseVersion} can read `text`. */
export function isVersion(text: string): boolean {
  return readVersion(text) !== null;
}

function readVersion(raw: string): string | null {
  const match = VERSION.exec(raw.trim());
  if (match === null) return null;
  // Number() drops leading zeros, which people write ("2.01") and semver refuses.
  const [major, minor, patch] = [match[1], match[2], match[3]].map((n) => Number(n ?? 0));
  const version = `${major}.${minor}.${patch}${match[4] ?? ""}`;
  // Without a pre-release there are only numbers to check, which semver does slowly.
  if (match[4] === undefined && [major, minor, patch].every(Number.isSafeInteger)) return version;
  return semver.valid(version);
}

/** Returns whether `raw` is a more exact spelling of `coarse`, such as `2.1.0` or `v2.1` of `2`. */
export function refines(raw: string, coarse: string): boolean {
  return raw.trim().replace(/^v/i, "").startsWith(`${coarse.trim()}.`);
}

/**
 * Compares two VERSIONs as Bitrix24 sends them, whatever the app's scheme: Bitrix24's rise. Text that is not a version is
 * above all versions. Returns a negative number, zero or a positive number.
 */
export function compareRaw(a: string, b: string): number {
  const [versionA, versionB] = [readVersion(a), readVersion(b)];
  if (versionA !== null && versionB !== null) return compareVersions(versionA, versionB);
  if (versionA === null && versionB === null) return a < b ? -1 : Number(a > b);
  return versionA === null ? 1 : -1;
}

/** Returns a negative number, zero or a positive number. Both must be results of {@linkcode parseVersion}. */
export function compareVersions(a: string, b: string): number {
  return a === b ? 0 : semver.compare(a, b);
}
