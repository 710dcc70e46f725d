/** The events of Bitrix24 that concern an app, as TypeScript sees them: a union discriminated by `name`. */
import type { Secret } from "../secret.ts";
import type { WireTree, WireValue } from "./tree.ts";

/**
 * Who sends the event and on whose behalf: `auth` of the request.
 *
 * Nothing in it is proved by being here. Of the addresses, use those of the portal's record: a forged event
 * carries addresses of the forger's choice.
 */
export interface EventAuth {
  /** The portal, for ever: 32 hexadecimal digits, lower case. No secret. */
  readonly memberId: string;
  /** Host of the portal, perhaps with a port; it changes when the portal is renamed. */
  readonly domain: string;
  /** Shared by Bitrix24 and this app on this portal. Absent on some payment events. */
  readonly applicationToken?: Secret;
  /** Lives for an hour. Present when the event belongs to a user. */
  readonly accessToken?: Secret;
  /** Lives for 180 days. Present when the event belongs to a user, but not on payments. */
  readonly refreshToken?: Secret;
  /** End of the access token in milliseconds since 1970: `expires`, else the time of receipt and `expires_in`. */
  readonly expiresAt?: number;
  /** Scopes of the access token; empty without one. */
  readonly scope: readonly string[];
  /** `L` local, `F` free, `D` demo, `T` trial, `P` paid, `S` subscription; others may come. */
  readonly status?: string;
  /** The user to whom the access token belongs. */
  readonly userId?: number;
  /** What the payload says; unproved. */
  readonly clientEndpoint?: string;
  /** What the payload says; unproved. */
  readonly serverEndpoint?: string;
  /** Keys that this library does not know; those that look like tokens are `Secret`s. */
  readonly extra: Extra;
}

/** Keys that this library does not know, kept as they came, with values that look like tokens wrapped. */
export interface Extra {
  /** By its key on the wire. */
  readonly [key: string]: ExtraValue;
}

/** A value under a key that this library does not know. */
export type ExtraValue = string | number | boolean | null | Secret | readonly ExtraValue[] | Extra;

/** What every event has. */
export interface EventBase<Name extends string, Data> {
  /** Discriminates the union. */
  readonly name: Name;
  /** `data` of the request. */
  readonly data: Data & { readonly extra: Extra };
  /** `auth` of the request. */
  readonly auth: EventAuth;
  /** When Bitrix24 says it sent the event, in **seconds** since 1970. Proves nothing. */
  readonly ts: number;
  /** Which handler registration it was sent for; absent on older portals. */
  readonly handlerId?: string;
  /** Top-level keys that this library does not know. */
  readonly extra: Extra;
}

/** ONAPPUPDATE: the portal moved to another version of the app. */
export type UpdateEvent = EventBase<"ONAPPUPDATE", {
  /** VERSION as it came; a `VersionScheme` gives it a meaning. */
  readonly version: string;
  /** PREVIOUS_VERSION as it came. */
  readonly previousVersion?: string;
  /** `ru`, `en`, `de`; old portals `com`. */
  readonly languageId?: string;
}>;

/** ONAPPINSTALL: the app was installed; apps without an interface get it at an update too. */
export type InstallEvent = EventBase<"ONAPPINSTALL", {
  /** VERSION as it came. */
  readonly version: string;
  /** ACTIVE. */
  readonly active?: boolean;
  /** INSTALLED: false until the app's installer calls `installFinish`. */
  readonly installed?: boolean;
  /** As in ONAPPUPDATE. */
  readonly languageId?: string;
}>;

/** ONAPPUNINSTALL: the app was removed. Never has tokens. */
export type UninstallEvent = EventBase<"ONAPPUNINSTALL", {
  /** CLEAN: the administrator asked to delete the app's data. */
  readonly clean: boolean;
  /** As in ONAPPUPDATE. */
  readonly languageId?: string;
}>;

/** ONAPPPAYMENT: the app was paid for, or the paid period ended. */
export type PaymentEvent = EventBase<"ONAPPPAYMENT", {
  /** CODE of the app. */
  readonly code: string;
  /** VERSION as it came. */
  readonly version: string;
  /** STATUS, as in `EventAuth.status`. */
  readonly status: string;
  /** PAYMENT_EXPIRED. */
  readonly paymentExpired: boolean;
  /** DAYS that are left. */
  readonly days?: number;
  /** As in ONAPPUPDATE. */
  readonly languageId?: string;
}>;

/** ONAPPMETHODCONFIRM: an administrator answered the app's request to use a method. */
export type MethodConfirmEvent = EventBase<"ONAPPMETHODCONFIRM", {
  /** TOKEN: an access token that may now use the method. */
  readonly token: Secret;
  /** METHOD. */
  readonly method: string;
  /** CONFIRMED. */
  readonly confirmed: boolean;
  /** As in ONAPPUPDATE. */
  readonly languageId?: string;
}>;

/** ONAPPTEST: sent by the REST method `event.test`. */
export type TestEvent = EventBase<"ONAPPTEST", {
  /** QUERY: what the caller of `event.test` gave. */
  readonly query: WireTree | readonly WireValue[];
  /** As in ONAPPUPDATE. */
  readonly languageId?: string;
}>;

/** ONAPPUSERREADY: the OAuth tokens of the app's system user. */
export type UserReadyEvent = EventBase<"ONAPPUSERREADY", {
  /** Of the system user. */
  readonly accessToken: Secret;
  /** Of the system user. */
  readonly refreshToken?: Secret;
  /** End of the access token in milliseconds since 1970. */
  readonly expiresAt: number;
  /** Scopes of the access token. */
  readonly scope: readonly string[];
  /** The system user. */
  readonly userId?: number;
}>;

/** Any other event that Bitrix24 sends to the app. */
export type UnknownEvent = EventBase<"UNKNOWN", Record<never, never>> & {
  /** The name on the wire, such as `ONCRMDEALADD`. */
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

/** Everything that may arrive. */
export type B24Event = KnownEvent | UnknownEvent;

/** The event that is called `Name` on the wire. */
export type EventNamed<Name extends string> = Name extends KnownEvent["name"] ? Extract<KnownEvent, { name: Name }>
  : UnknownEvent;

/** The event's name on the wire. */
export function wireName(event: B24Event): string {
  return event.name === "UNKNOWN" ? event.wireName : event.name;
}
