/** A fake OAuth host with answers that a test can replace, and an app that uses it. */
import {
  type App,
  type AppOptions,
  B24Error,
  createApp,
  memoryStorage,
  type PortalCredentials,
  type Storage,
} from "@b24/onappupdate";
import { backgroundWork, CLIENT_ID, MEMBER_ID, post, recordingLogger, trustAll } from "./app.ts";
import { openedRecord } from "./credentials.ts";

export const CLIENT_SECRET = "secret-of-the-app-0123456789";
export const NOW = 1_785_300_000_000;
export const ENDPOINT = "https://example.bitrix24.de/rest/";

/** A request that the host received. */
export interface Asked {
  readonly kind: "app.info" | "token";
  readonly host: string;
  readonly token: string;
}

/** Returns an answer that replaces the host's own, or undefined for the host's own. */
export type Answer = (asked: Asked) => Response | Promise<Response> | undefined;

/** The user, portal and app of a token. */
interface Owner {
  readonly userId: number;
  readonly memberId: string;
  readonly clientId: string;
}

export interface FakeOAuthHost {
  readonly fetch: typeof fetch;
  readonly asked: Asked[];
  /** Issues a token pair. The access token is valid until {@linkcode FakeOAuthHost.expireAccessTokens}. */
  readonly issueTokens: (userId?: number, memberId?: string, clientId?: string) => { access: string; refresh: string };
  /** Makes all access tokens invalid. */
  readonly expireAccessTokens: () => void;
  answer: Answer | undefined;
  version: number;
  scope: string;
  endpoint: string;
  isInstalled: boolean;
  /** The answer of the portal's `profile` about a user; `undefined`: it does not answer. All are administrators by default. */
  isAdmin: (userId: number) => boolean | undefined;
}

/** Returns a host that accepts each refresh token once. */
export function fakeOAuthHost(): FakeOAuthHost {
  const accessTokens = new Map<string, Owner>();
  const refreshTokens = new Map<string, Owner>();
  let count = 0;
  const made: FakeOAuthHost = {
    asked: [],
    answer: undefined,
    version: 2,
    scope: "crm,placement",
    endpoint: ENDPOINT,
    isInstalled: true,
    isAdmin: () => true,
    issueTokens: (userId = 1, memberId = MEMBER_ID, clientId = CLIENT_ID) => {
      const owner = { userId, memberId, clientId };
      const pair = { access: `access-${++count}-0123456789abcdef`, refresh: `refresh-${count}-0123456789abcdef` };
      accessTokens.set(pair.access, owner);
      refreshTokens.set(pair.refresh, owner);
      return pair;
    },
    expireAccessTokens: () => accessTokens.clear(),
    fetch: async (input, init) => {
      const request = new Request(input, init);
      const { hostname, pathname } = new URL(request.url);
      const sent = new URLSearchParams(await request.text());
      if (pathname === "/rest/profile") {
        const owner = accessTokens.get(sent.get("auth")!);
        const isAdmin = owner !== undefined && made.isAdmin(owner.userId);
        return isAdmin === undefined
          ? new Response(null, { status: 502 })
          : Response.json({ result: { ADMIN: isAdmin } });
      }
      const isInfo = pathname === "/rest/app.info";
      const token = sent.get(isInfo ? "auth" : "refresh_token")!;
      const asked: Asked = { kind: isInfo ? "app.info" : "token", host: hostname, token };
      made.asked.push(asked);
      const other = await made.answer?.(asked);
      if (other !== undefined) return other;
      const fail = (status: number, error: string): Response =>
        Response.json({ error, error_description: `about ${error}` }, { status });
      if (isInfo) {
        const owner = accessTokens.get(token);
        if (owner === undefined) return fail(401, "expired_token");
        return Response.json({ result: { ...infoOf(owner), user_id: owner.userId } });
      }
      if (sent.get("client_secret") !== CLIENT_SECRET || sent.get("client_id") !== CLIENT_ID) {
        return fail(400, "invalid_client");
      }
      const owner = refreshTokens.get(token);
      if (owner === undefined) return fail(400, "invalid_grant");
      refreshTokens.delete(token);
      const { access, refresh } = made.issueTokens(owner.userId, owner.memberId, owner.clientId);
      return Response.json({
        access_token: access,
        refresh_token: refresh,
        expires: NOW / 1000 + 3600,
        expires_in: 3600,
        client_endpoint: made.endpoint,
        server_endpoint: "https://oauth.bitrix24.tech/rest/",
        domain: "oauth.bitrix24.tech",
        member_id: owner.memberId,
        scope: made.scope,
        status: "S",
        user_id: owner.userId,
      });
    },
  };
  const infoOf = ({ clientId, memberId }: Owner): object => ({
    client_id: clientId,
    scope: made.scope,
    expires: NOW / 1000 + 3600,
    install: {
      installed: made.isInstalled,
      version: made.version,
      status: "S",
      scope: made.scope,
      domain: new URL(made.endpoint).origin,
      uri: "",
      client_endpoint: made.endpoint,
      member_id: memberId,
      member_type: "B24",
    },
  });
  return made;
}

