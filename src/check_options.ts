/** Checks options when they are passed: the error names the option, what was seen and what is wanted. */
import { MAX_TIMER_MS } from "./async/time.ts";

/** The problem of one option. */
export interface OptionProblem {
  /** Name of the option, with those of the objects that contain it: `limits.leaseMs`. Empty for the options as a whole. */
  readonly path: string;
  /** The value, as the error shows it. */
  readonly seen: string;
  /** The wanted value, as the end of a sentence. */
  readonly wanted: string;
}

/** Returns the problem of a value; `undefined` if it is valid. The rules of {@linkcode option} accept `undefined`. */
export type OptionRule = (value: unknown, path: string) => OptionProblem | undefined;

/** A rule for each option of an interface. */
export type OptionRules<Options extends object> = { readonly [Name in keyof Options]-?: OptionRule };

/**
 * Checks the options of a function, also the names: a misspelled option would have no effect. `action` starts the message,
 * as in `cannot call portals`.
 *
 * @throws {TypeError} if an option is unknown or invalid, such as `cannot call portals with attempts 0, wanted a whole
 * number from 1`
 *
 * @example
 * ```ts
 * import { checkOptions, option, type Plugin } from "@b24/onappupdate";
 * import assert from "node:assert/strict";
 *
 * interface AuditOptions {
 *   readonly table: string;
 *   readonly maxRows?: number;
 * }
 *
 * function audit(options: AuditOptions): Plugin {
 *   checkOptions("cannot audit", options, {
 *     table: option.required(option.text("the name of a table")),
 *     maxRows: option.number({ min: 1 }),
 *   });
 *   return { name: "audit" };
 * }
 *
 * assert.throws(() => audit({ table: "log", maxRows: 0 }), /cannot audit with maxRows 0, wanted a number from 1/);
 * ```
 */
export function checkOptions<Options extends object>(
  action: string,
  options: Options,
  rules: OptionRules<Options>,
): void {
  const problem = option.required(option.object(rules))(options, "");
  if (problem === undefined) return;
  const { path, seen, wanted } = problem;
  throw new TypeError(`${action} with ${path === "" ? "options" : path} ${seen}, wanted ${wanted}`);
}

/** A range of numbers. */
export interface NumberRange {
  /** Minimum. */
  readonly min: number;
  /**
   * Maximum. `Infinity` also accepts `Infinity`.
   *
   * @default Number.MAX_VALUE
   */
  readonly max?: number;
  /**
   * Accepts whole numbers only, and `Infinity` if `max` is `Infinity`.
   *
   * @default false
   */
  readonly isWhole?: boolean;
}

function isTimeZone(value: unknown): boolean {
  if (typeof value !== "string" || value === "") return false;
  try {
    return new Intl.DateTimeFormat("en", { timeZone: value }) !== undefined;
  } catch {
    return false;
  }
}

