/** The parts of the SDK that the plugin uses, and what it passes to them. */
import type { PortalCredentials } from "../../mod.ts";

/** The SDK's class `B24OAuth`, as far as it is used. */
export interface SdkClass<S extends Sdk> {
  /** Creates an SDK for one portal. */
  new (auth: SdkAuth, secret: SdkSecret, options: SdkSettings): S;
  /** Shows which functions the class has. */
  readonly prototype: S;
}

/** An SDK, as far as it is used. */
export interface Sdk {
  /** Replaces the SDK's own refresh of tokens. */
  readonly setCustomRefreshAuth: (refresh: () => Promise<never>) => void;
  /** Returns the SDK's addresses by version of REST. */
  readonly getTargetOriginWithPath: () => ReadonlyMap<unknown, string>;
  /** Returns the client of a version of REST. */
  readonly getHttpClient: (version: never) => SdkHttp;
  /** Sets the logger; without one, the SDK writes to the console. */
  readonly setLogger: (logger: SdkLogger) => void;
  /** Ends the SDK. */
  readonly destroy: () => void;
}

/** The SDK's client of one version of REST, as far as it is used. */
export interface SdkHttp {
  /** The instance of axios. */
  readonly ajaxClient: { readonly defaults: object };
  /** Makes every call. */
  call: (...args: never[]) => Promise<unknown>;
}

/** The SDK's `B24OAuthParams`, with placeholders instead of secrets. */
export interface SdkAuth {
  /** A placeholder. */
  readonly applicationToken: string;
  /** 0 if Bitrix24 did not say. */
  readonly userId: number;
  /** `member_id` of the portal. */
  readonly memberId: string;
  /** A placeholder. */
  readonly accessToken: string;
  /** A placeholder. */
  readonly refreshToken: string;
  /** Seconds since 1970; never reached. */
  readonly expires: number;
  /** Lifetime in seconds. */
  readonly expiresIn: number;
  /** Separated by commas. */
  readonly scope: string;
  /** Host of the portal. */
  readonly domain: string;
  /** Address of the portal's REST API. */
  readonly clientEndpoint: string;
  /** Address of no host. */
  readonly serverEndpoint: string;
  /** `L`; the SDK does not use it. */
  readonly status: "L";
}

/** The SDK's `B24OAuthSecret`, with placeholders instead of secrets. */
export interface SdkSecret {
  /** A placeholder. */
  readonly clientId: string;
  /** A placeholder. */
  readonly clientSecret: string;
}

/** The SDK's options. */
export interface SdkSettings {
  /** Everything that is not named here keeps the SDK's default. */
  readonly restrictionParams: { readonly retryOnNetworkError: boolean };
}

/** The SDK's `LoggerInterface`. */
export type SdkLogger = Readonly<
  Record<
    "log" | "debug" | "info" | "notice" | "warning" | "error" | "critical" | "alert" | "emergency",
    () => Promise<void>
  >
>;

/** Functions without which the SDK would refresh and send tokens by itself. */
const USED = ["setCustomRefreshAuth", "getTargetOriginWithPath", "getHttpClient", "setLogger", "destroy"] as const;

/** @throws {TypeError} if the class lacks a function; the message names it */
export function assertClass(B24OAuth: Partial<SdkClass<Sdk>> | undefined): void {
  const prototype: Partial<Sdk> | undefined = B24OAuth?.prototype;
  const missing = USED.filter((name) => typeof prototype?.[name] !== "function");
  if (missing.length === 0) return;
  throw new TypeError(`cannot use this B24OAuth: it has no ${missing[0]}(), ${WANTED}`);
}

/** The end of error messages about the class. */
export const WANTED = "wanted the class of @bitrix24/b24jssdk 2.2 or later";

/** The placeholder of every secret: the SDK can neither log nor send what it does not have. */
export const PLACEHOLDER = "kept-by-onappupdate";

/** A call that was cut off is not repeated, because it may have taken effect. */
export const SDK_SETTINGS: SdkSettings = { restrictionParams: { retryOnNetworkError: false } };

/** Timeout of a request in milliseconds: Bitrix24 stops after 60 seconds, and the SDK's default is 30. */
export const TIMEOUT_MS = 70_000;

const silent = (): Promise<void> => Promise.resolve();
/** A logger that discards everything. */
export const SILENT: SdkLogger = {
  ...{ log: silent, debug: silent, info: silent, notice: silent, warning: silent },
  ...{ error: silent, critical: silent, alert: silent, emergency: silent },
};

/** Returns the SDK's parameters for a portal, without secrets. */
export function authOf(memberId: string, { clientEndpoint, userId = 0, scope }: PortalCredentials): SdkAuth {
  return {
    applicationToken: PLACEHOLDER,
    userId,
    memberId,
    accessToken: PLACEHOLDER,
    refreshToken: PLACEHOLDER,
    // The portal, not the SDK, decides when a token has expired.
    expires: 253402300799,
    expiresIn: 3600,
    scope: scope.join(","),
    domain: new URL(clientEndpoint).host,
    clientEndpoint,
    // If the SDK calls its OAuth host after all, it calls a name that nobody can have.
    serverEndpoint: "https://oauth.invalid/rest/",
    status: "L",
  };
}
