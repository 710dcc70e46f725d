/** The interface of one portal of a fake Bitrix24. */
import { option, type OptionRules } from "../../check_options.ts";
import { EVENT_RULES, type FakeEventOptions, type FakeForgeOptions, USER_ID_RULE } from "./event.ts";
import type { FakeFailOptions, FakeFaultOptions } from "./faults.ts";
import type { FakeListOptions } from "./list_state.ts";
import type { FakeOpenOptions } from "./opening.ts";
import type { FakeDelivery } from "./sender.ts";
import {
  type FakeCall,
  type FakeMethod,
  type FakeRateLimit,
  type FakeRegistrations,
  type FakeTokens,
  type FakeUserOptions,
  RATE_LIMIT_RULE,
} from "./state.ts";

/** Options of {@linkcode FakeBitrix24.portal}. */
export interface FakePortalOptions {
  /** 32 hexadecimal digits. */
  readonly memberId: string;
  /**
   * Host name.
   *
   * @default "example.bitrix24.de"
   */
  readonly domain?: string;
  /**
   * `client_id` of the app on this portal.
   *
   * @default the `clientId` of the fake Bitrix24
   */
  readonly clientId?: string;
  /**
   * `ts` of the first event, in seconds since 1970. Minimum: 0. Each further event is an hour later. With a `clock`, events have its
   * time, and are at least a second apart.
   *
   * @default 1785300000
   */
  readonly ts?: number;
  /**
   * Scopes that the portal grants to the app.
   *
   * @default ["crm", "placement", "user_brief"]
   */
  readonly scope?: readonly string[];
  /**
   * Limit of REST requests.
   *
   * @default no limit
   */
  readonly rateLimit?: FakeRateLimit;
}

/** The rules of {@linkcode FakePortalOptions}. */
export const PORTAL_RULES: OptionRules<FakePortalOptions> = {
  memberId: option.required(
    option.value("32 hexadecimal digits", (id) => typeof id === "string" && /^[0-9a-f]{32}$/i.test(id)),
  ),
  domain: option.text("a host name"),
  clientId: option.text("the client_id of an app"),
  ts: option.number({ min: 0, isWhole: true }),
  scope: option.list("a list of scopes", option.text("a scope")),
  rateLimit: RATE_LIMIT_RULE,
};

/** Options of {@linkcode FakePortal.install}. */
export interface FakeInstallOptions extends FakeEventOptions {
  /**
   * False: the app has an installer, which is unfinished until {@linkcode FakePortal.installFinish}.
   *
   * @default true, unless `wizard`
   */
  readonly finished?: boolean;
  /** The app has an install wizard: no event is sent, not even ONAPPINSTALL, before {@linkcode FakePortal.installFinish}. */
  readonly wizard?: boolean;
}

/** The rules of {@linkcode FakeInstallOptions}. */
export const INSTALL_RULES: OptionRules<FakeInstallOptions> = {
  ...EVENT_RULES,
  finished: option.flag(),
  wizard: option.flag(),
};

/** Options of {@linkcode FakePortal.update}. */
export interface FakeUpdateOptions extends FakeEventOptions {
  /** Changes the portal's `application_token`. */
  readonly rotateToken?: boolean;
  /** Drops the registrations: all, or with `"bizproc"` only robots, activities and message senders. */
  readonly dropRegistrations?: boolean | "bizproc";
  /**
   * Name of the event. Apps without an interface receive ONAPPINSTALL.
   *
   * @default "ONAPPUPDATE"
   */
  readonly as?: "ONAPPUPDATE" | "ONAPPINSTALL";
  /** The app has an install wizard: no event is sent before {@linkcode FakePortal.installFinish}. */
  readonly wizard?: boolean;
}

/** The rules of {@linkcode FakeUpdateOptions}. */
export const UPDATE_RULES: OptionRules<FakeUpdateOptions> = {
  ...EVENT_RULES,
  rotateToken: option.flag(),
  dropRegistrations: option.oneOf(true, false, "bizproc"),
  as: option.oneOf("ONAPPUPDATE", "ONAPPINSTALL"),
  wizard: option.flag(),
};

