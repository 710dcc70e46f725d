/** What an app is made of: options, and what they are where they are left out. */
import { oauthOrigin, portalHost } from "../bitrix24/hosts.ts";
import type { CheckPolicy } from "../worker/checks.ts";
import type { RequestLimits } from "../intake/http.ts";
import { consoleLogger, coreLogger, type Logger } from "../logger.ts";
import { assertRetryPolicy, type RetryPolicy } from "../retry.ts";
import { digest, Secret } from "../secret.ts";
import { isDuration, MAX_TIMER_MS, systemTime, type Time } from "../async/time.ts";
import { isLongLived } from "./startup_warnings.ts";
import type { Storage } from "../storage/storage.ts";
import { addressesOf } from "../net/runtime.ts";
import { coerced, type VersionScheme } from "../version.ts";
import { DECODE_LIMITS } from "../bitrix24/tree.ts";

/** Options of {@linkcode createApp}. */
export interface AppOptions {
  /** Where portals and unfinished events are kept. The app closes it when it closes. */
  readonly storage: Storage;
  /** `client_id` of the app, as the vendor's cabinet or the portal shows it. */
  readonly clientId?: string;
  /** `client_secret` of the app. */
  readonly clientSecret?: string | Secret;
  /**
   * When an event is answered 200: `stored`, the default, once it is durable, before its handlers run; `handled`
   * after them, for hosts that stop a program once it has answered. A failed handler is answered 200 too: the
   * event is stored and tried again, while Bitrix24 would not send it again.
   */
  readonly acknowledge?: "stored" | "handled";
  /** What VERSION means; default `coerced()`. */
  readonly versions?: VersionScheme;
  /** How much one request may cost. */
  readonly limits?: Partial<Limits>;
  /** How often, and after which waits, upgrades and handlers that fail are tried again. */
  readonly retry?: RetryPolicy;
  /**
   * Milliseconds between two ticks that the app does by itself from its start to its end; `false`: none. Default 30000,
   * and none in places that stop a program which has nothing to answer (Deno Deploy, AWS Lambda, Cloud Run): there call
   * `app.tick()` from `Deno.cron`, a timer of the host, or a route.
   */
  readonly tickEveryMs?: number | false;
  /**
   * How often Bitrix24 is asked about portals of which no event told; `false`: only by `app.check`. Needs `clientId`, and
   * for portals that are silent `clientSecret`.
   */
  readonly checks?: Partial<CheckPolicy> | false;
  /** Bitrix24's OAuth hosts, which alone are believed; default its own two. No payload can add one. */
  readonly oauthHosts?: readonly string[];
  /** Milliseconds that one OAuth host may take for an answer; default 5000. */
  readonly oauthTimeoutMs?: number;
  /**
   * Hosts of portals that may be called though they are not in Bitrix24's cloud, such as `"crm.example.com"` or
   * `"crm.example.com:8443"`; also when they are private. Any other host is called only when an OAuth host said that it
   * is a portal's, and when it is public.
   */
  readonly extraPortalHosts?: readonly string[];
  /** Default: lines of JSON on the console. */
  readonly logger?: Logger;
  /** Milliseconds since 1970; default the system's. */
  readonly clock?: () => number;
  /** For requests of plugins; default the system's. */
  readonly fetch?: typeof fetch;
  /**
   * The addresses that the name of a host leads to, before a portal outside of the cloud is called; default what the
   * runtime's resolver says. `undefined`: they cannot be seen.
   */
  readonly lookup?: (host: string) => Promise<readonly string[] | undefined>;
  /** A fresh, unguessable text; default `crypto.randomUUID`. */
  readonly random?: () => string;
}

/** How much one request may cost, and how long the app waits. */
export interface Limits extends RequestLimits {
  /** Milliseconds that an answer waits for the handlers with `acknowledge: "handled"`; default 20000. */
  readonly acknowledgeMs: number;
  /** Milliseconds that `close()` waits for what is under way before it aborts it; default 10000. */
  readonly closeMs: number;
  /**
   * Milliseconds after which a portal at whose work a process stopped is taken over by another one; default 30000. It is
   * renewed while the work goes on, at a third of this.
   */
  readonly leaseMs: number;
  /** Milliseconds after a removal for which runs and results are kept; default 2592000000, 30 days. */
  readonly retentionMs: number;
}

/** Options that are checked, none of them left out. */
export interface Settings extends
  Required<
    Pick<
      AppOptions,
      | "storage"
      | "acknowledge"
      | "versions"
      | "retry"
      | "tickEveryMs"
      | "oauthHosts"
      | "oauthTimeoutMs"
      | "extraPortalHosts"
      | "clock"
      | "fetch"
      | "lookup"
      | "random"
    >
  > {
  readonly limits: Limits;
  /** Timers and the monotonic clock. */
  readonly time: Time;
  /** SHA-256 of a string, in hexadecimal. */
  readonly digest: (text: string) => Promise<string>;
  /** Never throws. */
  readonly log: Logger;
  /** Of the app, as far as they are known. */
  readonly keys: { readonly clientId?: string; readonly clientSecret?: Secret };
  /** Absent: portals are checked only when they are asked for. */
  readonly checks: CheckPolicy | undefined;
}

