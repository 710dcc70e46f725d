/** The app of the demonstration. `tell` shows what its handlers do. */
import { type App, type AppOptions, createApp } from "@b24/onappupdate";
import { applicationToken } from "@b24/onappupdate/application-token";

export function buildApp(options: AppOptions, tell: (line: string) => void): App {
  return createApp(options)
    .use(applicationToken())
    .upgrade("3.0.0", ({ memberId }) => tell(`moves the settings of ${memberId}`))
    .upgrade("4.0.0", () => tell("adds the new report"))
    .on("ONAPPUNINSTALL", ({ event }) => tell(`says goodbye, clean: ${event.data.clean}`));
}
