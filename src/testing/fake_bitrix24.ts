/**
 * A local Bitrix24: an OAuth host that knows whose access token is whose, and portals that send the events of an
 * app's life. For tests and demonstrations.
 */

/** Options of {@linkcode fakeBitrix24}. */
export interface FakeBitrix24Options {
  /** `client_id` of the app that the portals have. */
  readonly clientId: string;
  /** Where {@linkcode FakeBitrix24.fetch} is reached; default `https://oauth.bitrix24.tech`. */
  readonly oauthHost?: string;
}

/** Options of {@linkcode FakeBitrix24.portal}. */
export interface FakePortalOptions {
  /** 32 hexadecimal digits. */
  readonly memberId: string;
  /** Default `example.bitrix24.de`. */
  readonly domain?: string;
  /** `client_id` of the app that the portal has; default that of the OAuth host. */
  readonly clientId?: string;
  /** Seconds since 1970 of the first event; each further one is an hour later. Default 1785300000. */
  readonly ts?: number;
}

/** Options of {@linkcode FakePortal.update}. */
export interface FakeUpdateOptions {
  /** The portal has another `application_token` from now on. */
  readonly rotateToken?: boolean;
  /** The event belongs to no user, so it carries no access token. */
  readonly tokenless?: boolean;
}

/** One portal. Its methods change it as Bitrix24 would, and return the body of the event that tells the app. */
export interface FakePortal {
  /** As it was given. */
  readonly memberId: string;
  /** Host name. */
  readonly domain: string;
  /** Installs the app. A portal that had it before gets another `application_token`. */
  readonly install: (version: number) => string;
  /** Moves the app to another version. */
  readonly update: (to: number, options?: FakeUpdateOptions) => string;
  /** Removes the app; its access tokens end. */
  readonly uninstall: (options?: { readonly clean?: boolean }) => string;
  /** Any event, with the portal's tokens unless `tokenless`. Keys of `data` as on the wire. */
  readonly event: (
    name: string,
    data: Readonly<Record<string, string>>,
    options?: { readonly tokenless?: boolean },
  ) => string;
  /** An access token of this portal that the OAuth host knows. */
  readonly accessToken: () => string;
}

/** OAuth host and portals. */
export interface FakeBitrix24 {
  /** Answers `app.info` as the OAuth host does: to inject into an app, or to serve. */
  readonly fetch: (input: Request | URL | string, init?: RequestInit) => Promise<Response>;
  /** How many requests the OAuth host has had. */
  readonly requests: () => number;
  /** Makes a portal without the app. */
  readonly portal: (options: FakePortalOptions) => FakePortal;
}

interface PortalState {
  readonly clientId: string;
  readonly memberId: string;
  readonly domain: string;
  version: number | undefined;
  installations: number;
  rotations: number;
  tokens: number;
  ts: number;
}

/**
 * Starts a fake Bitrix24. It keeps no sockets: inject `fetch` into `createApp`, or serve it and name its address in
 * `oauthHosts`.
 *
 * @example
 * ```ts
 * import { createApp, memoryStorage } from "@b24/onappupdate";
 * import { applicationToken } from "@b24/onappupdate/application-token";
 * import { fakeBitrix24 } from "@b24/onappupdate/testing";
 * import assert from "node:assert/strict";
 *
 * const bitrix24 = fakeBitrix24({ clientId: "app.5f3a" });
 * const portal = bitrix24.portal({ memberId: "a223c6b3710f85df22e9377d6c4f7553" });
 * const app = createApp({
 *   storage: memoryStorage(),
 *   clientId: "app.5f3a",
 *   acknowledge: "handled",
 *   fetch: bitrix24.fetch,
 * }).use(applicationToken());
 * const post = (body: string) =>
 *   app.fetch(
 *     new Request("http://localhost/", {
 *       method: "POST",
 *       body,
 *       headers: { "content-type": "application/x-www-form-urlencoded" },
 *     }),
 *   );
 *
 * assert.equal((await post(portal.install(2))).status, 200);
 * assert.equal((await post(portal.update(3))).status, 200);
 * assert.equal((await app.portal(portal.memberId))?.version, "3.0.0");
 * await app.close();
 * ```
 */
