/** The bodies of the events of fake portals. */
import { checkOptions, option, type OptionRule, type OptionRules } from "../../check_options.ts";
import { TOKEN_MARKER } from "./marker.ts";
import { endpointOf } from "./oauth.ts";
import { issueTokens, type PortalState, scopeText, type World } from "./state.ts";

/** Options of {@linkcode FakePortal.event}. */
export interface FakeEventOptions {
  /** The event belongs to no user, so it has no tokens. */
  readonly tokenless?: boolean;
  /**
   * The user whose tokens the event has.
   *
   * @default 1, an administrator
   */
  readonly userId?: number;
}

/** The rule of the id of a user. */
export const USER_ID_RULE: OptionRule = option.number({ min: 1, isWhole: true });

/** The rules of {@linkcode FakeEventOptions}. */
export const EVENT_RULES: OptionRules<FakeEventOptions> = { tokenless: option.flag(), userId: USER_ID_RULE };

/** Options of {@linkcode FakePortal.forge}. */
export interface FakeForgeOptions {
  /**
   * The `application_token`.
   *
   * @default that of the portal
   */
  readonly applicationToken?: string;
  /**
   * A token pair, such as one that is made up, or one of another portal.
   *
   * @default none
   */
  readonly tokens?: { readonly accessToken: string; readonly refreshToken?: string };
  /**
   * Seconds since 1970.
   *
   * @default the present time, or that of the next event without a `clock`
   */
  readonly ts?: number;
  /** Fields of `auth` that replace those of the portal, such as `server_endpoint`; `undefined` leaves one out. */
  readonly auth?: Readonly<Record<string, string | undefined>>;
}

/** Accepts strings. The error does not show them. */
const hiddenText = (wanted: string): OptionRule =>
  option.value(wanted, (value) => typeof value === "string", { isSecret: true });

const FORGE_RULES: OptionRules<FakeForgeOptions> = {
  applicationToken: hiddenText("an application_token"),
  // Also takes those that `tokens()` of a portal returns, which have another member.
  tokens: option.value("a token pair with accessToken", (tokens) => {
    const { accessToken, refreshToken = "" } = Object(tokens) as Partial<NonNullable<FakeForgeOptions["tokens"]>>;
    return typeof accessToken === "string" && typeof refreshToken === "string";
  }, { isSecret: true }),
  ts: option.number({ min: 0 }),
  auth: option.value(
    "an object with fields of auth, which are strings",
    (auth) =>
      typeof auth === "object" && auth !== null &&
      Object.values(auth).every((field) => field === undefined || typeof field === "string"),
  ),
};

/** Returns the body of an event that Bitrix24 has not sent. */
export function forgedBody(
  world: World,
  portal: PortalState,
  name: string,
  data: Readonly<Record<string, string>>,
  options: FakeForgeOptions,
): string {
  checkOptions("cannot forge an event", options, FORGE_RULES);
  const { applicationToken: token, tokens, ts, auth: replaced = {} } = options;
  const body = new URLSearchParams({ event: name, ...dataFields(data) });
  body.append("ts", String(ts ?? (world.hasClock ? Math.floor(world.now() / 1000) : portal.ts)));
  const auth: Record<string, string | undefined> = {
    ...(tokens === undefined ? {} : {
      access_token: tokens.accessToken,
      refresh_token: tokens.refreshToken,
      expires_in: String(world.accessTokenSeconds),
      scope: scopeText(portal),
      user_id: "1",
    }),
    domain: portal.domain,
    server_endpoint: `${world.oauthOrigin}/rest/`,
    client_endpoint: endpointOf(portal),
    member_id: portal.memberId,
    application_token: token ?? applicationToken(portal),
    ...replaced,
  };
  for (const [key, value] of Object.entries(auth)) if (value !== undefined) body.append(`auth[${key}]`, value);
  return body.toString();
}

function dataFields(data: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(data).map(([key, value]) => [`data[${key.replace(/\]$/, "").replace("[", "][")}]`, value]),
  );
}

/** Returns the form that Bitrix24 posts. Keys of `data` are as on the wire: `QUERY[any]` becomes `data[QUERY][any]`. */
export function eventBody(
  world: World,
  portal: PortalState,
  name: string,
  data: Readonly<Record<string, string>>,
  { tokenless = false, userId = 1, withoutRefresh = false, domain = portal.domain }: FakeEventOptions & {
    readonly withoutRefresh?: boolean;
    readonly domain?: string;
  },
): string {
  // Two events in one second would count as one.
  if (world.hasClock) portal.ts = Math.max(portal.ts, Math.floor(world.now() / 1000));
  const { ts } = portal;
  const body = new URLSearchParams({ event: name, ...dataFields(data) });
  body.append("ts", String(ts));
  const pair = tokenless ? undefined : issueTokens(world, portal, userId);
  const auth: Record<string, string> = {
    ...(pair === undefined ? {} : {
      access_token: pair.accessToken,
      expires: String(Math.floor(pair.expiresAt / 1000)),
      expires_in: String(world.accessTokenSeconds),
      scope: scopeText(portal),
    }),
    domain,
    server_endpoint: `${world.oauthOrigin}/rest/`,
    ...(pair === undefined ? {} : { status: portal.status }),
    client_endpoint: endpointOf(portal),
    member_id: portal.memberId,
    ...(pair === undefined ? {} : { user_id: String(userId) }),
    ...(pair === undefined || withoutRefresh ? {} : { refresh_token: pair.refreshToken }),
    application_token: applicationToken(portal),
  };
  for (const [key, value] of Object.entries(auth)) body.append(`auth[${key}]`, value);
  portal.ts += world.hasClock ? 1 : 3600;
  return body.toString();
}

/** Returns the portal's `application_token`. */
export function applicationToken({ memberId, installations, rotations }: PortalState): string {
  const count = installations.toString(16).padStart(4, "0");
  // What distinguishes portals may be at either end.
  const portal = `${memberId.slice(0, 7)}${memberId.slice(-8)}`;
  return `a99${TOKEN_MARKER}${installations}${rotations}${count}${portal}`.slice(0, 32);
}

/** Returns the name and the version in a body. */
export function describeBody(body: string): { readonly event: string; readonly version?: string } {
  const form = new URLSearchParams(body);
  const version = form.get("data[VERSION]");
  return { event: form.get("event") ?? "", ...(version === null ? {} : { version }) };
}

/** Returns the event that `event.test` sends, with the parameters of the call. */
export function testEvent(world: World, portal: PortalState, params: Readonly<Record<string, unknown>>): string {
  return eventBody(world, portal, "ONAPPTEST", { ...flatten("QUERY", params), LANGUAGE_ID: "de" }, {});
}

/** Returns nested parameters as keys of an event's `data`. */
function flatten(prefix: string, value: unknown): Record<string, string> {
  if (typeof value !== "object" || value === null) return { [prefix]: String(value ?? "") };
  return Object.assign({}, ...Object.entries(value).map(([key, item]) => flatten(`${prefix}[${key}]`, item)));
}
