/**
 * An app on a server of Deno or Node: `deno task example 3`
 */
// deno-lint-ignore-file no-console
import process from "node:process";
import { fileStorage } from "@b24/onappupdate/file-storage";
import { serve } from "@b24/onappupdate/node-server";
import { buildApp } from "./_app.ts";

const { CLIENT_ID = "app.5f3a2b1c", CLIENT_SECRET, DATABASE = "portals.db", OAUTH_HOST, PORT = "8000" } = process.env;

const app = buildApp({
  storage: fileStorage({ path: DATABASE }),
  clientId: CLIENT_ID,
  // Needed to refresh access tokens, which expire after an hour.
  ...(CLIENT_SECRET === undefined ? {} : { clientSecret: CLIENT_SECRET }),
  // For trying the app with a fake OAuth host.
  ...(OAUTH_HOST === undefined ? {} : { oauthHosts: [OAUTH_HOST] }),
});

await app.start();
// At SIGINT and SIGTERM, it finishes the requests in flight, closes the app, and lets the process exit.
const server = await serve(app, { port: Number(PORT), hostname: "127.0.0.1" });
console.log(`Listening on ${server.url}`);
