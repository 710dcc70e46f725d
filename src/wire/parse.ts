/** From a request's body to a typed event: decoded, validated, named. */
import * as z from "zod";
import { InputError, type InputIssue } from "../errors.ts";
import { Secret } from "../secret.ts";
import type { B24Event, EventAuth, Extra, KnownEvent } from "./events.ts";
import { decodeForm } from "./form.ts";
import { decodeJson } from "./json.ts";
import { type DecodeLimits, isTree, type WireTree, type WireValue } from "./tree.ts";

/** How a body is written. */
export type BodyKind = "form" | "json";

/** The kind of body that a `Content-Type` announces; `null` for any other, and for a charset that is not UTF-8. */
export function bodyKind(contentType: string | null): BodyKind | null {
  const [type, ...parameters] = (contentType ?? "").toLowerCase().split(";").map((part) => part.trim());
  const charset = parameters.find((p) => p.startsWith("charset="))?.slice("charset=".length).replaceAll('"', "");
  if (charset !== undefined && charset !== "utf-8" && charset !== "utf8") return null;
  if (type === "application/x-www-form-urlencoded") return "form";
  return type === "application/json" ? "json" : null;
}

/**
 * Decodes a body without looking at what it means.
 *
 * @throws {InputError} when it is not what `kind` says, or exceeds a limit
 */
export function decodeBody(kind: BodyKind, body: string, limits?: Partial<DecodeLimits>): WireTree {
  return kind === "form" ? decodeForm(body, limits) : decodeJson(body, limits);
}

/**
 * The typed event in a body as Bitrix24 sends it: for tools and tests; the app does it by itself.
 *
 * `receivedAt` is in milliseconds since 1970 and gives the end of a token that only says how long it lives.
 *
 * @throws {InputError} naming each field that is missing or malformed
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
export function parseEvent(body: string, kind: BodyKind = "form", receivedAt: number = Date.now()): B24Event {
  return parseTree(decodeBody(kind, body), receivedAt);
}

/** @throws {InputError} naming each field that is missing or malformed */
export function parseTree(tree: WireTree, receivedAt: number): B24Event {
  const name = check(z.object({ event: EVENT_NAME }), tree).event;
  const known = Object.hasOwn(EVENTS, name) ? EVENTS[name as KnownEvent["name"]] : undefined;
  const { ts, event_handler_id, auth, data } = check(known?.schema ?? UNKNOWN_SCHEMA, tree);
  const wireData = isTree(tree.data) ? tree.data : {};
  const event = {
    name: known === undefined ? "UNKNOWN" : name,
    data: { ...(known?.data(data as never, receivedAt)), extra: extra(wireData, known?.keys ?? NO_KEYS) },
    auth: toAuth(auth, receivedAt, extra(tree.auth as WireTree, AUTH_KEYS)),
    ts,
    ...optional("handlerId", event_handler_id),
    extra: extra(tree, TOP_KEYS),
    ...(known === undefined ? { wireName: name } : {}),
  };
  // The schema that `name` chose has checked the fields that the type of that name has.
  return event as unknown as B24Event;
}

// Each check says what is wanted: of a union, zod reports the check that failed inside when only one did.
const sized = (min: number, max: number, wanted: string) =>
  z.string({ error: wanted }).min(min, wanted).max(max, wanted);
const integer = (wanted: string) =>
  z.union([z.int().nonnegative(wanted), z.string().regex(/^\d{1,15}$/, wanted).transform(Number)], { error: wanted });
const text = (max: number, wanted = `a text of 1 to ${max} characters`) =>
  z.union([sized(1, max, wanted), z.number().transform(String)], { error: wanted });
const TOKEN = "a token of 1 to 255 characters";
const token = () => sized(1, 255, TOKEN).transform((t) => new Secret(t));
// An event that belongs to no user may carry the keys of the tokens without values.
const userToken = z.union([z.literal("").transform(() => undefined), token()], { error: TOKEN }).optional();
const flag = (wanted = `"Y" or "N"`) =>
  z.union([
    z.union([z.literal("Y"), z.literal("1"), z.literal(1), z.literal(true)]).transform(() => true),
    z.union([z.literal("N"), z.literal("0"), z.literal(0), z.literal(false)]).transform(() => false),
  ], { error: wanted });
// Longer than any version and shorter than any token: one in the wrong place must not be quoted later.
// JSON's 1.10 is the number 1.1: which version was meant is lost already.
const VERSION = `a version as text or as an integer, such as "3" or "2.1.0"`;
const version = z.union([sized(1, 24, VERSION), z.int().nonnegative(VERSION).transform(String)], { error: VERSION });
const previousVersion = z.union([z.literal("").transform(() => undefined), version], { error: VERSION }).optional();
const languageId = sized(0, 16, `a language such as "de"`).optional();
const scope = sized(0, 8192, "scopes separated by commas").transform((s) => s.split(/[\s,]+/).filter(Boolean))
  .optional();
