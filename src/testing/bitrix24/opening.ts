/** The request by which a user's browser opens the app's page in a fake portal. */
import { checkOptions, option, type OptionRules } from "../../check_options.ts";
import { defined } from "../../defined.ts";
import { applicationToken, USER_ID_RULE } from "./event.ts";
import { issueTokens, type PortalState, scopeText, setUser, type World } from "./state.ts";

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

const OPEN_RULES: OptionRules<FakeOpenOptions> = {
  userId: USER_ID_RULE,
  admin: option.flag(),
  url: option.value("the address of the app's page", (url) => url instanceof URL || URL.canParse(String(url))),
  placement: option.text("the code of a placement"),
  placementOptions: option.value("an object", (options) => typeof options === "object" && options !== null),
  language: option.text("a language"),
};

/** Returns the POST of the browser, with new tokens of the user, who is created if there is none. */
export function openingRequest(world: World, portal: PortalState, options: FakeOpenOptions): Request {
  checkOptions("cannot open the app", options, OPEN_RULES);
  const { userId = 1, admin, placement = "DEFAULT", placementOptions = {}, language = "en" } = options;
  const { url = "https://app.example.com/" } = options;
  setUser(portal, userId, defined({ admin }));
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