const TICK_EVERY_MS = 30_000;

const OAUTH_HOSTS = ["https://oauth.bitrix24.tech", "https://oauth.bitrix.info"];

const DEFAULT_CHECKS: CheckPolicy = { afterContactMs: 15 * 60 * 1000, silentPortalMs: 7 * 24 * 60 * 60 * 1000 };

const DEFAULT_LIMITS: Limits = {
  ...DECODE_LIMITS,
  bodyBytes: 65_536,
  bodyTimeoutMs: 10_000,
  acknowledgeMs: 20_000,
  closeMs: 10_000,
  leaseMs: 30_000,
  retentionMs: 30 * 24 * 60 * 60 * 1000,
};

/** Limits that timers keep. */
const TIMERS: ReadonlySet<string> = new Set(["bodyTimeoutMs", "acknowledgeMs", "closeMs", "leaseMs"]);

/** @throws {TypeError} naming the option that is none */
export function settingsOf(options: AppOptions): Settings {
  const { storage, retry = {}, oauthTimeoutMs = 5000 } = options;
  if (typeof storage?.get !== "function") {
    throw new TypeError("cannot create an app without storage; add one, such as memoryStorage() for trying it out");
  }
  const limits: Limits = { ...DEFAULT_LIMITS, ...options.limits };
  for (const [name, limit] of Object.entries(limits)) {
    if (!(limit > 0)) throw new TypeError(`cannot create an app with limits.${name} ${limit}, wanted more than 0`);
    if (TIMERS.has(name) && !isDuration(limit)) {
      throw new TypeError(`cannot create an app with limits.${name} ${limit}, wanted 1 to ${MAX_TIMER_MS}`);
    }
  }
  const { acknowledge = "stored", versions = coerced() } = options;
  if (acknowledge !== "stored" && acknowledge !== "handled") {
    throw new TypeError(`cannot create an app with acknowledge ${acknowledge}, wanted "stored" or "handled"`);
  }
  if (typeof versions?.parse !== "function") {
    throw new TypeError("cannot create an app with versions that cannot parse, wanted a scheme, such as coerced()");
  }
  assertRetryPolicy("the app", retry);
  const keys = keysOf(options);
  const extraPortalHosts = (options.extraPortalHosts ?? []).map(portalHost);
  const oauthHosts = (options.oauthHosts ?? OAUTH_HOSTS).map(oauthOrigin);
  if (oauthHosts.length === 0) throw new TypeError("cannot create an app without oauthHosts to ask");
  if (!(oauthTimeoutMs > 0 && oauthTimeoutMs <= 60_000)) {
    throw new TypeError(`cannot create an app with oauthTimeoutMs ${oauthTimeoutMs}, wanted 1 to 60000`);
  }
  const tickEveryMs = options.tickEveryMs ?? (isLongLived() ? TICK_EVERY_MS : false);
  if (tickEveryMs !== false && !isDuration(tickEveryMs)) {
    const wanted = `1 to ${MAX_TIMER_MS}, or false`;
    throw new TypeError(`cannot create an app with tickEveryMs ${tickEveryMs}, wanted ${wanted}`);
  }
  return {
    ...{ storage, limits, retry, keys, extraPortalHosts, oauthHosts, oauthTimeoutMs, tickEveryMs },
    ...{ acknowledge, versions },
    checks: checksOf(options),
    log: coreLogger(options.logger ?? consoleLogger()),
    clock: options.clock ?? Date.now,
    // Wrapped, for as a member of another object a host's own fetch may refuse to be called.
    fetch: (...args) => (options.fetch ?? globalThis.fetch)(...args),
    lookup: options.lookup ?? addressesOf,
    random: options.random ?? (() => crypto.randomUUID()),
    time: systemTime,
    digest,
  };
}

function keysOf({ clientId, clientSecret }: AppOptions): Settings["keys"] {
  if (typeof clientSecret === "string" && clientSecret.trim() === "") {
    throw new TypeError("cannot create an app with an empty clientSecret; leave it out, or give the app's");
  }
  const secret = typeof clientSecret === "string" ? new Secret(clientSecret) : clientSecret;
  return {
    ...(clientId === undefined ? {} : { clientId }),
    ...(secret === undefined ? {} : { clientSecret: secret }),
  };
}

function checksOf({ checks, clientId }: AppOptions): CheckPolicy | undefined {
  if (checks === false || clientId === undefined || clientId === "") return undefined;
  const policy = { ...DEFAULT_CHECKS, ...checks };
  for (const [name, ms] of Object.entries(policy)) {
    if (!(ms >= 0)) throw new TypeError(`cannot create an app with checks.${name} ${ms}, wanted a number from 0`);
  }
  return policy;
}
