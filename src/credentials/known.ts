/** Credentials in memory: a call of a portal reads the storage once a minute, and when a token was refused. */
import { CREDENTIALS, PORTALS } from "../portal/keys.ts";
import type { PortalRecord } from "../portal/record.ts";
import type { StoredCredentials } from "../portal/stored_credentials.ts";
import type { Key, Storage, WriteOperation, WriteOptions } from "../storage/storage.ts";
import type { PortalCredentials } from "./contract.ts";

/** The best credentials of each portal, as far as this process knows. */
export interface KnownCredentials {
  /** Returns the credentials of a portal, or `undefined` if none are known to be good. */
  readonly get: (memberId: string) => PortalCredentials | undefined;
  /** Remembers the best credentials of the portal that has `record`, which was just read and opened. */
  readonly keep: (record: PortalRecord, credentials: PortalCredentials) => void;
  /**
   * Returns the storage, which compares what is read and written through it with what is known: once this process sees a
   * removal or another address in a portal's record, or other tokens, the portal's credentials are forgotten. A refused token
   * needs no more than that, for what follows a refusal reads the record and the tokens.
   */
  readonly watch: (storage: Storage) => Storage;
}

/** An access token that expires within this time, in milliseconds, is refreshed before it is used. */
export const REFRESH_BEFORE_MS = 60_000;

/**
 * Age in milliseconds at which credentials are read again: what another process has changed takes effect after this time,
 * also if Bitrix24 still accepts the token.
 */
const MAX_AGE_MS = 60_000;

/** Maximum number of portals. The one whose credentials were kept first is forgotten for another. */
const MAX_PORTALS = 10_000;

/** The known facts about a portal. */
interface Kept {
  readonly credentials: PortalCredentials;
  /** The parts of the record and the tokens that the credentials were selected by. */
  readonly recordBasis: string;
  readonly tokens: string;
  readonly accessTokens: ReadonlySet<string>;
  /** Milliseconds since 1970. */
  readonly keptAt: number;
}

/** Returns an empty memory of credentials. */
export function createKnownCredentials(clock: () => number): KnownCredentials {
  const known = new Map<string, Kept>();
  return {
    get: (memberId) => {
      const kept = known.get(memberId);
      if (kept === undefined) return undefined;
      const { credentials, keptAt } = kept;
      const age = clock() - keptAt;
      const isGood = age >= 0 && age < MAX_AGE_MS && credentials.expiresAt - REFRESH_BEFORE_MS > clock();
      return isGood ? credentials : undefined;
    },
    keep: (record, credentials) => {
      const { memberId } = record;
      known.delete(memberId);
      const [first] = known.keys();
      if (first !== undefined && known.size >= MAX_PORTALS) known.delete(first);
      const { tokens = [] } = record;
      known.set(memberId, {
        ...{ credentials, recordBasis: basisOf(record), keptAt: clock() },
        ...{ tokens: JSON.stringify(tokens), accessTokens: new Set(tokens.map(({ accessToken }) => accessToken)) },
      });
    },
    watch: (storage) =>
      watched(storage, (memberId, isSame) => {
        const kept = known.get(memberId);
        if (kept !== undefined && !isSame(kept)) known.delete(memberId);
      }),
  };
}

/** Returns the part of a record that the choice of credentials depends on, besides the tokens. */
function basisOf({ status, clientEndpoint }: PortalRecord): string {
  return JSON.stringify([status, clientEndpoint]);
}

/** Returns whether a stored record leaves the choice of credentials as it is: also by tokens that are only in the record. */
function isBasis({ recordBasis, accessTokens }: Kept, record: PortalRecord): boolean {
  return recordBasis === basisOf(record) &&
    (record.tokens ?? []).every(({ accessToken }) => accessTokens.has(accessToken));
}

/** Called when an entry of a portal is read, written or deleted. `isSame`: whether what is known agrees with it. */
type Seen = (memberId: string, isSame: (kept: Kept) => boolean) => void;

/** Returns the storage with `seen` called for the records and the tokens of portals. */
function watched(storage: Storage, seen: Seen): Storage {
  const see = ([part, memberId]: Key, value: unknown): void => {
    if (memberId === undefined) return;
    if (part === PORTALS[0]) seen(memberId, (kept) => value !== undefined && isBasis(kept, value as PortalRecord));
    if (part === CREDENTIALS[0]) {
      const { tokens } = value as StoredCredentials | undefined ?? {};
      seen(memberId, (kept) => tokens !== undefined && kept.tokens === JSON.stringify(tokens));
    }
  };

  async function apply<Result extends { readonly ok: boolean }>(
    operations: readonly WriteOperation[],
    write: () => Promise<Result>,
  ): Promise<Result> {
    let isApplied = false;
    try {
      const result = await write();
      isApplied = result.ok;
      return result;
    } finally {
      // A write that failed may have happened. One whose condition did not hold shows that others write, too.
      for (const operation of operations) {
        if ("put" in operation) see(operation.put, isApplied ? operation.value : undefined);
        else see(operation.delete, undefined);
      }
    }
  }

  const { write, close } = storage;
  return {
    name: storage.name,
    capabilities: storage.capabilities,
    get: async <T>(...args: Parameters<Storage["get"]>) => {
      const entry = await storage.get<T>(...args);
      see(args[0], entry?.value);
      return entry;
    },
    put: (key, value, options) => apply([{ put: key, value }], () => storage.put(key, value, options)),
    delete: (key, options) => apply([{ delete: key }], () => storage.delete(key, options)),
    ...(write !== undefined && {
      write: (operations: readonly WriteOperation[], options?: WriteOptions) =>
        apply(operations, () => write.call(storage, operations, options)),
    }),
    list: (prefix, options) => storage.list(prefix, options),
    ...(close !== undefined && { close: () => close.call(storage) }),
  };
}
