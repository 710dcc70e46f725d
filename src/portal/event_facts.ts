/** The facts about an event that are not in its body. */
import type { VersionScheme } from "../version.ts";
import type { VerifiedTokens } from "./tokens.ts";

/** The input for applying an event, besides the event. */
export interface EventFacts {
  readonly verification: StoredVerification;
  readonly versions: VersionScheme;
  /** When the event was received, in milliseconds since 1970. */
  readonly receivedAt: number;
}

/** The result of plugins of phase `verify`, without plain tokens, as it is stored with a delivery. */
export interface StoredVerification {
  /** Of an application_token that an administrator has proved. */
  readonly applicationTokenDigest?: string;
  /** Of an application_token that counts if the user of `tokens` turns out to be an administrator. */
  readonly pendingTokenDigest?: string;
  readonly clientEndpoint?: string;
  readonly installedVersion?: string;
  readonly scope?: readonly string[];
  readonly tokens?: VerifiedTokens;
  /** VERSION that an opening found before `installFinish`. Bitrix24's own event of this version comes later. */
  readonly openedVersion?: string;
}
