/** Starts an app on a storage in memory, or in the file that is named, and prints what it logs. */
import { memoryStorage } from "@b24/onappupdate";
import { fileStorage } from "@b24/onappupdate/file-storage";
import process from "node:process";
import { rig } from "../../support/app.ts";

const [, , path] = process.argv;
const { app, lines } = rig({ storage: path === undefined ? memoryStorage() : fileStorage({ path }) });
await app.start();
await app.close();
process.stdout.write(`${lines.join("\n")}\nstarted`);
