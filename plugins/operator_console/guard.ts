/** Who may open the console. */
import type { OperatorRole } from "../operator_api/guard.ts";
import { LINE } from "../operator_api/parameters.ts";
import type { Operator } from "../operator_api/route.ts";

/** Who has signed in, as your own single sign-on says. */
export interface ConsoleUser {
  /** The operator: `by` in the audit log. 1 to 100 characters, none of them a control character. */
  readonly name: string;
  /** May see everything that the console shows (`read`), or also act (`operate`). */
  readonly role: OperatorRole;
}

/**
 * Your own single sign-on: returns who has sent a request, or `undefined` for one who may not open the console, who is answered
 * 403. Called for each request; while a page is open, also every 30 seconds with the request that opened its stream.
 */
export type SignOn = (
  request: Request,
  ...platform: unknown[]
) => ConsoleUser | undefined | Promise<ConsoleUser | undefined>;

const NAME = new RegExp(LINE, "u");

/**
 * Returns the operator that a sign-on names.
 *
 * @throws {TypeError} if it returns anything but a user or `undefined`
 */
export function operatorOf(user: ConsoleUser | undefined): Operator | undefined {
  if (user === undefined) return undefined;
  const { name, role } = Object(user) as Partial<ConsoleUser>;
  if (typeof name === "string" && name.length <= 100 && NAME.test(name) && (role === "read" || role === "operate")) {
    return { name, role };
  }
  throw new TypeError(
    'guard returned a value that is no user, wanted { name, role } with the role "read" or "operate"',
  );
}
