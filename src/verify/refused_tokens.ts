/** Access tokens that an OAuth host has refused: a repeated forgery costs no question. */
import type { B24Event } from "../bitrix24/events.ts";
import { NotAuthenticError } from "../errors.ts";

/** Remembers refused tokens in the memory of this process. */
export interface RefusedTokens {
  /** @throws {NotAuthenticError} if an OAuth host has refused the access token of an event before */
  readonly assertNew: (event: B24Event) => Promise<void>;
  /** Remembers the access token of an event. */
  readonly add: (event: B24Event) => Promise<void>;
}

/** Maximum number of tokens. The oldest are forgotten. */
const MAX_TOKENS = 100_000;

/** Returns an empty memory. It contains digests, no tokens. */
export function createRefusedTokens(digest: (text: string) => Promise<string>): RefusedTokens {
  const digests = new Set<string>();
  // A token is refused for one portal: with another `member_id`, somebody else may have copied it.
  const digestOf = ({ auth }: B24Event): Promise<string> =>
    digest(`${auth.memberId} ${auth.accessToken?.reveal() ?? ""}`);

  return {
    assertNew: async (event) => {
      if (digests.has(await digestOf(event))) {
        throw new NotAuthenticError("an OAuth host has refused its access token before");
      }
    },
    add: async (event) => {
      if (digests.size >= MAX_TOKENS) digests.delete(digests.values().next().value!);
      digests.add(await digestOf(event));
    },
  };
}
