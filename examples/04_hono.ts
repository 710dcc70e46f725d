/**
 * An app as a route of a Hono application: `deno task example 4`
 */
// deno-lint-ignore-file no-console
import process from "node:process";
import { Hono } from "hono";
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

const site = new Hono();
site.get("/", (c) => c.text("The application's pages"));
site.all("/b24/events", (c) => app.fetch(c.req.raw, c.env));

// `serve` accepts every object with `fetch` and `close`. On Deno, you can use `Deno.serve(site.fetch)` as well.
const server = await serve({ fetch: site.fetch, close: app.close }, {
  port: Number(PORT),
  hostname: "127.0.0.1",
});
console.log(`Listening on ${server.url}`);
