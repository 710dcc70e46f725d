/** The app of `--app`: loaded, set up, and never started. */
import type { App } from "../app/app.ts";
import { hasFunctions } from "../check_options.ts";
import { redact } from "../redact.ts";
import { closeInTime } from "./close_in_time.ts";
import { unreachable, usageError } from "./exit.ts";
import { isNotReachable, NOT_REACHABLE_HINT } from "./not_reachable.ts";
import type { Terminal } from "./terminal.ts";

const isApp = hasFunctions("setUp", "start", "fetch", "check", "plan", "portal", "close");

/**
 * Loads the app that a module exports by default, and sets it up. The caller closes it.
 *
 * @throws {ExitError} if there is no such app, or it cannot be set up
 */
export async function loadApp({ load }: Pick<Terminal, "load">, path: string): Promise<App> {
  const found = await load(path);
  if (!isApp(found)) {
    throw usageError(
      `cannot use ${path}: its default export is no app\n` +
        "Write: export default createApp({ … }).use(…).upgrade(…)",
    );
  }
  const app = found as App;
  try {
    await app.setUp();
    return app;
  } catch (error) {
    await closeInTime(() => app.close()).catch(() => {});
    const message = `cannot set up the app of ${path}: ${
      redact(error instanceof Error ? error.message : String(error))
    }`;
    if (isNotReachable(error)) throw unreachable(`${message}\n${NOT_REACHABLE_HINT}`, { cause: error });
    throw usageError(message, { cause: error });
  }
}
