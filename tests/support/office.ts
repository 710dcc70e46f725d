/** An OAuth host that can be told what to do, and apps that use it over one storage. */
import {
  type App,
  type AppOptions,
  B24Error,
  createApp,
  memoryStorage,
  type Plugin,
  type PortalCredentials,
  type Storage,
} from "@b24/onappupdate";
import { backgroundWork, CLIENT_ID, MEMBER_ID, post, recordingLogger } from "./app.ts";

export const CLIENT_SECRET = "secret-of-the-app-0123456789";
export const NOW = 1_785_300_000_000;
export const ENDPOINT = "https://example.bitrix24.de/rest/";

/** A request that came, without its tokens. */
export interface Asked {
  readonly kind: "app.info" | "token";
  readonly host: string;
  readonly token: string;
}

/** Answers instead of the truth; `undefined`: the truth. */
export type Answer = (asked: Asked) => Response | Promise<Response> | undefined;

/** What it knows of a live access token. */
interface Owner {
  readonly userId: number;
  readonly memberId: string;
  readonly clientId: string;
}

export interface Office {
  readonly fetch: typeof fetch;
  readonly asked: Asked[];
  /** Makes a pair, of which the access token lives until {@linkcode Office.expire}. */
  readonly pair: (userId?: number, memberId?: string, clientId?: string) => { access: string; refresh: string };
  /** Ends all access tokens. */
  readonly expire: () => void;
  answer: Answer | undefined;
  version: number;
  scope: string;
  endpoint: string;
  isInstalled: boolean;
}

/** An OAuth host with strict rotation: a refresh token is dead once it was used. */
export function office(): Office {
  const live = new Map<string, Owner>();
  const refreshers = new Map<string, Owner>();
  let count = 0;
  const made: Office = {
    asked: [],
    answer: undefined,
    version: 2,
    scope: "crm,placement",
    endpoint: ENDPOINT,
    isInstalled: true,
    pair: (userId = 1, memberId = MEMBER_ID, clientId = CLIENT_ID) => {
      const owner = { userId, memberId, clientId };
      const pair = { access: `access-${++count}-0123456789abcdef`, refresh: `refresh-${count}-0123456789abcdef` };
      live.set(pair.access, owner);
      refreshers.set(pair.refresh, owner);
      return pair;
    },
    expire: () => live.clear(),
    fetch: async (input, init) => {
      const request = new Request(input, init);
      const { hostname, pathname } = new URL(request.url);
      const sent = new URLSearchParams(await request.text());
      const isInfo = pathname === "/rest/app.info";
      const token = sent.get(isInfo ? "auth" : "refresh_token")!;
      const asked: Asked = { kind: isInfo ? "app.info" : "token", host: hostname, token };
      made.asked.push(asked);
      const other = await made.answer?.(asked);
      if (other !== undefined) return other;
      const fail = (status: number, error: string): Response =>
        Response.json({ error, error_description: `about ${error}` }, { status });
      if (isInfo) {
        const owner = live.get(token);
        if (owner === undefined) return fail(401, "expired_token");
        return Response.json({ result: { ...infoOf(owner), user_id: owner.userId } });
      }
      if (sent.get("client_secret") !== CLIENT_SECRET || sent.get("client_id") !== CLIENT_ID) {
        return fail(400, "invalid_client");
      }
      const owner = refreshers.get(token);
      if (owner === undefined) return fail(400, "invalid_grant");
      refreshers.delete(token);
      const { access, refresh } = made.pair(owner.userId, owner.memberId, owner.clientId);
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

/** Lets everything through, and proves nothing. */
const trusting: Plugin = { name: "trusting", phase: "verify", around: (_ctx, next) => next() };

export interface Branch {
  readonly app: App;
  readonly office: Office;
  readonly storage: Storage;
  readonly lines: string[];
  readonly send: (event: string, fields: Readonly<Record<string, string>>) => Promise<number>;
  /** Resolves when all work that the requests so far have started is done. */
  readonly settled: () => Promise<void>;
  /** What is stored of the portal. */
  readonly record: () => Promise<Record<string, unknown> & { tokens?: { accessToken: string; isVerified?: true }[] }>;
  now: number;
}

/** An app that knows nothing of a portal yet. */
export function branch(options: Partial<AppOptions> & { readonly office?: Office } = {}): Branch {
  const { office: at = office(), storage = memoryStorage(), ...others } = options;
  const { logger, lines } = recordingLogger();
  const { platform, settled } = backgroundWork();
  const app = createApp({
    storage,
    clientId: CLIENT_ID,
    clientSecret: CLIENT_SECRET,
    clock: () => made.now,
    fetch: at.fetch,
    acknowledge: "handled",
    checks: false,
    logger,
    ...others,
  }).use(trusting);
  const made: Branch = {
    app,
    office: at,
    storage,
    lines,
    settled,
    now: NOW,
    record: async () => (await storage.get<Awaited<ReturnType<Branch["record"]>>>(["portal", MEMBER_ID]))!.value,
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

/** Fields of an event that brings tokens. */
export function withPair(
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

/** Returns the credentials that a call uses one after the other if no user of the portal may do what it asks. */
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
