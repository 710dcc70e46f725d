/** Commands of a stand-in, and their arguments. */
import type { FakePortal } from "../../testing/bitrix24/portal.ts";
import type { StandIn } from "./stand_in.ts";

/** A command that cannot be run as it was typed. Nothing was done. */
export class CommandError extends Error {
  override readonly name = "CommandError";
}

/** A command. */
export interface StandInCommand {
  readonly name: string;
  /** Its arguments, as the help shows them. */
  readonly usage: string;
  readonly help: string;
  /** The key that runs it without arguments. */
  readonly key?: string;
  /** Resolves once the app has answered. */
  readonly run: (standIn: StandIn, args: readonly string[]) => Promise<void>;
}

/** Returns a version of Bitrix24. @throws {CommandError} if it is none */
export function versionOf(text: string): number {
  const version = Number(text);
  if (/^\d{1,4}$/.test(text) && version >= 1) return version;
  throw new CommandError(`cannot use version "${text}", wanted a whole number such as 3, as Bitrix24 counts versions`);
}

/** @throws {CommandError} if the app is not installed on the selected portal */
export function installed(standIn: StandIn): { readonly portal: FakePortal; readonly version: number } {
  const portal = standIn.selected();
  const { version } = portal.state();
  if (version === undefined) {
    throw new CommandError(`the app is not installed on ${portal.domain}, install it first`);
  }
  return { portal, version };
}

/** Splits arguments from flags such as `--wizard`. */
export function flagsOf(
  args: readonly string[],
  known: readonly string[],
): { rest: string[]; has: (flag: string) => boolean } {
  const flags = args.filter((arg) => arg.startsWith("--")).map((arg) => arg.slice(2));
  const unknown = flags.find((flag) => !known.includes(flag));
  if (unknown !== undefined) {
    throw new CommandError(
      `unknown flag --${unknown}, wanted ${known.map((flag) => `--${flag}`).join(" or ") || "none"}`,
    );
  }
  return { rest: args.filter((arg) => !arg.startsWith("--")), has: (flag) => flags.includes(flag) };
}

/** Returns `text` as one of `values`. @throws {CommandError} if it is another one */
export function oneOf<Value extends string>(text: string, values: readonly Value[]): Value {
  const found = values.find((value) => value === text);
  if (found === undefined) throw new CommandError(`cannot use "${text}", wanted ${values.join(", ")}`);
  return found;
}

/** A host name that is safe in URLs, terminals and pages. */
const DOMAIN = /^(?=.{4,100}$)[a-z0-9-]+(\.[a-z0-9-]+)+$/;

/** Returns a host name. @throws {CommandError} if it is none */
export function domainOf(text: string): string {
  if (DOMAIN.test(text)) return text;
  throw new CommandError(`cannot use domain "${text}", wanted a name such as portal2.example.com`);
}

/** Returns the names of scopes. @throws {CommandError} if no name is given, or one is invalid */
export function scopesOf(args: readonly string[]): readonly string[] {
  const wanted = "wanted names such as calendar";
  if (args.length === 0) throw new CommandError(`which scopes? ${wanted}`);
  const wrong = args.find((arg) => !/^[a-z][\w.]{0,49}$/i.test(arg));
  if (wrong !== undefined) throw new CommandError(`cannot use scope "${wrong}", ${wanted}, with spaces between them`);
  return args;
}

/** Adds a note to the transcript. */
export const note = (standIn: StandIn, text: string): void => void standIn.transcript.add({ kind: "note", text });
