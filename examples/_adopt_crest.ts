/**
 * Portals in the store of CRest, the PHP class of Bitrix24's documentation: `settings.json`, one portal a file, or what your
 * `setSettingData()` has stored instead. `09_adopt.ts` adopts them.
 *
 * | `settings.json` | line |
 * |---|---|
 * | `member_id` | `memberId`; absent until CRest has refreshed the tokens once, if the app was installed by its page |
 * | `access_token`, `refresh_token` | `accessToken`, `refreshToken` |
 * | `expires`, in seconds | `expiresAt` |
 * | `server_endpoint` | `serverEndpoint` |
 * | `application_token` | **not taken**: if the app was installed by its page, it is the `APP_SID` of that page |
 * | `domain` | not taken: after a refresh it is that of the OAuth host |
 * | `expires_in`, `client_endpoint`, `C_REST_CLIENT_SECRET` and the others | not taken |
 */
import type { PortalToAdopt } from "@b24/onappupdate";

/** The fields of `settings.json` that matter. */
export interface CRestSettings {
  readonly access_token: string;
  readonly refresh_token?: string;
  readonly member_id?: string;
  readonly expires?: number | string;
  readonly server_endpoint?: string;
}

/** Returns the line of a portal. `known`: what CRest does not store, such as the version, or a `member_id` from your database. */
export function fromCRest(settings: CRestSettings, known: Partial<PortalToAdopt> = {}): Partial<PortalToAdopt> {
  const { access_token, refresh_token, member_id, expires, server_endpoint } = settings;
  return {
    accessToken: access_token,
    ...(member_id && { memberId: member_id }),
    ...(refresh_token && { refreshToken: refresh_token }),
    ...(expires && { expiresAt: Number(expires) * 1000 }),
    ...(server_endpoint && { serverEndpoint: server_endpoint }),
    ...known,
  };
}
