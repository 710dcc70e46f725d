/** What is used of the SDK, and what it is given. */
import type { PortalCredentials } from "../../mod.ts";

/** What is used of the SDK's class `B24OAuth`. */
export interface SdkClass<S extends Sdk> {
  /** Makes an SDK for one portal. */
  new (auth: SdkAuth, secret: SdkSecret, options: SdkSettings): S;
  /** Tells which functions it has. */
  readonly prototype: S;
}

/** What is used of the SDK. */
export interface Sdk {
  /** Takes the place of the SDK's own way to renew tokens. */
  readonly setCustomRefreshAuth: (refresh: () => Promise<never>) => void;
  /** Its addresses, by the versions of REST. */
  readonly getTargetOriginWithPath: () => ReadonlyMap<unknown, string>;
  /** The client of a version of REST. */
  readonly getHttpClient: (version: never) => SdkHttp;
  /** Without one, the SDK writes to the console. */
  readonly setLogger: (logger: SdkLogger) => void;
  /** Ends it. */
  readonly destroy: () => void;
}

/** What is used of the SDK's client of one version of REST. */
export interface SdkHttp {
  /** Of axios. */
  readonly ajaxClient: { readonly defaults: object };
  /** What everything goes through. */
  call: (...args: never[]) => Promise<unknown>;
}

/** The SDK's `B24OAuthParams`, with words in the place of all secrets. */
export interface SdkAuth {
  /** A word. */
  readonly applicationToken: string;
  /** 0 where Bitrix24 did not say. */
  readonly userId: number;
  /** The portal. */
  readonly memberId: string;
  /** A word. */
  readonly accessToken: string;
  /** A word. */
  readonly refreshToken: string;
  /** Seconds since 1970, far away. */
  readonly expires: number;
  /** Seconds. */
  readonly expiresIn: number;
  /** With commas. */
  readonly scope: string;
  /** Host of the portal. */
  readonly domain: string;
  /** The portal's REST. */
  readonly clientEndpoint: string;
  /** Of no host. */
  readonly serverEndpoint: string;
  /** `L`: the SDK makes no difference. */
  readonly status: "L";
}

/** The SDK's `B24OAuthSecret`, with words in the place of all secrets. */
export interface SdkSecret {
  /** A word. */
  readonly clientId: string;
  /** A word. */
  readonly clientSecret: string;
}

/** What the SDK is made with besides. */
export interface SdkSettings {
  /** In all that is not named here, the SDK's own. */
  readonly restrictionParams: { readonly retryOnNetworkError: boolean };
}

/** The SDK's `LoggerInterface`. */
export type SdkLogger = Readonly<
  Record<
    "log" | "debug" | "info" | "notice" | "warning" | "error" | "critical" | "alert" | "emergency",
    () => Promise<void>
  >
>;

/** Without these, the SDK would renew tokens by itself, or send them by itself. */
const USED = ["setCustomRefreshAuth", "getTargetOriginWithPath", "getHttpClient", "setLogger", "destroy"] as const;

/** @throws {TypeError} naming what it lacks */
export function assertClass(B24OAuth: Partial<SdkClass<Sdk>> | undefined): void {
  const prototype: Partial<Sdk> | undefined = B24OAuth?.prototype;
  const missing = USED.filter((name) => typeof prototype?.[name] !== "function");
  if (missing.length === 0) return;
  throw new TypeError(`cannot use this B24OAuth: it has no ${missing[0]}(), ${WANTED}`);
}

/** For errors. */
export const WANTED = "wanted the class of @bitrix24/b24jssdk 2.2 or later";

/** What the SDK is given for every secret: what it does not have it can neither log nor send. */
export const WORD = "kept-by-onappupdate";

/** Calls that were cut off may have been done. */
export const SETTINGS: SdkSettings = { restrictionParams: { retryOnNetworkError: false } };

/** Bitrix24 itself gives up after 60 seconds; the SDK would, after 30. */
export const TIMEOUT_MS = 70_000;

const silent = (): Promise<void> => Promise.resolve();
/** Says nothing. */
export const SILENT: SdkLogger = {
  ...{ log: silent, debug: silent, info: silent, notice: silent, warning: silent },
  ...{ error: silent, critical: silent, alert: silent, emergency: silent },
};

/** For a portal that is called by `access`: no secret is in it. */
export function authOf(memberId: string, { clientEndpoint, userId = 0, scope }: PortalCredentials): SdkAuth {
  return {
    applicationToken: WORD,
    userId,
    memberId,
    accessToken: WORD,
    refreshToken: WORD,
    // The portal says when a token has ended.
    expires: 253402300799,
    expiresIn: 3600,
    scope: scope.join(","),
    domain: new URL(clientEndpoint).host,
    clientEndpoint,
    // Should the SDK ever go to its OAuth host after all: a name that is nobody's.
    serverEndpoint: "https://oauth.invalid/rest/",
    status: "L",
  };
}
