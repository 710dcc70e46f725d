/** The POST by which a user's browser opens the app's page in a portal: decoded and checked. */
import * as z from "zod";
import { defined } from "../defined.ts";
import { InputError, type InputIssue } from "../errors.ts";
import { Secret } from "../secret.ts";
import { decodeForm } from "./form.ts";
import { exceeds } from "./json_size.ts";
import { scopesOf } from "./schemas.ts";
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

const text = (min: number, max: number, wanted: string) =>
  z.string({ error: wanted }).min(min, wanted).max(max, wanted);
const matching = (pattern: RegExp, wanted: string) => z.string({ error: wanted }).regex(pattern, wanted);

const BODY = z.object({
  AUTH_ID: text(1, 255, "a token of 1 to 255 characters"),
  REFRESH_ID: text(0, 255, "a token of 1 to 255 characters").optional(),
  AUTH_EXPIRES: matching(/^\d{0,15}$/, "seconds").optional(),
  SERVER_ENDPOINT: text(0, 2048, "an address").optional(),
  APPLICATION_TOKEN: text(0, 255, "a token of 1 to 255 characters").optional(),
  APPLICATION_SCOPE: text(0, 8192, "scopes separated by commas").optional(),
  member_id: matching(/^[0-9a-f]{32}$/i, "32 hexadecimal digits"),
  PLACEMENT: text(0, 255, "the code of a placement").optional(),
  PLACEMENT_OPTIONS: z.string({ error: "JSON" }).optional(),
});

const QUERY = z.object({
  DOMAIN: matching(/^([\p{L}\p{N}._-]{1,253}|\[[0-9a-f:.]{2,45}\])(:\d{1,5})?$/iu, "a host name"),
  LANG: text(0, 16, `a language such as "de"`).optional(),
  APP_SID: text(0, 255, "a string of at most 255 characters").optional(),
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
  const issues: InputIssue[] = [];
  const asked = check("query", QUERY, Object.fromEntries(query), issues);
  const sent = check("body", BODY, decodeForm(body, limits), issues);
  if (asked === undefined || sent === undefined) throw new InputError(issues);
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

/** Returns the checked fields, or `undefined` after adding an issue for each wrong one. */
function check<T>(
  part: "query" | "body",
  schema: z.ZodType<T>,
  fields: Readonly<Record<string, unknown>>,
  issues: InputIssue[],
): T | undefined {
  const result = schema.safeParse(fields);
  if (result.success) return result.data;
  for (const { path, message } of result.error.issues) {
    const name = String(path[0]);
    issues.push({ path: `${part}.${name}`, saw: describe(fields[name]), wanted: message });
  }
  return undefined;
}

/** Describes a value without quoting it: most fields of an opening are secrets. */
function describe(value: unknown): string {
  if (value === undefined) return "nothing";
  return typeof value === "string" ? `a string of ${value.length} characters` : "an array or a map";
}
