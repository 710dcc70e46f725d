/** Types of the events that Bitrix24 sends to an app: a union discriminated by `name`. */
import type { Secret } from "../secret.ts";

/**
 * `auth` of the request: the portal, and the user on whose behalf the event was sent.
 *
 * The fields are as they were sent, and not verified. For addresses, use the portal's record instead: a forged event
 * carries addresses of the sender's choice.
 */
export interface EventAuth {
  /** Identifies the portal forever: 32 hexadecimal digits in lower case. It is not a secret. */
  readonly memberId: string;
  /** Host of the portal, possibly with a port; it changes when the portal is renamed. */
  readonly domain: string;
  /** Secret that Bitrix24 and the app share for this portal. Absent in some payment events. */
  readonly applicationToken?: Secret;
  /** Access token of the user, valid for an hour. Present if the event belongs to a user. */
  readonly accessToken?: Secret;
  /** Refresh token of the user, valid for 180 days. Present if the event belongs to a user and is not a payment. */
  readonly refreshToken?: Secret;
  /** Expiry of the access token, in milliseconds since 1970: `expires`, or else the time of receipt plus `expires_in`. */
  readonly expiresAt?: number;
  /** Scopes of the access token; empty if there is none. */
  readonly scope: readonly string[];
  /** `L` local, `F` free, `D` demo, `T` trial, `P` paid, `S` subscription, or another value. */
  readonly status?: string;
  /** The user who owns the access token. */
  readonly userId?: number;
  /** Address of the portal's REST API as it was sent; not verified. */
  readonly clientEndpoint?: string;
  /** Address of the OAuth host as it was sent; not verified. */
  readonly serverEndpoint?: string;
  /** Keys that this library does not know; those that look like tokens are `Secret`s. */
  readonly extra: Extra;
}

/**
 * Keys that this library does not know, kept as they were sent. The values of keys that are named like secrets are
 * `Secret`s, at any depth: `AUTH_ID`, `REFRESH_ID`, `APP_SID`, `auth`, and names with a word such as token or secret.
 */
export interface Extra {
  /** The value of a key as it was sent. */
  readonly [key: string]: ExtraValue;
}

/** A value under a key that this library does not know. */
export type ExtraValue = string | number | boolean | null | Secret | readonly ExtraValue[] | Extra;

/** The fields of every event. */
export interface EventBase<Name extends string, Data> {
  /** Name of the event; discriminates the union. */
  readonly name: Name;
  /** `data` of the request. */
  readonly data: Data & { readonly extra: Extra };
  /** `auth` of the request. */
  readonly auth: EventAuth;
  /** When Bitrix24 sent the event, in **seconds** since 1970. Not verified. */
  readonly ts: number;
  /** The handler registration that the event was sent for; absent on older portals. */
  readonly handlerId?: string;
  /** Top-level keys that this library does not know. */
  readonly extra: Extra;
}

/** ONAPPUPDATE: the portal was updated to another version of the app. */
export type UpdateEvent = EventBase<"ONAPPUPDATE", {
  /** VERSION as it was sent; the app's `VersionScheme` interprets it. */
  readonly version: string;
  /** PREVIOUS_VERSION as it was sent. */
  readonly previousVersion?: string;
  /** `ru`, `en`, `de`; old portals `com`. */
  readonly languageId?: string;
}>;

/** ONAPPINSTALL: the app was installed. Apps without an interface receive it for updates too. */
export type InstallEvent = EventBase<"ONAPPINSTALL", {
  /** VERSION as it was sent. */
  readonly version: string;
  /** ACTIVE. */
  readonly active?: boolean;
  /** INSTALLED: false until the app's installer calls `installFinish`. */
  readonly installed?: boolean;
  /** As in ONAPPUPDATE. */
  readonly languageId?: string;
}>;

/** ONAPPUNINSTALL: the app was removed. It never carries access tokens. */
export type UninstallEvent = EventBase<"ONAPPUNINSTALL", {
  /** CLEAN: the administrator asked to delete the app's data. */
  readonly clean: boolean;
  /** As in ONAPPUPDATE. */
  readonly languageId?: string;
}>;

/** ONAPPPAYMENT: the app was paid for, or the paid period has ended. */
export type PaymentEvent = EventBase<"ONAPPPAYMENT", {
  /** CODE of the app. */
  readonly code: string;
  /** VERSION as it was sent. */
  readonly version: string;
  /** STATUS, as in `EventAuth.status`. */
  readonly status: string;
  /** PAYMENT_EXPIRED. */
  readonly paymentExpired: boolean;
  /** DAYS that remain of the paid period. */
  readonly days?: number;
  /** As in ONAPPUPDATE. */
  readonly languageId?: string;
}>;

/** ONAPPMETHODCONFIRM: an administrator answered the app's request to use a method. */
export type MethodConfirmEvent = EventBase<"ONAPPMETHODCONFIRM", {
  /** TOKEN: an access token that may use the method. */
  readonly token: Secret;
  /** METHOD. */
  readonly method: string;
  /** CONFIRMED. */
  readonly confirmed: boolean;
  /** As in ONAPPUPDATE. */
  readonly languageId?: string;
}>;

/** ONAPPTEST: the app called the REST method `event.test`. */
export type TestEvent = EventBase<"ONAPPTEST", {
  /** QUERY: the parameters of `event.test`; those that look like tokens are `Secret`s. */
  readonly query: Extra | readonly ExtraValue[];
  /** As in ONAPPUPDATE. */
  readonly languageId?: string;
}>;

/** ONAPPUSERREADY: the OAuth tokens of the app's system user. */
export type UserReadyEvent = EventBase<"ONAPPUSERREADY", {
  /** Access token of the system user. */
  readonly accessToken: Secret;
  /** Refresh token of the system user. */
  readonly refreshToken?: Secret;
  /** Expiry of the access token, in milliseconds since 1970. */
  readonly expiresAt: number;
  /** Scopes of the access token. */
  readonly scope: readonly string[];
  /** The system user. */
  readonly userId?: number;
}>;

/** Any other event, as the app has subscribed to it. */
export type UnknownEvent = EventBase<"UNKNOWN", Record<never, never>> & {
  /** Bitrix24's name of the event, such as `ONCRMDEALADD`. */
  readonly wireName: string;
};

/** Events whose fields this library knows. */
export type KnownEvent =
  | UpdateEvent
  | InstallEvent
  | UninstallEvent
  | PaymentEvent
  | MethodConfirmEvent
  | TestEvent
  | UserReadyEvent;

/** Any event. */
export type B24Event = KnownEvent | UnknownEvent;

/** The type of the event that Bitrix24 calls `Name`. */
export type EventNamed<Name extends string> = Name extends KnownEvent["name"] ? Extract<KnownEvent, { name: Name }>
  : UnknownEvent;

/** Returns Bitrix24's name of an event. */
export function wireName(event: B24Event): string {
  return event.name === "UNKNOWN" ? event.wireName : event.name;
}
