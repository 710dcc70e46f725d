/** Runs the command line as this process, and ends the process. */
import process from "node:process";
import type { Writable } from "node:stream";
import { EXIT, unreachable } from "./exit.ts";
import { main } from "./main.ts";
import { nodeProblem } from "./node_version.ts";
import { processTerminal } from "./process_terminal.ts";
import { reportError } from "./report_error.ts";

/** Runs one command, and exits with its code. */
export async function runProcess(args: readonly string[]): Promise<void> {
  const problem = nodeProblem(process.versions.node);
  if (problem !== undefined) process.stderr.write(`error: ${problem}\n`);
  const terminal = processTerminal();
  // A client of the user's module that emits an error which nobody listens to, such as one that cannot connect.
  process.on("uncaughtException", (error) => process.exit(reportError(error, terminal)));
  // Nothing is left that could go on, and the command has not ended: the process would exit with 0, and without a word.
  process.once("beforeExit", () => {
    const message = "the command has not ended: what it waits for, such as the storage of the app, never answers";
    process.exit(reportError(unreachable(message), terminal));
  });
  const code = problem === undefined ? await main(args, terminal) : EXIT.usage;
  await Promise.all([flushed(process.stdout), flushed(process.stderr)]);
  // A module of the user that failed may have left connections open, which would keep the process alive.
  process.exit(code);
}

/** Resolves once everything that was written has left this process. */
function flushed(stream: Pick<Writable, "write">): Promise<void> {
  return new Promise((resolve) => void stream.write("", () => resolve()));
}
