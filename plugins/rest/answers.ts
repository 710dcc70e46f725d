/** Interprets the answers of portals, which may be anything. */
import { B24Error, type HostAnswer } from "../../mod.ts";
import type { Redact } from "./redaction.ts";

/** The request that was answered. */
export interface Source {
  readonly method: string;
  /** HTTP status of the answer. */
  readonly status: number;
  readonly redact: Redact;
}

/** The answer of a portal that did what it was asked. */
export interface Answer extends Source {
  readonly result: unknown;
  readonly next: unknown;
  readonly total: unknown;
  readonly time: unknown;
  /** The answer as it was sent. */
  readonly text: string;
}

/** The answer of a portal that refused. */
export interface Refusal {
  readonly error: B24Error;
  /** When a method that has used up its operating time may be called again, in seconds since 1970. */
  readonly resetAt?: number;
}

/** Returns what a parsed answer says; `undefined` is an answer that is not JSON. */
export function interpret({ json: answer, text }: HostAnswer, contentType: string, source: Source): Answer | Refusal {
  if (!isMap(answer)) {
    // The answer itself is not quoted.
    const type = /^[\w.+-]{1,40}\/[\w.+-]{1,60}/.exec(source.redact(contentType))?.[0] ?? "something without a type";
    return { error: unexpected(source, `${type} that is not a JSON object`) };
  }
  const error = errorIn(answer, source);
  if (error !== undefined) {
    const resetAt = isMap(answer.time) ? Number(answer.time.operating_reset_at) : NaN;
    return resetAt > 0 ? { error, resetAt } : { error };
  }
  if (source.status >= 300 || !Object.hasOwn(answer, "result")) {
    return { error: unexpected(source, "JSON without result or error") };
  }
  const { result, next, total, time } = answer;
  return { ...source, result, next, total, time, text };
}

/** Returns the error in an answer, or in the answer to a command. Errors come with any status, and some without a code. */
export function errorIn(answer: unknown, source: Source): B24Error | undefined {
  if (!isMap(answer)) return undefined;
  const { error, error_description: description } = answer;
  // In REST 3.0, an error is a map, and says which fields are invalid.
  if (isMap(error)) return refusal(error.code, [stringOf(error.message), ...invalidFields(error)].join("; "), source);
  const isCode = typeof error === "number" || typeof error === "string";
  if (!isCode || (error === "" && Object.hasOwn(answer, "result"))) return undefined;
  return refusal(error, description, source);
}

function invalidFields({ validation }: Readonly<Record<string, unknown>>): readonly string[] {
  const issues = Array.isArray(validation) ? validation.filter(isMap) : [];
  return issues.map(({ field, message }) => `${stringOf(field)}: ${stringOf(message)}`);
}

/** Returns an error with a code and a description as a portal sent them, whatever they are. */
export function refusal(code: unknown, description: unknown, { method, status, redact }: Source): B24Error {
  // A code is a word; anything else may be anything.
  const word = /^[\w .:-]{1,80}$/.exec(redact(stringOf(code)))?.[0] ?? "UNKNOWN_ERROR";
  return new B24Error({ code: word, description: redact(stringOf(description)), status, method });
}

/** Returns the error for an answer that does not fit the request. */
export function unexpected({ method, status }: Pick<Source, "method" | "status">, description: string): B24Error {
  return new B24Error({ code: "ERROR_UNEXPECTED_ANSWER", description, status, method });
}

/** Returns a string or number as a string, and an empty string for anything else. */
export function stringOf(value: unknown): string {
  return typeof value === "string" || typeof value === "number" ? String(value) : "";
}

/** Returns an object with a member that is a number; an empty one if `value` is no number, in digits either. */
export function numberOf<Name extends string>(name: Name, value: unknown): { readonly [Key in Name]?: number } {
  const number = stringOf(value) === "" ? NaN : Number(value);
  return Number.isFinite(number) ? { [name]: number } as { [Key in Name]: number } : {};
}

/** Whether it is a JSON object. */
export function isMap(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
