/**
 * Keeps what a test run writes but does not show: the output of processes that tests start, and the lines of loggers that print
 * nothing. The runner looks for tokens in it: see `scripts/leak_check.ts`.
 */
import { appendFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";

/** Keeps a text in the folder that TEST_OUTPUTS names, if there is one. `source`: texts of one source are appended to each other. */
export function keepOutput(source: string, text: string): void {
  const folder = process.env["TEST_OUTPUTS"];
  if (folder !== undefined) appendFileSync(join(folder, `${process.pid}-${source}.txt`), text);
}
