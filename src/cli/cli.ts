#!/usr/bin/env node
/**
 * The command `onappupdate`: tries a Bitrix24 app without a portal, shows its rollout, and acts on it. Importing this module
 * runs the command.
 *
 * ```sh
 * npx @b24/onappupdate --help
 * deno run -A jsr:@b24/onappupdate/cli --help
 * ```
 *
 * @module
 */
import process from "node:process";
import { main } from "./main.ts";
import { processTerminal } from "./process_terminal.ts";

// No top-level await: CommonJS could not require the module.
main(process.argv.slice(2), processTerminal()).then((code) => {
  process.exitCode = code;
});
