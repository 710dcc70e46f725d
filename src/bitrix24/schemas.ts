/** Schemas of events by name, and how their fields are read. */
import * as z from "zod";
import { Secret } from "../secret.ts";
import type { EventAuth, KnownEvent } from "./events.ts";
import { extraOf, extraValue } from "./extra.ts";
import type { WireTree, WireValue } from "./tree.ts";

// Every field is checked as a string, which compiles to a few comparisons, and is read afterwards.
const matching = (pattern: RegExp, wanted: string) => z.string({ error: wanted }).regex(pattern, wanted);
const digits = (wanted: string) => matching(/^\d{1,15}$/, wanted);
// Nothing depends on these fields, so an event with an empty one is not refused.
const digitsOrEmpty = (wanted: string) => matching(/^\d{0,15}$/, wanted).optional();
const sized = (min: number, max: number, wanted = `a string of ${min} to ${max} characters`) =>
  z.string({ error: wanted }).min(min, wanted).max(max, wanted);
const token = sized(1, 255, "a token of 1 to 255 characters");
// An event without a user may have the keys of the tokens without values.
const userToken = sized(0, 255, "a token of 1 to 255 characters").optional();
const yesNo = matching(/^[YN10]$/, `"Y" or "N"`);
const oneZero = matching(/^[YN10]$/, "0 or 1");
// At most 24 characters: longer than any version and shorter than any token, so that a misplaced token is never quoted.
const VERSION = `a version as a string or an integer, such as "3" or "2.1.0"`;
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
  member_id: matching(/^[0-9a-f]{32}$/i, "32 hexadecimal digits"),
  domain: matching(/^([\p{L}\p{N}._-]{1,253}|\[[0-9a-f:.]{2,45}\])(:\d{1,5})?$/iu, "a host name"),
  access_token: userToken,
  ...oauth,
  status: sized(0, 16, "a string of 1 to 16 characters").optional(),
  client_endpoint: address,
  server_endpoint: address,
};
/** The schema of every event's name. */
export const NAMED = z.object({
  event: matching(/^(?=.*[A-Z])[A-Z0-9_.:-]{1,100}$/, "the name of an event in upper case"),
});

const schemaOf = <Data extends z.ZodRawShape>(data: Data, applicationToken: "required" | "optional") =>
  z.object({
    ts: digits("unix time in seconds"),
    event_handler_id: sized(0, 64, "a string of 1 to 64 characters").optional(),
    data: z.object(data, { error: "an object" }),
    auth: z.object({
      ...authFields,
      application_token: applicationToken === "required" ? token : token.optional(),
    }, { error: "an object" }),
  });
type Auth = z.output<ReturnType<typeof schemaOf>>["auth"];

/** The schema of events that this library does not know. */
export const UNKNOWN_SCHEMA = schemaOf({}, "optional");
/** Known keys of `auth`; all others are extra. */
export const AUTH_KEYS: ReadonlySet<string> = new Set([...Object.keys(authFields), "application_token"]);
/** Known keys at the top level; all others are extra. */
export const TOP_KEYS: ReadonlySet<string> = new Set(["event", "event_handler_id", "data", "ts", "auth"]);

/** How events of one name are checked and read. */
export interface EventKind {
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

/** Known events by name. The type checks that each has an entry, and that the entry returns the data of its event. */
export const EVENTS: { readonly [Name in KnownEvent["name"]]: EventKind } = {
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
      DAYS: matching(/^-?\d{1,6}$/, "a number of days").optional(),
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
    // `event.test` accepts any QUERY, also a list or nothing.
    {
      QUERY: z.custom<WireTree | readonly WireValue[] | "" | undefined>(isQuery, "an object").optional(),
      LANGUAGE_ID: languageId,
    },
    (d): DataOf<"ONAPPTEST"> => ({
      query: Array.isArray(d.QUERY) ? d.QUERY.map((item) => extraValue("", item)) : extraOf(d.QUERY),
      ...optional("languageId", d.LANGUAGE_ID),
    }),
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

/** Returns the scopes in a string: Bitrix24 separates them by commas, and some of its documentation by spaces. */
export function scopesOf(scope: string | undefined): readonly string[] {
  return scope?.split(/[\s,]+/).filter(Boolean) ?? [];
}

/** Returns the known fields of `auth`. */
export function toAuth(auth: Auth, receivedAt: number): Omit<EventAuth, "extra"> {
  const accessToken = secretOf(auth.access_token);
  // One object that grows, because this runs for every request; absent fields get no key.
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

/** Lifetime of an access token whose event does not state it. */
const DEFAULT_LIFETIME_SECONDS = "3600";

function expiry(auth: Pick<Auth, "expires" | "expires_in">, receivedAt: number): number {
  return auth.expires
    ? Number(auth.expires) * 1000
    : receivedAt + Number(auth.expires_in || DEFAULT_LIFETIME_SECONDS) * 1000;
}

/** Returns an object with the key, or an empty one if there is no value. Cheaper than `defined`, on the path of every request. */
export function optional<K extends string, V>(key: K, value: V | undefined): { [P in K]?: V } {
  return value === undefined ? {} : { [key]: value } as { [P in K]: V };
}
