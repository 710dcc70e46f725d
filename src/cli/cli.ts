#!/usr/bin/env node
/**
 * The command `onappupdate`, which prints the event in a captured request body without its tokens. Importing this module
 * runs the command.
 *
 * ```sh
 * npx @b24/onappupdate decode body.form
 * deno run -A jsr:@b24/onappupdate/cli decode body.form
 * ```
 *
 * @module
 */
import { readFile } from "node:fs/promises";
import process from "node:process";
import { text } from "node:stream/consumers";
import { main } from "./main.ts";

// No top-level await: CommonJS could not require the module.
main(process.argv.slice(2), {
  read: (path) => path === "-" ? text(process.stdin) : readFile(path, "utf8"),
  out: (line) => void process.stdout.write(`${line}\n`),
  err: (line) => void process.stderr.write(`${line}\n`),
}).then((code) => {
  process.exitCode = code;
});
