/**
 * A fake Bitrix24 for tests and demonstrations: OAuth hosts that know the owner of each token, portals with their REST, and
 * a sender of events.
 */
import { checkOptions, option, type OptionRules } from "../../check_options.ts";
import { createPortal } from "./create_portal.ts";
import { breakConnections, failCalls, type FakeFailOptions, type FakeFaultOptions } from "./faults.ts";
import { answerOAuth } from "./oauth.ts";
import type { FakePortal, FakePortalOptions } from "./portal.ts";
import { decodeRequest, followRedirects } from "./request.ts";
import { answerRest } from "./rest.ts";
import { answerRestV3, isV3 } from "./rest_v3.ts";
import { createSender, type FakeHandler, type FakeSent, HANDLER_RULES, type Sender } from "./sender.ts";
import { type FakeServer, startServer } from "./server.ts";
import { type FakeCall, type FakeOutage, type FakeRateLimit, RATE_LIMIT_RULE, type World } from "./state.ts";
import { withoutPace } from "./unpaced.ts";

/** Options of {@linkcode fakeBitrix24}. */
export interface FakeBitrix24Options {
  /** `client_id` of the app. */
  readonly clientId: string;
  /**
   * `client_secret` of the app, needed to refresh tokens.
   *
   * @default any is accepted
   */
  readonly clientSecret?: string;
  /**
   * The only OAuth host.
   *
   * @default both `https://oauth.bitrix24.tech` and `https://oauth.bitrix.info`
   */
  readonly oauthHost?: string;
  /**
   * Milliseconds since 1970: the time of tokens and events.
   *
   * @default the system's clock for tokens; events are an hour apart
   */
  readonly clock?: () => number;
  /**
   * Lifetime of access tokens in seconds. Minimum: 1.
   *
   * @default 3600
   */
  readonly accessTokenSeconds?: number;
  /**
   * Limit of REST requests of each portal. With a limit, `rest()` paces its requests as for a real portal; without one, it
   * calls the portal as fast as it can, unless its option `rate` is set.
   *
   * @default no limit
   */
  readonly rateLimit?: FakeRateLimit;
  /** Receiver of events: the `fetch` of an app, or its URL. */
  readonly handler?: FakeHandler;
}

const OPTION_RULES: OptionRules<FakeBitrix24Options> = {
  clientId: option.required(option.text("the client_id of the app")),
  clientSecret: option.value(
    "the client_secret of the app, or no clientSecret",
    (secret) => typeof secret === "string" && secret.trim() !== "",
    { isSecret: true },
  ),
  oauthHost: option.value(
    'an address such as "https://oauth.bitrix24.tech"',
    (host) => URL.canParse(String(host)) && /^https?:$/.test(new URL(String(host)).protocol),
  ),
  clock: option.function(),
  accessTokenSeconds: option.number({ min: 1 }),
  rateLimit: RATE_LIMIT_RULE,
  ...HANDLER_RULES,
};

/** A fake Bitrix24: OAuth hosts and portals. */
export interface FakeBitrix24 {
  /**
   * Answers for the OAuth hosts and all portals. Pass it to an app itself, not a function that calls it, or serve it. Rejects with a `TypeError` for any other
   * host, as `fetch` does. Loopback addresses count as the OAuth host.
   */
  readonly fetch: (input: Request | URL | string, init?: RequestInit) => Promise<Response>;
  /** Number of requests to the OAuth hosts. */
  readonly requests: () => number;
  /** Creates a portal without the app. */
  readonly portal: (options: FakePortalOptions) => FakePortal;
  /** All calls of portals and OAuth hosts in order, without tokens. */
  readonly calls: () => readonly FakeCall[];
  /** Number of token refreshes. */
  readonly refreshes: () => number;
  /** All events and their outcomes. */
  readonly events: () => readonly FakeSent[];
  /** Resolves when the events that methods such as `event.test` requested have been sent. */
  readonly settled: () => Promise<void>;
  /** Changes the receiver of events. */
  readonly deliverTo: (handler: FakeHandler) => void;
  /** {@linkcode FakePortal.fail} for all portals and for unknown tokens. */
  readonly fail: (code: string, options?: FakeFailOptions) => void;
  /** {@linkcode FakePortal.lose} for all portals and for unknown tokens. */
  readonly lose: (options?: FakeFaultOptions) => void;
  /** Takes the OAuth hosts down until it is called without a kind. */
  readonly outage: (kind?: FakeOutage) => void;
  /** Delays what `app.info` of the OAuth hosts reports of installations and updates, in milliseconds. */
  readonly lag: (ms: number) => void;
  /** Listens on a free loopback port, for apps in other processes. See {@linkcode forwardingFetch}. */
  readonly serve: () => Promise<FakeServer>;
}

