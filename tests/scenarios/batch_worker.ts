/** One process that goes on with batch operations over a file until none is running, or until it kills itself. */
import process from "node:process";
import { createApp, type Storage } from "@b24/onappupdate";
import { fileStorage } from "@b24/onappupdate/file-storage";
import { quietLogger, trustAll } from "../support/app.ts";

const [path, aheadMs, killAt] = process.argv.slice(2) as [string, string, string];

/** Kills the process before a write: the one with the number `killAt`. */
function mortal(storage: Storage): Storage {
  let writes = 0;
  const count = (): void => {
    if (++writes === Number(killAt)) process.kill(process.pid, "SIGKILL");
  };
  return {
    ...storage,
    put: (...args) => (count(), storage.put(...args)),
    delete: (...args) => (count(), storage.delete(...args)),
    write: (...args) => (count(), storage.write!(...args)),
  };
}

const app = createApp({
  storage: mortal(fileStorage({ path })),
  // A batch operation whose process has ended is taken over after a minute.
  clock: () => Date.now() + Number(aheadMs),
  logger: quietLogger,
  checks: false,
  tickEveryMs: false,
}).use(trustAll).upgrade("3", () => {
  throw new Error("it is skipped");
});
await app.start();
while ((await app.admin.batches.list()).some(({ state }) => state === "running")) await app.settled();
await app.settled();
await app.close();