export interface TestApp {
  readonly app: App;
  readonly oauth: FakeOAuthHost;
  readonly storage: Storage;
  readonly lines: string[];
  readonly send: (event: string, fields: Readonly<Record<string, string>>) => Promise<number>;
  /** Resolves when the background work of all requests so far is done. */
  readonly settled: () => Promise<void>;
  /** Returns the stored portal record. */
  readonly record: () => Promise<Record<string, unknown> & { tokens?: { accessToken: string; isVerified?: true }[] }>;
  now: number;
}

/** Returns an app over an empty storage, whose verification accepts everything. */
export function testApp(options: Partial<AppOptions> & { readonly oauth?: FakeOAuthHost } = {}): TestApp {
  const { oauth = fakeOAuthHost(), storage = memoryStorage(), ...others } = options;
  const { logger, lines } = recordingLogger();
  const { platform, settled } = backgroundWork();
  const app = createApp({
    storage,
    clientId: CLIENT_ID,
    clientSecret: CLIENT_SECRET,
    clock: () => made.now,
    fetch: oauth.fetch,
    acknowledge: "handled",
    checks: false,
    logger,
    ...others,
  }).use(trustAll);
  const made: TestApp = {
    app,
    oauth,
    storage,
    lines,
    settled,
    now: NOW,
    record: async () => (await openedRecord(storage, MEMBER_ID)) as unknown as Awaited<ReturnType<TestApp["record"]>>,
    send: async (event, fields) => {
      const body = new URLSearchParams({
        event,
        ts: String(Math.floor(made.now / 1000)),
        "auth[member_id]": MEMBER_ID,
        "auth[domain]": "example.bitrix24.de",
        "auth[application_token]": "0123456789abcdef0123456789abcdef",
        ...fields,
      });
      const response = await app.fetch(post(body.toString()), platform);
      await response.body?.cancel();
      return response.status;
    },
  };
  return made;
}

/** Returns the fields of an event that carries tokens. */
export function tokenFields(
  { access, refresh }: { access: string; refresh?: string },
  userId = 1,
): Record<string, string> {
  return {
    "auth[access_token]": access,
    ...(refresh === undefined ? {} : { "auth[refresh_token]": refresh }),
    "auth[expires_in]": "3600",
    "auth[scope]": "crm,placement",
    "auth[user_id]": String(userId),
    "auth[server_endpoint]": "https://oauth.bitrix24.tech/rest/",
  };
}

/** Returns the credentials that a call tries in turn, if every user of the portal is denied. */
export async function usersTried({ credentials }: App): Promise<readonly PortalCredentials[]> {
  const tried: PortalCredentials[] = [];
  const denied = new B24Error({ code: "ACCESS_DENIED", description: "", status: 403, method: "profile" });
  await credentials.call(MEMBER_ID, (user) => {
    tried.push(user);
    return Promise.reject(denied);
  }).catch((error) => {
    if (error !== denied) throw error;
  });
  return tried;
}
