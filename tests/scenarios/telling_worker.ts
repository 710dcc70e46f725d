/**
 * A process that lives the life of `_telling.ts`, or does what another one has left, on a file. It kills itself before or after
 * a write. It appends what is stored and told to a file, line by line as it happens.
 *
 *     telling_worker.ts <file> <lines> live|recover [<write> before|after]
 */
import { fileStorage } from "@b24/onappupdate/file-storage";
import { appendFileSync } from "node:fs";
import process from "node:process";
import type { PortalRecord } from "../../src/portal/record.ts";
import { MEMBER_ID } from "../support/app.ts";
import { createTold } from "../support/told.ts";
import { aroundWrites, live, noting, recover } from "./_telling.ts";

const [, , path = "", lines = "", part = "", at = "0", when] = process.argv;
const HOURS = 3 * 60 * 60 * 1000;
const file = fileStorage({ path });
const told = createTold();
let ahead = part === "live" ? 0 : 2 * HOURS;
let writes = 0;

const write = (kind: string, text: string): void => appendFileSync(lines, `${JSON.stringify([kind, text])}\n`);
const killIf = (isNow: boolean): void => {
  if (!isNow) return;
  process.kill(process.pid, "SIGKILL");
  // The signal may arrive a moment later: nothing may happen until then.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
};

const stored = (await file.get<PortalRecord>(["portal", MEMBER_ID]))?.value;
const storage = aroundWrites(
  noting(file, (before, after) => {
    const known = told.changes.length;
    told.note(before ?? stored, after);
    for (const change of told.changes.slice(known)) write("stored", change);
  }),
  { before: () => killIf(++writes === Number(at) && when === "before"), after: () => killIf(writes === Number(at)) },
);
const plugin = told.plugin(() => true, (change, id) => write("told", `${change}|${id}`));
const options = { storage, told: plugin, clock: () => Date.now() + ahead, later: () => void (ahead += HOURS) };
await (part === "live" ? live(options) : recover(options));
write("writes", String(writes));