/**
 * Creates a fake Bitrix24. It opens no sockets: pass its `fetch` to `createApp`, or call `serve`.
 *
 * @throws {TypeError} if an option is unknown or invalid, as all functions of the fake do
 *
 * @example
 * ```ts
 * import { createApp, memoryStorage } from "@b24/onappupdate";
 * import { applicationToken } from "@b24/onappupdate/application-token";
 * import { fakeBitrix24 } from "@b24/onappupdate/testing";
 * import assert from "node:assert/strict";
 *
 * const bitrix24 = fakeBitrix24({ clientId: "app.5f3a", handler: (request) => app.fetch(request) });
 * const portal = bitrix24.portal({ memberId: "a223c6b3710f85df22e9377d6c4f7553" });
 * const app = createApp({
 *   storage: memoryStorage(),
 *   clientId: "app.5f3a",
 *   acknowledge: "handled",
 *   fetch: bitrix24.fetch,
 * }).use(applicationToken());
 *
 * assert.deepEqual(await portal.sends.install(2), [200]);
 * assert.deepEqual(await portal.sends.update(3, { duplicate: 1 }), [200, 200]);
 * assert.equal((await app.portal(portal.memberId))?.version, "3.0.0");
 * await app.close();
 * ```
 *
 * @example A portal's REST and its errors
 * ```ts
 * import { fakeBitrix24 } from "@b24/onappupdate/testing";
 * import assert from "node:assert/strict";
 *
 * const bitrix24 = fakeBitrix24({ clientId: "app.5f3a" });
 * const portal = bitrix24.portal({ memberId: "a223c6b3710f85df22e9377d6c4f7553" });
 * portal.install(1);
 * const call = (method: string, params: object) =>
 *   bitrix24.fetch(`https://${portal.domain}/rest/${method}`, {
 *     method: "POST",
 *     headers: { "content-type": "application/json" },
 *     body: JSON.stringify({ ...params, auth: portal.accessToken() }),
 *   });
 *
 * portal.data("crm.deal.list", [{ ID: "1", TITLE: "Chairs" }, { ID: "2", TITLE: "Tables" }]);
 * const { result } = await (await call("crm.deal.list", { filter: { ">ID": 1 } })).json();
 * assert.deepEqual(result, [{ ID: "2", TITLE: "Tables" }]);
 *
 * portal.fail("QUERY_LIMIT_EXCEEDED");
 * assert.equal((await call("profile", {})).status, 503);
 * assert.equal((await call("profile", {})).status, 200);
 * ```
 */
export function fakeBitrix24(options: FakeBitrix24Options): FakeBitrix24 {
  return createFake(options).fake;
}

