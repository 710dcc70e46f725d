/**
 * Portals in the store of b24jssdk's recipe of an OAuth installation: a JSON object with the `B24OAuthParams` of each portal
 * under its `member_id`. `09_adopt.ts` adopts them.
 *
 * | `B24OAuthParams` | line |
 * |---|---|
 * | `memberId` | `memberId` |
 * | `accessToken`, `refreshToken` | the same |
 * | `expires`, in seconds | `expiresAt` |
 * | `applicationToken`, of ONAPPINSTALL | `applicationToken` |
 * | `serverEndpoint` | the same |
 * | `domain`, `clientEndpoint`, `userId`, `scope`, `status`, `expiresIn` | not taken: Bitrix24 is asked |
 * | none | `version`: Bitrix24 is asked, or your database |
 */
import type { PortalToAdopt } from "@b24/onappupdate";

/** The fields of `B24OAuthParams` that matter. */
export interface OAuthParams {
  readonly memberId: string;
  readonly accessToken: string;
  readonly refreshToken: string;
  readonly expires: number;
  readonly applicationToken?: string;
  readonly serverEndpoint?: string;
}

/** Lists the lines of a store. `known` returns what the recipe does not store, such as the version of the portal's data. */
export function* fromOAuthStore(
  store: Readonly<Record<string, OAuthParams>>,
  known: (memberId: string) => Partial<PortalToAdopt> = () => ({}),
): Generator<PortalToAdopt> {
  for (
    const { memberId, accessToken, refreshToken, expires, applicationToken, serverEndpoint } of Object.values(store)
  ) {
    yield {
      ...{ memberId, accessToken, expiresAt: expires * 1000 },
      ...(refreshToken && { refreshToken }),
      ...(applicationToken && { applicationToken }),
      ...(serverEndpoint && { serverEndpoint }),
      ...known(memberId),
    };
  }
}
