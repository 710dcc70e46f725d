/** Schemas of events by name, and how their fields are read. */
import { defined } from "../defined.ts";
import { Secret } from "../secret.ts";
import type { EventAuth, KnownEvent } from "./events.ts";
import { extraOf, extraValue } from "./extra.ts";
import { type Checked, type Field, type Fields, matching, objectOf, optional, sized } from "./fields.ts";
import type { WireTree, WireValue } from "./tree.ts";

const digits = (wanted: string): Field<string> => matching(/^\d{1,15}$/, wanted);
// Nothing depends on these fields, so an event with an empty one is not refused.
const digitsOrEmpty = (wanted: string): Field<string | undefined> => optional(matching(/^\d{0,15}$/, wanted));
const token = sized(1, 255, "a token of 1 to 255 characters");
// An event without a user may have the keys of the tokens without values.
const userToken = optional(sized(0, 255, "a token of 1 to 255 characters"));
const yesNo = matching(/^[YN10]$/, `"Y" or "N"`);
const oneZero = matching(/^[YN10]$/, "0 or 1");
// At most 24 characters: longer than any version and shorter than any token, so that a misplaced token is never quoted.
const VERSION = `a version as a string or an integer, such as "3" or "2.1.0"`;
const version = sized(1, 24, VERSION);
const languageId = optional(sized(0, 16, `a language such as "de"`));
const address = optional(sized(0, 2048, "an address"));
const oauth = {
  refresh_token: userToken,
  expires: digitsOrEmpty("unix time in seconds"),
  expires_in: digitsOrEmpty("seconds"),
  scope: optional(sized(0, 8192, "scopes separated by commas")),
  user_id: digitsOrEmpty("the number of a user"),
};
/** A `member_id`. */
export const MEMBER_ID: Field<string> = matching(/^[0-9a-f]{32}$/i, "32 hexadecimal digits");
/** A host with or without a port. */
export const HOST: Field<string> = matching(
  /^([\p{L}\p{N}._-]{1,253}|\[[0-9a-f:.]{2,45}\])(:\d{1,5})?$/iu,
  "a host name",
);
const authFields = {
  member_id: MEMBER_ID,
  domain: HOST,
  access_token: userToken,
  ...oauth,
  status: optional(sized(0, 16, "a string of 1 to 16 characters")),
  client_endpoint: address,
  server_endpoint: address,
};
/** The name of every event. */
export const NAMED = objectOf({
  event: matching(/^(?=.*[A-Z])[A-Z0-9_.:-]{1,100}$/, "the name of an event in upper case"),
});

const auth = objectOf({ ...authFields, application_token: token });
const authOfPayment = objectOf({ ...authFields, application_token: optional(token) });
/** `auth` of an event that was checked. */
type Auth = Checked<typeof authFields> & { readonly application_token: string | undefined };

/** An event that was checked. */
interface CheckedEvent {
  readonly ts: string;
  readonly event_handler_id: string | undefined;
  readonly data: unknown;
  readonly auth: Auth;
}

const schemaOf = (data: Fields, auth: Field<Auth>): Field<CheckedEvent> =>
  objectOf({
    ts: digits("unix time in seconds"),
    event_handler_id: optional(sized(0, 64, "a string of 1 to 64 characters")),
    data: objectOf(data),
    auth,
  });

/** The schema of events that this library does not know. */
export const UNKNOWN_SCHEMA: Field<CheckedEvent> = schemaOf({}, authOfPayment);
/** Known keys of `auth`; all others are extra. */
export const AUTH_KEYS: ReadonlySet<string> = new Set([...Object.keys(authFields), "application_token"]);
/** Known keys at the top level; all others are extra. */
export const TOP_KEYS: ReadonlySet<string> = new Set(["event", "event_handler_id", "data", "ts", "auth"]);

/** Checks and reads events of one name. */
export interface EventKind {
  readonly schema: Field<CheckedEvent>;
  readonly keys: ReadonlySet<string>;
  readonly data: (data: never, receivedAt: number) => object;
}

function kind<Data extends Fields, Out extends object>(
  fields: Data,
  data: (data: Checked<Data>, receivedAt: number) => Out,
  applicationToken: "required" | "optional" = "required",
): EventKind {
  const schema = schemaOf(fields, applicationToken === "required" ? auth : authOfPayment);
  return { schema, keys: new Set(Object.keys(fields)), data };
}

