/** Parses a request's body into a typed event. */
import { defined } from "../defined.ts";
import { isSecretName } from "../redact.ts";
import { REDACTED } from "../secret.ts";
import type { B24Event, KnownEvent } from "./events.ts";
import { extraOf } from "./extra.ts";
import { checked } from "./fields.ts";
import { decodeForm } from "./form.ts";
import { decodeJson } from "./json.ts";
import { AUTH_KEYS, EVENTS, NAMED, toAuth, TOP_KEYS, UNKNOWN_SCHEMA } from "./schemas.ts";
import { type DecodeLimits, isTree, type WireTree, type WireValue } from "./tree.ts";

/** The format of a body. */
export type BodyKind = "form" | "json";

/** A body as it was received. */
export interface Body {
  readonly kind: BodyKind;
  readonly text: string;
}

/**
 * Returns the body of an event without its secrets: without the fields whose names are those of secrets, and with
 * `[redacted]` as `application_token`, which every event of an app needs.
 */
export function withoutSecrets({ kind, text }: Body): Body {
  if (kind === "json") return { kind, text: JSON.stringify(JSON.parse(text, redactField)) };
  const kept = [...new URLSearchParams(text)].flatMap(([name, value]) => {
    const keys = name.split(/[[\]]+/).filter((key) => key !== "");
    const isLast = (i: number): boolean => i === keys.length - 1;
    const fields = keys.map((key, i) => redactField(key, isLast(i) ? value : {}));
    return fields.includes(undefined) ? [] : [[name, String(fields.at(-1))]];
  });
  return { kind, text: new URLSearchParams(kept).toString() };
}

function redactField(name: string, value: unknown): unknown {
  if (name === "application_token") return REDACTED;
  // `auth` is a map, with fields that are no secrets.
  return isSecretName(name) && !(name === "auth" && typeof value === "object") ? undefined : value;
}

/** Returns the format that a `Content-Type` names, or `null` for any other one and for a charset that is not UTF-8. */
export function bodyKind(contentType: string | null): BodyKind | null {
  const [type, ...parameters] = (contentType ?? "").toLowerCase().split(";").map((part) => part.trim());
  const charset = parameters.find((p) => p.startsWith("charset="))?.slice("charset=".length).replaceAll('"', "");
  if (charset !== undefined && charset !== "utf-8" && charset !== "utf8") return null;
  if (type === "application/x-www-form-urlencoded") return "form";
  return type === "application/json" ? "json" : null;
}

/** A received event, and the request body that it was parsed from. */
export interface Incoming {
  readonly body: Body;
  /** The decoded body. */
  readonly tree: WireTree;
  readonly event: B24Event;
  /** Milliseconds since 1970. */
  readonly receivedAt: number;
  /** IP address of the client; absent if the server does not tell it, and when the event was stored. */
  readonly clientAddress?: string;
  /** The context of its request, for traces: see `Tracing`. */
  readonly trace?: string;
}

/** Limits apply when an event is received: a lower limit must not keep a stored event from being processed. */
const UNLIMITED: DecodeLimits = { fields: Infinity, depth: Infinity, keyLength: Infinity, valueLength: Infinity };

/** Returns the event in a body that was stored when it was received. */
export function parseStored(body: Body, receivedAt: number): Incoming {
  const tree = decodeBody(body, UNLIMITED);
  return { body, tree, event: parseTree(tree, receivedAt), receivedAt };
}

/**
 * Decodes a body, without checking its fields.
 *
 * @throws {InputError} if it is not in the format `kind`, or exceeds a limit
 */
export function decodeBody({ kind, text }: Body, limits?: Partial<DecodeLimits>): WireTree {
  return kind === "form" ? decodeForm(text, limits) : decodeJson(text, limits);
}

