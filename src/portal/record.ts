/** Our record of one customer's Bitrix24: one key, one value, changed by compare-and-set. */
import { FormatError } from "../errors.ts";
import { Secret } from "../secret.ts";
import type { Entry, Key } from "../storage/storage.ts";

/** An upgrade that ran for a portal. */
export interface AppliedUpgrade {
  /** Id of the upgrade. */
  readonly id: string;
  /** Version the portal came from. */
  readonly from: string;
  /** Version the portal was going to. */
  readonly to: string;
  /** When it finished, in milliseconds since 1970. */
  readonly at: number;
}

/** Why a portal is not on its target. */
export interface PortalFailure {
  /** The upgrade that failed. */
  readonly upgradeId: string;
  /** What it said, without tokens. */
  readonly message: string;
  /** How often in a row it has failed. */
  readonly attempts: number;
  /** When it last failed, in milliseconds since 1970. */
  readonly at: number;
}

/** OAuth tokens of a portal, as the last event with tokens brought them. */
export interface PortalTokens {
  /** Lives for an hour. */
  readonly accessToken: Secret;
  /** Lives for 180 days. */
  readonly refreshToken?: Secret;
  /** End of the access token in milliseconds since 1970. */
  readonly expiresAt: number;
  /** Whose tokens they are. */
  readonly userId?: number;
  /** What they allow. */
  readonly scope: readonly string[];
}

/** The application token of a portal, as a digest: enough to compare with, useless to a thief. */
export interface ApplicationTokenDigests {
  /** Of `digestToken`. */
  readonly current: string;
  /** The one before, and when it was replaced, in milliseconds since 1970. */
  readonly previous?: { readonly digest: string; readonly replacedAt: number };
}

/** A portal as plugins and handlers see it: a snapshot, which later changes do not reach. */
export interface Portal {
  /** For ever. */
  readonly memberId: string;
  /** Host name that the last event gave. */
  readonly domain: string;
  /** Where to call the portal's REST; only ever an address that was proved. */
  readonly clientEndpoint?: string;
  /** `uninstalled` portals are kept so that late events can be told apart from forged ones. */
  readonly status: "installed" | "uninstalled";
  /** Counts installations. */
  readonly generation: number;
  /** Version that this installation began with: what was upgraded before it is not run for it. */
  readonly baseline?: string;
  /** Version that the portal's data is on; absent while nothing has told. */
  readonly version?: string;
  /** Version that it should be on. */
  readonly target?: string;
  /** Upgrades that ran, in order. */
  readonly applied: readonly AppliedUpgrade[];
  /** Absent while all is well. */
  readonly failure?: PortalFailure;
  /** Absent until an event brought them, and after an uninstall. */
  readonly tokens?: PortalTokens;
  /** Absent until one was proved. */
  readonly applicationToken?: ApplicationTokenDigests;
}

/** What is stored: the snapshot with revealed tokens, and what only the core needs. */
export interface PortalRecord extends Omit<Portal, "tokens"> {
  readonly format: typeof PORTAL_FORMAT;
  readonly tokens?: Omit<PortalTokens, "accessToken" | "refreshToken"> & {
    readonly accessToken: string;
    readonly refreshToken?: string;
    /** `ts` of the event that brought them: an older event does not replace them. */
    readonly ts: number;
  };
  /** Latest `ts` of an event that shows the app installed, and of one that removed it. */
  readonly installedTs: number;
  readonly uninstalledTs?: number;
  /** `ts` of the newest event that was taken in. */
  readonly latestTs: number;
}

/** Raised whenever older code could misread a record. */
export const PORTAL_FORMAT = 1;

/** Where the record of a portal is. */
export function portalKey(memberId: string): Key {
  return ["portal", memberId];
}

/** @throws {FormatError} when newer code wrote it: older code must not write over what it does not know */
export function readRecord(entry: Entry<PortalRecord> | null): PortalRecord | undefined {
  if (entry === null) return undefined;
  const { format } = entry.value;
  if (format !== PORTAL_FORMAT) throw new FormatError(`portal ${entry.key.at(-1)}`, format, PORTAL_FORMAT);
  return entry.value;
}

/** The record without what only the core needs, tokens wrapped. */
export function snapshot(record: PortalRecord): Portal {
  const { format: _, latestTs: _l, installedTs: _i, uninstalledTs: _u, tokens, ...portal } = record;
  if (tokens === undefined) return portal;
  const { accessToken, refreshToken, ts: _t, ...rest } = tokens;
  return {
    ...portal,
    tokens: {
      ...rest,
      accessToken: new Secret(accessToken),
      ...(refreshToken === undefined ? {} : { refreshToken: new Secret(refreshToken) }),
    },
  };
}