/** Creates a fake Bitrix24, and returns its state besides, so that it can be saved and restored. */
export function createFake(
  options: FakeBitrix24Options,
): { readonly fake: FakeBitrix24; readonly world: World; readonly sender: Sender } {
  checkOptions("cannot create a fake Bitrix24", options, OPTION_RULES);
  const { oauthHost = OAUTH_HOSTS[0], clock, rateLimit } = options;
  const sender = createSender(options.handler);
  const sending = new Set<Promise<unknown>>();
  const world: World = {
    clientId: options.clientId,
    clientSecret: options.clientSecret,
    oauthHosts: new Set(
      (options.oauthHost === undefined ? OAUTH_HOSTS : [oauthHost]).map((host) => new URL(host).host),
    ),
    oauthOrigin: new URL(oauthHost).origin,
    accessTokenSeconds: options.accessTokenSeconds ?? 3600,
    now: clock ?? Date.now,
    hasClock: clock !== undefined,
    accessTokens: new Map(),
    refreshTokens: new Map(),
    portals: [],
    hosts: new Map(),
    formerHosts: new Map(),
    calls: [],
    faults: [],
    lagMs: 0,
    oauthOutage: undefined,
    issuedPairs: 0,
    requests: 0,
    refreshes: 0,
    emit: (portal, body) => {
      const sent = sender.send(portal, body).finally(() => sending.delete(sent));
      sending.add(sent);
    },
  };
  const fetch: FakeBitrix24["fetch"] = withoutPace(
    (input: Request | URL | string, init?: RequestInit) =>
      followRedirects(new Request(input, init), (request) => raceAbort(request, answer(world, request))),
    (memberId) => world.portals.some((portal) => portal.memberId === memberId && portal.rateLimit !== undefined),
  );
  const fake: FakeBitrix24 = {
    fetch,
    requests: () => world.requests,
    portal: (options) => createPortal(world, sender, { ...(rateLimit === undefined ? {} : { rateLimit }), ...options }),
    calls: () => [...world.calls],
    refreshes: () => world.refreshes,
    events: sender.sent,
    settled: async () => void await Promise.all(sending),
    deliverTo: sender.deliverTo,
    fail: (code, options) => failCalls(world, undefined, code, options),
    lose: (options) => breakConnections(world, undefined, options),
    outage: (kind) => {
      checkOptions("cannot start an outage", { kind }, { kind: option.oneOf("down", "hanging") });
      world.oauthOutage = kind;
    },
    lag: (ms) => {
      checkOptions("cannot delay reports", { ms }, { ms: option.required(option.number({ min: 0 })) });
      world.lagMs = ms;
    },
    serve: () => startServer(fetch),
  };
  return { fake, world, sender };
}

const OAUTH_HOSTS = ["https://oauth.bitrix24.tech", "https://oauth.bitrix.info"] as const;
const LOOPBACK = new Set(["127.0.0.1", "localhost", "[::1]"]);

async function answer(world: World, request: Request): Promise<Response> {
  const { host, hostname, protocol, pathname, search } = new URL(request.url);
  if (world.oauthHosts.has(host)) return await answerOAuth(world, await decodeRequest(request));
  const portals = protocol === "https:" ? world.hosts.get(host) : undefined;
  if (portals !== undefined && portals.length > 0) {
    return isV3(request)
      ? await answerRestV3(world, portals, request)
      : await answerRest(world, portals, await decodeRequest(request));
  }
  const moved = world.formerHosts.get(host);
  if (moved !== undefined) {
    return new Response(null, { status: 302, headers: { location: `https://${moved.domain}${pathname}${search}` } });
  }
  if (LOOPBACK.has(hostname)) return await answerOAuth(world, await decodeRequest(request));
  throw new TypeError(`fetch failed: there is no host ${host}`);
}

/** Rejects when the request is aborted, and ends the body of its answer then, as `fetch` does. */
async function raceAbort(request: Request, answering: Promise<Response>): Promise<Response> {
  const { signal } = request;
  signal.throwIfAborted();
  let stop: () => void;
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(signal.reason);
    signal.addEventListener("abort", stop, { once: true });
  });
  try {
    const { body, status, headers } = await Promise.race([answering, aborted]);
    const abortable = body === null ? null : body.pipeThrough(new TransformStream(), { signal });
    return new Response(abortable, { status, headers });
  } finally {
    signal.removeEventListener("abort", stop!);
  }
}
