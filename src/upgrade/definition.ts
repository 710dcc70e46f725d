/** What `app.upgrade` was given, made ready for choosing. */
// @ts-types="@types/semver"
import * as semver from "semver";
import type { Logger } from "../logger.ts";
import type { Portal } from "../portal/record.ts";
import { compareVersions, isVersion, parseVersion } from "../version.ts";
import { isDuration, MAX_TIMER_MS } from "../async/time.ts";
import { assertRetryPolicy, type RetryPolicy } from "../retry.ts";
import type { Steps } from "./steps.ts";

/**
 * For which step of versions an upgrade is.
 *
 * - `"2.0.0"`, a milestone: every portal that crosses it (`version < 2.0.0 <= target`). `"2"` is `"2.0.0"`.
 * - `">=1.4.0 <2.0.0"`: portals whose version is in it, when they leave it upwards; its milestone is its upper bound.
 * - `{ from: "1.x", to: ">=2.1.0" }`: portals whose version is in `from` and whose target is in `to`, when their
 *   version was not in `to` before; its milestone is the lowest version of `to`, a pre-release only if `to` names one.
 *
 * Pre-releases are versions like others, ordered before their release: `2.0.0-beta.1` is in `<2.0.0` and in `2.x`, and
 * not in `1.x`, `^1.4.0` or `<2`, which end below the first pre-release of 2.0.0.
 */
export type UpgradeRange = string | { readonly from: string; readonly to: string };

/** What an upgrade handler is given, plus what plugins added. */
export interface UpgradeContext extends Steps {
  /** The portal that is upgraded. */
  readonly memberId: string;
  /** Version that the portal is on. */
  readonly from: string;
  /** Version that it is going to. */
  readonly to: string;
  /** 1 at the first time, and one more after each failure in a row. */
  readonly attempt: number;
  /**
   * `"run"`: an ordinary attempt. `"rollback"`: the handler runs only to find the `undo` functions of its finished steps.
   * No step runs then, and the handler ends at its first step that is not done: skip effects outside of steps.
   */
  readonly mode: "run" | "rollback";
  /** As it was when this upgrade began. */
  readonly portal: Portal;
  /** Adds portal and upgrade to each line. */
  readonly log: Logger;
  /**
   * Aborted at the time-out of the upgrade, when another worker takes the portal over, and when the app closes and has
   * waited long enough.
   */
  readonly signal: AbortSignal;
}

/** Options of `app.upgrade`. */
export interface UpgradeOptions {
  /** Under which it is recorded; default the range as written. Never give an id to other work later. */
  readonly id?: string;
  /** Milliseconds after which an attempt has failed and its `signal` is aborted; default none. */
  readonly timeoutMs?: number;
  /** How often it is tried; default the app's. */
  readonly retry?: RetryPolicy;
  /**
   * What the portal must have granted before it runs, such as `"crm"` or `["crm", "tasks"]`. Until it has, the portal
   * waits, which is no failure; an administrator grants it when he updates the app.
   */
  readonly requires?: { readonly scope: string | readonly string[] };
}

/** A version on the way: `after` means just above it. */
interface Milestone {
  readonly version: string;
  readonly after: boolean;
}

/** An upgrade that is registered. */
export interface Upgrade<Context extends UpgradeContext = UpgradeContext> {
  readonly id: string;
  /** The range as written, for people. */
  readonly range: string;
  readonly milestone: Milestone;
  /** Whether a portal that goes from `version` to `target`, upwards, needs it. */
  readonly covers: (version: string, target: string) => boolean;
  readonly handler: (ctx: Context) => void | Promise<void>;
  readonly timeoutMs?: number;
  readonly retry?: RetryPolicy;
  /** Scopes that the portal must have granted. */
  readonly scope: readonly string[];
}

