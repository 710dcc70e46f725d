/** Checks of decoded maps, field by field. They run for every request, so they copy nothing: a field is read afterwards. */
import { InputError, type InputIssue } from "../errors.ts";
import { isTree } from "./tree.ts";

/** The requirement on a value. */
export interface Field<T> {
  /** Completes "wanted …" in an error. */
  readonly wanted: string;
  readonly accepts: (value: unknown) => value is T;
  /** The fields of a map that was accepted. Other fields are ignored. */
  readonly fields?: Fields;
}

/** The fields of a map by name. */
export type Fields = Readonly<Record<string, Field<unknown>>>;

/** A map whose fields were accepted. */
export type Checked<F extends Fields> = { readonly [Name in keyof F]: F[Name] extends Field<infer T> ? T : never };

/** Accepts strings that match. */
export function matching(pattern: RegExp, wanted: string): Field<string> {
  return { wanted, accepts: (value): value is string => typeof value === "string" && pattern.test(value) };
}

/** Accepts strings of `min` to `max` UTF-16 code units. */
export function sized(min: number, max: number, wanted = `a string of ${min} to ${max} characters`): Field<string> {
  const isSized = (value: string): boolean => value.length >= min && value.length <= max;
  return { wanted, accepts: (value): value is string => typeof value === "string" && isSized(value) };
}

/** Accepts what `field` accepts, and a field that is absent. */
export function optional<T>({ accepts, ...field }: Field<T>): Field<T | undefined> {
  return { ...field, accepts: (value): value is T | undefined => value === undefined || accepts(value) };
}

/** Accepts maps whose fields are accepted. */
export function objectOf<F extends Fields>(fields: F): Field<Checked<F>> {
  return { wanted: "an object", accepts: isTree as unknown as (value: unknown) => value is Checked<F>, fields };
}

/** Describes a value for people, under its last key: secrets must not be quoted. */
export type Describe = (value: unknown, key: string) => string;

/**
 * Returns `value`, which `field` accepts.
 *
 * @throws {InputError} if it does not; it names each field that is missing or malformed
 */
export function checked<T>(value: unknown, field: Field<T>, describe: Describe): T {
  const issues = issuesIn(value, field, describe);
  if (issues.length > 0) throw new InputError(issues);
  return value as T;
}

/** Returns an issue for each field of `value` that is missing or malformed, or one for `value` itself. */
export function issuesIn(
  value: unknown,
  { wanted, accepts, fields = {} }: Field<unknown>,
  describe: Describe,
  path: readonly string[] = [],
): readonly InputIssue[] {
  if (!accepts(value)) return [{ path: path.join("."), saw: describe(value, path.at(-1) ?? ""), wanted }];
  let issues: readonly InputIssue[] = NO_ISSUES;
  for (const name in fields) {
    const field = fields[name]!;
    const inner = (value as Readonly<Record<string, unknown>>)[name];
    if (field.fields === undefined && field.accepts(inner)) continue;
    const found = issuesIn(inner, field, describe, [...path, name]);
    if (found.length > 0) issues = [...issues, ...found];
  }
  return issues;
}

const NO_ISSUES: readonly InputIssue[] = [];
