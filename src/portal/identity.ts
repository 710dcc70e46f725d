/**
 * The facts that only an administrator's proof changes: a portal's application_token, and the app's own user on it. Proof is that the
 * portal itself, at its verified address, says that the user of an access token is an administrator.
 */
import { defined } from "../defined.ts";
import { isUnanswered } from "./claims.ts";
import type { ApplicationTokenDigests } from "./portal.ts";
import type { PortalRecord } from "./record.ts";
import { isKnownPair, isSuperseded } from "./stored_credentials.ts";
import { mergeTokens, type StoredTokens } from "./tokens.ts";

/** Number of earlier application_tokens of an installation that are remembered. */
const MAX_PREVIOUS = 4;

/**
 * Returns the record with a token pair. What waits for an administrator takes effect if the pair's user is one, is
 * forgotten if not, and stays with the pair until the portal has said. `now` in milliseconds since 1970.
 */
export function withTokens(record: PortalRecord, tokens: StoredTokens, now: number): PortalRecord {
  if (isKnownPair(record.credentials, tokens)) return record;
  const next = asKnown(record, tokens);
  if (next.isVerified !== true) return withUnverifiedPair(record, next, now);
  if (next.isAdmin === undefined) return withPair(record, next);
  const { pending } = next;
  const isOwn = ({ isVerified, owner, userId }: StoredTokens): boolean =>
    isVerified === true && owner === next.owner && userId === next.userId && userId !== undefined;
  const waiting = [...(record.tokens ?? []).filter(isOwn).map(({ pending }) => pending), pending];
  let after = withPair(record, pending === undefined ? next : withoutPending(next));
  if (!next.isAdmin) return after;
  for (const { applicationToken, systemUser } of waiting.filter((one) => one !== undefined)) {
    if (applicationToken !== undefined) {
      after = withApplicationToken(after, applicationToken.digest, applicationToken.ts, now);
    }
    if (systemUser !== undefined) after = withPair(after, systemUser);
  }
  return after;
}

function withoutPending({ pending: _, ...pair }: StoredTokens): StoredTokens {
  return pair;
}

/** Returns the stored pair with the access token of an event's pair, if that is verified, and what waits in the event's. */
function asKnown({ tokens }: PortalRecord, next: StoredTokens): StoredTokens {
  if (next.isVerified) return next;
  const known = tokens?.find(({ isVerified, accessToken }) => isVerified && accessToken === next.accessToken);
  if (known === undefined) return next;
  return next.pending === undefined ? known : { ...known, pending: next.pending };
}

function withPair(record: PortalRecord, next: StoredTokens): PortalRecord {
  const tokens = mergeTokens(record.tokens, next);
  return tokens === record.tokens ? record : { ...record, ...defined({ tokens }) };
}

/** Milliseconds that an access token is valid, whatever its event says. */
const TOKEN_MS = 60 * 60 * 1000;

/**
 * Returns the record with a pair that is not verified. While Bitrix24 does not answer about a claim, the oldest one is kept
 * besides: those that come later may be made up to evict the one that the claim is to be asked about with.
 */
function withUnverifiedPair(record: PortalRecord, next: StoredTokens, now: number): PortalRecord {
  const { tokens = [], claims } = record;
  const oldest = tokens.find(({ isVerified, pending, ts }) => !isVerified && !pending && ts * 1000 + TOKEN_MS > now);
  const isKept = oldest !== undefined && oldest.accessToken !== next.accessToken && isUnanswered(claims);
  if (!isKept) return withPair(record, next);
  const others = tokens.filter((pair) => pair !== oldest);
  const merged = mergeTokens(others, next)!;
  return merged === others ? record : { ...record, tokens: [oldest, ...merged] };
}

/**
 * Returns the record after an administrator's event from `ts` (in seconds) with this application_token. An older event than
 * the one that brought the current token changes nothing. `now` in milliseconds since 1970.
 */
export function withApplicationToken(record: PortalRecord, digest: string, ts: number, now: number): PortalRecord {
  const { applicationToken: known } = record;
  if (isSuperseded(ts, record)) return record;
  const applicationToken = known?.current === digest ? known : replaced(known, digest, now);
  return { ...record, applicationToken, applicationTokenTs: ts };
}

function replaced(
  known: ApplicationTokenDigests | undefined,
  current: string,
  replacedAt: number,
): ApplicationTokenDigests {
  if (known === undefined) return { current };
  const others = (known.previous ?? []).filter(({ digest }) => digest !== current);
  return { current, previous: [{ digest: known.current, replacedAt }, ...others].slice(0, MAX_PREVIOUS) };
}

/** Returns the record with an address that an OAuth host has confirmed. The portal's domain is its host. */
export function withAddress(record: PortalRecord, clientEndpoint: string | undefined): PortalRecord {
  if (clientEndpoint === undefined) return record;
  const domain = new URL(clientEndpoint).host;
  const isSame = record.clientEndpoint === clientEndpoint && record.domain === domain;
  return isSame ? record : { ...record, clientEndpoint, domain };
}
