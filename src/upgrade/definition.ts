/** The definition of an upgrade: its range, its options, and the version changes that it covers. */
// @ts-types="@types/semver"
import * as semver from "semver";
import { checkOptions, option, type OptionProblem, type OptionRule, type OptionRules } from "../check_options.ts";
import { defined } from "../defined.ts";
import type { Logger } from "../logger.ts";
import type { Portal } from "../portal/portal.ts";
import { RETRY_RULES, type RetryPolicy } from "../retry.ts";
import { assertKey } from "../storage/key.ts";
import { compareVersions, isVersion, parseVersion } from "../version.ts";
import type { Steps } from "./steps.ts";

/**
 * The version changes that an upgrade runs for.
 *
 * - `"2.0.0"`: every portal that crosses this version (`version < 2.0.0 <= target`). `"2"` and `2` mean `"2.0.0"`.
 * - `">=1.4.0 <2.0.0"`: portals whose version is in the range, when their target is above it.
 * - `{ from: "1.x", to: ">=2.1.0" }`: portals whose version is in `from` and not in `to`, when their target is in `to`.
 *
 * Each range has a version threshold: the version itself, the upper bound of the range, or the lowest version of `to`
 * (a pre-release only if `to` names one). The upgrades of a run run in the order of their thresholds.
 *
 * Pre-releases are ordered before their release. `2.0.0-beta.1` is in `<2.0.0` and in `2.x`. It is not in `1.x`,
 * `^1.4.0` or `<2`, which end below the first pre-release of 2.0.0.
 */
export type UpgradeRange = string | number | { readonly from: string | number; readonly to: string | number };

/** Accepts texts, and the versions of Bitrix24, which are whole numbers. The number 2.10 would be 2.1. */
const rangeText = (wanted: string): OptionRule =>
  option.value(
    wanted,
    (range) => typeof range === "string" ? range.trim() !== "" : Number.isSafeInteger(range) && Number(range) >= 0,
  );

const RANGE = 'a version such as "2.0.0" or 2, a range such as ">=1.4.0 <2.0.0", or { from, to }';

const rangeOrVersion = rangeText(RANGE);

const BOTH_RULES: OptionRules<Extract<UpgradeRange, object>> = {
  from: option.required(rangeText('a range such as "1.x"')),
  to: option.required(rangeText('a range such as ">=2.1.0"')),
};

function rangeRule(range: unknown, path: string): OptionProblem | undefined {
  if (typeof range === "function") {
    return { path, seen: "a function", wanted: `${RANGE}: app.upgrade(range, handler, options)` };
  }
  const isObject = typeof range === "object" && range !== null && !Array.isArray(range);
  return isObject ? option.object(BOTH_RULES)(range, path) : rangeOrVersion(range, path);
}

/** The argument of an upgrade handler. Plugins add to it. */
export interface UpgradeContext extends Steps {
  /** The `member_id` of the portal. */
  readonly memberId: string;
  /** Version of the portal before this run. */
  readonly from: string;
  /** Version of the portal after this run. */
  readonly to: string;
  /**
   * Number of this attempt, from 1. Attempts that sleep, are blocked, were suspended for other portals or cut off by a
   * shutdown do not count. Attempts whose process ended count, until a step or a page is finished.
   */
  readonly attempt: number;
  /**
   * `"run"`: an ordinary attempt.
   *
   * `"rollback"`: the handler runs only to find the `undo` functions of its finished steps. No step runs, and the
   * handler ends at its first unfinished step. Skip effects outside of steps.
   *
   * `"rehearsal"`: `app.rehearse` runs the handler to report what a run would do. `b24` writes nothing, and `fetch` rejects. Skip
   * all other effects.
   */
  readonly mode: "run" | "rollback" | "rehearsal";
  /**
   * The `fetch` of the app, with the `signal` of the step that calls it, or of the attempt outside of steps. In a rehearsal it
   * rejects with `NotRehearsedError`. Use it instead of the global `fetch`.
   */
  readonly fetch: typeof fetch;
  /** False if the target was believed because Bitrix24 could not be asked; see `confirm` of `applicationToken()`. */
  readonly confirmed: boolean;
  /** The portal as it was when this attempt began. */
  readonly portal: Portal;
  /** Logger that adds the portal and the upgrade to each line. */
  readonly log: Logger;
  /** Aborted at the timeout of the upgrade, when the lease is lost to another worker, and when the app closes. */
  readonly signal: AbortSignal;
}

