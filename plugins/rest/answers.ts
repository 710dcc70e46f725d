/** Reads what portals answer, which may be anything. */
import { B24Error } from "../../mod.ts";
import type { Clean } from "./redaction.ts";

/** Where something comes from that a portal says. */
export interface Source {
  readonly method: string;
  /** Of HTTP. */
  readonly status: number;
  readonly clean: Clean;
}

/** The portal has done what it was asked. */
export interface Answer extends Source {
  readonly result: unknown;
  readonly next: unknown;
}

/** The portal has not. */
export interface Refused {
  readonly error: B24Error;
  /** When a method may be called again, in seconds since 1970. */
  readonly resetAt?: number;
}

/** What the body of an answer says. */
export function readAnswer(body: BufferSource, contentType: string, source: Source): Answer | Refused {
  let answer: unknown;
  try {
    answer = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body));
  } catch {
    // Of a proxy, a login page or half an answer; what it says is nobody's business here.
  }
  if (!isMap(answer)) {
    const type = /^[\w.+-]{1,40}\/[\w.+-]{1,60}/.exec(source.clean(contentType))?.[0] ?? "something without a type";
    return { error: unexpected(source, `${type} that is no JSON object`) };
  }
  const error = refusalIn(answer, source);
  if (error !== undefined) {
    const resetAt = isMap(answer.time) ? Number(answer.time.operating_reset_at) : NaN;
    return resetAt > 0 ? { error, resetAt } : { error };
  }
  if (source.status >= 300 || !Object.hasOwn(answer, "result")) {
    return { error: unexpected(source, "JSON without result or error") };
  }
  return { ...source, result: answer.result, next: answer.next };
}

/** The error in an answer, or in that of a command. They come with any status, and some without a code. */
export function refusalIn(answer: unknown, source: Source): B24Error | undefined {
  if (!isMap(answer)) return undefined;
  const { error, error_description: description } = answer;
  if (isMap(error)) return refusal(error.code, error.message, source);
  const isSaid = typeof error === "number" || typeof error === "string";
  if (!isSaid || (error === "" && Object.hasOwn(answer, "result"))) return undefined;
  return refusal(error, description, source);
}

/** An error that is made of what a portal says, whatever that is. */
export function refusal(code: unknown, description: unknown, { method, status, clean }: Source): B24Error {
  // Codes are words, and what is none may be anything.
  const word = /^[\w .:-]{1,80}$/.exec(clean(textOf(code)))?.[0] ?? "UNKNOWN_ERROR";
  return new B24Error({ code: word, description: clean(textOf(description)), status, method });
}

/** The error for an answer that cannot be what was asked for. */
export function unexpected({ method, status }: Source, description: string): B24Error {
  return new B24Error({ code: "ERROR_UNEXPECTED_ANSWER", description, status, method });
}

/** An empty text for what is none. */
export function textOf(value: unknown): string {
  return typeof value === "string" || typeof value === "number" ? String(value) : "";
}

/** Whether it is an object of JSON. */
export function isMap(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
