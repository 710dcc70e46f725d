/**
 * One process of a rollout over a file. It kills itself before the write with the number `killAt` to a portal or to the breaker, and
 * appends the portals whose handler begins to a file, line by line as it happens. Ends once nothing is due any more.
 *
 *     rollout_worker.ts <file> <lines> <version> <options as JSON> <aheadMs> <killAt> <failing: all | none | tenth-thousand...>
 */
import { appendFileSync } from "node:fs";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { type App, createApp, deployed, NonRetriableError, type Storage } from "@b24/onappupdate";
import { fileStorage } from "@b24/onappupdate/file-storage";
import { quietLogger, trustAll } from "../support/app.ts";

const [path, lines, version, options, aheadMs, killAt, failing] = process.argv.slice(2) as [
  ...[string, string, string, string, string, string, string],
];

/** Kills the process before a write: the one with the number `killAt`. */
function mortal(storage: Storage): Storage {
  let writes = 0;
  const count = (): void => {
    if (++writes !== Number(killAt)) return;
    process.kill(process.pid, "SIGKILL");
    // The signal may arrive a moment later: nothing may happen until then.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  };
  return {
    ...storage,
    put: (...args) => (count(), storage.put(...args)),
    delete: (...args) => (count(), storage.delete(...args)),
    write: (...args) => (count(), storage.write!(...args)),
  };
}

/** Returns whether the handler of a portal fails. */
function isFailing(memberId: string): boolean {
  return failing === "all" || failing.split(",").includes(memberId);
}

const app: App = createApp({
  storage: mortal(fileStorage({ path })),
  versions: deployed(version),
  rollout: JSON.parse(options),
  clock: () => Date.now() + Number(aheadMs),
  limits: { leaseMs: 5000 },
  ...{ logger: quietLogger, checks: false, tickEveryMs: false },
}).use(trustAll).upgrade(version, ({ memberId }) => {
  appendFileSync(lines, `${memberId}\n`);
  if (isFailing(memberId)) throw new NonRetriableError("no");
}) as App;
while (true) {
  await app.tick({ limit: 10_000, budgetMs: 600_000 });
  const { state, waitsFor } = (await app.admin.rollout.status(version))!;
  // Slots of processes that were killed are free when their leases are over.
  if (state !== "running" || waitsFor?.on !== "portals") break;
  await delay(100);
}
await app.close();
