/** The access tokens that were issued to callers last: errors that quote one of them can be redacted. */
import { Secret } from "../secret.ts";

/** The access tokens issued last, for each portal. */
export interface IssuedTokens {
  /** Returns the secret of a token, the same one each time while it is remembered. */
  readonly issue: (memberId: string, accessToken: string) => Secret;
  /** Returns the tokens of a portal, the newest first. */
  readonly of: (memberId: string) => readonly Secret[];
}

/** Maximum number of portals, and of tokens of each. */
const MAX_PORTALS = 1000;
const MAX_TOKENS = 4;

/** Returns an empty memory of issued tokens. */
export function createIssuedTokens(): IssuedTokens {
  const issued = new Map<string, readonly Secret[]>();
  return {
    issue: (memberId, accessToken) => {
      const token = new Secret(accessToken);
      const earlier = issued.get(memberId) ?? [];
      const same = earlier.find((other) => other.equals(token));
      if (same !== undefined) return same;
      if (issued.size >= MAX_PORTALS) issued.clear();
      issued.set(memberId, [token, ...earlier.slice(0, MAX_TOKENS - 1)]);
      return token;
    },
    of: (memberId) => issued.get(memberId) ?? [],
  };
}
