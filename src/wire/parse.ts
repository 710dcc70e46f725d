/** From a request's body to a typed event: decoded, validated, named. */
import * as z from "zod";
import { InputError, type InputIssue } from "../errors.ts";
import { Secret } from "../secret.ts";
import type { B24Event, EventAuth, Extra, ExtraValue, KnownEvent } from "./events.ts";
import { decodeForm } from "./form.ts";
import { decodeJson } from "./json.ts";
import { type DecodeLimits, isTree, type WireTree, type WireValue } from "./tree.ts";

/** How a body is written. */
export type BodyKind = "form" | "json";

/** A body as it came. */
export interface Body {
  readonly kind: BodyKind;
  readonly text: string;
}

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
export function decodeBody({ kind, text }: Body, limits?: Partial<DecodeLimits>): WireTree {
  return kind === "form" ? decodeForm(text, limits) : decodeJson(text, limits);
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
  return parseTree(decodeBody({ kind, text: body }), receivedAt);
}

/** @throws {InputError} naming each field that is missing or malformed */
export function parseTree(tree: WireTree, receivedAt: number): B24Event {
  const { event: name } = check(NAMED, tree);
  const known = Object.hasOwn(EVENTS, name) ? EVENTS[name as KnownEvent["name"]] : undefined;
  const { ts, event_handler_id, auth, data } = check(known?.schema ?? UNKNOWN_SCHEMA, texts(tree));
  const event = {
    name: known === undefined ? "UNKNOWN" : name,
    data: { ...known?.data(data as never, receivedAt), extra: extra(tree.data, known?.keys ?? NO_KEYS) },
    auth: { ...toAuth(auth, receivedAt), extra: extra(tree.auth, AUTH_KEYS) },
    ts: Number(ts),
    ...optional("handlerId", event_handler_id || undefined),
    extra: extra(tree, TOP_KEYS),
    ...(known === undefined ? { wireName: name } : {}),
  };
  // The schema that `name` chose has checked the fields that the type of that name has.
  return event as unknown as B24Event;
}

/**
 * The tree as a form would have brought it, as far as events have fields: numbers as texts, and a map without entries,
 * which PHP writes as nothing, as "" or as [], as a map. A fraction stays a number: JSON's 1.10 is 1.1, and which version
 * was meant is lost already.
 */
function texts({ event_handler_id, ts, data, auth }: WireTree): object {
  return {
    event_handler_id: textOf(event_handler_id),
    ts: textOf(ts),
    data: fieldTexts(mapOf(data)),
    auth: fieldTexts(auth),
  };
}

function mapOf(sent: WireValue | undefined): WireValue {
  return sent === undefined || sent === "" || (Array.isArray(sent) && sent.length === 0) ? {} : sent;
}

function textOf(field: WireValue | undefined): WireValue | undefined {
  return typeof field === "number" && Number.isInteger(field) ? String(field) : field;
}

function fieldTexts(value: WireValue | undefined): WireValue | undefined {
  if (!isTree(value)) return value;
  // A form has no numbers: nothing is copied then.
  for (const key in value) {
    if (typeof value[key] === "number") {
      return Object.fromEntries(Object.entries(value).map(([key, field]) => [key, textOf(field)!]));
    }
  }
  return value;
}

// Every field is a text here, which its check compiles to a few comparisons; what it means is read afterwards.
const text = (pattern: RegExp, wanted: string) => z.string({ error: wanted }).regex(pattern, wanted);
const digits = (wanted: string) => text(/^\d{1,15}$/, wanted);
// Nothing depends on these; a genuine event with one of them empty must not be lost for it.
const digitsOrEmpty = (wanted: string) => text(/^\d{0,15}$/, wanted).optional();
const sized = (min: number, max: number, wanted = `a text of ${min} to ${max} characters`) =>
  z.string({ error: wanted }).min(min, wanted).max(max, wanted);