/** Options of `app.upgrade`. */
export interface UpgradeOptions {
  /**
   * Identifies the upgrade in the records of portals. Never change it, and never reuse it for other work. Maximum: 500
   * characters.
   *
   * @default the range as written
   */
  readonly id?: string;
  /**
   * Milliseconds after which an attempt fails and its `signal` is aborted. They count from the last recorded step or page,
   * or from the start of the attempt. Minimum: 1. Maximum: 2147483647.
   *
   * @default 3600000 (1 hour)
   */
  readonly timeoutMs?: number;
  /**
   * When failed attempts are retried.
   *
   * @default the `retry` option of the app
   */
  readonly retry?: RetryPolicy;
  /**
   * Scopes that the portal must have granted, such as `"crm"` or `["crm", "tasks"]`. Until it has, the portal is blocked
   * on `scope`, which is not a failure. An administrator grants scopes when they update the app.
   *
   * @default none
   */
  readonly requires?: { readonly scope: string | readonly string[] };
  /**
   * `app.rehearse` runs the handler. Set it only if each of its effects goes through `b24`, or through `ctx.fetch`, or is left out
   * if `ctx.mode` is `"rehearsal"`: the effects of the global `fetch` and of your own database would be real.
   *
   * @default false
   */
  readonly rehearsal?: boolean;
}

const UPGRADE_TIMEOUT_MS = 60 * 60 * 1000;

const OPTION_RULES: OptionRules<UpgradeOptions> = {
  id: option.text("a text that identifies the upgrade"),
  timeoutMs: option.duration(),
  retry: option.object(RETRY_RULES),
  requires: option.object<NonNullable<UpgradeOptions["requires"]>>({
    scope: option.required(option.value('scopes such as "crm"', (scope) => [scope].flat().every(isScope))),
  }),
  rehearsal: option.flag(),
};

function isScope(name: unknown): boolean {
  return typeof name === "string" && /^[^\s,]+$/.test(name);
}

/** The version at which an upgrade runs on the way to the target. `after`: just above that version. */
interface Threshold {
  readonly version: string;
  readonly after: boolean;
}

/** A registered upgrade. */
export interface Upgrade<Context extends UpgradeContext = UpgradeContext> {
  readonly id: string;
  /** False if the range is the id. */
  readonly hasOwnId: boolean;
  /** The range as written. */
  readonly range: string;
  /** The range in one spelling: the same for ranges that mean the same. */
  readonly meaning: string;
  readonly threshold: Threshold;
  /** Returns whether a portal that goes up from `version` to `target` needs this upgrade. */
  readonly covers: (version: string, target: string) => boolean;
  readonly handler: (ctx: Context) => void | Promise<void>;
  readonly timeoutMs: number;
  readonly retry?: RetryPolicy;
  /** Scopes that the portal must have granted. */
  readonly scope: readonly string[];
  /** Whether the handler can be rehearsed. */
  readonly isRehearsable: boolean;
}

/** Maximum length of an id, which is a part of keys. */
const MAX_ID_LENGTH = 500;

/**
 * Returns the upgrade of `app.upgrade(range, handler, options)`.
 *
 * @throws {TypeError} if the range is invalid, never matches or has no upper bound, or the handler or an option is invalid
 */
