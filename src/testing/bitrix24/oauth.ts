/** The OAuth hosts of a fake Bitrix24. */
import { Refusal, refused } from "./errors.ts";
import { recordedAnswer, type RecordedCall } from "./recorded_call.ts";
import { type DecodedRequest, textOf } from "./request.ts";
import {
  applyFault,
  issueTokens,
  type PortalState,
  reportedInstallation,
  scopeText,
  type TokenState,
  type World,
} from "./state.ts";

/** Answers a request for an OAuth host: `/rest/app.info` and `/oauth/token/`. */
export async function answerOAuth(world: World, asked: DecodedRequest): Promise<Response> {
  world.requests++;
  if (world.oauthOutage === "hanging") return await new Promise<never>(() => {});
  if (world.oauthOutage === "down") throw new TypeError("fetch failed: the connection was refused");
  const path = asked.url.pathname.replace(/\.json$/, "").replace(/\/$/, "");
  const method = path === "/rest/app.info" ? "app.info" : path === "/oauth/token" ? "oauth/token" : undefined;
  if (method === undefined) return refused(new Refusal("ERROR_METHOD_NOT_FOUND"));
  const { auth, client_secret: _secret, refresh_token: _token, ...params } = asked.params;
  const token = method === "app.info"
    ? world.accessTokens.get(textOf({ auth }, "auth"))
    : world.refreshTokens.get(textOf(asked.params, "refresh_token"));
  const call: RecordedCall = {
    ...(token === undefined ? {} : { memberId: token.portal.memberId, userId: token.userId }),
    method,
    at: "oauth",
    params,
  };
  world.calls.push(call);

  const target = { at: "oauth", method, ...(token === undefined ? {} : { portal: token.portal }) } as const;
  return await recordedAnswer(call, async () => {
    applyFault(world, "before", target);
    const own = await token?.portal.oauthAnswers.get(method)?.(call);
    const answer = own ?? (method === "app.info" ? appInfo(world, asked, token) : refresh(world, asked, token));
    applyFault(world, "after", target);
    return answer instanceof Response ? answer : Response.json(answer);
  });
}

function appInfo(world: World, asked: DecodedRequest, token: TokenState | undefined): object {
  if (textOf(asked.params, "auth") === "") throw new Refusal("NO_AUTH_FOUND");
  if (token === undefined) throw new Refusal("expired_token");
  const { portal, userId, expiresAt } = token;
  const { version, isFinished } = reportedInstallation(world, portal);
  if (version === undefined) throw new Refusal("NOT_INSTALLED");
  if (expiresAt <= world.now()) throw new Refusal("expired_token");
  return {
    result: {
      client_id: portal.clientId,
      scope: scopeText(portal),
      expires: Math.floor(expiresAt / 1000),
      user_id: userId,
      install: {
        installed: isFinished,
        version,
        status: portal.status,
        scope: scopeText(portal),
        domain: `https://${portal.domain}`,
        uri: "",
        client_endpoint: endpointOf(portal),
        member_id: portal.memberId,
        member_type: "B24",
      },
    },
  };
}

function refresh(world: World, asked: DecodedRequest, token: TokenState | undefined): object {
  const clientId = textOf(asked.params, "client_id");
  if (textOf(asked.params, "grant_type") !== "refresh_token") throw new Refusal("invalid_request");
  const isOurs = clientId === world.clientId;
  if (!isOurs && !world.portals.some((portal) => portal.clientId === clientId)) throw new Refusal("invalid_client");
  const secret = textOf(asked.params, "client_secret");
  if (isOurs && world.clientSecret !== undefined && secret !== world.clientSecret) throw new Refusal("invalid_client");
  if (token === undefined || token.portal.clientId !== clientId) throw new Refusal("invalid_grant");
  const { portal, userId, expiresAt } = token;
  if (portal.version === undefined) throw new Refusal("NOT_INSTALLED");
  if (expiresAt <= world.now()) throw new Refusal("invalid_grant");
  if (!portal.isPaid) throw new Refusal("PAYMENT_REQUIRED");

  // Another request may have used the token since it was looked up.
  if (!world.refreshTokens.delete(textOf(asked.params, "refresh_token"))) throw new Refusal("invalid_grant");
  world.refreshes++;
  const pair = issueTokens(world, portal, userId);
  return {
    access_token: pair.accessToken,
    refresh_token: pair.refreshToken,
    expires: Math.floor(pair.expiresAt / 1000),
    expires_in: world.accessTokenSeconds,
    client_endpoint: endpointOf(portal),
    server_endpoint: `${world.oauthOrigin}/rest/`,
    domain: new URL(world.oauthOrigin).host,
    member_id: portal.memberId,
    scope: scopeText(portal),
    status: portal.status,
    user_id: userId,
  };
}

/** Returns the URL of the portal's REST. */
export function endpointOf({ domain }: PortalState): string {
  return `https://${domain}/rest/`;
}
