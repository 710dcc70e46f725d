/** The request by which a user's browser opens the app's page in a fake portal. */
import { applicationToken } from "./event.ts";
import { issueTokens, type PortalState, scopeText, type World } from "./state.ts";

/** Options of {@linkcode FakePortal.open}. */
export interface FakeOpenOptions {
  /**
   * The user who opens the page.
   *
   * @default 1, an administrator
   */
  readonly userId?: number;
  /** Whether the user is an administrator from now on; left as it is by default. */
  readonly admin?: boolean;
  /**
   * Address of the app's page.
   *
   * @default "https://app.example.com/"
   */
  readonly url?: string | URL;
  /**
   * The code of the placement.
   *
   * @default "DEFAULT", the app itself
   */
  readonly placement?: string;
  /**
   * Options of the placement.
   *
   * @default {}
   */
  readonly placementOptions?: Readonly<Record<string, unknown>>;
  /**
   * Language of the user's interface.
   *
   * @default "en"
   */
  readonly language?: string;
}

/** Returns the POST of the browser, with new tokens of the user. */
export function openingRequest(
  world: World,
  portal: PortalState,
  { userId = 1, url = "https://app.example.com/", placement = "DEFAULT", placementOptions = {}, language = "en" }:
    FakeOpenOptions,
): Request {
  const { accessToken, refreshToken } = issueTokens(world, portal, userId);
  const address = new URL(url);
  const query = { DOMAIN: portal.domain, PROTOCOL: "1", LANG: language, APP_SID: `5e55${accessToken.slice(6, 34)}` };
  for (const [name, value] of Object.entries(query)) address.searchParams.set(name, value);
  const body = new URLSearchParams({
    AUTH_ID: accessToken,
    AUTH_EXPIRES: String(world.accessTokenSeconds),
    REFRESH_ID: refreshToken,
    SERVER_ENDPOINT: `${world.oauthOrigin}/rest/`,
    APPLICATION_TOKEN: applicationToken(portal),
    APPLICATION_SCOPE: scopeText(portal),
    member_id: portal.memberId,
    status: portal.status,
    PLACEMENT: placement,
    PLACEMENT_OPTIONS: JSON.stringify(placementOptions),
  });
  return new Request(address, {
    method: "POST",
    body: body.toString(),
    headers: { "content-type": "application/x-www-form-urlencoded" },
  });
}
