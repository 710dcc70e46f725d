/** An app that a stand-in for Bitrix24 tries: prints its address, and serves events and its page. */
// deno-lint-ignore-file no-console
import process from "node:process";
import { createApp, memoryStorage } from "@b24/onappupdate";
import { applicationToken } from "@b24/onappupdate/application-token";
import { serve } from "@b24/onappupdate/node-server";
import { openingPage } from "@b24/onappupdate/opening-page";
import { rest } from "@b24/onappupdate/rest";

const { ONAPPUPDATE_DEV, CLIENT_ID = "", CLIENT_SECRET = "", PORT = "0" } = process.env;

const app = createApp({
  storage: memoryStorage(),
  clientId: CLIENT_ID,
  clientSecret: CLIENT_SECRET,
  dev: ONAPPUPDATE_DEV,
}).use(applicationToken()).use(rest())
  .upgrade("2", async ({ b24 }) => {
    await b24.call("profile");
    await b24.batchEach([1, 2], (id) => ["crm.deal.update", { id, fields: { UF_CRM_RATING: 5 } }]);
  })
  .upgrade("5", () => {}, { requires: { scope: "calendar" } });
const page = openingPage({
  app,
  page: (_request, { portal, isAdmin }) => new Response(`version ${portal.version}, admin: ${isAdmin}`),
});

await app.start();
const fetch = (request: Request, ...platform: unknown[]): Promise<Response> =>
  new URL(request.url).pathname === "/page" ? page(request, ...platform) : app.fetch(request, ...platform);
const { url } = await serve({ fetch, close: app.close }, { port: Number(PORT) });
console.log(`listening on ${url}`);
