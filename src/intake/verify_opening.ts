/** Verifies openings: an OAuth host says whose the access token is, and the portal whether its user is an administrator. */
import type { AppInfo } from "../bitrix24/oauth_client.ts";
import type { OpeningRequest } from "../bitrix24/opening.ts";
import type { ProfileReader } from "../bitrix24/profile.ts";
import { NotAuthenticError } from "../errors.ts";
import { Secret } from "../secret.ts";
import {
  createTokenAnswers,
  CURRENT_MS,
  type OpenedPortal,
  type TokenAnswer,
  type TokenAnswersOptions,
} from "./token_answers.ts";

/** Options of {@linkcode createOpeningVerifier}. */
export interface OpeningVerifierOptions extends TokenAnswersOptions {
  /** Absent: no opening can be verified. */
  readonly clientId?: string;
  readonly isAdministrator: ProfileReader;
}

/** A verified opening. */
export interface VerifiedOpening {
  readonly info: AppInfo;
  /** `undefined` if the portal does not say. */
  readonly isAdmin: boolean | undefined;
}

/**
 * Verifies an opening.
 *
 * @throws {TypeError} if the app has no clientId
 * @throws {NotAuthenticError} if the access token is invalid, or another app's or another portal's
 * @throws {CannotVerifyError} if that cannot be decided now
 */
export type VerifyOpening = (opening: OpeningRequest, portal: OpenedPortal) => Promise<VerifiedOpening>;

/** Returns the verification of openings in this process. */
export function createOpeningVerifier(options: OpeningVerifierOptions): VerifyOpening {
  const { runtime: { clock }, clientId, isAdministrator } = options;
  const answerOf = createTokenAnswers(options);

  /** Asks the portal once per token; again after a while if it has not answered. */
  async function isAdminOf(
    answer: TokenAnswer,
    { clientEndpoint }: AppInfo,
    token: Secret,
  ): Promise<boolean | undefined> {
    if (clientEndpoint === undefined) return undefined;
    const isAdmin = await answer.profile?.isAdmin;
    const now = clock();
    if (isAdmin !== undefined || now - (answer.profile?.askedAt ?? -Infinity) < CURRENT_MS) return isAdmin;
    answer.profile = { askedAt: now, isAdmin: isAdministrator(clientEndpoint, token) };
    return await answer.profile.isAdmin;
  }

  return async (opening, portal) => {
    if (clientId === undefined) {
      throw new TypeError("cannot open the app: app.open() needs clientId in createApp(), to verify access tokens");
    }
    const answer = await answerOf(opening, portal);
    const { outcome } = answer;
    if (outcome instanceof NotAuthenticError) throw new NotAuthenticError(outcome.message);
    if (!new Secret(outcome.clientId).equals(clientId)) {
      throw new NotAuthenticError("the access token belongs to another app");
    }
    if (outcome.memberId !== opening.memberId) {
      throw new NotAuthenticError("the access token belongs to another portal");
    }
    return { info: outcome, isAdmin: await isAdminOf(answer, outcome, opening.accessToken) };
  };
}
