/** A process on a file storage, for the requirements that need several. */
import { fileStorage } from "@b24/onappupdate/file-storage";
import { storageWorker } from "@b24/onappupdate/testing";
import process from "node:process";

await storageWorker(fileStorage({ path: process.argv[2]! }));
