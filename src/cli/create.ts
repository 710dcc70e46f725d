/**
 * Writes a new project: what `deno create jsr:@b24/onappupdate -- DIR` runs. The same as the command `onappupdate new DIR`.
 * Importing this module runs it.
 *
 * ```sh
 * deno create jsr:@b24/onappupdate -- rating --storage kv --framework hono
 * ```
 *
 * @module
 */
import process from "node:process";
import { runProcess } from "./run_process.ts";

void runProcess(["new", ...process.argv.slice(2)]);
