/** Starts an app on memoryStorage(), or on fileStorage() with the path in the first argument, and prints its log. */
import { memoryStorage } from "@b24/onappupdate";
import { fileStorage } from "@b24/onappupdate/file-storage";
import process from "node:process";
import { rig } from "../../support/app.ts";

const [, , path] = process.argv;
const storage = path === undefined ? memoryStorage() : fileStorage({ path });
const { app, lines } = rig({ storage, clientSecret: "client-secret-0123456789abcdef" });
await app.start();
await app.close();
process.stdout.write(`${lines.join("\n")}\nstarted`);
