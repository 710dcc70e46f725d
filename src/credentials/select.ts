/** Selects the token pair that a portal is called with, after verifying or refreshing it if needed. */
import { abortable } from "../async/abortable.ts";
import type { AppInfo } from "../bitrix24/oauth_client.ts";
import { defined } from "../defined.ts";
import { NoCredentialsError, UnreachableError } from "../errors.ts";
import type { PortalRecord } from "../portal/record.ts";
import type { RecordAccess } from "../portal/record_access.ts";
import { rankTokens, type StoredTokens } from "../portal/tokens.ts";
import type { PortalCredentials } from "./contract.ts";
import type { IssuedTokens } from "./issued_tokens.ts";
import { type KnownCredentials, REFRESH_BEFORE_MS } from "./known.ts";
import type { Refresh } from "./refresh.ts";
import { appKeys, type CredentialsSettings } from "./settings.ts";
import type { TokenVerifier } from "./verify_tokens.ts";

/**
 * Returns the best credentials among the token pairs that `isWanted` accepts, or `undefined` if none can be used. Without
 * `isWanted` all are accepted, and the result is remembered as the portal's best for a minute, after which a better pair that
 * failed is tried again.
 */
export type SelectCredentials = (
  access: RecordAccess,
  isWanted: ((tokens: StoredTokens) => boolean) | undefined,
  signal?: AbortSignal,
) => Promise<PortalCredentials | undefined>;

/** Dependencies of {@linkcode createSelect} besides the settings. */
export interface SelectOptions {
  readonly refresh: Refresh;
  readonly verifier: TokenVerifier;
  readonly issued: IssuedTokens;
  readonly known: KnownCredentials;
}

/** Maximum number of rounds. Each round verifies, refreshes or skips one of the few pairs that a portal can have. */
const MAX_ROUNDS = 16;

/** Returns the selection among the token pairs in the settings' storage. */
export function createSelect(settings: CredentialsSettings, options: SelectOptions): SelectCredentials {
  const { refresh, verifier, issued, known } = options;
  const { clock } = settings;
  const canRefresh = appKeys(settings) !== undefined;

  function candidates({ tokens }: PortalRecord): StoredTokens[] {
    return rankTokens(tokens, clock())
      .filter(({ expiresAt }) => canRefresh || expiresAt > clock())
      .sort((a, b) => priority(b) - priority(a));
  }

  function expiresSoon({ refreshToken, expiresAt }: StoredTokens): boolean {
    return canRefresh && refreshToken !== undefined && expiresAt - REFRESH_BEFORE_MS <= clock();
  }

  return async (access, isWanted, signal) => {
    const { memberId } = access;
    /** Access tokens of the pairs that failed in this call. */
    const skipped = new Set<string>();
    /** Users whose pair this call has refreshed: a pair that lives no longer than a minute is not refreshed again. */
    const refreshed = new Set<string>();
    let failure: unknown;

    /** Waits for `work` on a pair; if it fails so that another pair may be better, the pair is skipped. */
    async function skipIf(
      isSkippable: (error: unknown) => boolean,
      { accessToken }: StoredTokens,
      work: Promise<unknown>,
    ): Promise<void> {
      try {
        await abortable(work, signal);
      } catch (error) {
        signal?.throwIfAborted();
        if (!isSkippable(error)) throw error;
        failure ??= error;
        skipped.add(accessToken);
      }
    }

    for (let round = 0; round < MAX_ROUNDS; round++) {
      signal?.throwIfAborted();
      const record = await access.load();
      if (record.status === "uninstalled") {
        throw new NoCredentialsError(memberId, "installation", "the app was removed from it");
      }
      const tokens = candidates(record).find((tokens) =>
        (isWanted?.(tokens) ?? true) && !skipped.has(tokens.accessToken)
      );
      if (tokens === undefined && failure !== undefined) throw failure;
      if (tokens === undefined) return undefined;
      if (tokens.isVerified !== true) {
        await skipIf(() => true, tokens, verifier.verify(access, tokens));
        continue;
      }
      const user = `${tokens.owner} ${tokens.userId}`;
      if (expiresSoon(tokens) && !refreshed.has(user)) {
        refreshed.add(user);
        await skipIf((error) => error instanceof UnreachableError, tokens, refresh(access, tokens));
        // If no OAuth host answers, the old token is good for its last seconds.
        if (!skipped.has(tokens.accessToken) || tokens.expiresAt <= clock()) continue;
      }
      const credentials = toCredentials(record, tokens, issued);
      if (credentials !== undefined) {
        if (isWanted === undefined) known.keep(record, credentials);
        return credentials;
      }
      const info = await verifier.appInfo(access, tokens, signal);
      if (info !== undefined && info.clientEndpoint === undefined) throw withoutAddress(memberId, info);
    }
    return undefined;
  };
}

function withoutAddress(memberId: string, { refusedEndpoint: cause }: AppInfo): NoCredentialsError {
  if (cause?.blockedOn !== undefined) {
    return new NoCredentialsError(memberId, cause.blockedOn, cause.message, { cause });
  }
  const why = cause === undefined ? "no OAuth host has sent an address of it" : cause.message;
  return new NoCredentialsError(memberId, "authorization", why, defined({ cause }));
}

/** The order of selection: the system user's pair is worth a verification, a person's only if there is no verified one. */
function priority({ owner, isVerified }: StoredTokens): number {
  if (owner === "system") return 2;
  return isVerified === true ? 1 : 0;
}

/** Returns the credentials of a verified pair, or `undefined` if the address of the portal is not known. */
function toCredentials(
  { memberId, clientEndpoint }: PortalRecord,
  { accessToken, expiresAt, owner, userId, scope }: StoredTokens,
  issued: IssuedTokens,
): PortalCredentials | undefined {
  if (clientEndpoint === undefined) return undefined;
  return {
    clientEndpoint,
    accessToken: issued.issue(memberId, accessToken),
    expiresAt,
    isSystemUser: owner === "system",
    ...defined({ userId }),
    scope,
  };
}
