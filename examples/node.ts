/**
 * An app on Node, 22.18 or later for TypeScript: `CLIENT_ID=app.5f3a node examples/node.ts`
 */
// deno-lint-ignore-file no-console
import process from "node:process";
import { fileStorage } from "@b24/onappupdate/file-storage";
import { serve } from "@b24/onappupdate/node-server";
import { buildApp } from "./app.ts";

const { CLIENT_ID = "", CLIENT_SECRET, DATABASE = "portals.db", OAUTH_HOST, PORT = "8000" } = process.env;

const app = buildApp({
  storage: fileStorage({ path: DATABASE }),
  clientId: CLIENT_ID,
  // Without it, access tokens cannot be renewed: nothing calls a portal an hour after its last event.
  ...(CLIENT_SECRET === undefined ? {} : { clientSecret: CLIENT_SECRET }),
  // A stand-in for Bitrix24's own, to try things out.
  ...(OAUTH_HOST === undefined ? {} : { oauthHosts: [OAUTH_HOST] }),
});

await app.start();
// Ends in order at SIGINT and SIGTERM: no new requests, those in flight finished, then the app closed.
const server = await serve(app, { port: Number(PORT), hostname: "127.0.0.1" });
console.log(`Listening on ${server.url}`);
