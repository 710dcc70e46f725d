/** The app of the tests of the command line. */
import { type App, createApp, NonRetriableError } from "@b24/onappupdate";
import { fileStorage } from "@b24/onappupdate/file-storage";
import { quietLogger, trustAll } from "../../support/app.ts";

/** Creates the app on a file. `isFixed`: its upgrade succeeds. */
export function createTestApp(path: string, isFixed: boolean): App {
  return createApp({ storage: fileStorage({ path }), logger: quietLogger, tickEveryMs: false, checks: false })
    .use(trustAll)
    .upgrade("2", () => {
      if (!isFixed) throw new NonRetriableError("\u001b[31mno price list\u001b[0m");
    });
}
