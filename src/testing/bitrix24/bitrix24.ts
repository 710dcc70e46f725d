/**
 * A local Bitrix24: OAuth hosts that know whose tokens are whose, portals with their REST, and the sender of the events
 * of an app's life. For tests and demonstrations.
 */
import { createPortal } from "./create_portal.ts";
import { failing, type FakeFailOptions, type FakeFaultOptions, losing } from "./faults.ts";
import { answerOAuth } from "./oauth.ts";
import type { FakePortal, FakePortalOptions } from "./portal.ts";
import { decodeRequest, following } from "./request.ts";
import { answerRest } from "./rest.ts";
import { createSender, type FakeHandler, type FakeSent } from "./sender.ts";
import { type FakeServer, startServer } from "./server.ts";
import type { FakeCall, FakeRateLimit, World } from "./state.ts";

/** Options of {@linkcode fakeBitrix24}. */
export interface FakeBitrix24Options {
  /** `client_id` of the app that the portals have. */
  readonly clientId: string;
  /** `client_secret` without which no token is refreshed; default any. */
  readonly clientSecret?: string;
  /** The one OAuth host; default `https://oauth.bitrix24.tech`, with `https://oauth.bitrix.info` beside it. */
  readonly oauthHost?: string;
  /** Milliseconds since 1970, by which tokens end and events are sent; default the system's, for tokens. */
  readonly clock?: () => number;
  /** How long access tokens live, in seconds; default 3600. */
  readonly accessTokenSeconds?: number;
  /** How many requests each portal takes; default any number. */
  readonly rateLimit?: FakeRateLimit;
  /** Where events are sent: an app's `fetch`, or its address. */
  readonly handler?: FakeHandler;
}

/** OAuth hosts and portals. */
export interface FakeBitrix24 {
  /**
   * Answers for the OAuth hosts and every portal: to inject into an app, or to serve. Rejects, as `fetch` does, with a
   * `TypeError` for any other host. Loopback addresses are taken for the OAuth host, being served.
   */
  readonly fetch: (input: Request | URL | string, init?: RequestInit) => Promise<Response>;
  /** How many requests the OAuth hosts have had. */
  readonly requests: () => number;
  /** Makes a portal without the app. */
  readonly portal: (options: FakePortalOptions) => FakePortal;
  /** Every call of a method, at portals and OAuth hosts, in the order in which they came; never with a token. */
  readonly calls: () => readonly FakeCall[];
  /** How often a refresh token was given for a new pair. */
  readonly refreshes: () => number;
  /** Every event that was to be sent, and what became of it. */
  readonly events: () => readonly FakeSent[];
  /** Resolves when events that methods asked for, such as `event.test`, have been sent. */
  readonly settled: () => Promise<void>;
  /** Changes where events are sent. */
  readonly deliverTo: (handler: FakeHandler) => void;
  /** {@linkcode FakePortal.fail} for whatever portal, and for tokens that are nobody's. */
  readonly fail: (code: string, options?: FakeFailOptions) => void;
  /** {@linkcode FakePortal.lose} for whatever portal, and for tokens that are nobody's. */
  readonly lose: (options?: FakeFaultOptions) => void;
  /** Listens on a free loopback port, for apps in other processes: see {@linkcode forwardingFetch}. */
  readonly serve: () => Promise<FakeServer>;
}

/**
 * Starts a fake Bitrix24. It keeps no sockets: inject `fetch` into `createApp`, or serve it.
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
 * @example A portal's REST, and what goes wrong there
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
  const { oauthHost = OAUTH_HOSTS[0], clock, rateLimit } = options;
  const sender = createSender(options.handler);
  const underWay = new Set<Promise<unknown>>();
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
    pairs: 0,
    requests: 0,
    refreshes: 0,
    emit: (portal, body) => {
      const sending = sender.send(portal, body).finally(() => underWay.delete(sending));
      underWay.add(sending);
    },
  };
  const fetch: FakeBitrix24["fetch"] = (input, init) =>
    following(new Request(input, init), (request) => unlessAborted(request, answer(world, request)));
  return {
    fetch,
    requests: () => world.requests,
    portal: (options) => createPortal(world, sender, { ...(rateLimit === undefined ? {} : { rateLimit }), ...options }),
    calls: () => [...world.calls],
    refreshes: () => world.refreshes,
    events: sender.sent,
    settled: async () => void await Promise.all(underWay),
    deliverTo: sender.deliverTo,
    fail: (code, options) => failing(world, undefined, code, options),
    lose: (options) => losing(world, undefined, options),
    serve: () => startServer(fetch),
  };
}

const OAUTH_HOSTS = ["https://oauth.bitrix24.tech", "https://oauth.bitrix.info"] as const;
const LOOPBACK = new Set(["127.0.0.1", "localhost", "[::1]"]);

async function answer(world: World, request: Request): Promise<Response> {
  const { host, hostname, protocol, pathname, search } = new URL(request.url);
  if (world.oauthHosts.has(host)) return await answerOAuth(world, await decodeRequest(request));
  const portals = protocol === "https:" ? world.hosts.get(host) : undefined;
  if (portals !== undefined && portals.length > 0) {
    return await answerRest(world, portals, await decodeRequest(request));
  }
  const moved = world.formerHosts.get(host);
  if (moved !== undefined) {
    return new Response(null, { status: 302, headers: { location: `https://${moved.domain}${pathname}${search}` } });
  }
  if (LOOPBACK.has(hostname)) return await answerOAuth(world, await decodeRequest(request));
  throw new TypeError(`fetch failed: there is no host ${host}`);
}

/** As `fetch` has it: an abort ends the wait for the answer, and its body. */
async function unlessAborted(request: Request, answering: Promise<Response>): Promise<Response> {
  const { signal } = request;
  signal.throwIfAborted();
  let stop: () => void;
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(signal.reason);
    signal.addEventListener("abort", stop, { once: true });
  });
  try {
    const { body, status, headers } = await Promise.race([answering, aborted]);
    const ending = body === null ? null : body.pipeThrough(new TransformStream(), { signal });
    return new Response(ending, { status, headers });
  } finally {
    signal.removeEventListener("abort", stop!);
  }
}
