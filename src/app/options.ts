/** The options of an app, their validation and their defaults. */
import { oauthOrigin, portalHost } from "../bitrix24/hosts.ts";
import type { CheckPolicy } from "../worker/checks.ts";
import type { RequestLimits } from "../intake/http.ts";
import { defined } from "../defined.ts";
import { consoleLogger, coreLogger, type Logger } from "../logger.ts";
import { assertRetryPolicy, type RetryPolicy } from "../retry.ts";
import { digest, Secret } from "../secret.ts";
import { isDuration, MAX_TIMER_MS, systemTime, type Time } from "../async/time.ts";
import { bodyLimit } from "./body_limit.ts";
import { defaultCloseMs, isLongLived } from "./startup_warnings.ts";
import type { Storage } from "../storage/storage.ts";
import { addressesOf } from "../net/runtime.ts";
import { coerced, type VersionScheme } from "../version.ts";
import { DECODE_LIMITS } from "../bitrix24/tree.ts";

/** Options of {@linkcode createApp}. */
export interface AppOptions {
  /** The storage of portals and of events whose work is not done. `app.close()` closes it. */
  readonly storage: Storage;
  /** `client_id` of the app, as the vendor's cabinet or the portal shows it. */
  readonly clientId?: string;
  /** `client_secret` of the app. Without it, access tokens cannot be refreshed. */
  readonly clientSecret?: string | Secret;
  /**
   * When an event is answered 200: `stored`, once it is durable, before its handlers run; `handled`, after its handlers
   * have run, for hosts that stop a program once it has answered.
   *
   * An event whose handler fails is answered 200 too: it is stored and tried again, and Bitrix24 would not send it again.
   *
   * @default "stored"
   */
  readonly acknowledge?: "stored" | "handled";
  /**
   * How VERSION becomes a semantic version: `coerced()`, `mapped()`, `deployed()`, or a scheme of your own.
   *
   * @default coerced()
   */
  readonly versions?: VersionScheme;
  /** Limits of size and time. A limit that is left out has its default. */
  readonly limits?: Partial<Limits>;
  /** How failed upgrades and handlers are retried; those with a policy of their own override it. */
  readonly retry?: RetryPolicy;
  /**
   * Maximum number of portals that this process works on at a time. Others wait, in the storage. Portals that are new to the
   * queue come before those whose upgrades have had 30 seconds: these are suspended at their next step or page. A whole
   * number. Minimum: 1.
   *
   * @default 64
   */
  readonly concurrency?: number;
  /**
   * Milliseconds between two ticks that the app makes by itself while it runs, or `false` for none. Minimum: 1.
   *
   * The default is `false` on hosts that suspend a program that answers no request (Deno Deploy, AWS Lambda, Cloud Run):
   * call `app.tick()` there from `Deno.cron`, a timer of the host, or a route.
   *
   * @default 30000
   */
  readonly tickEveryMs?: number | false;
  /**
   * How often the app asks Bitrix24 about portals, to find updates whose event was lost. `false`: only `app.check` asks.
   * Needs `clientId`; silent portals also need `clientSecret`.
   *
   * @default { afterContactMs: 900000, silentPortalMs: 604800000 }
   */
  readonly checks?: Partial<CheckPolicy> | false;
  /**
   * Origins of the OAuth hosts that may verify tokens. No event can add one. At least one.
   *
   * @default ["https://oauth.bitrix24.tech", "https://oauth.bitrix.info"]
   */
  readonly oauthHosts?: readonly string[];
  /**
   * Milliseconds that one OAuth host may take to answer. Minimum: 1. Maximum: 60000.
   *
   * @default 5000
   */
  readonly oauthTimeoutMs?: number;
  /**
   * Hosts of on-premise portals that the app may call, such as `"crm.example.com"` or `"crm.example.com:8443"`, even if
   * they are in a private network. Any other host outside of Bitrix24's cloud is called only if it is public and an OAuth
   * host has confirmed that it belongs to a portal.
   *
   * @default []
   */
  readonly extraPortalHosts?: readonly string[];
  /**
   * Receives the log lines of the app. An error that it throws is ignored.
   *
   * @default consoleLogger()
   */
  readonly logger?: Logger;
  /**
   * Returns the time in milliseconds since 1970.
   *
   * @default Date.now
   */
  readonly clock?: () => number;
  /**
   * Used for all requests of the app and its plugins.
   *
   * @default globalThis.fetch
   */
  readonly fetch?: typeof fetch;
  /**
   * Resolves to the IP addresses of a host, before a portal outside of the cloud is called, or to `undefined` if lookups
   * are not possible. Should reject if the host is unknown. By default, it asks the resolver of the runtime.
   */
  readonly lookup?: (host: string) => Promise<readonly string[] | undefined>;
  /**
   * Returns a fresh, unguessable string.
   *
   * @default crypto.randomUUID
   */
  readonly random?: () => string;
}

