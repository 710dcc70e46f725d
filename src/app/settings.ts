/** The settings of an app: its options, checked and with their defaults. */
import { systemTime, type Time } from "../async/time.ts";
import { isCloudHost, oauthOrigin, portalHost } from "../bitrix24/hosts.ts";
import { DECODE_LIMITS } from "../bitrix24/tree.ts";
import { checkOptions } from "../check_options.ts";
import { defined } from "../defined.ts";
import { connectionAddress } from "../intake/client_address.ts";
import { consoleLogger, coreLogger, type Logger } from "../logger.ts";
import { digest } from "../net/digest.ts";
import { addressesOf } from "../net/runtime.ts";
import { standInFetch } from "../net/stand_in.ts";
import type { AppRuntime } from "../plugin/runtime.ts";
import { Secret } from "../secret.ts";
import { coerced } from "../version.ts";
import type { CheckPolicy } from "../worker/checks.ts";
import { bodyLimit } from "./body_limit.ts";
import { OPTION_RULES } from "./option_rules.ts";
import type { AppOptions, Limits, Simulation } from "./options.ts";
import { assertDevelopment, defaultCloseMs, isLongLived } from "./startup_warnings.ts";

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
      | "clientAddress"
      | "healthPath"
      | "clock"
      | "fetch"
      | "lookup"
      | "random"
    >
  > {
  readonly limits: Limits;
  /** The option, as a function. */
  readonly initialVersion?: AppRuntime["initialVersion"];
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
  /** Calls OAuth hosts and portals. The same as `fetch`, unless a stand-in takes their place. */
  readonly bitrix24Fetch: typeof fetch;
  /** Address of the stand-in for Bitrix24, if the app has one. */
  readonly dev: string | undefined;
}

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

/**
 * Returns the options of an app, validated and with all defaults.
 *
 * @throws {TypeError} if an option is unknown or invalid; the message names it
 */
export function settingsOf(options: AppOptions & Simulation): Settings {
  checkOptions("cannot create an app", options, OPTION_RULES);
  const { storage, retry = {}, acknowledge = "stored", versions = coerced(), oauthTimeoutMs = 5000 } = options;
  const { concurrency = 64 } = options;
  const oauthHosts = (options.oauthHosts ?? OAUTH_HOSTS).map(oauthOrigin);
  const extraPortalHosts = (options.extraPortalHosts ?? []).map(portalHost);
  const tickEveryMs = options.tickEveryMs ?? (isLongLived() ? TICK_EVERY_MS : false);
  const { bodyBytes, loweredFrom } = bodyLimit(storage.capabilities, options.limits?.bodyBytes);
  return {
    ...{ storage, retry, acknowledge, versions, oauthHosts, oauthTimeoutMs, concurrency, tickEveryMs },
    limits: { ...limitsOf(options), bodyBytes },
    ...defined({ bodyBytesLoweredFrom: loweredFrom, initialVersion: initialVersionOf(options) }),
    keys: keysOf(options),
    checks: checksOf(options),
    extraPortalHosts,
    clientAddress: options.clientAddress ?? connectionAddress,
    healthPath: options.healthPath ?? "/health",
    log: coreLogger(options.logger ?? consoleLogger()),
    clock: options.clock ?? Date.now,
    ...networkOf(options, oauthHosts, extraPortalHosts),
    random: options.random ?? (() => crypto.randomUUID()),
    time: options.time ?? systemTime,
    digest,
  };
}

/** Returns how the app calls hosts. Without the option `dev`, nothing but the options `fetch` and `lookup` decides. */
function networkOf(
  options: AppOptions,
  oauthHosts: readonly string[],
  extraPortalHosts: readonly string[],
): Pick<Settings, "fetch" | "bitrix24Fetch" | "lookup" | "dev"> {
  const { dev, clientId } = options;
  // A function of its own: the fetch of some hosts must not be called as a member of another object. With what the fetch of
  // a fake Bitrix24 tells plugins.
  const fetch = Object.assign<typeof globalThis.fetch, object | undefined>(
    (...args) => (options.fetch ?? globalThis.fetch)(...args),
    options.fetch,
  );
  if (dev === undefined) return { fetch, bitrix24Fetch: fetch, lookup: options.lookup ?? addressesOf, dev };
  if (options.fetch !== undefined) {
    throw new TypeError("cannot create an app with both dev and fetch, wanted one of them: each replaces Bitrix24");
  }
  assertDevelopment();
  const isBitrix24 = ({ origin, host, hostname }: URL): boolean =>
    oauthHosts.includes(origin) || isCloudHost(hostname) || extraPortalHosts.includes(host);
  return {
    fetch: standInFetch(dev, isBitrix24, fetch, clientId),
    bitrix24Fetch: standInFetch(dev, () => true, fetch, clientId),
    // No portal is called but the stand-in, whose portals have names that nobody can resolve.
    lookup: () => Promise.resolve(undefined),
    dev,
  };
}

function limitsOf({ limits = {} }: AppOptions): Omit<Limits, "bodyBytes"> {
  return { ...DEFAULT_LIMITS, closeMs: defaultCloseMs(), ...defined(limits) };
}

function keysOf({ clientId, clientSecret }: AppOptions): Settings["keys"] {
  return defined({
    clientId,
    clientSecret: typeof clientSecret === "string" ? new Secret(clientSecret) : clientSecret,
  });
}

function initialVersionOf({ initialVersion: option }: AppOptions): AppRuntime["initialVersion"] {
  return typeof option === "string" ? () => option : option;
}

function checksOf({ checks = {}, clientId }: AppOptions): CheckPolicy | undefined {
  if (checks === false || clientId === undefined) return undefined;
  return { ...DEFAULT_CHECKS, ...defined(checks) };
}
