/** The token pairs of a portal as they are stored under a key of their own, and what the portal's record says about them. */
import { defined } from "../defined.ts";
import { FormatError } from "../errors.ts";
import { unitHash } from "../retry.ts";
import type { Entry } from "../storage/storage.ts";
import { pendingApplicationTokens, type SentApplicationToken, type StoredTokens } from "./tokens.ts";

/** The process that refreshes tokens of a portal: one at a time. */
export interface RefreshHolder {
  readonly id: string;
  /** In milliseconds since 1970. */
  readonly until: number;
}

/** The value of `credentials/<member>`, changed by compare-and-set. */
export interface StoredCredentials {
  readonly format: typeof CREDENTIALS_FORMAT;
  /** The installation that has the pairs. Those of an earlier one are never used. */
  readonly generation: number;
  /** Rises with each write. */
  readonly sequence: number;
  readonly tokens: readonly StoredTokens[];
  readonly refreshing?: RefreshHolder;
  /**
   * The application_token that an administrator's pair proved in this write. It is in the record, too, unless a crash came
   * before that.
   */
  readonly proved?: SentApplicationToken;
}

/** What a portal's record says about its credentials, so that events are applied and checks planned without reading them. */
export interface CredentialsSummary {
  /** The one in the credentials: the record believes no others. */
  readonly generation: number;
  /** The one in the credentials when the record was written with them. A refresh raises only that of the credentials. */
  readonly sequence: number;
  /** When the last access token expires, in milliseconds since 1970. After a refresh, it is the one before it. */
  readonly expiresAt: number;
  /** A pair has a refresh token. */
  readonly isRefreshable?: true;
  /** The application tokens that wait for an administrator's proof; absent if there are none. */
  readonly pending?: readonly SentApplicationToken[];
  /** Scopes of all pairs; absent if the record has those of the portal. */
  readonly scope?: readonly string[];
  /** Fingerprints of the pairs, so that one that an event brings again is recognized. After a refresh, those before it. */
  readonly known: readonly string[];
}

/** Raised if older code would misread credentials. */
export const CREDENTIALS_FORMAT = 1;

/** @throws {FormatError} if newer code wrote the credentials */
export function assertReadableCredentials(entry: Entry<StoredCredentials> | null): void {
  if (entry === null || entry.value.format === CREDENTIALS_FORMAT) return;
  throw new FormatError(`credentials of portal ${entry.key.at(-1)}`, entry.value.format, CREDENTIALS_FORMAT);
}

/** Returns what a record is to say about credentials; `undefined` if they have no pair. `scope`: that of the record. */
export function summaryOf(
  { generation, sequence, tokens }: StoredCredentials,
  scope: readonly string[] | undefined,
): CredentialsSummary | undefined {
  if (tokens.length === 0) return undefined;
  const pending = pendingApplicationTokens(tokens);
  return {
    ...{ generation, sequence, expiresAt: Math.max(...tokens.map(({ expiresAt }) => expiresAt)) },
    known: tokens.map(fingerprintOf),
    ...defined({
      isRefreshable: tokens.some(({ refreshToken }) => refreshToken !== undefined) || undefined,
      pending: pending.length === 0 ? undefined : pending,
      scope: scope === undefined ? scopesOf(tokens) : undefined,
    }),
  };
}

/** Returns whether a pair of an event is in the credentials already, and tells nothing new. */
export function isKnownPair(credentials: CredentialsSummary | undefined, pair: StoredTokens): boolean {
  if (credentials === undefined || pair.isVerified || pair.pending !== undefined) return false;
  const { known } = credentials;
  return known.includes(tokenFingerprintOf(pair)) || known.includes(fingerprintOf(pair));
}

/** Returns the fingerprint of a pair. Its `ts` counts until it is verified. */
function fingerprintOf(pair: StoredTokens): string {
  const fingerprint = tokenFingerprintOf(pair);
  return pair.isVerified ? fingerprint : `${fingerprint} ${pair.ts}`;
}

/** The fingerprints of access tokens by pairs: most pairs stay the same when one is added. */
const fingerprints = new WeakMap<StoredTokens, string>();

/** Returns a hash of the access token of a pair, which is too short to tell the token. */
function tokenFingerprintOf(pair: StoredTokens): string {
  const known = fingerprints.get(pair);
  if (known !== undefined) return known;
  const { accessToken } = pair;
  const parts = [accessToken, ` ${accessToken}`];
  const fingerprint = parts.map((part) => Math.floor(unitHash(part) * 2 ** 32).toString(36)).join("-");
  fingerprints.set(pair, fingerprint);
  return fingerprint;
}

/** The fields of a record that say which pairs the portal has. */
interface WithPairs {
  readonly tokens?: readonly StoredTokens[];
  readonly credentials?: CredentialsSummary;
}

/** Returns whether the portal has a pair. */
export function hasTokens({ tokens, credentials }: WithPairs): boolean {
  return tokens !== undefined || credentials !== undefined;
}

/**
 * Returns until when the app has a token to ask Bitrix24 with, in milliseconds since 1970: `Infinity` if it can refresh one,
 * `-Infinity` if it has none. `canRefresh`: the app has a client secret.
 */
export function askableUntil({ tokens = [], credentials }: WithPairs, canRefresh: boolean): number {
  const isRefreshable = canRefresh &&
    (credentials?.isRefreshable === true || tokens.some(({ refreshToken }) => refreshToken !== undefined));
  if (isRefreshable) return Infinity;
  return Math.max(credentials?.expiresAt ?? -Infinity, ...tokens.map(({ expiresAt }) => expiresAt));
}

/** The field of a record that says since when it has its application_token. */
interface WithTokenTs {
  readonly applicationTokenTs?: number;
}

/** Returns whether an application_token from `ts`, in seconds since 1970, is older than the one that is proved. */
export function isSuperseded(ts: number, { applicationTokenTs = 0 }: WithTokenTs): boolean {
  return ts < applicationTokenTs;
}

/**
 * Returns the digests of the application tokens that wait in the portal's pairs for an administrator's proof. One that is
 * superseded, such as that of the installation before, never counts.
 */
export function pendingTokensOf(record: WithPairs & WithTokenTs): readonly string[] {
  const waiting = [...record.credentials?.pending ?? [], ...pendingApplicationTokens(record.tokens)];
  return [...new Set(waiting.filter(({ ts }) => !isSuperseded(ts, record)).map(({ digest }) => digest))];
}

/** Returns the scopes of the portal's pairs. */
export function tokenScopesOf({ tokens = [], credentials }: WithPairs): readonly string[] {
  return [...credentials?.scope ?? [], ...scopesOf(tokens)];
}

function scopesOf(tokens: readonly StoredTokens[]): readonly string[] {
  return [...new Set(tokens.flatMap(({ scope }) => scope))];
}