export function fakeBitrix24(
  { clientId, oauthHost = "https://oauth.bitrix24.tech" }: FakeBitrix24Options,
): FakeBitrix24 {
  const owners = new Map<string, PortalState>();
  let requests = 0;
  return {
    fetch: async (input, init) => {
      requests++;
      const request = input instanceof Request ? input : new Request(input, init);
      const { pathname, searchParams } = new URL(request.url);
      const sent = request.method === "POST" ? new URLSearchParams(await request.text()) : searchParams;
      if (pathname.replace(/\.json$/, "") !== "/rest/app.info") {
        return answer(404, { error: "ERROR_METHOD_NOT_FOUND", error_description: "Method not found!" });
      }
      return appInfo(owners.get(sent.get("auth") ?? ""));
    },
    requests: () => requests,
    portal: ({ memberId, domain = "example.bitrix24.de", clientId: other = clientId, ts = 1785300000 }) =>
      fakePortal(
        { clientId: other, memberId, domain, version: undefined, installations: 0, rotations: 0, tokens: 0, ts },
        owners,
        oauthHost,
      ),
  };
}

function appInfo(portal: PortalState | undefined): Response {
  if (portal === undefined) {
    return answer(401, { error: "expired_token", error_description: "The access token provided has expired." });
  }
  if (portal.version === undefined) {
    return answer(401, { error: "NOT_INSTALLED", error_description: "Application not installed" });
  }
  return answer(200, {
    result: {
      client_id: portal.clientId,
      scope: SCOPE,
      expires: portal.ts + 3600,
      user_id: 1,
      install: {
        installed: true,
        version: portal.version,
        status: "S",
        scope: SCOPE,
        domain: `https://${portal.domain}`,
        uri: "",
        client_endpoint: `https://${portal.domain}/rest/`,
        member_id: portal.memberId,
        member_type: "B24",
      },
    },
  });
}

function answer(status: number, body: object): Response {
  return Response.json(body, { status });
}

const SCOPE = "crm,placement,user_brief";

function fakePortal(portal: PortalState, owners: Map<string, PortalState>, oauthHost: string): FakePortal {
  const { memberId, domain } = portal;
  const hex = (kind: string, count: number, length: number): string =>
    `${kind}${count.toString(16).padStart(4, "0")}${memberId}${memberId}${memberId}`.slice(0, length);
  const accessToken = (): string => {
    const token = hex("acce55", ++portal.tokens, 70);
    owners.set(token, portal);
    return token;
  };
  const event: FakePortal["event"] = (name, data, { tokenless = false } = {}) => {
    const body = new URLSearchParams({ event: name });
    for (const [key, value] of Object.entries(data)) body.append(`data[${key}]`, value);
    body.append("ts", String(portal.ts));
    const auth: Record<string, string> = {
      ...(tokenless ? {} : {
        access_token: accessToken(),
        expires: String(portal.ts + 3600),
        expires_in: "3600",
        scope: SCOPE,
      }),
      domain,
      server_endpoint: `${oauthHost}/rest/`,
      ...(tokenless ? {} : { status: "S" }),
      client_endpoint: `https://${domain}/rest/`,
      member_id: memberId,
      ...(tokenless ? {} : { user_id: "1", refresh_token: hex("fe5fe5", portal.tokens, 70) }),
      application_token: hex(`a99${portal.installations}${portal.rotations}`, portal.installations, 32),
    };
    for (const [key, value] of Object.entries(auth)) body.append(`auth[${key}]`, value);
    portal.ts += 3600;
    return body.toString();
  };
  return {
    memberId,
    domain,
    accessToken,
    event,
    install: (version) => {
      portal.version = version;
      portal.installations++;
      return event("ONAPPINSTALL", { VERSION: String(version), ACTIVE: "Y", INSTALLED: "Y", LANGUAGE_ID: "ru" });
    },
    update: (to, { rotateToken = false, tokenless = false } = {}) => {
      const previous = portal.version;
      portal.version = to;
      if (rotateToken) portal.rotations++;
      return event(
        "ONAPPUPDATE",
        { VERSION: String(to), PREVIOUS_VERSION: String(previous ?? ""), LANGUAGE_ID: "de" },
        {
          tokenless,
        },
      );
    },
    uninstall: ({ clean = true } = {}) => {
      const body = event("ONAPPUNINSTALL", { LANGUAGE_ID: "ru", CLEAN: clean ? "1" : "0" }, { tokenless: true });
      portal.version = undefined;
      return body;
    },
  };
}
