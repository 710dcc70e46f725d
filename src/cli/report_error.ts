/** The message of the command line about an error, and its exit code. */
import { InputError, OnAppUpdateError } from "../errors.ts";
import { redact } from "../redact.ts";
import { EXIT, type ExitCode, ExitError } from "./exit.ts";
import { isNotReachable, NOT_REACHABLE_HINT } from "./not_reachable.ts";
import type { Terminal } from "./terminal.ts";
import { painter, safe } from "./text.ts";

/** Prints an error on standard error. Returns the exit code. */
export function reportError(error: unknown, { stderr }: Pick<Terminal, "stderr">): ExitCode {
  const paint = painter(stderr);
  const [first = "", ...rest] = linesOf(error);
  for (const line of [`${paint("red", "error:")} ${first}`, ...rest]) stderr.write(`${line}\n`);
  return exitCodeOf(error);
}

function exitCodeOf(error: unknown): ExitCode {
  if (error instanceof ExitError) return error.exitCode;
  if (isNotReachable(error)) return EXIT.unreachable;
  if (error instanceof OnAppUpdateError) return EXIT.bad;
  return error instanceof TypeError ? EXIT.usage : EXIT.bad;
}

function linesOf(error: unknown): string[] {
  // Its text is ours: several lines are meant.
  if (error instanceof ExitError) return error.message.split("\n").map(safe);
  if (error instanceof InputError) {
    return error.issues.map(({ path, saw, wanted }) => safe(`${path || "body"}: saw ${saw}, wanted ${wanted}`));
  }
  const message = safe(redact(error instanceof Error ? error.message : String(error)));
  return isNotReachable(error) ? [message, NOT_REACHABLE_HINT] : [message];
}
