/** The bodies of events that a fake portal sends. */
import { endpointOf } from "./oauth.ts";
import { newPair, type PortalState, scopeText, type World } from "./state.ts";

/** Whose an event is, and what it carries. */
export interface FakeEventOptions {
  /** It belongs to no user, so it carries no tokens. */
  readonly tokenless?: boolean;
  /** Whose tokens it carries; default 1, the administrator. */
  readonly userId?: number;
}

/** A form as Bitrix24 posts it. Keys of `data` are as on the wire: `QUERY[any]` becomes `data[QUERY][any]`. */
export function eventBody(
  world: World,
  portal: PortalState,
  name: string,
  data: Readonly<Record<string, string>>,
  { tokenless = false, userId = 1, withoutRefresh = false }: FakeEventOptions & { readonly withoutRefresh?: boolean },
): string {
  // Two events of one second would be one delivery.
  if (world.hasClock) portal.ts = Math.max(portal.ts, Math.floor(world.now() / 1000));
  const { ts } = portal;
  const body = new URLSearchParams({ event: name });
  for (const [key, value] of Object.entries(data)) {
    body.append(`data[${key.replace(/\]$/, "").replace("[", "][")}]`, value);
  }
  body.append("ts", String(ts));
  const pair = tokenless ? undefined : newPair(world, portal, userId);
  const expires = world.hasClock && pair !== undefined
    ? Math.floor(pair.expiresAt / 1000)
    : ts + world.accessTokenSeconds;
  const auth: Record<string, string> = {
    ...(pair === undefined ? {} : {
      access_token: pair.accessToken,
      expires: String(expires),
      expires_in: String(world.accessTokenSeconds),
      scope: scopeText(portal),
    }),
    domain: portal.domain,
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
  return `a99${installations}${rotations}${count}${memberId}`.slice(0, 32);
}

/** The name and the version in a body. */
export function wireNameOf(body: string): { readonly event: string; readonly version?: string } {
  const form = new URLSearchParams(body);
  const version = form.get("data[VERSION]");
  return { event: form.get("event") ?? "", ...(version === null ? {} : { version }) };
}

/** `event.test`: the event that it sends, with what it was given. */
export function testEvent(world: World, portal: PortalState, params: Readonly<Record<string, unknown>>): string {
  return eventBody(world, portal, "ONAPPTEST", { ...flattened("QUERY", params), LANGUAGE_ID: "de" }, {});
}

/** Parameters of any depth as the keys of an event's `data`. */
function flattened(prefix: string, value: unknown): Record<string, string> {
  if (typeof value !== "object" || value === null) return { [prefix]: String(value ?? "") };
  return Object.assign({}, ...Object.entries(value).map(([key, item]) => flattened(`${prefix}[${key}]`, item)));
}