const token = sized(1, 255, "a token of 1 to 255 characters");
// An event that belongs to no user may carry the keys of the tokens without values.
const userToken = sized(0, 255, "a token of 1 to 255 characters").optional();
const yesNo = text(/^[YN10]$/, `"Y" or "N"`);
const oneZero = text(/^[YN10]$/, "0 or 1");
// Longer than any version and shorter than any token: one in the wrong place must not be quoted later.
const VERSION = `a version as text or as an integer, such as "3" or "2.1.0"`;
const version = sized(1, 24, VERSION);
const languageId = sized(0, 16, `a language such as "de"`).optional();
const address = sized(0, 2048, "an address").optional();
const oauth = {
  refresh_token: userToken,
  expires: digitsOrEmpty("unix time in seconds"),
  expires_in: digitsOrEmpty("seconds"),
  scope: sized(0, 8192, "scopes separated by commas").optional(),
  user_id: digitsOrEmpty("the number of a user"),
};
const authFields = {
  member_id: text(/^[0-9a-f]{32}$/i, "32 hexadecimal digits"),
  domain: text(/^([\p{L}\p{N}._-]{1,253}|\[[0-9a-f:.]{2,45}\])(:\d{1,5})?$/iu, "a host name"),
  access_token: userToken,
  ...oauth,
  status: sized(0, 16, "a text of 1 to 16 characters").optional(),
  client_endpoint: address,
  server_endpoint: address,
};
const NAMED = z.object({
  event: text(/^(?=.*[A-Z])[A-Z0-9_.:-]{1,100}$/, "the name of an event in upper case"),
});

const schemaOf = <Data extends z.ZodRawShape>(data: Data, applicationToken: "required" | "optional") =>
  z.object({
    ts: digits("unix time in seconds"),
    event_handler_id: sized(0, 64, "a text of 1 to 64 characters").optional(),
    data: z.object(data, { error: "an object" }),
    auth: z.object({
      ...authFields,
      application_token: applicationToken === "required" ? token : token.optional(),
    }, { error: "an object" }),
  });
type Auth = z.output<ReturnType<typeof schemaOf>>["auth"];

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
    { VERSION: version, PREVIOUS_VERSION: sized(0, 24, VERSION).optional(), LANGUAGE_ID: languageId },
    (d): DataOf<"ONAPPUPDATE"> => ({
      version: d.VERSION,
      ...optional("previousVersion", d.PREVIOUS_VERSION || undefined),
      ...optional("languageId", d.LANGUAGE_ID),
    }),
  ),
  ONAPPINSTALL: kind(
    { VERSION: version, ACTIVE: yesNo.optional(), INSTALLED: yesNo.optional(), LANGUAGE_ID: languageId },
    (d): DataOf<"ONAPPINSTALL"> => ({
      version: d.VERSION,
      ...optional("active", isYes(d.ACTIVE)),
      ...optional("installed", isYes(d.INSTALLED)),
      ...optional("languageId", d.LANGUAGE_ID),
    }),
  ),
  ONAPPUNINSTALL: kind(
    { CLEAN: oneZero, LANGUAGE_ID: languageId },
    (d): DataOf<"ONAPPUNINSTALL"> => ({ clean: isYes(d.CLEAN)!, ...optional("languageId", d.LANGUAGE_ID) }),
  ),
  ONAPPPAYMENT: kind(
    {
      CODE: sized(1, 255),
      VERSION: version,
      STATUS: sized(1, 16),
      PAYMENT_EXPIRED: yesNo,
      DAYS: text(/^-?\d{1,6}$/, "a number of days").optional(),
      LANGUAGE_ID: languageId,
    },
    (d): DataOf<"ONAPPPAYMENT"> => ({
      code: d.CODE,
      version: d.VERSION,
      status: d.STATUS,
      paymentExpired: isYes(d.PAYMENT_EXPIRED)!,
      ...optional("days", numberOf(d.DAYS)),
      ...optional("languageId", d.LANGUAGE_ID),
    }),
    "optional",
  ),
  ONAPPMETHODCONFIRM: kind(
    { TOKEN: token, METHOD: sized(1, 255), CONFIRMED: oneZero, LANGUAGE_ID: languageId },
    (d): DataOf<"ONAPPMETHODCONFIRM"> => ({
      token: new Secret(d.TOKEN),
      method: d.METHOD,
      confirmed: isYes(d.CONFIRMED)!,
      ...optional("languageId", d.LANGUAGE_ID),
    }),
  ),
  ONAPPTEST: kind(
    // event.test takes anything: a list, and nothing at all, too.
    {
      QUERY: z.custom<WireTree | readonly WireValue[] | "" | undefined>(isQuery, "an object").optional(),
      LANGUAGE_ID: languageId,
    },
    (d): DataOf<"ONAPPTEST"> => ({ query: d.QUERY || {}, ...optional("languageId", d.LANGUAGE_ID) }),
  ),
  ONAPPUSERREADY: kind(
    { access_token: token, ...oauth },
    (d, receivedAt): DataOf<"ONAPPUSERREADY"> => ({
      accessToken: new Secret(d.access_token),
      ...optional("refreshToken", secretOf(d.refresh_token)),
      expiresAt: expiry(d, receivedAt),
      scope: scopesOf(d.scope),
      ...optional("userId", numberOf(d.user_id)),
    }),
    "optional",
  ),
};

