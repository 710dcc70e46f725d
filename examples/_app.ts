/**
 * An app with two upgrades and an event handler. `03_server.ts` and `04_hono.ts` serve it.
 */
import { type App, type AppOptions, createApp } from "@b24/onappupdate";
import { applicationToken } from "@b24/onappupdate/application-token";

export function buildApp(options: AppOptions): App {
  return createApp(options)
    .use(applicationToken())
    .upgrade("2.0.0", ({ memberId, log }) => log.info("moving settings", { memberId }))
    .upgrade("3.0.0", ({ memberId, log }) => log.info("adding the new report", { memberId }))
    .on("ONAPPUNINSTALL", ({ event, log }) => log.info("goodbye", { clean: event.data.clean }));
}
