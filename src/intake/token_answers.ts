/** The answers of OAuth hosts about access tokens of openings: remembered by digest, and asked for within a budget. */
import { coalesce } from "../async/coalesce.ts";
import { B24Error } from "../bitrix24/b24_error.ts";
import type { AppInfo, OAuthClient } from "../bitrix24/oauth_client.ts";
import type { OpeningRequest } from "../bitrix24/opening.ts";
import { CannotVerifyError, NotAuthenticError, UnreachableError } from "../errors.ts";
import type { AppRuntime } from "../plugin/runtime.ts";
import { type Budget, requestsFor } from "../verify/budget.ts";

/** Options of {@linkcode createTokenAnswers}. */
export interface TokenAnswersOptions {
  readonly runtime: Pick<AppRuntime, "clock" | "digest">;
  readonly appInfo: OAuthClient["appInfo"];
  /** Returns the budget that openings share with unverified events. */
  readonly budget: () => Budget;
  /** Origins of the OAuth hosts: each of them is asked about an opening that names none of them. */
  readonly oauthHosts: readonly string[];
}

/** The state of the portal of an opening. */
export interface OpenedPortal {
  /** The portal is stored. */
  readonly isKnown: boolean;
  /** Answers from before this time do not count, in milliseconds since 1970. */
  readonly askedSince: number;
}

/** An answer about one access token. */
export interface TokenAnswer {
  /** In milliseconds since 1970. */
  readonly until: number;
  readonly askedAt: number;
  readonly outcome: AppInfo | NotAuthenticError;
  /** The portal's answer about the user; absent until it is asked. */
  profile?: { readonly askedAt: number; readonly isAdmin: Promise<boolean | undefined> };
}

/**
 * Returns a current answer about the token of an opening; an older one if there is no new one now.
 *
 * @throws {CannotVerifyError} if there is none
 */
export type TokenAnswers = (opening: OpeningRequest, portal: OpenedPortal) => Promise<TokenAnswer>;

/** Milliseconds that an answer is taken as current; shorter until the installation is finished. */
export const CURRENT_MS = 60_000;
const CURRENT_IN_INSTALLER_MS = 1000;

/** Milliseconds that a refused token is remembered. */
const REFUSED_MS = 10 * 60_000;

/** Maximum number of tokens whose answers are remembered. */
const MAX_REMEMBERED = 10_000;

/** Returns the answers of this process. */
export function createTokenAnswers({ runtime, appInfo, budget, oauthHosts }: TokenAnswersOptions): TokenAnswers {
  const { clock, digest } = runtime;
  const remembered = new Map<string, TokenAnswer>();
  const running = new Map<string, Promise<TokenAnswer>>();
  /** Questions under way, by `member_id`. */
  const underWay = new Map<string, Set<Promise<unknown>>>();

  async function ask(key: string, opening: OpeningRequest, isKnown: boolean): Promise<TokenAnswer> {
    const { memberId } = opening;
    const requests = requestsFor(opening.serverEndpoint, oauthHosts);
    while (!budget().take(memberId, isKnown, requests)) {
      // Users of one portal may open the app at once: more than the budget allows wait for the answers to others.
      const questions = underWay.get(memberId);
      if (questions === undefined) throw new CannotVerifyError("too many verifications in this minute");
      await Promise.race(questions);
    }
    const question = askNow(opening);
    const settled = question.then(() => {}, () => {});
    const questions = underWay.get(memberId) ?? new Set();
    underWay.set(memberId, questions.add(settled));
    try {
      const answer = await question;
      if (!(answer.outcome instanceof Error) && answer.outcome.memberId === memberId) {
        // Only forged openings use the budget up.
        budget().giveBack(memberId, isKnown, requests);
      }
      const { profile } = remembered.get(key) ?? {};
      if (profile !== undefined) answer.profile = profile;
      if (remembered.size >= MAX_REMEMBERED) forgetExpired(remembered, clock());
      remembered.set(key, answer);
      return answer;
    } finally {
      questions.delete(settled);
      if (questions.size === 0) underWay.delete(memberId);
    }
  }

  async function askNow({ accessToken, expiresAt, serverEndpoint }: OpeningRequest): Promise<TokenAnswer> {
    const askedAt = clock();
    try {
      return { until: expiresAt, askedAt, outcome: await appInfo(accessToken, serverEndpoint) };
    } catch (error) {
      // An installation may be younger than the OAuth host's answer: it is asked again.
      if (error instanceof B24Error && error.failsVerification && !error.isNotInstalled) {
        const refusal = new NotAuthenticError(`the OAuth host refuses the access token: ${error.b24Code}`);
        return { until: askedAt + REFUSED_MS, askedAt, outcome: refusal };
      }
      if (!(error instanceof B24Error || error instanceof UnreachableError)) throw error;
      throw new CannotVerifyError(error.message);
    }
  }

  function isCurrent({ isInstalled }: AppInfo, askedAt: number): boolean {
    return clock() - askedAt < (isInstalled ? CURRENT_MS : CURRENT_IN_INSTALLER_MS);
  }

  return async (opening, { isKnown, askedSince }) => {
    const key = await digest(opening.accessToken.reveal());
    const found = remembered.get(key);
    const counts = found !== undefined && found.until > clock() &&
      (found.outcome instanceof Error || found.askedAt >= askedSince);
    const known = counts ? found : undefined;
    if (known !== undefined && (known.outcome instanceof Error || isCurrent(known.outcome, known.askedAt))) {
      return known;
    }
    try {
      return await coalesce(running, key, () => ask(key, opening, isKnown));
    } catch (error) {
      if (known === undefined || !(error instanceof CannotVerifyError)) throw error;
      return known;
    }
  };
}

/** Makes room: forgets answers that have expired, or all of them if none has. */
function forgetExpired(remembered: Map<string, TokenAnswer>, now: number): void {
  for (const [key, { until }] of remembered) if (until <= now) remembered.delete(key);
  if (remembered.size >= MAX_REMEMBERED) remembered.clear();
}
