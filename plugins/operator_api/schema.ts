/**
 * Schemas of requests and answers: the part of JSON Schema that the operator API needs. They check what comes in, select the
 * fields that go out, and are what `docs/operator-api.json` describes.
 */
import { redact } from "../../mod.ts";
import type { InputIssue } from "../../errors.ts";

/** A string. */
export interface StringSchema {
  readonly type: "string";
  readonly description?: string;
  readonly enum?: readonly string[];
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly pattern?: string;
  /** Wanted value, as the end of a sentence; by default, `enum` or the length. Not a part of the document. */
  readonly wanted?: string;
  /** Values that look like secrets are removed from answers. Not a part of the document. */
  readonly isRedacted?: true;
}

/** A number. */
export interface NumberSchema {
  readonly type: "number" | "integer";
  readonly description?: string;
  readonly minimum?: number;
  readonly maximum?: number;
}

/** `true` or `false`. */
export interface BooleanSchema {
  readonly type: "boolean";
  readonly description?: string;
}

/** A list. */
export interface ListSchema {
  readonly type: "array";
  readonly description?: string;
  readonly items: Schema;
}

/** An object with these members and no others. */
export interface ObjectSchema {
  readonly type: "object";
  readonly description?: string;
  /** Name in `components.schemas` of the document; absent if it is spelled out. */
  readonly name?: string;
  readonly properties: Readonly<Record<string, Schema>>;
  readonly required: readonly string[];
  /** `null` is valid, too. */
  readonly isNullable?: true;
}

/** An object with any members. */
export interface MapSchema {
  readonly type: "object";
  readonly description?: string;
  /** The schema of the values. */
  readonly values: Schema;
}

/** Any JSON that this package has composed itself. */
export interface AnySchema {
  readonly type: "any";
  readonly description?: string;
}

/** A schema of a value. */
export type Schema = StringSchema | NumberSchema | BooleanSchema | ListSchema | ObjectSchema | MapSchema | AnySchema;

/** A member that may be absent. */
export interface Optional {
  readonly optional: Schema;
}

/** A member that never leaves the process. */
export const HIDDEN = "hidden";

/**
 * A schema or {@linkcode HIDDEN} for each member of `T`: a new member of an interface does not compile before somebody has
 * decided whether it may be shown.
 */
export type Members<T extends object> = {
  readonly [Name in keyof T]-?: undefined extends T[Name] ? Optional | typeof HIDDEN : Schema | typeof HIDDEN;
};

/** Returns the schema of `T`. `name`: its name in the document. */
export function object<T extends object>(members: Members<T>, name?: string): ObjectSchema {
  const properties: Record<string, Schema> = {};
  const required: string[] = [];
  for (const [key, member] of Object.entries<Schema | Optional | typeof HIDDEN>(members)) {
    if (member === HIDDEN) continue;
    if (!("optional" in member)) required.push(key);
    properties[key] = "optional" in member ? member.optional : member;
  }
  return { type: "object", ...(name !== undefined && { name }), properties, required };
}

/** Returns a member that may be absent. */
export function optional(schema: Schema): Optional {
  return { optional: schema };
}

/** Returns the schema of a list. */
export function list(items: Schema): ListSchema {
  return { type: "array", items };
}

/** Returns the schema of a list that has no pages. */
export function wholeList(items: Schema): ObjectSchema {
  return { type: "object", properties: { items: list(items) }, required: ["items"] };
}

/** Returns the schema of a page: `items`, and what is passed to get the next one. */
export function page(items: Schema, next: Schema): ObjectSchema {
  return { type: "object", properties: { items: list(items), next }, required: ["items"] };
}

