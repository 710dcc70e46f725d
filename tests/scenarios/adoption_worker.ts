/** One process that adopts the portals of a file, or kills itself at a write or right after a token was refreshed. */
import { createReadStream } from "node:fs";
import process from "node:process";
import { createApp, type Storage } from "@b24/onappupdate";
import { applicationToken } from "@b24/onappupdate/application-token";
import { fileStorage } from "@b24/onappupdate/file-storage";
import { forwardingFetch } from "@b24/onappupdate/testing";
import { CLIENT_ID, quietLogger } from "../support/app.ts";
import { CLIENT_SECRET } from "../support/fake.ts";
import { OPERATOR } from "../support/operator.ts";

const [database, file, url, killAt, refresh] = process.argv.slice(2) as [string, string, string, string, string];

/** Kills the process before a write, or after it: the one with the number `killAt`. */
function mortal(storage: Storage): Storage {
  let writes = 0;
  const count = async <T>(write: () => Promise<T>): Promise<T> => {
    const isLast = ++writes === Number(killAt);
    if (isLast && writes % 2 === 0) process.kill(process.pid, "SIGKILL");
    const result = await write();
    if (isLast) process.kill(process.pid, "SIGKILL");
    return result;
  };
  return {
    ...storage,
    put: (...args) => count(() => storage.put(...args)),
    delete: (...args) => count(() => storage.delete(...args)),
    write: (...args) => count(() => storage.write!(...args)),
  };
}

const app = createApp({
  storage: mortal(fileStorage({ path: database })),
  clientId: CLIENT_ID,
  clientSecret: CLIENT_SECRET,
  fetch: forwardingFetch(url),
  logger: quietLogger,
  checks: false,
  tickEveryMs: false,
}).use(applicationToken());
const { problems: _, ...totals } = await app.admin.adopt(createReadStream(file), {
  ...OPERATOR,
  perMinute: 1_000_000,
  refresh: refresh === "refresh",
});
process.stdout.write(`${JSON.stringify(totals)}\n`);
await app.close();
