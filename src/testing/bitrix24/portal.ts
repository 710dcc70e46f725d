/** One portal of a fake Bitrix24: what a test does with it, and what it can look at. */
import type { FakeEventOptions } from "./event.ts";
import type { FakeFailOptions, FakeFaultOptions } from "./faults.ts";
import type { FakeOpenOptions } from "./opening.ts";
import type { FakeDelivery } from "./sender.ts";
import type { FakeCall, FakeMethod, FakeRateLimit, FakeRegistrations, FakeTokens } from "./state.ts";

/** Options of {@linkcode FakeBitrix24.portal}. */
export interface FakePortalOptions {
  /** 32 hexadecimal digits. */
  readonly memberId: string;
  /** Default `example.bitrix24.de`. */
  readonly domain?: string;
  /** `client_id` of the app that the portal has; default that of the OAuth host. */
  readonly clientId?: string;
  /**
   * Seconds since 1970 of the first event, default 1785300000; each further one is an hour later. With a `clock`, events
   * are sent when it says, and a second apart at least.
   */
  readonly ts?: number;
  /** What the portal grants the app; default `crm`, `placement` and `user_brief`. */
  readonly scope?: readonly string[];
  /** How many requests it takes; default any number. */
  readonly rateLimit?: FakeRateLimit;
}

/** Options of {@linkcode FakePortal.install}. */
export interface FakeInstallOptions extends FakeEventOptions {
  /** False: the app has an installer, which is not finished before {@linkcode FakePortal.installFinish}. */
  readonly finished?: boolean;
  /** The app has an install wizard: no event is sent, not even ONAPPINSTALL, before {@linkcode FakePortal.installFinish}. */
  readonly wizard?: boolean;
}

/** Options of {@linkcode FakePortal.update}. */
export interface FakeUpdateOptions extends FakeEventOptions {
  /** The portal has another `application_token` from now on. */
  readonly rotateToken?: boolean;
  /** Registrations are gone: all of them, or only robots, activities and message senders. */
  readonly dropRegistrations?: boolean | "bizproc";
  /** ONAPPINSTALL is what apps without an interface get. */
  readonly as?: "ONAPPUPDATE" | "ONAPPINSTALL";
  /** The app has an install wizard: no event is sent before {@linkcode FakePortal.installFinish}. */
  readonly wizard?: boolean;
}

/** Options of {@linkcode FakePortal.uninstall}. */
export interface FakeUninstallOptions {
  /** The administrator asked to delete the app's data; default true. */
  readonly clean?: boolean;
}

/** Options of {@linkcode FakePortal.user}; what is not given stays as it is. */
export interface FakeUserOptions {
  /** May register what the app needs. */
  readonly admin?: boolean;
  /** In `profile`. */
  readonly name?: string;
  /** False: the app is closed to this user, whose tokens are answered `user_access_error`. */
  readonly active?: boolean;
}

/** Options of {@linkcode FakePortal.userReady}. */
export interface FakeUserReadyOptions {
  /** Default 1000. */
  readonly userId?: number;
  /** Default true. */
  readonly admin?: boolean;
}

/** What a portal is at the moment. */
export interface FakePortalState {
  /** Of the app; absent where it is not installed. */
  readonly version?: number;
  /** Host name. */
  readonly domain: string;
  /** `installFinish` was called. */
  readonly finished: boolean;
  /** The paid period is not over. */
  readonly paid: boolean;
  /** What the portal grants. */
  readonly scope: readonly string[];
}

/**
 * Sends events to the app, as {@linkcode FakePortal} makes their bodies: what the portal does is the same. Every function
 * gives the HTTP statuses of what it sent.
 */
export interface FakeSends {
  /** {@linkcode FakePortal.install}, sent. */
  readonly install: (version: number, options?: FakeInstallOptions & FakeDelivery) => Promise<readonly number[]>;
  /** {@linkcode FakePortal.installFinish}, sent. */
  readonly installFinish: (options?: FakeDelivery) => Promise<readonly number[]>;
  /** {@linkcode FakePortal.update}, sent. */
  readonly update: (to: number, options?: FakeUpdateOptions & FakeDelivery) => Promise<readonly number[]>;
  /** {@linkcode FakePortal.uninstall}, sent. */
  readonly uninstall: (options?: FakeUninstallOptions & FakeDelivery) => Promise<readonly number[]>;
  /** {@linkcode FakePortal.stopPayment}, sent. */
  readonly stopPayment: (options?: FakeDelivery) => Promise<readonly number[]>;
  /** {@linkcode FakePortal.pay}, sent. */
  readonly pay: (options?: FakeDelivery) => Promise<readonly number[]>;
  /** {@linkcode FakePortal.userReady}, sent. */
  readonly userReady: (options?: FakeUserReadyOptions & FakeDelivery) => Promise<readonly number[]>;
  /** {@linkcode FakePortal.event}, sent. */
  readonly event: (
    name: string,
    data: Readonly<Record<string, string>>,
    options?: FakeEventOptions & FakeDelivery,
  ) => Promise<readonly number[]>;
}

