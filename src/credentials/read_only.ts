/** Credentials for rehearsals: nothing is stored but refreshed token pairs. */
import { abortable } from "../async/abortable.ts";
import { AddressError, NoCredentialsError } from "../errors.ts";
import { type RecordAccess, storedRecord } from "../portal/record_access.ts";
import type { StoredTokens } from "../portal/tokens.ts";
import type { PortalCredentials, PortalCredentialsProvider } from "./contract.ts";
import type { KnownCredentials } from "./known.ts";
import { createPortalCall } from "./portal_call.ts";
import type { Refresh } from "./refresh.ts";
import { createSelect, type SelectOptions } from "./select.ts";
import { appKeys, type CredentialsSettings, noCredentials } from "./settings.ts";

/** Runs work that may write. */
export type RunWriting = <T>(work: () => Promise<T>) => Promise<T>;

/**
 * Returns a provider that uses verified token pairs only, follows no redirect, and records no refusal. `runWriting` runs
 * refreshes.
 */
export function createReadOnlyProvider(
  settings: CredentialsSettings,
  options: SelectOptions & { readonly known: KnownCredentials; readonly runWriting: RunWriting },
  isUserOf: (credentials: PortalCredentials, tokens: StoredTokens) => boolean,
): PortalCredentialsProvider {
  const { known, runWriting } = options;
  const refreshPair: Refresh = (access, tokens) => runWriting(() => options.refresh(access, tokens));
  const select = createSelect(settings, { ...options, refresh: refreshPair });

  /** Without an address, the selection would ask for it, and store the answer. */
  async function accessTo(memberId: string): Promise<RecordAccess> {
    const stored = storedRecord(settings.storage, memberId);
    const { clientEndpoint } = await stored.load();
    if (clientEndpoint !== undefined) return { ...stored, change: () => Promise.resolve() };
    throw new NoCredentialsError(
      memberId,
      "authorization",
      "its address is not known, and a rehearsal does not store it",
    );
  }

  const get: PortalCredentialsProvider["get"] = async (memberId, { signal } = {}) => {
    signal?.throwIfAborted();
    const credentials = known.get(memberId) ?? await select(await accessTo(memberId), isVerified, signal);
    if (credentials === undefined) throw noCredentials(settings, memberId);
    return credentials;
  };

  const refresh: PortalCredentialsProvider["refresh"] = async (memberId, refused, { signal } = {}) => {
    const access = await accessTo(memberId);
    const isOther = ({ accessToken }: StoredTokens): boolean => !refused.accessToken.equals(accessToken);
    const tokens = (await access.load()).tokens?.find((tokens) => !isOther(tokens));
    if (tokens !== undefined && appKeys(settings) !== undefined) await abortable(refreshPair(access, tokens), signal);
    const credentials = await select(access, (tokens) => isVerified(tokens) && isOther(tokens), signal);
    if (credentials === undefined) throw noCredentials(settings, memberId);
    return credentials;
  };

  const call = createPortalCall({
    get,
    refresh,
    otherUser: async (memberId, denied, { signal }) =>
      await select(
        await accessTo(memberId),
        (tokens) => isVerified(tokens) && !denied.some((credentials) => isUserOf(credentials, tokens)),
        signal,
      ),
    follow: (memberId) =>
      Promise.reject(
        new AddressError(`cannot follow portal ${memberId} to another address: a rehearsal does not store it`),
      ),
    recordRefusal: () => Promise.resolve(),
    log: settings.log,
  });

  return { get, refresh, call };
}

function isVerified({ isVerified }: StoredTokens): boolean {
  return isVerified === true;
}