/**
 * Parses a body as Bitrix24 sends it, for tools and tests; the app parses requests by itself.
 *
 * `receivedAt`, in milliseconds since 1970, determines when a token expires whose event says only how long it is valid.
 *
 * @throws {InputError} if a field is missing or malformed; it names each such field
 *
 * @example
 * ```ts
 * import { parseEvent } from "@b24/onappupdate";
 * import assert from "node:assert/strict";
 *
 * const event = parseEvent(
 *   "event=ONAPPUPDATE&data[VERSION]=3&data[PREVIOUS_VERSION]=2&ts=1785312000" +
 *     "&auth[member_id]=a223c6b3710f85df22e9377d6c4f7553&auth[domain]=example.bitrix24.de" +
 *     "&auth[application_token]=51856fefc120afa4b628cc82d3935cce",
 * );
 * assert(event.name === "ONAPPUPDATE");
 * assert.equal(event.data.version, "3");
 * ```
 */
export function parseEvent(body: string, kind: "form" | "json" = "form", receivedAt: number = Date.now()): B24Event {
  return parseTree(decodeBody({ kind, text: body }), receivedAt);
}

/**
 * Returns the typed event in a decoded body.
 *
 * @throws {InputError} if a field is missing or malformed; it names each such field
 */
export function parseTree(tree: WireTree, receivedAt: number): B24Event {
  const { event: name } = checked(tree, NAMED, describe);
  const known = Object.hasOwn(EVENTS, name) ? EVENTS[name as KnownEvent["name"]] : undefined;
  const { ts, event_handler_id, auth, data } = checked(asForm(tree), known?.schema ?? UNKNOWN_SCHEMA, describe);
  const event = {
    name: known === undefined ? "UNKNOWN" : name,
    data: { ...known?.data(data as never, receivedAt), extra: extraOf(tree.data, known?.keys) },
    auth: { ...toAuth(auth, receivedAt), extra: extraOf(tree.auth, AUTH_KEYS) },
    ts: Number(ts),
    ...defined({ handlerId: event_handler_id || undefined }),
    extra: extraOf(tree, TOP_KEYS),
    ...(known === undefined ? { wireName: name } : {}),
  };
  // The schema of this name has checked the fields of its type.
  return event as unknown as B24Event;
}

/**
 * Returns the fields of an event as a form has them: numbers as strings, and an empty map, which PHP writes as nothing, as
 * "" or as [], as a map. A fraction stays a number: JSON.parse reads 1.10 as 1.1, so the version is unknown.
 */
function asForm({ event_handler_id, ts, data, auth }: WireTree): object {
  return {
    event_handler_id: digitsOf(event_handler_id),
    ts: digitsOf(ts),
    data: fieldsAsForm(mapOf(data)),
    auth: fieldsAsForm(auth),
  };
}

function mapOf(value: WireValue | undefined): WireValue {
  return value === undefined || value === "" || (Array.isArray(value) && value.length === 0) ? {} : value;
}

function digitsOf(field: WireValue | undefined): WireValue | undefined {
  return typeof field === "number" && Number.isInteger(field) ? String(field) : field;
}

function fieldsAsForm(value: WireValue | undefined): WireValue | undefined {
  if (!isTree(value)) return value;
  // A form has no numbers, so usually nothing is copied.
  for (const key in value) {
    if (typeof value[key] === "number") {
      return Object.fromEntries(Object.entries(value).map(([key, field]) => [key, digitsOf(field)!]));
    }
  }
  return value;
}

/** Describes a value for people: a short plain value is quoted, anything else is named by its type, and a secret never is. */
function describe(value: unknown, key: string): string {
  if (value === undefined) return "nothing";
  if (value === "") return "an empty string";
  if (Array.isArray(value)) return "an array";
  if (isTree(value)) return "an object";
  const isSecret = isSecretName(key);
  if (typeof value === "string") {
    return value.length > 24 || isSecret ? `a string of ${value.length} characters` : JSON.stringify(value);
  }
  return isSecret && value !== null ? `a ${typeof value}` : String(value);
}