type DataOf<Name extends KnownEvent["name"]> = Omit<Extract<KnownEvent, { name: Name }>["data"], "extra">;

function isQuery(value: unknown): boolean {
  return value === undefined || value === "" || (typeof value === "object" && value !== null);
}

function isYes(flag: string | undefined): boolean | undefined {
  return flag === undefined ? undefined : flag === "Y" || flag === "1";
}

function numberOf(digits: string | undefined): number | undefined {
  return digits === undefined || digits === "" ? undefined : Number(digits);
}

function secretOf(token: string | undefined): Secret | undefined {
  return token === undefined || token === "" ? undefined : new Secret(token);
}

/** Separated by commas in reality, and by spaces in some of the documentation. */
export function scopesOf(scope: string | undefined): readonly string[] {
  return scope?.split(/[\s,]+/).filter(Boolean) ?? [];
}

function toAuth(auth: Auth, receivedAt: number): Omit<EventAuth, "extra"> {
  const accessToken = secretOf(auth.access_token);
  // Only what is there gets a key; one object that grows, for this is done for every request.
  const typed: { -readonly [Key in keyof Omit<EventAuth, "extra">]: EventAuth[Key] } = {
    memberId: auth.member_id.toLowerCase(),
    domain: auth.domain,
    scope: scopesOf(auth.scope),
  };
  if (auth.application_token !== undefined) typed.applicationToken = new Secret(auth.application_token);
  if (accessToken !== undefined) {
    typed.accessToken = accessToken;
    typed.expiresAt = expiry(auth, receivedAt);
  }
  if (auth.refresh_token) typed.refreshToken = new Secret(auth.refresh_token);
  if (auth.status) typed.status = auth.status;
  if (auth.user_id) typed.userId = Number(auth.user_id);
  if (auth.client_endpoint !== undefined) typed.clientEndpoint = auth.client_endpoint;
  if (auth.server_endpoint !== undefined) typed.serverEndpoint = auth.server_endpoint;
  return typed;
}

/** An access token lives for an hour unless something else is said. */
const ACCESS_TOKEN_SECONDS = "3600";

function expiry(said: Pick<Auth, "expires" | "expires_in">, receivedAt: number): number {
  return said.expires
    ? Number(said.expires) * 1000
    : receivedAt + Number(said.expires_in || ACCESS_TOKEN_SECONDS) * 1000;
}

/** Keys whose values are kept from being printed, whatever else they are. */
const SECRET_KEY = /token|secret|password/i;

const NO_EXTRA: Extra = Object.freeze(Object.create(null));

function extra(tree: WireValue | undefined, known: ReadonlySet<string>): Extra {
  if (!isTree(tree)) return NO_EXTRA;
  let rest: Record<string, ExtraValue> | undefined;
  for (const key of Object.keys(tree)) {
    if (known.has(key)) continue;
    // Without a prototype, a key such as `__proto__` is a key like any other.
    rest ??= Object.create(null) as Record<string, ExtraValue>;
    rest[key] = extraValue(key, tree[key]!);
  }
  return rest ?? NO_EXTRA;
}

function extraValue(key: string, value: WireValue): ExtraValue {
  if (typeof value === "string") return SECRET_KEY.test(key) ? new Secret(value) : value;
  if (isTree(value)) return extra(value, NO_KEYS);
  return Array.isArray(value) ? value.map((item) => extraValue(key, item)) : value as number | boolean | null;
}

function optional<K extends string, V>(key: K, value: V | undefined): { [P in K]?: V } {
  return value === undefined ? {} : { [key]: value } as { [P in K]: V };
}

function check<T>(schema: z.ZodType<T>, tree: unknown): T {
  const result = schema.safeParse(tree);
  if (result.success) return result.data;
  // One issue a field: of an array, zod says that it is no text, and that it is too short for one.
  const issues = new Map<string, InputIssue>();
  for (const issue of result.error.issues) {
    const keys = issue.path.map(String);
    const path = keys.join(".");
    if (!issues.has(path)) issues.set(path, { path, saw: describe(valueAt(tree, keys), keys), wanted: issue.message });
  }
  throw new InputError([...issues.values()]);
}

function valueAt(tree: unknown, path: readonly string[]): WireValue | undefined {
  let value: WireValue | undefined = tree as WireTree;
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
