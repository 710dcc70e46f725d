/** What Bitrix24's codes of errors mean for a call. */
import type { B24Error } from "../../mod.ts";
import { UnreachableError } from "../../errors.ts";

/**
 * - `spent`: the token has ended, and the user's next one will do
 * - `denied`: this user may not, and another may
 * - `closed`: the portal takes no calls at all
 * - `limited`: the portal has had too many requests
 * - `blocked`: the method has used up its time
 * - `unclear`: nobody knows whether it was done
 */
export type Meaning = "spent" | "denied" | "closed" | "limited" | "blocked" | "unclear";

/** By the code in small letters: Bitrix24 writes them in either. */
const MEANINGS: ReadonlyMap<string, Meaning> = new Map([
  ["expired_token", "spent"],
  ["invalid_token", "spent"],
  ["no_auth_found", "spent"],
  ["user_access_error", "denied"],
  ["access_denied", "denied"],
  ["payment_required", "closed"],
  ["not_installed", "closed"],
  ["query_limit_exceeded", "limited"],
  ["operation_time_limit", "blocked"],
  ["internal_server_error", "unclear"],
  ["error_unexpected_answer", "unclear"],
]);

/** `undefined`: the error is the caller's. */
export function meaningOf(error: B24Error | UnreachableError): Meaning | undefined {
  return error instanceof UnreachableError ? "unclear" : MEANINGS.get(error.b24Code.toLowerCase());
}
