/** The facts about an event that are not in its body. */
import type { B24Event } from "../bitrix24/events.ts";
import type { VersionScheme } from "../version.ts";

/** The input for applying an event, besides the event. */
export interface EventFacts {
  readonly verification: StoredVerification;
  readonly versions: VersionScheme;
  /** When the event was received, in milliseconds since 1970. */
  readonly receivedAt: number;
  /** The app has a client secret, so tokens that have expired can be refreshed. */
  readonly canRefresh: boolean;
  /** Returns whether only a rollout raises the target of a portal to the deployed version. Absent without a rollout. */
  readonly holdsBack?: (memberId: string) => boolean;
}

/** The parts of an app that {@linkcode factsOf} uses. */
export interface FactsSource extends Pick<EventFacts, "versions" | "canRefresh"> {
  readonly rollout?: Required<Pick<EventFacts, "holdsBack">>;
}

/** Returns the facts about an event of an app. `receivedAt`: in milliseconds since 1970. */
export function factsOf(
  { versions, canRefresh, rollout }: FactsSource,
  verification: StoredVerification,
  receivedAt: number,
): EventFacts {
  return { verification, versions, receivedAt, canRefresh, ...(rollout && { holdsBack: rollout.holdsBack }) };
}

/**
 * The treatment of a version about which nobody can be asked, for lack of a token: `"always"`: it waits for one;
 * `"when-possible"`: it is believed.
 */
export type ConfirmMode = "always" | "when-possible";

/** The result of plugins of phase `verify`, without plain tokens, as it is stored with a delivery. */
export interface StoredVerification {
  /** Digest of an application_token that an administrator has proved. */
  readonly applicationTokenDigest?: string;
  /** Digest of an application_token that counts once the user of `tokens` is known as an administrator. */
  readonly pendingTokenDigest?: string;
  /** Digest of the application_token by which the event claims a removal. */
  readonly claimTokenDigest?: string;
  readonly clientEndpoint?: string;
  readonly installedVersion?: string;
  /** The version, removal and payment state of the event are claims that Bitrix24 must confirm. */
  readonly claims?: ConfirmMode;
  readonly scope?: readonly string[];
  readonly tokens?: VerifiedTokens;
  /** The event counts as sent at this time at the earliest, in seconds since 1970; see `factsAfter()`. */
  readonly notBeforeTs?: number;
  /** VERSION that an opening found before `installFinish`. Bitrix24's own event of this version comes later. */
  readonly openedVersion?: string;
}

/**
 * Seconds since 1970. A `ts` after the receipt is not trusted: it would outrank all later events. So `receivedAt` must not be
 * before what the record had seen by then: see `receivedAfter()`.
 */
export function sentTs(
  { ts }: B24Event,
  { receivedAt, verification: { notBeforeTs = 0 } }: Pick<EventFacts, "receivedAt" | "verification">,
): number {
  return Math.max(notBeforeTs, Math.min(ts, Math.floor(receivedAt / 1000)));
}

/** The answer of an OAuth host about the access token of an event. */
export interface VerifiedTokens {
  readonly userId?: number;
  readonly scope: readonly string[];
  /** Whether the portal says that the user is an administrator; absent if it has not answered. */
  readonly isAdmin?: boolean;
}
