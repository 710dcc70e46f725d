/** Modules that `--app` refuses, by the environment. */
import { createServer } from "node:http";
import process from "node:process";
import { createApp, memoryStorage } from "@b24/onappupdate";
import { trustAll } from "../../support/app.ts";

const app = createApp({ storage: memoryStorage() }).use(trustAll);
const what = process.env["TEST_MISTAKE"];
if (what === "starts") await app.start();
if (what === "listens") createServer().listen(0);
if (what === "serves on Deno") "Deno" in globalThis ? Deno.serve({ port: 0 }, app.fetch) : createServer().listen(0);
// As a client whose connection nobody closes.
if (what === "throws with a connection open") setInterval(() => {}, 60_000);
if (what?.startsWith("throws")) throw new Error("CLIENT_SECRET is not set");
export default app;
