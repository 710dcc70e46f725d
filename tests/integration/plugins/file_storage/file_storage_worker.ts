/** A process that works on the entries of a file storage, for the clauses that need several. */
import { fileStorage } from "@b24/onappupdate/file-storage";
import { storageWorker } from "@b24/onappupdate/testing";
import process from "node:process";

await storageWorker(fileStorage({ path: process.argv[2]! }));