/** Known events by name. The type checks that each has an entry, and that the entry returns the data of its event. */
export const EVENTS: { readonly [Name in KnownEvent["name"]]: EventKind } = {
  ONAPPUPDATE: kind(
    { VERSION: version, PREVIOUS_VERSION: optional(sized(0, 24, VERSION)), LANGUAGE_ID: languageId },
    (d): DataOf<"ONAPPUPDATE"> => ({
      version: d.VERSION,
      ...defined({ previousVersion: d.PREVIOUS_VERSION || undefined, languageId: d.LANGUAGE_ID }),
    }),
  ),
  ONAPPINSTALL: kind(
    { VERSION: version, ACTIVE: optional(yesNo), INSTALLED: optional(yesNo), LANGUAGE_ID: languageId },
    (d): DataOf<"ONAPPINSTALL"> => ({
      version: d.VERSION,
      ...defined({ active: isYes(d.ACTIVE), installed: isYes(d.INSTALLED), languageId: d.LANGUAGE_ID }),
    }),
  ),
  ONAPPUNINSTALL: kind(
    { CLEAN: oneZero, LANGUAGE_ID: languageId },
    (d): DataOf<"ONAPPUNINSTALL"> => ({ clean: isYes(d.CLEAN)!, ...defined({ languageId: d.LANGUAGE_ID }) }),
  ),
  ONAPPPAYMENT: kind(
    {
      CODE: sized(1, 255),
      VERSION: version,
      STATUS: sized(1, 16),
      PAYMENT_EXPIRED: yesNo,
      DAYS: optional(matching(/^-?\d{1,6}$/, "a number of days")),
      LANGUAGE_ID: languageId,
    },
    (d): DataOf<"ONAPPPAYMENT"> => ({
      code: d.CODE,
      version: d.VERSION,
      status: d.STATUS,
      paymentExpired: isYes(d.PAYMENT_EXPIRED)!,
      ...defined({ days: numberOf(d.DAYS), languageId: d.LANGUAGE_ID }),
    }),
    "optional",
  ),
  ONAPPMETHODCONFIRM: kind(
    { TOKEN: token, METHOD: sized(1, 255), CONFIRMED: oneZero, LANGUAGE_ID: languageId },
    (d): DataOf<"ONAPPMETHODCONFIRM"> => ({
      token: new Secret(d.TOKEN),
      method: d.METHOD,
      confirmed: isYes(d.CONFIRMED)!,
      ...defined({ languageId: d.LANGUAGE_ID }),
    }),
  ),
  ONAPPTEST: kind(
    // `event.test` accepts any QUERY, also a list or nothing.
    {
      QUERY: { wanted: "an object", accepts: isQuery },
      LANGUAGE_ID: languageId,
    },
    (d): DataOf<"ONAPPTEST"> => ({
      query: Array.isArray(d.QUERY) ? d.QUERY.map((item) => extraValue("", item)) : extraOf(d.QUERY),
      ...defined({ languageId: d.LANGUAGE_ID }),
    }),
  ),
  ONAPPUSERREADY: kind(
    { access_token: token, ...oauth },
    (d, receivedAt): DataOf<"ONAPPUSERREADY"> => ({
      accessToken: new Secret(d.access_token),
      expiresAt: expiry(d, receivedAt),
      scope: scopesOf(d.scope),
      ...defined({ refreshToken: secretOf(d.refresh_token), userId: numberOf(d.user_id) }),
    }),
    "optional",
  ),
};

type DataOf<Name extends KnownEvent["name"]> = Omit<Extract<KnownEvent, { name: Name }>["data"], "extra">;

function isQuery(value: unknown): value is WireTree | readonly WireValue[] | "" | undefined {
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

/** Maximum number of scopes of a portal or a token. All are stored. Bitrix24 has about 60. */
export const MAX_SCOPES = 200;

/** Returns the scopes in a string: Bitrix24 separates them by commas, and some of its documentation by spaces. */
export function scopesOf(scope: string | undefined): readonly string[] {
  return scope?.split(/[\s,]+/).filter(Boolean).slice(0, MAX_SCOPES) ?? [];
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