/**
 * One portal. Functions that return a text change it as Bitrix24 would, and give the body of the event that tells the
 * app; `sends` does the same and sends it.
 */
export interface FakePortal {
  /** As it was given. */
  readonly memberId: string;
  /** Host name; another one after {@linkcode FakePortal.rename}. */
  readonly domain: string;

  /** Installs the app. A portal that had it before gets another `application_token`. */
  readonly install: (version: number, options?: FakeInstallOptions) => string;
  /** The app's installer calls `installFinish`; there are no events before it does. ONAPPINSTALL follows. */
  readonly installFinish: () => string;
  /** Moves the app to another version. */
  readonly update: (to: number, options?: FakeUpdateOptions) => string;
  /** Removes the app: its tokens end, and what it registered is gone. */
  readonly uninstall: (options?: FakeUninstallOptions) => string;
  /** The paid period ends: REST and `oauth/token` answer `PAYMENT_REQUIRED`, and there are no events. */
  readonly stopPayment: () => string;
  /** The app is paid for. */
  readonly pay: () => string;
  /** The app gets a user of its own on the portal, with tokens. */
  readonly userReady: (options?: FakeUserReadyOptions) => string;
  /** Any event, with tokens unless `tokenless`. Keys of `data` as on the wire: `VERSION`, or `QUERY[any]`. */
  readonly event: (name: string, data: Readonly<Record<string, string>>, options?: FakeEventOptions) => string;

  /** Opens the app's page as a user; returns the POST of the user's browser, for `app.open` or a handler of pages. */
  readonly open: (options?: FakeOpenOptions) => Request;

  /** Sends a body, of this or any other making; gives the HTTP statuses of what was sent. */
  readonly send: (body: string, options?: FakeDelivery) => Promise<readonly number[]>;
  /** The functions above, which send what they make. */
  readonly sends: FakeSends;

  /** A new access token of a user, default 1, the administrator. */
  readonly accessToken: (userId?: number) => string;
  /** A new pair of tokens of a user, default 1, the administrator. */
  readonly tokens: (userId?: number) => FakeTokens;
  /** Ends all access tokens of the portal, and with `refresh` what would renew them. */
  readonly expireTokens: (options?: { readonly refresh?: boolean }) => void;
  /** Makes a user, or changes one; those that nobody made are no administrators, except user 1. */
  readonly user: (userId: number, options: FakeUserOptions) => void;
  /** Grants the app more scopes. */
  readonly grant: (...scopes: readonly string[]) => void;
  /** Takes scopes away. */
  readonly revoke: (...scopes: readonly string[]) => void;
  /** Gives the portal another address: the old one redirects, and events and OAuth hosts name the new one. */
  readonly rename: (domain: string) => void;

  /** The next calls are answered with an error of Bitrix24, such as `QUERY_LIMIT_EXCEEDED`. */
  readonly fail: (code: string, options?: FakeFailOptions) => void;
  /** The connection breaks at the next calls: nobody knows whether they were done. */
  readonly lose: (options?: FakeFaultOptions) => void;
  /**
   * Answers a method of the portal's REST, or `app.info` or `oauth/token` at the OAuth host, from now on. `undefined`: as
   * it was before.
   */
  readonly answer: (
    method: string,
    answer: FakeMethod | undefined,
    options?: { readonly at?: "portal" | "oauth" },
  ) => void;
  /**
   * A list method, with `filter`, `order`, `select` and pages of 50 over `rows`, which is read at each call. With `key`,
   * they are in a field of the result: `items` for `crm.item.list`.
   */
  readonly data: (
    method: string,
    rows: readonly Readonly<Record<string, unknown>>[],
    options?: { readonly key?: string },
  ) => void;

  /** What was asked of this portal's REST and, with its tokens, of the OAuth host. */
  readonly calls: () => readonly FakeCall[];
  /** What the app registered. */
  readonly registrations: () => FakeRegistrations;
  /** Takes registrations away, as an update may: all, or only robots, activities and message senders. */
  readonly dropRegistrations: (which?: "all" | "bizproc") => void;
  /** What it is at the moment. */
  readonly state: () => FakePortalState;
}