/** Options of {@linkcode FakePortal.uninstall}. */
export interface FakeUninstallOptions {
  /**
   * The administrator asked to delete the app's data.
   *
   * @default true
   */
  readonly clean?: boolean;
}

/** The rules of {@linkcode FakeUninstallOptions}. */
export const UNINSTALL_RULES: OptionRules<FakeUninstallOptions> = { clean: option.flag() };

/** Options of {@linkcode FakePortal.userReady}. */
export interface FakeUserReadyOptions {
  /**
   * Id of the app's user.
   *
   * @default 1000
   */
  readonly userId?: number;
  /**
   * Whether the user is an administrator.
   *
   * @default true
   */
  readonly admin?: boolean;
  /**
   * The user who has installed the app, whose tokens are in `auth` of the event.
   *
   * @default 1, an administrator
   */
  readonly installer?: number;
}

/** The rules of {@linkcode FakeUserReadyOptions}. */
export const USER_READY_RULES: OptionRules<FakeUserReadyOptions> = {
  userId: USER_ID_RULE,
  admin: option.flag(),
  installer: USER_ID_RULE,
};

/** The state of a portal. */
export interface FakePortalState {
  /** Version of the app; absent if it is not installed. */
  readonly version?: number;
  /** Host name. */
  readonly domain: string;
  /** The installation is finished. */
  readonly finished: boolean;
  /** The app is paid for. */
  readonly paid: boolean;
  /** Scopes that the portal grants to the app. */
  readonly scope: readonly string[];
}

/**
 * Changes the portal as the functions of {@linkcode FakePortal} do, and sends the event to the app. Every function resolves
 * to the HTTP statuses of the answers.
 */
export interface FakeSends {
  /** Does the same as {@linkcode FakePortal.install}, and sends the event. */
  readonly install: (version: number, options?: FakeInstallOptions & FakeDelivery) => Promise<readonly number[]>;
  /** Does the same as {@linkcode FakePortal.installFinish}, and sends the event. */
  readonly installFinish: (options?: FakeDelivery) => Promise<readonly number[]>;
  /** Does the same as {@linkcode FakePortal.update}, and sends the event. */
  readonly update: (to: number, options?: FakeUpdateOptions & FakeDelivery) => Promise<readonly number[]>;
  /** Does the same as {@linkcode FakePortal.uninstall}, and sends the event. */
  readonly uninstall: (options?: FakeUninstallOptions & FakeDelivery) => Promise<readonly number[]>;
  /** Does the same as {@linkcode FakePortal.stopPayment}, and sends the event. */
  readonly stopPayment: (options?: FakeDelivery) => Promise<readonly number[]>;
  /** Does the same as {@linkcode FakePortal.pay}, and sends the event. */
  readonly pay: (options?: FakeDelivery) => Promise<readonly number[]>;
  /** Does the same as {@linkcode FakePortal.userReady}, and sends the event. */
  readonly userReady: (options?: FakeUserReadyOptions & FakeDelivery) => Promise<readonly number[]>;
  /** Does the same as {@linkcode FakePortal.event}, and sends the event. */
  readonly event: (
    name: string,
    data: Readonly<Record<string, string>>,
    options?: FakeEventOptions & FakeDelivery,
  ) => Promise<readonly number[]>;
}

/**
 * A portal of a fake Bitrix24. Functions that return a string change the portal as Bitrix24 would, and return the body of
 * the event for the app; those of `sends` also send it.
 */
export interface FakePortal {
  /** `member_id` of the portal. */
  readonly memberId: string;
  /** Host name; changed by {@linkcode FakePortal.rename}. */
  readonly domain: string;

