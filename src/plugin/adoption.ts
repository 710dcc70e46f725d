/** Adoption: the portals that another program of the vendor has, and the report about them. */
import type { Attribution } from "./admin_pages.ts";

/** A portal that another program of the vendor has. In JSON lines, one such object a line; `null` counts as absent. */
export interface PortalToAdopt {
  /** Bitrix24's id of the portal: 32 hexadecimal digits. */
  readonly memberId: string;
  /** Access token of a user of the portal, best an administrator. 1 to 255 characters. */
  readonly accessToken: string;
  /** Refresh token of the same pair. 1 to 255 characters. Without it, the portal can be called until the access token expires. */
  readonly refreshToken?: string | null;
  /** Expiry of the access token, in milliseconds since 1970. By default, what Bitrix24 says. */
  readonly expiresAt?: number | null;
  /**
   * The portal's application_token, 1 to 255 characters. It verifies events that bring no access token, such as
   * ONAPPUNINSTALL. It is believed: Bitrix24 has no call that confirms it. Never the `APP_SID` of an opened page.
   */
  readonly applicationToken?: string | null;
  /** `server_endpoint` of the token pair: the OAuth host that is asked first. Without it, each of the app's hosts may be asked. */
  readonly serverEndpoint?: string | null;
  /**
   * Version that the portal's data is on now, as `coerced()` reads it: an update runs the upgrades above it. A whole number counts
   * as the version that it spells.
   *
   * By default, what the option `initialVersion` of the app says; without that option, the version that Bitrix24 reports as
   * installed. With `deployed()` the reported one means nothing: set this or the option.
   */
  readonly version?: string | number | null;
}

/**
 * The source of portals: objects, JSON lines, or both mixed. A string is one line or several; bytes are JSON lines in
 * UTF-8, cut anywhere, as files and responses have them.
 */
export type PortalSource =
  | string
  | ReadableStream<Uint8Array>
  | Iterable<PortalToAdopt | string | Uint8Array>
  | AsyncIterable<PortalToAdopt | string | Uint8Array>;

/** Options of {@linkcode Admin.adopt}. */
export interface AdoptOptions extends Attribution {
  /**
   * Asks Bitrix24 and reports what would happen. Nothing is stored but an entry in the audit log, and no token is refreshed,
   * whatever `refresh` says.
   *
   * @default false
   */
  readonly dryRun?: boolean;
  /**
   * Refreshes access tokens that have expired, one at a time, and stores each new pair before the next refresh. **The refresh
   * token of the line is dead from then on**, also for the program that it came from. Needs `clientSecret`.
   *
   * @default false
   */
  readonly refresh?: boolean;
  /**
   * Maximum number of requests to OAuth hosts a minute, at most 8 at a time. Events and checks have budgets of their own.
   * Minimum: 1.
   *
   * @default 600
   */
  readonly perMinute?: number;
  /**
   * Receives the outcome of each line, soon after it is stored, and not always in the order of the lines. No further line is
   * begun in its place before it returns or resolves. If it throws, the adoption ends with its error.
   */
  readonly onLine?: (line: AdoptionLine) => void | Promise<void>;
  /** If it is aborted, the adoption ends with its reason after the lines under way. What is adopted stays so. */
  readonly signal?: AbortSignal;
}

/**
 * Why a line was not adopted, or not all of it was taken:
 *
 * - `"invalid"`: the line is no JSON, has an unknown field, or one with an invalid value, such as a `version` that cannot be read.
 * - `"twice"`: an earlier line has adopted this portal.
 * - `"expired"`: unverified, because the access token has expired, and it was not or could not be refreshed.
 * - `"refused"`: unverified, because Bitrix24 refuses the tokens: the refresh token is dead, for example used before.
 * - `"other_portal"`, `"other_app"`: the tokens belong to another portal, or another app.
 * - `"not_installed"`, `"payment"`: Bitrix24 says that the app is not installed, or not paid for.
 * - `"version"`: nothing says which version the data is on, or the line names one above the version that is installed.
 * - `"address"`: Bitrix24 names no address of the portal that may be called.
 * - `"removed"`, `"forgotten"`: the app was removed from this portal, or `admin.forget()` was called. An installation makes it
 *   known again.
 * - `"unreachable"`: no OAuth host has answered about this portal.
 * - `"known_version"`: the portal is known and on another version than the line says. It stays there; the rest is taken.
 */
export type AdoptionReason =
  | "invalid"
  | "twice"
  | "expired"
  | "refused"
  | "other_portal"
  | "other_app"
  | "not_installed"
  | "payment"
  | "version"
  | "address"
  | "removed"
  | "forgotten"
  | "unreachable"
  | "known_version";

/** The outcome of one line. */
export interface AdoptionLine {
  /** Number of the line, or of the object, from 1. Empty lines count. */
  readonly line: number;
  /** As the line says; absent if it is invalid. */
  readonly memberId?: string;
  /**
   * `"adopted"`: the portal was unknown, and is stored now. `"filled_in"`: it was known, and has got what it lacked.
   * `"unchanged"`: it was known, and lacked nothing that the line has. `"not_adopted"`: `reason` says why.
   */
  readonly outcome: "adopted" | "filled_in" | "unchanged" | "not_adopted";
  /** Absent if all of the line was taken. */
  readonly reason?: AdoptionReason;
  /** Explanation of `reason` for people, without tokens. */
  readonly message?: string;
  /** Version that the portal is on; absent if it is not adopted, or unknown. */
  readonly version?: string;
  /** Version that the portal should be on; absent if it is not adopted, or unknown. */
  readonly target?: string;
}

/** The result of {@linkcode Admin.adopt}. In a dry run, what would happen. */
export interface AdoptionReport {
  /** Number of lines with a portal. */
  readonly lines: number;
  /** Number of portals that were unknown and are adopted. */
  readonly adopted: number;
  /** Number of known portals that have got what they lacked. */
  readonly filledIn: number;
  /** Number of known portals that lacked nothing. */
  readonly unchanged: number;
  /** Number of lines that were not adopted. */
  readonly notAdopted: number;
  /** Number of lines by their `reason`. */
  readonly reasons: Readonly<Partial<Record<AdoptionReason, number>>>;
  /** Up to 1,000 lines with a `reason`, in the order of their numbers. `onLine` receives all. */
  readonly problems: readonly AdoptionLine[];
}
