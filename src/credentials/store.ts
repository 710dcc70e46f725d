/** Changes of a portal's record after an OAuth host has answered. Pure functions. */
import type { AppInfo, RefreshedTokens } from "../bitrix24/oauth_client.ts";
import { defined } from "../defined.ts";
import type { PortalRecord } from "../portal/record.ts";
import { mergeTokens, type StoredTokens, verifiedOwner } from "../portal/tokens.ts";

/** Returns the record with `app.info` of its portal applied, and `tokens`, which were sent for it, marked as verified. */
export function withVerified(record: PortalRecord, tokens: StoredTokens, info: AppInfo, now: number): PortalRecord {
  const { userId = tokens.userId, tokenScope } = info;
  const all = mergeTokens(record.tokens, {
    ...tokens,
    owner: verifiedOwner(record.tokens, tokens, userId),
    ...defined({ userId }),
    ...(tokenScope.length === 0 ? {} : { scope: tokenScope }),
    isVerified: true,
  });
  return withInfo({ ...record, ...defined({ tokens: all }) }, info, now);
}

/** Returns the record with `app.info` of its portal applied. */
function withInfo(record: PortalRecord, info: AppInfo, now: number): PortalRecord {
  const { blocked, ...rest } = record;
  // The answer shows that the portal has the app and that a token works, but not whether the app is paid for.
  const isOver = blocked === undefined || blocked.on === "installation" || blocked.on === "authorization" ||
    (blocked.on === "scope" && info.scope.join() !== record.scope?.join());
  return {
    ...rest,
    ...(isOver ? {} : { blocked }),
    ...defined({ clientEndpoint: info.clientEndpoint }),
    scope: info.scope,
    check: { at: now },
  };
}

/** Returns the record with `tokens`, which the installation of that generation had, replaced by `refreshed`. */
export function withRefreshed(
  record: PortalRecord,
  generation: number,
  tokens: StoredTokens,
  refreshed: RefreshedTokens,
  now: number,
): PortalRecord {
  // If the app was removed meanwhile, its tokens must not be kept, and a later installation has its own.
  if (record.status === "uninstalled" || record.generation !== generation) return record;
  const { userId = tokens.userId, scope, clientEndpoint } = refreshed;
  const next: StoredTokens = {
    owner: verifiedOwner(record.tokens, tokens, refreshed.userId),
    ...defined({ isAdmin: tokens.isAdmin, userId }),
    accessToken: refreshed.accessToken,
    refreshToken: refreshed.refreshToken,
    expiresAt: refreshed.expiresAt,
    scope: scope.length === 0 ? tokens.scope : scope,
    // Later than the event that brought the pair, also if the clocks differ.
    ts: Math.max(Math.floor(now / 1000), tokens.ts + 1),
    server: refreshed.server,
    isVerified: true,
  };
  const { blocked, ...rest } = without(record, tokens);
  const isOver = blocked?.on === "payment" || blocked?.on === "authorization";
  return {
    ...rest,
    ...(isOver ? {} : defined({ blocked })),
    ...defined({ tokens: mergeTokens(rest.tokens, next), clientEndpoint }),
  };
}

/** Returns the record without these tokens. */
export function without(record: PortalRecord, { accessToken }: StoredTokens): PortalRecord {
  const kept = record.tokens?.filter((tokens) => tokens.accessToken !== accessToken) ?? [];
  if (kept.length === (record.tokens?.length ?? 0)) return record;
  const { tokens: _, ...rest } = record;
  return kept.length === 0 ? rest : { ...rest, tokens: kept };
}

/** Whether the record still has these tokens. */
export function isCurrent(record: PortalRecord, { accessToken }: StoredTokens): boolean {
  return record.tokens?.some((tokens) => tokens.accessToken === accessToken) ?? false;
}
