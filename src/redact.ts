/** Removes secrets from strings and errors before they are logged or stored. */
import { REDACTED, type Secret } from "./secret.ts";

/** Words that end with this make a name one of a secret: `access_token`, `clientSecret`, `PASSWORD`. */
const SECRET_WORD = /(token|secret|password|passwd|passphrase|credential)s?$/i;

/** Other names of secrets, in lower case and without separators. `APP_SID` and the like come with openings of an app. */
const SECRET_NAMES: ReadonlySet<string> = new Set([
  ...["auth", "authid", "refreshid", "appsid", "sessid", "authorization", "apikey", "privatekey"],
]);

/** Names that were asked for, because those in logs and events are always the same. Anybody can send names: it is bounded. */
const knownNames = new Map<string, boolean>();
const MAX_KNOWN_NAMES = 256;
const MAX_KNOWN_NAME_LENGTH = 64;

/** Returns whether the value of a field with this name is treated as a secret. */
export function isSecretName(name: string): boolean {
  const known = knownNames.get(name);
  if (known !== undefined || name.length > MAX_KNOWN_NAME_LENGTH) return known ?? hasSecretWord(name);
  if (knownNames.size >= MAX_KNOWN_NAMES) knownNames.clear();
  const isSecret = hasSecretWord(name);
  knownNames.set(name, isSecret);
  return isSecret;
}

function hasSecretWord(name: string): boolean {
  const words = name.split(/[^A-Za-z0-9]+|(?<=[a-z0-9])(?=[A-Z])/);
  return words.some((word) => SECRET_WORD.test(word)) || SECRET_NAMES.has(words.join("").toLowerCase());
}

/** A field with a value in a form, a query, PHP or JSON: `name=value`, `data[name]=value`, `"name": "value"`. */
const FIELD =
  /((?:(?<![\w-])|%5B)([\w-]{1,64})(?:(?:\]|%5D|["']){0,4}\s?=>?\s?["']?(?!=)|\\?["']\s?:\s?\\?["']))([^\s"'\\&?#=,;<>()[\]{}]+)/gi;

/** User name and password in a URL. */
const USERINFO = /(?<=:\/\/)[^\s/?#@]+(?=@)/g;

/** The secret in the address of an inbound webhook of Bitrix24: `/rest/<user>/<secret>/<method>`. */
const WEBHOOK = /(?<=\/rest\/(?:api\/)?\d{1,10}\/)[A-Za-z0-9]{8,64}(?![\w.])/g;

/** What is in a header `authorization`: the name of a scheme, and a token or a user with a password. */
const CREDENTIALS = /\bBearer\s{1,4}[\w.~+/-]{16,}=*|(?<=authorization\W{1,8})Basic\s{1,4}[\w.~+/-]{4,}=*/gi;

/**
 * Returns `text` without the values of `secrets`, without the values of fields whose names are those of secrets, such as
 * `client_secret=…` or `"access_token":"…"`, without user names and passwords in URLs, without the secrets of Bitrix24's inbound
 * webhooks, and without what headers such as `authorization: Bearer …` have. Use it for text from another host, and for errors
 * that may quote a token.
 *
 * Values of `secrets` that are shorter than 8 characters are kept: removing them could garble ordinary words.
 *
 * @example
 * ```ts
 * import { redact, Secret } from "@b24/onappupdate";
 * import assert from "node:assert/strict";
 *
 * const token = new Secret("3a0f7d66007e2a1c");
 * assert.equal(redact("3a0f7d66007e2a1c has expired, AUTH_ID=5b11", [token]), "[redacted] has expired, AUTH_ID=[redacted]");
 * ```
 */
export function redact(text: string, secrets: Iterable<Secret> = []): string {
  // Longest first: if one value is the prefix of another, the rest of the longer one must not remain.
  const values = Array.from(secrets, (secret) => secret.reveal()).sort((a, b) => b.length - a.length);
  for (const value of values) {
    if (value.length >= 8) text = text.replaceAll(value, REDACTED);
  }
  text = text.replaceAll(USERINFO, REDACTED).replaceAll(WEBHOOK, REDACTED).replaceAll(CREDENTIALS, REDACTED);
  return text.replaceAll(FIELD, (field, start: string, name: string) => isSecretName(name) ? start + REDACTED : field);
}

/**
 * Returns a copy of `thrown` that can be logged: of the same class, with its causes, and with its strings redacted by
 * {@linkcode redact}. Members that are objects, such as a request or a response, are not copied.
 */
export function redactError(thrown: unknown, secrets: readonly Secret[], depth: number = 0): Error {
  if (!(thrown instanceof Error)) return new Error(redact(stringOf(() => thrown), secrets));
  const copy = Object.create(Object.getPrototypeOf(thrown)) as Error;
  const define = (key: string, value: unknown, enumerable: boolean): void =>
    void Object.defineProperty(copy, key, { value, enumerable, configurable: true });
  for (const [key, value] of Object.entries(thrown)) {
    if (typeof value === "string") define(key, isSecretName(key) ? REDACTED : redact(value, secrets), true);
    else if (typeof value !== "object" && typeof value !== "function") define(key, value, true);
  }
  // Always own properties of the copy: those of a DOMException are accessors that only work on the original.
  for (const key of ["name", "message", "stack"] as const) {
    const value = redact(stringOf(() => thrown[key]), secrets);
    define(key, value, false);
  }
  // The accessor throws on a copy, and so does a logger that reads the copy.
  if (thrown instanceof DOMException) define("code", thrown.code, false);
  // Causes may be circular.
  if (thrown.cause !== undefined && depth < MAX_CAUSES) {
    define("cause", redactError(thrown.cause, secrets, depth + 1), false);
  }
  return copy;
}

/** Returns the message of what was thrown and why, redacted: the errors of `fetch` say why only in their cause. */
export function messageWithCause(thrown: unknown): string {
  const { message, cause } = thrown instanceof Error ? thrown : new Error(stringOf(() => thrown));
  // The cause has no message if several addresses were tried.
  const { message: reason, code } = Object(cause) as { readonly message?: unknown; readonly code?: unknown };
  const why = [reason, code].find((text) => typeof text === "string" && text !== "");
  return redact(why === undefined ? message : `${message}: ${why}`);
}

/** The maximum number of nested causes that are copied. */
const MAX_CAUSES = 10;

/** Returns a value as a string. Anything can be thrown, including values whose conversion throws. */
function stringOf(value: () => unknown): string {
  try {
    return String(value());
  } catch {
    return "a value that cannot be converted to a string";
  }
}