/** Rules for {@linkcode checkOptions}. */
export const option = {
  /** Accepts what `isValid` accepts. `isSecret`: the error does not show the value. */
  value: (wanted: string, isValid: (value: unknown) => boolean, { isSecret = false } = {}): OptionRule => {
    return (value, path) => {
      if (value === undefined || isValid(value)) return undefined;
      return { path, seen: isSecret ? kindOf(value) : shown(value), wanted };
    };
  },
  /** Accepts what `rule` accepts, except `undefined`. */
  required: (rule: OptionRule): OptionRule => (value, path) =>
    value === undefined ? { path, wanted: "a value", ...rule(null, path), seen: "undefined" } : rule(value, path),
  /** Accepts numbers of a range. */
  number: ({ min, max = Number.MAX_VALUE, isWhole = false }: NumberRange): OptionRule => {
    const range = max >= Number.MAX_VALUE ? `from ${min}` : `from ${min} to ${max}`;
    return option.value(
      `a ${isWhole ? "whole " : ""}number ${range}`,
      (value) =>
        typeof value === "number" && value >= min && value <= max &&
        (!isWhole || value === Infinity || Number.isInteger(value)),
    );
  },
  /** Accepts milliseconds that a timer can wait for. */
  duration: ({ min = 1 } = {}): OptionRule => option.number({ min, max: MAX_TIMER_MS }),
  /** Accepts strings that are not blank. */
  text: (wanted: string): OptionRule =>
    option.value(wanted, (value) => typeof value === "string" && value.trim() !== ""),
  /** Accepts the listed values. */
  oneOf: (...values: readonly (string | boolean)[]): OptionRule =>
    option.value(
      values.map((value) => JSON.stringify(value)).join(" or "),
      (value) => values.includes(value as string),
    ),
  /** Accepts times of day with two digits each, from `"00:00"` to `"23:59"`. */
  timeOfDay: (): OptionRule =>
    option.value(
      'a time such as "22:00"',
      (value) => typeof value === "string" && /^([01]\d|2[0-3]):[0-5]\d$/.test(value),
    ),
  /** Accepts time zones that `Intl` knows. */
  timeZone: (): OptionRule => option.value('a time zone such as "Europe/Berlin"', isTimeZone),
  /** Accepts `true` and `false`. */
  flag: (): OptionRule => option.oneOf(true, false),
  /** Accepts functions. */
  function: (wanted = "a function"): OptionRule => option.value(wanted, (value) => typeof value === "function"),
  /** Accepts abort signals. */
  signal: (): OptionRule => option.value("an AbortSignal", hasFunctions("throwIfAborted", "addEventListener")),
  /** Accepts lists of values that `rule` accepts. */
  list: (wanted: string, rule: OptionRule): OptionRule => (value, path) => {
    if (value === undefined) return undefined;
    if (!Array.isArray(value)) return { path, seen: shown(value), wanted };
    const elementRule = option.required(rule);
    return first(value.map((element, i) => elementRule(element, `${path}.${i}`)));
  },
  /** Accepts objects whose members `rules` accept, without other members. */
  object: <Options extends object>(rules: OptionRules<Options>): OptionRule => (value, path) => {
    if (value === undefined) return undefined;
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      const names = Object.keys(rules);
      const more = names.length > MAX_NAMES ? ", …" : "";
      // A text in place of the options is often a secret, such as the token of a bot.
      const seen = typeof value === "string" ? kindOf(value) : shown(value);
      return { path, seen, wanted: `an object with ${names.slice(0, MAX_NAMES).join(", ")}${more}` };
    }
    const prefix = path === "" ? "" : `${path}.`;
    const unknown = Object.keys(value).find((name) => !Object.hasOwn(rules, name));
    if (unknown !== undefined) {
      return { path: `the option ${prefix}${unknown}`, ...unknownOption(unknown, Object.keys(rules)) };
    }
    for (const [name, rule] of Object.entries<OptionRule>(rules)) {
      const problem = rule((value as Readonly<Record<string, unknown>>)[name], `${prefix}${name}`);
      if (problem !== undefined) return problem;
    }
    return undefined;
  },
};

/** The maximum number of options that an error lists. */
const MAX_NAMES = 6;

function first(problems: readonly (OptionProblem | undefined)[]): OptionProblem | undefined {
  return problems.find((problem) => problem !== undefined);
}

function unknownOption(name: string, known: readonly string[]): Pick<OptionProblem, "seen" | "wanted"> {
  return { seen: "that does not exist", wanted: nearest(name, known, 1 / 2) ?? known.join(" or ") };
}

/**
 * Returns the known name that `name` misspells by one character in five, in either case; `undefined` if it is one of them or
 * similar to none.
 */
export function misspelled(name: string, known: readonly string[]): string | undefined {
  return known.includes(name) ? undefined : nearest(name, known, 1 / 5);
}

/** Returns the known name that differs least, and at most by this share of its characters. */
function nearest(name: string, known: readonly string[], share: number): string | undefined {
  return known.map((one) => ({ one, distance: distanceOf(name.toLowerCase(), one.toLowerCase()) }))
    .filter(({ one, distance }) => distance <= Math.round(Math.max(name.length, one.length) * share))
    .sort((a, b) => a.distance - b.distance)[0]?.one;
}

/** Returns the number of characters to insert, delete, replace or swap with the next one. */
function distanceOf(a: string, b: string): number {
  let before: number[] = [];
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 0; i < a.length; i++) {
    const next = [i + 1];
    for (let j = 0; j < b.length; j++) {
      const isSwapped = i > 0 && j > 0 && a[i] === b[j - 1] && a[i - 1] === b[j];
      const swapped = isSwapped ? before[j - 1]! + 1 : Infinity;
      next.push(Math.min(next[j]! + 1, row[j + 1]! + 1, row[j]! + Number(a[i] !== b[j]), swapped));
    }
    [before, row] = [row, next];
  }
  return row.at(-1)!;
}

/** Returns a function that accepts objects with these functions, their own or of their class. */
export function hasFunctions(...names: readonly string[]): (value: unknown) => boolean {
  return (value) =>
    typeof value === "object" && value !== null &&
    names.every((name) => typeof (value as Readonly<Record<string, unknown>>)[name] === "function");
}

/** Shows plain values, and the kind of others. */
function shown(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value);
  return typeof value === "object" && value !== null || typeof value === "function" ? kindOf(value) : String(value);
}

function kindOf(value: unknown): string {
  if (value === null) return "null";
  if (value === "") return "an empty string";
  if (Array.isArray(value)) return "a list";
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}
