/** Changes of a portal's record after an OAuth host has answered. Pure functions. */
import type { AppInfo, RefreshedTokens } from "../bitrix24/oauth_client.ts";
import { defined } from "../defined.ts";
import { withoutBlock } from "../portal/block.ts";
import { withAddress, withTokens } from "../portal/identity.ts";
import type { PortalRecord } from "../portal/record.ts";
import type { StoredTokens } from "../portal/tokens.ts";

/**
 * Returns the record with `app.info` of its portal applied, and `tokens`, which were sent for it, marked as verified.
 * `isAdmin`: what the portal said about their user, if it was asked and has answered.
 */
export function withVerified(
  record: PortalRecord,
  tokens: StoredTokens,
  { info, isAdmin }: { readonly info: AppInfo; readonly isAdmin: boolean | undefined },
  now: number,
): PortalRecord {
  const { userId, tokenScope } = info;
  const verified: StoredTokens = {
    ...tokens,
    ...defined({ userId, isAdmin }),
    ...(tokenScope.length === 0 ? {} : { scope: tokenScope }),
    isVerified: true,
  };
  return withInfo(withTokens(record, verified, now), info, now);
}

/** Returns the record with `app.info` of its portal applied. */
function withInfo(record: PortalRecord, info: AppInfo, now: number): PortalRecord {
  const { blocked } = record;
  // The answer shows that the portal has the app and that a token works, but not whether the app is paid for.
  const isOver = blocked === undefined || blocked.on === "installation" || blocked.on === "authorization" ||
    (blocked.on === "scope" && info.scope.join() !== record.scope?.join());
  return {
    ...withAddress(isOver ? withoutBlock(record, now) : record, info.clientEndpoint),
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
  // The portal may have been asked about the user meanwhile.
  const { isAdmin, pending } = record.tokens?.find(({ accessToken }) => accessToken === tokens.accessToken) ?? tokens;
  const next: StoredTokens = {
    owner: tokens.owner,
    ...defined({ userId }),
    accessToken: refreshed.accessToken,
    refreshToken: refreshed.refreshToken,
    expiresAt: refreshed.expiresAt,
    scope: scope.length === 0 ? tokens.scope : scope,
    // Later than the event that brought the pair, also if the clocks differ.
    ts: Math.max(Math.floor(now / 1000), tokens.ts + 1),
    server: refreshed.server,
    isVerified: true,
    ...defined({ isAdmin, pending }),
  };
  const rest = without(record, tokens);
  const isOver = record.blocked?.on === "payment" || record.blocked?.on === "authorization";
  return withAddress(withTokens(isOver ? withoutBlock(rest, now) : rest, next, now), clientEndpoint);
}

/** Returns the record without these tokens. */
export function without(record: PortalRecord, { accessToken }: StoredTokens): PortalRecord {
  const kept = record.tokens?.filter((tokens) => tokens.accessToken !== accessToken) ?? [];
  if (kept.length === (record.tokens?.length ?? 0)) return record;
  const { tokens: _, ...rest } = record;
  return kept.length === 0 ? rest : { ...rest, tokens: kept };
}

/** Whether the record still has these tokens. */
export function isCurrent(record: PortalRecord, { accessToken }: Pick<StoredTokens, "accessToken">): boolean {
  return record.tokens?.some((tokens) => tokens.accessToken === accessToken) ?? false;
}
