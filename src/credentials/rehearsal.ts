/** Credentials for a rehearsal: what it finds out about token pairs stays in memory, and only refreshed pairs are stored. */
import { abortable } from "../async/abortable.ts";
import { AddressError } from "../errors.ts";
import type { ChangeHeld } from "../portal/held_record.ts";
import { type RecordAccess, storedRecord } from "../portal/record_access.ts";
import type { PortalRecord } from "../portal/record.ts";
import type { StoredTokens } from "../portal/tokens.ts";
import type { Storage } from "../storage/storage.ts";
import type { PortalCredentials, PortalCredentialsProvider } from "./contract.ts";
import type { IssuedTokens } from "./issued_tokens.ts";
import type { KnownCredentials } from "./known.ts";
import { createPortalCall } from "./portal_call.ts";
import type { Refresh } from "./refresh.ts";
import { createSelect } from "./select.ts";
import { appKeys, type CredentialsSettings, noCredentials } from "./settings.ts";
import { createTokenVerifier } from "./verify_tokens.ts";

/** Runs work that writes. */
export type RunWriting = <T>(work: () => Promise<T>) => Promise<T>;

/** Dependencies of {@linkcode createRehearsalProvider} besides the settings. */
export interface RehearsalProviderOptions {
  readonly refresh: Refresh;
  readonly issued: IssuedTokens;
  readonly known: KnownCredentials;
  /** Runs refreshes, whose pairs are stored. */
  readonly runWriting: RunWriting;
  /** Whether `tokens` belong to the user of `credentials`. */
  readonly isUserOf: (credentials: PortalCredentials, tokens: StoredTokens) => boolean;
}

/** Returns the provider of one rehearsal of a portal, for calls of that portal. */
export function createRehearsalProvider(
  settings: CredentialsSettings,
  { refresh, issued, known, runWriting, isUserOf }: RehearsalProviderOptions,
  memberId: string,
): PortalCredentialsProvider {
  const access = inMemoryAccess(settings.storage, memberId);
  const refreshPair: Refresh = (access, tokens) => runWriting(() => refresh(access, tokens));
  const verifier = createTokenVerifier(settings, refreshPair);
  const selectAny = createSelect(settings, { refresh: refreshPair, verifier, issued, known });
  /** Without a choice, the result would be remembered as the portal's best, although not all about it is stored. */
  const select = (isWanted: (tokens: StoredTokens) => boolean, signal?: AbortSignal) =>
    selectAny(access, isWanted, signal);

  async function found(credentials: PortalCredentials | undefined): Promise<PortalCredentials> {
    if (credentials !== undefined) return credentials;
    // Rejects if the portal is not stored.
    await access.load();
    throw noCredentials(settings, memberId);
  }

  const get: PortalCredentialsProvider["get"] = async (_memberId, { signal } = {}) =>
    known.get(memberId) ?? await found(await select(() => true, signal));

  const renew: PortalCredentialsProvider["refresh"] = async (_memberId, refused, { signal } = {}) => {
    const isOther = ({ accessToken }: StoredTokens): boolean => !refused.accessToken.equals(accessToken);
    const tokens = (await access.load()).tokens?.find((tokens) => !isOther(tokens));
    if (tokens !== undefined && appKeys(settings) !== undefined) await abortable(refreshPair(access, tokens), signal);
    const own = await select((tokens) => isUserOf(refused, tokens) && isOther(tokens), signal);
    return await found(own ?? await select(isOther, signal));
  };

  const call = createPortalCall({
    ...{ get, refresh: renew, log: settings.log },
    otherUser: async (_memberId, denied, { signal }) =>
      await select((tokens) => !denied.some((credentials) => isUserOf(credentials, tokens)), signal),
    follow: () => {
      const why = "it has moved, and a rehearsal does not store its new address";
      return Promise.reject(new AddressError(`cannot follow portal ${memberId}: ${why}`));
    },
    recordRefusal: () => Promise.resolve(),
  });
  return { get, refresh: renew, call };
}

/** Returns access to a record whose changes stay in memory. They are applied again to what is stored meanwhile. */
function inMemoryAccess(storage: Storage, memberId: string): RecordAccess {
  const stored = storedRecord(storage, memberId);
  const changes: ChangeHeld[] = [];
  const load = async (): Promise<PortalRecord> =>
    changes.reduce((record, change) => change(record).record, await stored.load());
  return {
    ...stored,
    load,
    change: async (change, onStored) => {
      changes.push(change);
      await load();
      onStored?.();
    },
  };
}
