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
import { runProcess } from "./run_process.ts";

// No top-level await: CommonJS could not require the module.
void runProcess(process.argv.slice(2));
