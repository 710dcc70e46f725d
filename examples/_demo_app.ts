/** The app of `02_over_http.ts`. Its handlers only `print` what they would do. */
import { type App, type AppOptions, createApp } from "@b24/onappupdate";
import { applicationToken } from "@b24/onappupdate/application-token";

export function buildApp(options: AppOptions, print: (line: string) => void): App {
  return createApp(options)
    .use(applicationToken())
    .upgrade("3.0.0", ({ memberId }) => print(`moves the settings of ${memberId}`))
    .upgrade("4.0.0", () => print("adds the new report"))
    .on("ONAPPUNINSTALL", ({ event }) => print(`removes the data of the portal, clean: ${event.data.clean}`));
}
