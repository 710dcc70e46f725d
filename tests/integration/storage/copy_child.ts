/** Copies one file storage to another. Kills itself at one of its writes, or prints the report. */
import { copyStorage } from "@b24/onappupdate/storage";
import { fileStorage } from "@b24/onappupdate/file-storage";
import process from "node:process";

const [, , from, to, killAt] = process.argv as [string, string, string, string, string];
const source = fileStorage({ path: from });
const target = fileStorage({ path: to });
let writes = 0;

const report = await copyStorage(source, {
  ...target,
  put: (...args) => {
    if (++writes === Number(killAt)) process.kill(process.pid, "SIGKILL");
    return target.put(...args);
  },
});
process.stdout.write(JSON.stringify(report));
await source.close?.();
await target.close?.();
