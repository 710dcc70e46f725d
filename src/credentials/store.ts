/** What becomes of a portal's record by what an OAuth host says. Pure functions. */
import type { PortalRecord } from "../portal/record.ts";
import { ownerOf, type StoredTokens, withTokens } from "../portal/tokens.ts";
import type { AppInfo, RefreshedTokens } from "../bitrix24/oauth_client.ts";

/** The record with what an OAuth host said of its portal. */
export function withInfo(record: PortalRecord, info: AppInfo, now: number): PortalRecord {
  const { clientEndpoint } = info;
  const { blocked, ...rest } = record;
  // Whether the app is paid for is not in it; that the portal has the app and a token of it works is.
  const isOver = blocked === undefined || blocked.on === "installation" || blocked.on === "authorization" ||
    (blocked.on === "scope" && info.scope.join() !== record.scope?.join());
  return {
    ...rest,
    ...(isOver ? {} : { blocked }),
    ...(clientEndpoint === undefined ? {} : { clientEndpoint }),
    scope: info.scope,
    check: { at: now },
  };
}

/** The record with `renewed` in the place of `tokens`, which the installation of that generation had. */
export function withRefreshed(
  record: PortalRecord,
  generation: number,
  tokens: StoredTokens,
  renewed: RefreshedTokens,
  now: number,
): PortalRecord {
  // Removed meanwhile: nobody may keep tokens of it, and an installation that followed has its own.
  if (record.status === "uninstalled" || record.generation !== generation) return record;
  const { userId = tokens.userId, scope, clientEndpoint } = renewed;
  const next: StoredTokens = {
    owner: ownerOf(record.tokens, tokens, renewed.userId),
    ...(tokens.isAdmin === undefined ? {} : { isAdmin: tokens.isAdmin }),
    ...(userId === undefined ? {} : { userId }),
    accessToken: renewed.accessToken,
    refreshToken: renewed.refreshToken,
    expiresAt: renewed.expiresAt,
    scope: scope.length === 0 ? tokens.scope : scope,
    // Later than the event that brought the pair, whatever the clocks say.
    ts: Math.max(Math.floor(now / 1000), tokens.ts + 1),
    server: renewed.server,
    isVerified: true,
  };
  const { blocked, ...rest } = without(record, tokens);
  const isOver = blocked?.on === "payment" || blocked?.on === "authorization";
  const all = withTokens(rest.tokens, next);
  return {
    ...rest,
    ...(blocked === undefined || isOver ? {} : { blocked }),
    ...(all === undefined ? {} : { tokens: all }),
    ...(clientEndpoint === undefined ? {} : { clientEndpoint }),
  };
}

/** The record without these tokens. */
export function without(record: PortalRecord, { accessToken }: StoredTokens): PortalRecord {
  const tokens = record.tokens?.filter((one) => one.accessToken !== accessToken) ?? [];
  if (tokens.length === (record.tokens?.length ?? 0)) return record;
  const { tokens: _, ...rest } = record;
  return tokens.length === 0 ? rest : { ...rest, tokens };
}

/** Whether the record still has these tokens. */
export function isCurrent({ tokens }: PortalRecord, { accessToken }: StoredTokens): boolean {
  return tokens?.some((one) => one.accessToken === accessToken) ?? false;
}
