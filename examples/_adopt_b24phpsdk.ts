/**
 * Portals in the stores of b24phpsdk: the file of `AppAuthFileStorage`, which has the one portal of a local app, and tables of
 * accounts that implement its contract `Bitrix24AccountInterface`. `09_adopt.ts` adopts them.
 *
 * | `AppAuthFileStorage` | line |
 * |---|---|
 * | `auth_token.access_token`, `auth_token.refresh_token` | `accessToken`, `refreshToken` |
 * | `auth_token.expires`, in seconds | `expiresAt`; not taken if it is a duration, as after an installation by the page |
 * | `application_token`, `null` before ONAPPINSTALL | `applicationToken` |
 * | `oauth_server_url` | `serverEndpoint` |
 * | none | `memberId`: that of your portal |
 *
 * | `Bitrix24AccountInterface` | column | line |
 * |---|---|---|
 * | `getMemberId()` | `member_id` | `memberId` |
 * | `getAuthToken()` | `authtoken_access_token`, `authtoken_refresh_token`, `authtoken_expires` | as above |
 * | `getApplicationVersion()` | `application_version` | `version` |
 * | `isApplicationTokenValid()` | `application_token` | `applicationToken` |
 * | `getStatus()` | `status` | rows that are `deleted` have none |
 *
 * A portal has a row for each of its users, and the first one that works is adopted: `ORDER BY member_id, is_b24_user_admin
 * DESC`.
 */
import type { PortalToAdopt } from "@b24/onappupdate";

/** A token pair of the SDK. */
interface AuthToken {
  readonly access_token: string;
  readonly refresh_token: string | null;
  readonly expires: number;
}

/** The file of `AppAuthFileStorage`. */
export interface LocalAppAuth {
  readonly auth_token: AuthToken;
  readonly application_token: string | null;
  readonly oauth_server_url?: string;
}

/** A row of the table of accounts. */
export interface AccountRow {
  readonly member_id: string;
  readonly status: "new" | "active" | "blocked" | "deleted";
  readonly application_version: number;
  readonly application_token: string | null;
  readonly authtoken_access_token: string;
  readonly authtoken_refresh_token: string | null;
  readonly authtoken_expires: number;
}

/** Returns the line of a local app's portal. `known`: its `memberId`, and the version of its data. */
export function fromLocalAppAuth(
  { auth_token, application_token, oauth_server_url }: LocalAppAuth,
  known: Pick<PortalToAdopt, "memberId" | "version">,
): PortalToAdopt {
  return {
    ...tokens(auth_token),
    ...(application_token && { applicationToken: application_token }),
    ...(oauth_server_url && { serverEndpoint: oauth_server_url }),
    ...known,
  };
}

/**
 * Returns the line of an account, and none of a deleted one. With `mapped()`, pass its `parse`: the SDK stores VERSION as
 * Bitrix24 numbers it. With `deployed()`, VERSION says nothing: return the version of your data.
 */
export function fromAccountRow(
  row: AccountRow,
  versionOf: (version: string) => string = (version) => version,
): PortalToAdopt[] {
  if (row.status === "deleted") return [];
  const { authtoken_access_token: access_token, authtoken_refresh_token: refresh_token } = row;
  return [{
    memberId: row.member_id,
    ...tokens({ access_token, refresh_token, expires: row.authtoken_expires }),
    ...(row.application_token && { applicationToken: row.application_token }),
    version: versionOf(String(row.application_version)),
  }];
}

/** Smaller numbers are durations: the SDK copies `AUTH_EXPIRES` of an opened page. */
const EARLIEST_SECONDS = 1_000_000_000;

function tokens(
  { access_token, refresh_token, expires }: AuthToken,
): Pick<PortalToAdopt, "accessToken" | "refreshToken" | "expiresAt"> {
  return {
    accessToken: access_token,
    ...(refresh_token && { refreshToken: refresh_token }),
    ...(expires > EARLIEST_SECONDS && { expiresAt: expires * 1000 }),
  };
}