/** Returns what is wrong with a value of a request; empty if it is valid. */
export function issuesOf(schema: Schema, value: unknown, path: string): InputIssue[] {
  const issue = (wanted: string): InputIssue[] => [{ path, saw: shown(value), wanted }];
  switch (schema.type) {
    case "string":
      return isValidString(schema, value) ? [] : issue(wantedString(schema));
    case "integer":
    case "number": {
      const { minimum = -Infinity, maximum = Infinity } = schema;
      const isValid = typeof value === "number" && value >= minimum && value <= maximum &&
        (schema.type === "number" || Number.isInteger(value));
      const range = maximum === Infinity ? `from ${minimum}` : `from ${minimum} to ${maximum}`;
      return isValid ? [] : issue(`a ${schema.type === "integer" ? "whole " : ""}number ${range}`);
    }
    case "boolean":
      return typeof value === "boolean" ? [] : issue("true or false");
    case "array":
      if (!Array.isArray(value)) return issue("a list");
      return value.flatMap((item, i) => issuesOf(schema.items, item, `${path}[${i}]`));
    case "object":
      if (value === null && "isNullable" in schema) return [];
      if (typeof value !== "object" || value === null || Array.isArray(value)) return issue("an object");
      return "values" in schema ? [] : memberIssues(schema, value, path);
    case "any":
      return [];
  }
}

function memberIssues({ properties, required }: ObjectSchema, value: object, path: string): InputIssue[] {
  const at = (name: string): string => path === "" ? name : `${path}.${name}`;
  const known = Object.keys(properties);
  const wanted = known.length === 0 ? "no fields" : `only ${known.join(", ")}`;
  const unknown = Object.keys(value).filter((name) => !Object.hasOwn(properties, name)).map((name) => ({
    ...{ path: at(shortened(name)), saw: "a field that does not exist", wanted },
  }));
  const absent = required.filter((name) => !Object.hasOwn(value, name)).map((name) => ({
    ...{ path: at(name), saw: "nothing", wanted: wantedBy(properties[name]!) },
  }));
  const invalid = Object.entries(properties).filter(([name]) => Object.hasOwn(value, name))
    .flatMap(([name, schema]) => issuesOf(schema, (value as Readonly<Record<string, unknown>>)[name], at(name)));
  return [...unknown, ...absent, ...invalid];
}

function isValidString(
  { enum: values, minLength = 0, maxLength = Infinity, pattern }: StringSchema,
  value: unknown,
): boolean {
  return typeof value === "string" && value.isWellFormed() && value.length >= minLength && value.length <= maxLength &&
    (values === undefined || values.includes(value)) && (pattern === undefined || new RegExp(pattern, "u").test(value));
}

function wantedString({ wanted, enum: values, minLength = 0, maxLength }: StringSchema): string {
  if (wanted !== undefined) return wanted;
  if (values !== undefined) return values.map((value) => JSON.stringify(value)).join(" or ");
  return maxLength === undefined ? "a string" : `a string of ${minLength} to ${maxLength} characters`;
}

function wantedBy(schema: Schema): string {
  return issuesOf(schema, undefined, "")[0]?.wanted ?? "a value";
}

/** Maximum number of characters of a request that an error repeats. */
const MAX_SHOWN = 60;

function shortened(text: string): string {
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text;
}

/** Shows plain values, and the kind of others. A token in the wrong field must not be repeated. */
function shown(value: unknown): string {
  if (value === undefined) return "nothing";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object" && value !== null) return "an object";
  return typeof value === "string" ? JSON.stringify(shortened(redact(value))) : String(value);
}

/** Returns the members of an answer that its schema has, in their order. Everything else stays in the process. */
export function pick(schema: Schema, value: unknown): unknown {
  if (value === undefined || value === null) return value;
  switch (schema.type) {
    case "string":
      return schema.isRedacted && typeof value === "string" ? redact(value) : value;
    case "array":
      return (value as readonly unknown[]).map((item) => pick(schema.items, item));
    case "object": {
      const members = value as Readonly<Record<string, unknown>>;
      const names = Object.keys("values" in schema ? members : schema.properties).filter((name) =>
        members[name] !== undefined
      );
      return Object.fromEntries(
        names.map((name) => [name, pick("values" in schema ? schema.values : schema.properties[name]!, members[name])]),
      );
    }
    default:
      return value;
  }
}