export function defineUpgrade<Context extends UpgradeContext>(
  range: UpgradeRange,
  handler: (ctx: Context) => void | Promise<void>,
  options: UpgradeOptions = {},
): Upgrade<Context> {
  checkOptions("cannot register an upgrade", { range }, { range: option.required(rangeRule) });
  const texts = typeof range === "object"
    ? { from: String(range.from).trim(), to: String(range.to).trim() }
    : String(range).trim();
  const written = typeof texts === "string" ? texts : `${texts.from} -> ${texts.to}`;
  if (typeof handler !== "function") {
    throw refusal(written, `its handler is ${typeof handler}, wanted a function: app.upgrade(range, handler, options)`);
  }
  checkOptions(`cannot register upgrade ${JSON.stringify(written)}`, options, OPTION_RULES);
  const { id: upgradeId = written, timeoutMs = UPGRADE_TIMEOUT_MS, retry, requires, rehearsal = false } = options;
  if (upgradeId.length > MAX_ID_LENGTH) {
    throw refusal(written, `its id has ${upgradeId.length} characters, wanted at most ${MAX_ID_LENGTH}`);
  }
  assertKey([upgradeId]);
  return {
    id: upgradeId,
    hasOwnId: options.id !== undefined,
    range: written,
    ...(typeof texts !== "string" ? entering(texts, written) : isVersion(texts) ? crossing(texts) : leaving(written)),
    handler,
    scope: requires === undefined ? [] : [requires.scope].flat(),
    timeoutMs,
    isRehearsable: rehearsal,
    ...defined({ retry }),
  };
}

/** Compares thresholds by the order in which their upgrades run. */
export function compareThresholds(a: Threshold, b: Threshold): number {
  return compareVersions(a.version, b.version) || Number(a.after) - Number(b.after);
}

type Selection = Pick<Upgrade, "threshold" | "covers" | "meaning">;

/** Portals that cross a version. */
function crossing(text: string): Selection {
  const threshold = { version: parseVersion(text), after: false };
  const meaning = `<${threshold.version}`;
  return { threshold, meaning, covers: (version, target) => crosses(threshold, version, target) };
}

/** Portals that leave a range upwards. */
function leaving(written: string): Selection {
  const range = parseRange(written, written);
  const [comparators, ...others] = range.set;
  if (comparators === undefined || others.length > 0) {
    throw refusal(written, `it has "||"; register one upgrade for each part`);
  }
  const upper = comparators
    .filter(({ operator, semver }) => operator !== ">" && operator !== ">=" && semver.version !== undefined)
    .map(({ operator, semver }): Threshold => ({ version: semver.version, after: operator !== "<" }))
    .sort(compareThresholds)[0];
  if (upper === undefined) {
    throw refusal(
      written,
      `it has no upper bound, so no portal ever leaves it; add one, as in ">=1.4.0 <2.0.0", or use { from, to }`,
    );
  }
  return {
    threshold: upper,
    meaning: meaningOf(range),
    covers: (version, target) => has(range, version) && crosses(upper, version, target),
  };
}

/** Portals that go from one range to another. */
function entering(range: { readonly from: string; readonly to: string }, written: string): Selection {
  const from = parseRange(range.from, written);
  const to = parseRange(range.to, written);
  if (semver.subset(from, to, PRERELEASES)) {
    throw refusal(written, `"from" is part of "to", so no portal ever enters "to"`);
  }
  if (semver.gtr(semver.minVersion(from)!, to, PRERELEASES)) {
    throw refusal(written, `"from" is above "to", and portals never go down`);
  }
  return {
    threshold: { version: semver.minVersion(to)!.version, after: false },
    meaning: `${meaningOf(from)} -> ${meaningOf(to)}`,
    covers: (version, target) => has(from, version) && has(to, target) && !has(to, version),
  };
}

/** Returns a range with its parts in one order. */
function meaningOf({ set }: semver.Range): string {
  return set.map((comparators) => comparators.map(({ value }) => value).sort().join(" ")).sort().join(" || ");
}

function crosses({ version: threshold, after }: Threshold, version: string, target: string): boolean {
  const isBelow = (v: string): boolean => compareVersions(v, threshold) < (after ? 1 : 0);
  return isBelow(version) && !isBelow(target);
}

const PRERELEASES = { includePrerelease: true };

function has(range: semver.Range, version: string): boolean {
  return range.test(version);
}

function parseRange(range: string, written: string): semver.Range {
  let parsed: semver.Range | undefined;
  try {
    parsed = new semver.Range(range, PRERELEASES);
  } catch (cause) {
    throw refusal(written, `${JSON.stringify(range)} is not a version range`, { cause });
  }
  if (semver.minVersion(parsed) === null) {
    throw refusal(written, `no version is in ${JSON.stringify(range)}`);
  }
  return parsed;
}

function refusal(range: string, problem: string, options?: ErrorOptions): TypeError {
  return new TypeError(`cannot register upgrade ${JSON.stringify(range)}: ${problem}`, options);
}
