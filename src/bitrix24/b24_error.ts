/** Errors that Bitrix24 answers with, and what each of its codes means. */
import { type BlockedReason, OnAppUpdateError } from "../errors.ts";

/** What Bitrix24's codes of errors say that nobody here can hasten. */
const WAITS: ReadonlyMap<string, BlockedReason> = new Map([
  ["expired_token", "authorization"],
  ["invalid_token", "authorization"],
  ["no_auth_found", "authorization"],
  ["invalid_grant", "authorization"],
  ["wrong_client", "authorization"],
  ["invalid_client", "configuration"],
  ["not_installed", "installation"],
  ["payment_required", "payment"],
  ["insufficient_scope", "scope"],
  ["invalid_scope", "scope"],
  ["user_access_error", "administrator"],
  ["access_denied", "administrator"],
  ["method_confirm_waiting", "confirmation"],
]);

/** After these, trying again makes it worse, or is no use. */
const FINAL: ReadonlySet<string> = new Set(["overload_limit", "method_confirm_denied"]);

/** What a {@linkcode B24Error} is made of. */
export interface B24Failure {
  /** Bitrix24's own, such as `QUERY_LIMIT_EXCEEDED`, as it was written. */
  readonly code: string;
  /** `error_description`, without tokens. */
  readonly description: string;
  /** Of HTTP; errors come with 200 too. */
  readonly status: number;
  /** The REST method that was called, such as `crm.deal.list`. */
  readonly method: string;
}

/**
 * Bitrix24 answered with an error: the portal's REST, or an OAuth host. Thrown out of a handler, it makes its portal wait
 * (`blockedOn`), be tried again, or be parked (`isFinal`), as its code demands.
 */
export class B24Error extends OnAppUpdateError {
  /** Bitrix24's own code as it was sent, such as `QUERY_LIMIT_EXCEEDED`. */
  readonly b24Code: string;
  /** In Bitrix24's words, without tokens. */
  readonly description: string;
  /** Of HTTP; errors come with 200 too. */
  readonly status: number;
  /** The REST method that was called. */
  readonly method: string;
  /** Set where trying again is no use before somebody has done this. */
  readonly blockedOn?: BlockedReason;
  /** Trying again is no use at all. */
  readonly isFinal: boolean;

  /** The texts must not hold a token. */
  constructor({ code, description, status, method }: B24Failure, options?: ErrorOptions) {
    super("bitrix24", `${method} answered ${status} ${code}${description === "" ? "" : `: ${description}`}`, options);
    this.b24Code = code;
    this.description = description;
    this.status = status;
    this.method = method;
    const blockedOn = WAITS.get(code.toLowerCase());
    if (blockedOn !== undefined) this.blockedOn = blockedOn;
    this.isFinal = FINAL.has(code.toLowerCase());
  }
}
