/** A worker of the conformance suite over a file: correct without a second argument, otherwise broken. */
import { fileStorage } from "@b24/onappupdate/file-storage";
import { storageWorker } from "@b24/onappupdate/testing";
import process from "node:process";
import { BROKEN_WORKERS } from "./_broken_workers.ts";

const [, , path, how] = process.argv as [string, string, string, string | undefined];
const storage = fileStorage({ path });
await storageWorker(how === undefined ? storage : { ...storage, ...BROKEN_WORKERS[how]!.make(storage, path) });