/** @throws {TypeError} when the range is none, never matches, or has no milestone; or the time-out is no duration */
export function defineUpgrade<Context extends UpgradeContext>(
  range: UpgradeRange,
  handler: (ctx: Context) => void | Promise<void>,
  { id, timeoutMs, retry, requires }: UpgradeOptions = {},
): Upgrade<Context> {
  const text = typeof range === "string" ? range.trim() : `${range.from.trim()} -> ${range.to.trim()}`;
  if (timeoutMs !== undefined && !isDuration(timeoutMs)) {
    throw new TypeError(
      `cannot register upgrade ${quote(text)}: timeoutMs is ${timeoutMs}, wanted 1 to ${MAX_TIMER_MS}`,
    );
  }
  if (retry !== undefined) assertRetryPolicy(`upgrade ${quote(text)}`, retry);
  return {
    id: id ?? text,
    range: text,
    ...(typeof range !== "string" ? fromTo(range, text) : isVersion(range) ? milestone(range) : leaving(text)),
    handler,
    scope: scopeOf(requires, text),
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
    ...(retry === undefined ? {} : { retry }),
  };
}

function scopeOf(requires: UpgradeOptions["requires"], text: string): readonly string[] {
  const scope = requires === undefined ? [] : [requires.scope].flat();
  for (const name of scope as unknown[]) {
    if (typeof name === "string" && /^[^\s,]+$/.test(name)) continue;
    throw new TypeError(
      `cannot register upgrade ${quote(text)}: requires.scope has ${JSON.stringify(name)}, wanted names such as "crm"`,
    );
  }
  return scope as readonly string[];
}

/** In the order in which upgrades run; equal ones stay in the order of registration. */
export function compareMilestones(a: Milestone, b: Milestone): number {
  return compareVersions(a.version, b.version) || Number(a.after) - Number(b.after);
}

type Selection = Pick<Upgrade, "milestone" | "covers">;

function milestone(text: string): Selection {
  const milestone = { version: parseVersion(text), after: false };
  return { milestone, covers: (version, target) => crosses(milestone, version, target) };
}

function leaving(text: string): Selection {
  const range = parseRange(text, text);
  const [comparators, ...others] = range.set;
  if (comparators === undefined || others.length > 0) {
    throw new TypeError(`cannot register upgrade ${quote(text)}: it has "||"; register one upgrade for each part`);
  }
  const upper = comparators
    .filter(({ operator, semver }) => operator !== ">" && operator !== ">=" && semver.version !== undefined)
    .map(({ operator, semver }): Milestone => ({ version: semver.version, after: operator !== "<" }))
    .sort(compareMilestones)[0];
  if (upper === undefined) {
    throw new TypeError(
      `cannot register upgrade ${quote(text)}: it has no upper bound, so no portal ever leaves it; ` +
        `add one, as in ">=1.4.0 <2.0.0", or say { from, to }`,
    );
  }
  return { milestone: upper, covers: (version, target) => has(range, version) && crosses(upper, version, target) };
}

function fromTo(range: { readonly from: string; readonly to: string }, text: string): Selection {
  const from = parseRange(range.from, text);
  const to = parseRange(range.to, text);
  if (semver.subset(from, to, PRERELEASES)) {
    throw new TypeError(`cannot register upgrade ${quote(text)}: "from" lies in "to", so no portal ever gets there`);
  }
  if (semver.gtr(semver.minVersion(from)!, to, PRERELEASES)) {
    throw new TypeError(`cannot register upgrade ${quote(text)}: "from" is above "to", and no portal ever goes down`);
  }
  return {
    milestone: { version: semver.minVersion(to)!.version, after: false },
    covers: (version, target) => has(from, version) && has(to, target) && !has(to, version),
  };
}

function crosses({ version: milestone, after }: Milestone, version: string, target: string): boolean {
  const below = (v: string): boolean => compareVersions(v, milestone) < (after ? 1 : 0);
  return below(version) && !below(target);
}

const PRERELEASES = { includePrerelease: true };

function has(range: semver.Range, version: string): boolean {
  return range.test(version);
}

function parseRange(range: string, text: string): semver.Range {
  let parsed: semver.Range | undefined;
  try {
    parsed = new semver.Range(range, PRERELEASES);
  } catch (cause) {
    throw new TypeError(`cannot register upgrade ${quote(text)}: ${quote(range)} is no range of versions`, { cause });
  }
  if (semver.minVersion(parsed) === null) {
    throw new TypeError(`cannot register upgrade ${quote(text)}: no version is in ${quote(range)}`);
  }
  return parsed;
}

function quote(text: string): string {
  return JSON.stringify(text);
}
