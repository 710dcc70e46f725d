/** An app as `--app` names it: its storage is a file, whose path the environment has. */
// deno-lint-ignore-file no-console -- its line must not become a part of the data
import process from "node:process";
import type { App } from "@b24/onappupdate";
import { createTestApp } from "./_test_app.ts";

console.log("the module is loaded");

const app: App = createTestApp(process.env["TEST_STORAGE"]!, true);
export default app;