/** Limits of requests, and of the time that the app waits and keeps data. */
export interface Limits extends RequestLimits {
  /**
   * Milliseconds that an answer waits for the handlers with `acknowledge: "handled"`; their work continues after it.
   * Minimum: 1.
   *
   * @default 20000
   */
  readonly acknowledgeMs: number;
  /**
   * Milliseconds that `close()` waits for work in progress before it aborts it. Minimum: 1.
   *
   * @default 5000, and 3000 on Deno Deploy, which stops a program soon after it has told it to end
   */
  readonly closeMs: number;
  /**
   * Milliseconds after which another process takes over the portals of a process that has stopped. A process that works
   * on a portal renews its lease every third of this time. Minimum: 1.
   *
   * @default 30000
   */
  readonly leaseMs: number;
  /**
   * Milliseconds for which the runs and step results of a portal are kept after the app is removed from it. Minimum: 1.
   *
   * @default 2592000000 (30 days)
   */
  readonly retentionMs: number;
}

/** Validated options with all defaults. */
export interface Settings extends
  Required<
    Pick<
      AppOptions,
      | "storage"
      | "acknowledge"
      | "versions"
      | "retry"
      | "concurrency"
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
  /** `limits.bodyBytes` as it was set, if the storage takes less; absent otherwise. */
  readonly bodyBytesLoweredFrom?: number;
  /** Timers and the monotonic clock. */
  readonly time: Time;
  /** Returns the SHA-256 of a string in hexadecimal. */
  readonly digest: (text: string) => Promise<string>;
  /** Never throws. */
  readonly log: Logger;
  /** The app's keys, if they are set. */
  readonly keys: { readonly clientId?: string; readonly clientSecret?: Secret };
  /** Absent: only `app.check` checks portals. */
  readonly checks: CheckPolicy | undefined;
}

/** Options that a simulation passes to `createApp` besides its options, so that it takes no real time. Not public. */
export type Simulation = Partial<Pick<Settings, "time">>;

const TICK_EVERY_MS = 30_000;

const OAUTH_HOSTS = ["https://oauth.bitrix24.tech", "https://oauth.bitrix.info"];

const DEFAULT_CHECKS: CheckPolicy = { afterContactMs: 15 * 60 * 1000, silentPortalMs: 7 * 24 * 60 * 60 * 1000 };

const DEFAULT_LIMITS: Omit<Limits, "bodyBytes" | "closeMs"> = {
  ...DECODE_LIMITS,
  bodyTimeoutMs: 10_000,
  acknowledgeMs: 20_000,
  leaseMs: 30_000,
  retentionMs: 30 * 24 * 60 * 60 * 1000,
};

/** Limits that a timer enforces. */
const TIMER_LIMITS: ReadonlySet<string> = new Set(["bodyTimeoutMs", "acknowledgeMs", "closeMs", "leaseMs"]);

/**
 * Returns the options of an app, validated and with all defaults.
 *
 * @throws {TypeError} if an option is invalid; the message names it
 */
