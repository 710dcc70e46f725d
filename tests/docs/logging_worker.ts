/**
 * Upgrades a portal with the logger of a recipe, whose path is the argument, and fails: what arrives is on the console.
 *
 *     deno run -A tests/docs/logging_worker.ts recipe.ts
 */
import process from "node:process";
import { pathToFileURL } from "node:url";
import { createApp, type Logger, memoryStorage, NonRetriableError } from "@b24/onappupdate";
import { applicationToken } from "@b24/onappupdate/application-token";
import { fakeBitrix24 } from "@b24/onappupdate/testing";
import { MEMBER_ID } from "../support/app.ts";

const recipe = pathToFileURL(process.argv[2]!).href;
const { logger } = await import(recipe) as { readonly logger: Logger };
const keys = { clientId: "app.5f3a", clientSecret: "secret-of-the-app-0123456789" };
const bitrix24 = fakeBitrix24({ ...keys, handler: (request) => app.fetch(request) });
const portal = bitrix24.portal({ memberId: MEMBER_ID });
const app = createApp({
  ...keys,
  ...{ storage: memoryStorage(), fetch: bitrix24.fetch, acknowledge: "handled", checks: false, logger },
}).use(applicationToken()).upgrade("3.0.0", ({ log }) => {
  log.debug("reading", { event: "deals.reading" });
  log.info("importing", { event: "deals.importing", deals: { count: 7 }, access_token: "acce55-of-a-handler" });
  throw new NonRetriableError("cannot import", { cause: new TypeError("no such field") });
});
await portal.sends.install(2);
await portal.sends.update(3);
await app.close();
