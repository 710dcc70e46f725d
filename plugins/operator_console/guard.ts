/** Authentication of the console. */
import type { OperatorRole } from "../operator_api/guard.ts";
import { LINE } from "../operator_api/parameters.ts";
import type { Operator } from "../operator_api/route.ts";
import type { Visit } from "./visit.ts";

/** The user who has signed in, as your own single sign-on reports. */
export interface ConsoleUser {
  /** The operator: `by` in the audit log. 1 to 100 characters, none of them a control character. */
  readonly name: string;
  /** May see everything that the console shows (`read`), or also act (`operate`). */
  readonly role: OperatorRole;
}

/** A user with a password. */
export interface PasswordUser extends ConsoleUser {
  /** The output of `onappupdate password`. Another hash, name or role ends the sessions of the user. */
  readonly passwordHash: string;
}

/**
 * Your own single sign-on: returns who has sent a request, or `undefined` for one who may not open the console, who is answered
 * 403. Called for each request; while a page is open, also every 30 seconds with the request that opened its stream.
 */
export type SignOn = (
  request: Request,
  ...platform: unknown[]
) => ConsoleUser | undefined | Promise<ConsoleUser | undefined>;

/** The sender of a request. */
export interface Visitor {
  readonly operator: Operator;
  /** The storage does not answer: this is who it was a short while ago. May look at what was last known, and no more. */
  readonly isLastKnown?: true;
}

/** Finds out who has sent a request. */
export interface Guard {
  /**
   * Returns who has sent a request; `undefined` for nobody who is known. `isUse`: a person has caused it, and not a page that was
   * left open.
   */
  readonly identify: (visit: Visit, isUse: boolean) => Promise<Visitor | undefined>;
  /** Answers addresses of the guard's own; `undefined` for all others. */
  readonly answer: (visit: Visit) => Promise<Response | undefined>;
  /** Answers a GET of somebody who is not known. */
  readonly signIn: (visit: Visit) => Promise<Response>;
  /** Whether pages show a button for the address `/logout`. */
  readonly canLogOut: boolean;
}

const NAME = new RegExp(LINE, "u");

/** Returns whether a value is the name of an operator. */
export function isName(name: unknown): name is string {
  return typeof name === "string" && name.length <= 100 && name.isWellFormed() && NAME.test(name);
}

/**
 * Returns the operator that a sign-on names.
 *
 * @throws {TypeError} if it returns anything but a user or `undefined`
 */
export function operatorOf(user: ConsoleUser | undefined): Operator | undefined {
  if (user === undefined) return undefined;
  const { name, role } = Object(user) as Partial<ConsoleUser>;
  if (isName(name) && (role === "read" || role === "operate")) return { name, role };
  throw new TypeError(
    'guard returned a value that is no user, wanted { name, role } with the role "read" or "operate"',
  );
}