  /** Installs the app. Each installation has another `application_token`. */
  readonly install: (version: number, options?: FakeInstallOptions) => string;
  /** The app's installer calls `installFinish`; there are no events before it does. ONAPPINSTALL follows. */
  readonly installFinish: () => string;
  /** Moves the app to another version. */
  readonly update: (to: number, options?: FakeUpdateOptions) => string;
  /** Removes the app: its tokens expire, and its registrations are dropped. */
  readonly uninstall: (options?: FakeUninstallOptions) => string;
  /** Ends the paid period: REST and `oauth/token` fail with `PAYMENT_REQUIRED`, and no events are sent. */
  readonly stopPayment: () => string;
  /** Pays for the app again. */
  readonly pay: () => string;
  /** Gives the app its own user on the portal, with tokens. */
  readonly userReady: (options?: FakeUserReadyOptions) => string;
  /** Returns any other event, with tokens unless `tokenless`. Keys of `data` are as on the wire: `VERSION`, `QUERY[any]`. */
  readonly event: (name: string, data: Readonly<Record<string, string>>, options?: FakeEventOptions) => string;
  /**
   * Returns an event that Bitrix24 has not sent: it changes nothing on the portal. By default it has the portal's
   * `application_token`, which the browser of each user of the app knows, and no access token.
   */
  readonly forge: (
    name: string,
    data?: Readonly<Record<string, string>>,
    options?: FakeForgeOptions,
  ) => string;

  /** Opens the app's page as a user; returns the POST of the user's browser, for your handler of that page. */
  readonly open: (options?: FakeOpenOptions) => Request;

  /** Sends a body. Resolves to the HTTP statuses of the answers. */
  readonly send: (body: string, options?: FakeDelivery) => Promise<readonly number[]>;
  /** The functions above, which also send the event. */
  readonly sends: FakeSends;

  /** Returns a new access token of a user; by default of user 1, an administrator. */
  readonly accessToken: (userId?: number) => string;
  /** Returns a new token pair of a user; by default of user 1, an administrator. */
  readonly tokens: (userId?: number) => FakeTokens;
  /** Expires all access tokens of the portal, and with `refresh` all refresh tokens. */
  readonly expireTokens: (options?: { readonly refresh?: boolean }) => void;
  /** Creates or changes a user. Users are not administrators by default, except user 1. */
  readonly user: (userId: number, options: FakeUserOptions) => void;
  /** Grants scopes to the app. */
  readonly grant: (...scopes: readonly string[]) => void;
  /** Revokes scopes of the app. */
  readonly revoke: (...scopes: readonly string[]) => void;
  /** Changes the host name of the portal. The old one redirects; events and OAuth hosts report the new one. */
  readonly rename: (domain: string) => void;

  /** Makes the next calls fail with an error of Bitrix24, such as `QUERY_LIMIT_EXCEEDED`. */
  readonly fail: (code: string, options?: FakeFailOptions) => void;
  /** Breaks the connection of the next calls, so that the app does not learn whether they succeeded. */
  readonly lose: (options?: FakeFaultOptions) => void;
  /**
   * Replaces a method of the portal's REST, or `app.info` or `oauth/token` of the OAuth host. `undefined` restores it.
   * `api/` before a name makes it a method of REST 3.0: an `Idempotency-Key` is heeded, and errors have their format.
   */
  readonly answer: (
    method: string,
    answer: FakeMethod | undefined,
    options?: { readonly at?: "portal" | "oauth" },
  ) => void;
  /**
   * Adds a list method over `rows`, with `filter`, `order`, `select` and pages of 50. It reads `rows` at each call.
   */
  readonly data: (
    method: string,
    rows: readonly Readonly<Record<string, unknown>>[],
    options?: FakeListOptions,
  ) => void;

  /** Calls of this portal's REST, and those of the OAuth host with its tokens. */
  readonly calls: () => readonly FakeCall[];
  /** Registrations of the app. */
  readonly registrations: () => FakeRegistrations;
  /** Drops registrations as an update can: all, or with `"bizproc"` only robots, activities and message senders. */
  readonly dropRegistrations: (which?: "all" | "bizproc") => void;
  /** Returns the current state. */
  readonly state: () => FakePortalState;
}
