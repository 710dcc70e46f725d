/** The error that stands for an error answer of Bitrix24. */
import { defined } from "../defined.ts";
import { type BlockedReason, OnAppUpdateError } from "../errors.ts";
import { meaningOf } from "./error_codes.ts";

/** An error answer of Bitrix24, to make a {@linkcode B24Error} of. */
export interface B24Failure {
  /** Bitrix24's own code as it was sent, such as `QUERY_LIMIT_EXCEEDED`. */
  readonly code: string;
  /** `error_description`, without tokens. */
  readonly description: string;
  /** HTTP status; Bitrix24 sends errors with 200 too. */
  readonly status: number;
  /** The REST method that was called, such as `crm.deal.list`. */
  readonly method: string;
}

/**
 * Bitrix24 answered with an error: the portal's REST, or an OAuth host.
 *
 * If a handler throws it, the portal is blocked (`blockedOn`), tried again after `retryAfterMs`, parked (`isFinal`), or
 * tried again by the retry policy. For a plugin that calls portals by itself, the other members say whether to repeat the
 * call; `credentials.call` does most of it.
 *
 * @example
 * ```ts
 * import { B24Error, createApp, memoryStorage } from "@b24/onappupdate";
 * import { rest } from "@b24/onappupdate/rest";
 *
 * createApp({ storage: memoryStorage() }).use(rest()).upgrade("2.0.0", async ({ b24, step, log }) => {
 *   await step("robots", async () => {
 *     try {
 *       await b24.call("bizproc.robot.delete", { CODE: "rate" });
 *     } catch (error) {
 *       // What this portal does not have is no failure; all else is for the library: it retries, blocks or parks.
 *       if (!(error instanceof B24Error) || error.b24Code !== "ERROR_METHOD_NOT_FOUND") throw error;
 *       log.info("no robots here");
 *     }
 *   });
 * });
 * ```
 */
export class B24Error extends OnAppUpdateError {
  /** Bitrix24's own code as it was sent, such as `QUERY_LIMIT_EXCEEDED`. */
  readonly b24Code: string;
  /** Bitrix24's `error_description`, without tokens. */
  readonly description: string;
  /** HTTP status; Bitrix24 sends errors with 200 too. */
  readonly status: number;
  /** The REST method that was called, such as `crm.deal.list`. */
  readonly method: string;
  /** The need of the portal that keeps another attempt from succeeding; absent if nothing does. */
  readonly blockedOn?: BlockedReason;
  /** Another attempt cannot succeed, or makes it worse. */
  readonly isFinal: boolean;
  /** Milliseconds after which the cause is over by itself, such as a limit; absent if that is not known. */
  readonly retryAfterMs?: number;
  /** The limit that was exceeded: too many requests to the portal, or too much operating time of the method. */
  readonly limit?: "requests" | "operating_time";
  /** The access token is invalid or expired: refresh the token pair, then repeat the call. */
  readonly refusesToken: boolean;
  /** The user may not do this; another user of the portal may. */
  readonly needsOtherUser: boolean;
  /** The call may have taken effect: repeat it only if it may run twice. */
  readonly mayHaveTakenEffect: boolean;
  /** The app is not installed on the portal. An OAuth host that says so may not know of a new installation yet. */
  readonly isNotInstalled: boolean;
  /**
   * If an OAuth host answers `app.info` with this error, the access token does not belong to this app on an installed
   * portal. Any other error leaves that open.
   */
  readonly failsVerification: boolean;

  /** `code` and `description` must not contain a token. */
  constructor({ code, description, status, method }: B24Failure, options?: ErrorOptions) {
    super("bitrix24", `${method} answered ${status} ${code}${description === "" ? "" : `: ${description}`}`, options);
    const meaning = meaningOf(code, description, status);
    this.b24Code = code;
    this.description = description;
    this.status = status;
    this.method = method;
    this.isFinal = meaning.isFinal ?? false;
    this.refusesToken = meaning.refusesToken ?? false;
    this.needsOtherUser = meaning.needsOtherUser ?? false;
    this.mayHaveTakenEffect = meaning.mayHaveTakenEffect ?? false;
    this.isNotInstalled = meaning.isNotInstalled ?? false;
    this.failsVerification = meaning.failsVerification ?? false;
    const { blockedOn, retryAfterMs, limit } = meaning;
    Object.assign(this, defined({ blockedOn, retryAfterMs, limit }));
  }
}
