/** Credentials in memory: a call of a portal reads the storage only if no token of it is known to be good. */
import { PORTALS } from "../portal/keys.ts";
import type { PortalRecord } from "../portal/record.ts";
import type { Key, Storage } from "../storage/storage.ts";
import { shareMutex } from "../storage/update.ts";
import type { PortalCredentials } from "./contract.ts";

/** The best credentials of each portal, as far as this process knows. */
export interface KnownCredentials {
  /** Returns the credentials of a portal, or `undefined` if none are known to be good. */
  readonly get: (memberId: string) => PortalCredentials | undefined;
  /** Remembers the best credentials of the portal that has `record`. */
  readonly keep: (record: PortalRecord, credentials: PortalCredentials) => void;
  /**
   * Returns the storage, which compares the records that pass through it with what is known: once this process sees a
   * removal, another address or other tokens in a portal's record, the portal's credentials are forgotten. A refused token
   * needs no more than that, for what follows a refusal reads the record.
   */
  readonly watch: (storage: Storage) => Storage;
}

/** An access token that expires within this time, in milliseconds, is refreshed before it is used. */
export const REFRESH_BEFORE_MS = 60_000;

/** Maximum number of portals. The one whose credentials were kept first is forgotten for another. */
const MAX_PORTALS = 10_000;

/** Returns an empty memory of credentials. */
export function createKnownCredentials(clock: () => number): KnownCredentials {
  const known = new Map<string, { readonly credentials: PortalCredentials; readonly basis: string }>();

  function compare(memberId: string, record: PortalRecord | undefined): void {
    const kept = known.get(memberId);
    if (kept !== undefined && (record === undefined || kept.basis !== basisOf(record))) known.delete(memberId);
  }

  return {
    get: (memberId) => {
      const credentials = known.get(memberId)?.credentials;
      return credentials !== undefined && credentials.expiresAt - REFRESH_BEFORE_MS > clock() ? credentials : undefined;
    },
    keep: (record, credentials) => {
      const { memberId } = record;
      known.delete(memberId);
      const [first] = known.keys();
      if (first !== undefined && known.size >= MAX_PORTALS) known.delete(first);
      known.set(memberId, { credentials, basis: basisOf(record) });
    },
    watch: (storage) => watched(storage, compare),
  };
}

/** Returns what the choice of credentials depends on, besides the time. */
function basisOf({ status, clientEndpoint, tokens }: PortalRecord): string {
  return JSON.stringify([status, clientEndpoint, tokens]);
}

/** Returns the storage with `seen` called for each portal's record that is read or written. */
function watched(storage: Storage, seen: (memberId: string, record: PortalRecord | undefined) => void): Storage {
  const memberIdOf = ([part, memberId]: Key): string | undefined => part === PORTALS[0] ? memberId : undefined;
  const { close } = storage;
  return shareMutex({
    name: storage.name,
    capabilities: storage.capabilities,
    get: async <T>(...args: Parameters<Storage["get"]>) => {
      const entry = await storage.get<T>(...args);
      const memberId = memberIdOf(args[0]);
      if (memberId !== undefined) seen(memberId, entry?.value as PortalRecord | undefined);
      return entry;
    },
    put: async (key, value, options) => {
      const memberId = memberIdOf(key);
      if (memberId === undefined) return await storage.put(key, value, options);
      let record: PortalRecord | undefined;
      try {
        const result = await storage.put(key, value, options);
        if (result.ok) record = value as PortalRecord;
        return result;
      } finally {
        // A write that failed may have happened. One whose condition did not hold shows that others write, too.
        seen(memberId, record);
      }
    },
    delete: (key, options) => storage.delete(key, options),
    list: (prefix, options) => storage.list(prefix, options),
    ...(close === undefined ? {} : { close: () => close.call(storage) }),
  }, storage);
}
