/** What the command line says about an error, and the exit code that it means. */
import { InputError, OnAppUpdateError } from "../errors.ts";
import { redact } from "../redact.ts";
import { EXIT, type ExitCode, ExitError } from "./exit.ts";
import type { Terminal } from "./terminal.ts";
import { painter, safe } from "./text.ts";

/** Prints an error on standard error. Returns the exit code. */
export function reportError(error: unknown, { stderr }: Pick<Terminal, "stderr">): ExitCode {
  const paint = painter(stderr);
  const [first = "", ...rest] = linesOf(error);
  for (const line of [`${paint("red", "error:")} ${first}`, ...rest]) stderr.write(`${line}\n`);
  return exitCodeOf(error);
}

export function exitCodeOf(error: unknown): ExitCode {
  if (error instanceof ExitError) return error.exitCode;
  // By its code: the module of the user may have another copy of this package.
  const { code } = Object(error) as { readonly code?: unknown };
  if (code === "storage" || code === "unreachable") return EXIT.unreachable;
  if (error instanceof OnAppUpdateError) return EXIT.bad;
  return error instanceof TypeError ? EXIT.usage : EXIT.bad;
}

function linesOf(error: unknown): string[] {
  // Its text is ours: several lines are meant.
  if (error instanceof ExitError) return error.message.split("\n").map(safe);
  if (error instanceof InputError) {
    return error.issues.map(({ path, saw, wanted }) => safe(`${path || "body"}: saw ${saw}, wanted ${wanted}`));
  }
  return [safe(redact(error instanceof Error ? error.message : String(error)))];
}