export function settingsOf(options: AppOptions & Simulation): Settings {
  const { storage, retry = {}, acknowledge = "stored", versions = coerced(), oauthTimeoutMs = 5000 } = options;
  if (typeof storage?.get !== "function") {
    throw new TypeError("cannot create an app without storage; pass one, such as memoryStorage() to try it out");
  }
  if (acknowledge !== "stored" && acknowledge !== "handled") {
    throw invalid("acknowledge", JSON.stringify(acknowledge), '"stored" or "handled"');
  }
  if (typeof versions?.parse !== "function") {
    throw invalid("versions", typeof versions, "a version scheme, such as coerced()");
  }
  assertRetryPolicy("the app", retry);
  const oauthHosts = (options.oauthHosts ?? OAUTH_HOSTS).map(oauthOrigin);
  if (oauthHosts.length === 0) throw invalid("oauthHosts", "[]", "at least one host");
  if (!(oauthTimeoutMs > 0 && oauthTimeoutMs <= 60_000)) throw invalid("oauthTimeoutMs", oauthTimeoutMs, "1 to 60000");
  const { concurrency = 64 } = options;
  if (!(Number.isInteger(concurrency) && concurrency > 0)) {
    throw invalid("concurrency", concurrency, "a whole number from 1");
  }
  const tickEveryMs = options.tickEveryMs ?? (isLongLived() ? TICK_EVERY_MS : false);
  if (tickEveryMs !== false && !isDuration(tickEveryMs)) {
    throw invalid("tickEveryMs", tickEveryMs, `1 to ${MAX_TIMER_MS}, or false`);
  }
  const { bodyBytes, loweredFrom } = bodyLimit(storage.capabilities, options.limits?.bodyBytes);
  return {
    ...{ storage, retry, acknowledge, versions, oauthHosts, oauthTimeoutMs, concurrency, tickEveryMs },
    limits: { ...limitsOf(options), bodyBytes },
    ...defined({ bodyBytesLoweredFrom: loweredFrom }),
    keys: keysOf(options),
    checks: checksOf(options),
    extraPortalHosts: (options.extraPortalHosts ?? []).map(portalHost),
    log: coreLogger(options.logger ?? consoleLogger()),
    clock: options.clock ?? Date.now,
    // A function of its own: the fetch of some hosts must not be called as a member of another object.
    fetch: (...args) => (options.fetch ?? globalThis.fetch)(...args),
    lookup: options.lookup ?? addressesOf,
    random: options.random ?? (() => crypto.randomUUID()),
    time: options.time ?? systemTime,
    digest,
  };
}

function invalid(option: string, value: unknown, wanted: string): TypeError {
  return new TypeError(`cannot create an app with ${option} ${String(value)}, wanted ${wanted}`);
}

function limitsOf(options: AppOptions): Omit<Limits, "bodyBytes"> {
  const limits = { ...DEFAULT_LIMITS, closeMs: defaultCloseMs(), ...options.limits };
  for (const [name, limit] of Object.entries(limits)) {
    if (!(limit > 0)) throw invalid(`limits.${name}`, limit, "more than 0");
    if (TIMER_LIMITS.has(name) && !isDuration(limit)) throw invalid(`limits.${name}`, limit, `1 to ${MAX_TIMER_MS}`);
  }
  return limits;
}

function keysOf({ clientId, clientSecret }: AppOptions): Settings["keys"] {
  if (typeof clientSecret === "string" && clientSecret.trim() === "") {
    throw new TypeError("cannot create an app with an empty clientSecret, wanted the app's client_secret or none");
  }
  return defined({
    clientId,
    clientSecret: typeof clientSecret === "string" ? new Secret(clientSecret) : clientSecret,
  });
}

function checksOf({ checks, clientId }: AppOptions): CheckPolicy | undefined {
  if (checks === false || clientId === undefined || clientId === "") return undefined;
  const policy = { ...DEFAULT_CHECKS, ...checks };
  for (const [name, ms] of Object.entries(policy)) {
    if (!(ms >= 0)) throw invalid(`checks.${name}`, ms, "a number from 0");
  }
  return policy;
}
