/** The POST by which a user's browser opens the app's page in a portal: decoded and checked. */
import { defined } from "../defined.ts";
import { Secret } from "../secret.ts";
import { checked, matching, objectOf, optional, sized } from "./fields.ts";
import { decodeForm } from "./form.ts";
import { exceeds } from "./json_size.ts";
import { HOST, MEMBER_ID, scopesOf } from "./schemas.ts";
import { DECODE_LIMITS, type DecodeLimits, tooManyFields, type WireTree } from "./tree.ts";

/** An opening of the app's page, as the browser posted it. None of it is verified. */
export interface OpeningRequest {
  /** The portal's `member_id`, in lower case. */
  readonly memberId: string;
  /** Host of the portal, possibly with a port. */
  readonly domain: string;
  /** Language of the user's interface, such as `de`; absent if it was not sent. */
  readonly language?: string;
  /** Id of the user's session with the app, a secret; absent if it was not sent. It is not the application_token. */
  readonly appSid?: Secret;
  /** Access token of the user who opens the page, with that user's rights. */
  readonly accessToken: Secret;
  /** Absent if it was not sent. */
  readonly refreshToken?: Secret;
  /** Expiry of the access token, in milliseconds since 1970. */
  readonly expiresAt: number;
  /** The OAuth host that issued the tokens, according to the browser; absent if it was not sent. */
  readonly serverEndpoint?: string;
  /** Absent if it was not sent. */
  readonly applicationToken?: Secret;
  /** Scopes of the access token. */
  readonly scope: readonly string[];
  /** `DEFAULT` for the app itself, otherwise the code of the placement. */
  readonly placement: string;
  /** Options of the placement; empty if there are none. */
  readonly placementOptions: Readonly<Record<string, unknown>>;
}

const REQUEST = objectOf({
  query: objectOf({
    DOMAIN: HOST,
    LANG: optional(sized(0, 16, `a language such as "de"`)),
    APP_SID: optional(sized(0, 255, "a string of at most 255 characters")),
  }),
  body: objectOf({
    AUTH_ID: sized(1, 255, "a token of 1 to 255 characters"),
    REFRESH_ID: optional(sized(0, 255, "a token of 1 to 255 characters")),
    AUTH_EXPIRES: optional(matching(/^\d{0,15}$/, "seconds")),
    SERVER_ENDPOINT: optional(sized(0, 2048, "an address")),
    APPLICATION_TOKEN: optional(sized(0, 255, "a token of 1 to 255 characters")),
    APPLICATION_SCOPE: optional(sized(0, 8192, "scopes separated by commas")),
    member_id: MEMBER_ID,
    PLACEMENT: optional(sized(0, 255, "the code of a placement")),
    PLACEMENT_OPTIONS: optional(sized(0, Infinity, "JSON")),
  }),
});

/** Lifetime of an access token, in seconds, unless the browser sends a shorter one. */
const ACCESS_TOKEN_SECONDS = 3600;

/** Returns whether a decoded body is that of an opening rather than an event. */
export function isOpening(tree: WireTree): boolean {
  return tree["event"] === undefined && typeof tree["AUTH_ID"] === "string" && typeof tree["member_id"] === "string";
}

/**
 * Returns the opening in a query and a form body.
 *
 * @throws {InputError} if a field is missing or malformed, which it names, or if the body exceeds a limit
 */
export function parseOpening(
  query: URLSearchParams,
  body: string,
  receivedAt: number,
  limits: Partial<DecodeLimits> = {},
): OpeningRequest {
  const request = { query: Object.fromEntries(query), body: decodeForm(body, limits) };
  const { query: asked, body: sent } = checked(request, REQUEST, describe);
  const seconds = Math.min(Number(sent.AUTH_EXPIRES || ACCESS_TOKEN_SECONDS), ACCESS_TOKEN_SECONDS);
  return {
    memberId: sent.member_id.toLowerCase(),
    domain: asked.DOMAIN,
    accessToken: new Secret(sent.AUTH_ID),
    expiresAt: receivedAt + seconds * 1000,
    scope: scopesOf(sent.APPLICATION_SCOPE),
    placement: sent.PLACEMENT || "DEFAULT",
    placementOptions: optionsOf(sent.PLACEMENT_OPTIONS, { ...DECODE_LIMITS, ...limits }),
    ...defined({
      language: asked.LANG || undefined,
      appSid: secretOf(asked.APP_SID),
      refreshToken: secretOf(sent.REFRESH_ID),
      serverEndpoint: sent.SERVER_ENDPOINT || undefined,
      applicationToken: secretOf(sent.APPLICATION_TOKEN),
    }),
  };
}

function secretOf(value: string | undefined): Secret | undefined {
  return value ? new Secret(value) : undefined;
}

/**
 * Returns the options of a placement. PHP writes an empty map as `[]`; anything else but an object counts as none.
 *
 * @throws {InputError} if they have more values than the limit
 */
function optionsOf(json: string | undefined, limits: DecodeLimits): Readonly<Record<string, unknown>> {
  if (json === undefined || json === "") return {};
  if (exceeds(json, { containers: limits.fields + 1, commas: limits.fields })) throw tooManyFields(limits);
  try {
    const value: unknown = JSON.parse(json);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? value as Record<string, unknown> : {};
  } catch {
    return {};
  }
}

/** Describes a value without quoting it: most fields of an opening are secrets. */
function describe(value: unknown): string {
  if (value === undefined) return "nothing";
  return typeof value === "string" ? `a string of ${value.length} characters` : "an array or a map";
}