const address = sized(0, 2048, "an address").optional();
const unixSeconds = () => integer("unix time in seconds");
const oauth = {
  refresh_token: userToken,
  expires: unixSeconds().optional(),
  expires_in: integer("seconds").optional(),
  scope,
  user_id: integer("the number of a user").optional(),
};
const authFields = {
  member_id: z.string({ error: "32 hexadecimal digits" }).regex(/^[0-9a-f]{32}$/i, { error: "32 hexadecimal digits" })
    .toLowerCase(),
  domain: z.string({ error: "a host name" }).regex(/^[^\s/?#@\\]{1,260}$/, { error: "a host name" }),
  access_token: userToken,
  ...oauth,
  status: text(16).optional(),
  client_endpoint: address,
  server_endpoint: address,
};
const EVENT_NAME = z.string({ error: "the name of an event in upper case" })
  .regex(/^(?=.*[A-Z])[A-Z0-9_.:-]{1,100}$/, { error: "the name of an event in upper case" });

/** PHP writes a map without entries as nothing, as "", or as []. */
function mapOf(sent: unknown): unknown {
  return sent === undefined || sent === "" || (Array.isArray(sent) && sent.length === 0) ? {} : sent;
}

function schemaOf<Data extends z.ZodRawShape>(data: Data, applicationToken: "required" | "optional") {
  return z.object({
    ts: unixSeconds(),
    event_handler_id: text(64).optional(),
    data: z.preprocess(mapOf, z.object(data, { error: "an object" })),
    auth: z.object({
      ...authFields,
      application_token: applicationToken === "required" ? token() : token().optional(),
    }, { error: "an object" }),
  });
}

const UNKNOWN_SCHEMA = schemaOf({}, "optional");
const NO_KEYS: ReadonlySet<string> = new Set();
const AUTH_KEYS: ReadonlySet<string> = new Set([...Object.keys(authFields), "application_token"]);
const TOP_KEYS: ReadonlySet<string> = new Set(["event", "event_handler_id", "data", "ts", "auth"]);

interface EventKind {
  readonly schema: z.ZodType<z.output<ReturnType<typeof schemaOf>>>;
  readonly keys: ReadonlySet<string>;
  readonly data: (data: never, receivedAt: number) => object;
}

function kind<Data extends z.ZodRawShape, Out extends object>(
  fields: Data,
  data: (data: z.output<z.ZodObject<Data>>, receivedAt: number) => Out,
  applicationToken: "required" | "optional" = "required",
): EventKind {
  return {
    schema: schemaOf(fields, applicationToken) as unknown as EventKind["schema"],
    keys: new Set(Object.keys(fields)),
    data,
  };
}

/** The type says that every known event has its entry, and that each entry makes the data of its event. */
const EVENTS: { readonly [Name in KnownEvent["name"]]: EventKind } = {
  ONAPPUPDATE: kind(
    { VERSION: version, PREVIOUS_VERSION: previousVersion, LANGUAGE_ID: languageId },
    (d): DataOf<"ONAPPUPDATE"> => ({
      version: d.VERSION,
      ...optional("previousVersion", d.PREVIOUS_VERSION),
      ...optional("languageId", d.LANGUAGE_ID),
    }),
  ),
  ONAPPINSTALL: kind(
    { VERSION: version, ACTIVE: flag().optional(), INSTALLED: flag().optional(), LANGUAGE_ID: languageId },
    (d): DataOf<"ONAPPINSTALL"> => ({
      version: d.VERSION,
      ...optional("active", d.ACTIVE),
      ...optional("installed", d.INSTALLED),
      ...optional("languageId", d.LANGUAGE_ID),
    }),
  ),
  ONAPPUNINSTALL: kind(
    { CLEAN: flag("0 or 1"), LANGUAGE_ID: languageId },
    (d): DataOf<"ONAPPUNINSTALL"> => ({ clean: d.CLEAN, ...optional("languageId", d.LANGUAGE_ID) }),
  ),
  ONAPPPAYMENT: kind(
    {
      CODE: text(255),
      VERSION: version,
      STATUS: text(16),
      PAYMENT_EXPIRED: flag(),
      DAYS: z.union([z.int(), z.string().regex(/^-?\d{1,6}$/).transform(Number)], { error: "a number of days" })
        .optional(),
      LANGUAGE_ID: languageId,
    },
    (d): DataOf<"ONAPPPAYMENT"> => ({
      code: d.CODE,
      version: d.VERSION,
      status: d.STATUS,
      paymentExpired: d.PAYMENT_EXPIRED,
      ...optional("days", d.DAYS),
      ...optional("languageId", d.LANGUAGE_ID),
    }),
    "optional",
  ),
  ONAPPMETHODCONFIRM: kind(
    { TOKEN: token(), METHOD: text(255), CONFIRMED: flag("0 or 1"), LANGUAGE_ID: languageId },
    (d): DataOf<"ONAPPMETHODCONFIRM"> => ({
      token: d.TOKEN,
      method: d.METHOD,
      confirmed: d.CONFIRMED,
      ...optional("languageId", d.LANGUAGE_ID),
    }),
  ),
  ONAPPTEST: kind(
    // event.test takes anything: a list, and nothing at all, too.
    {
      QUERY: z.preprocess(mapOf, z.custom<WireTree | readonly WireValue[]>(isMapOrList, "an object")),
      LANGUAGE_ID: languageId,
    },
    (d): DataOf<"ONAPPTEST"> => ({ query: d.QUERY, ...optional("languageId", d.LANGUAGE_ID) }),
  ),
  ONAPPUSERREADY: kind(
    { access_token: token(), ...oauth },
    (d, receivedAt): DataOf<"ONAPPUSERREADY"> => ({
      accessToken: d.access_token,
      ...optional("refreshToken", d.refresh_token),
      expiresAt: expiry(d, receivedAt),
      scope: d.scope ?? [],
      ...optional("userId", d.user_id),
    }),
    "optional",
  ),
};

function isMapOrList(value: unknown): boolean {
  return typeof value === "object" && value !== null;
}

type DataOf<Name extends KnownEvent["name"]> = Omit<Extract<KnownEvent, { name: Name }>["data"], "extra">;

function toAuth(auth: z.output<ReturnType<typeof schemaOf>>["auth"], receivedAt: number, extra: Extra): EventAuth {
  return {
    memberId: auth.member_id,
    domain: auth.domain,
    ...optional("applicationToken", auth.application_token),
    ...optional("accessToken", auth.access_token),
    ...optional("refreshToken", auth.refresh_token),
    ...(auth.access_token === undefined ? {} : { expiresAt: expiry(auth, receivedAt) }),
    scope: auth.scope ?? [],
    ...optional("status", auth.status),
    ...optional("userId", auth.user_id),
    ...optional("clientEndpoint", auth.client_endpoint),
    ...optional("serverEndpoint", auth.server_endpoint),
    extra,
  };
}

/** An access token lives for an hour unless something else is said. */
const ACCESS_TOKEN_SECONDS = 3600;

function expiry(said: { expires?: number | undefined; expires_in?: number | undefined }, receivedAt: number): number {
  return said.expires !== undefined
    ? said.expires * 1000
    : receivedAt + (said.expires_in ?? ACCESS_TOKEN_SECONDS) * 1000;
}

/** Keys whose values are kept from being printed, whatever else they are. */
const SECRET_KEY = /token|secret|password/i;

function extra(tree: WireTree, known: ReadonlySet<string>): Extra {
  // Without a prototype, a key such as `__proto__` is a key like any other.
  const rest: Record<string, Extra[string]> = Object.create(null);
  for (const [key, value] of Object.entries(tree)) {
    if (!known.has(key)) rest[key] = typeof value === "string" && SECRET_KEY.test(key) ? new Secret(value) : value;
  }
  return rest;
}

function optional<K extends string, V>(key: K, value: V | undefined): { [P in K]?: V } {
  return value === undefined ? {} : { [key]: value } as { [P in K]: V };
}

function check<T>(schema: z.ZodType<T>, tree: WireTree): T {
  const result = schema.safeParse(tree);
  if (result.success) return result.data;
  throw new InputError(result.error.issues.map((issue): InputIssue => {
    const path = issue.path.map(String);
    return { path: path.join("."), saw: describe(valueAt(tree, path), path), wanted: issue.message };
  }));
}

function valueAt(tree: WireTree, path: readonly string[]): WireValue | undefined {
  let value: WireValue | undefined = tree;
  for (const key of path) value = isTree(value) && Object.hasOwn(value, key) ? value[key] : undefined;
  return value;
}

/** What was seen, for people: short plain values as they are, everything else by its kind, tokens never. */
function describe(value: WireValue | undefined, path: readonly string[]): string {
  if (value === undefined) return "nothing";
  if (value === "") return "an empty text";
  if (Array.isArray(value)) return "an array";
  if (isTree(value)) return "an object";
  if (typeof value === "string") {
    return value.length > 24 || path.some((key) => SECRET_KEY.test(key))
      ? `a text of ${value.length} characters`
      : JSON.stringify(value);
  }
  return path.some((key) => SECRET_KEY.test(key)) ? `a ${value === null ? "null" : typeof value}` : String(value);
}
