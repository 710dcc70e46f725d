/** A worker of the conformance suite, on an encrypted file. */
import { encrypted } from "@b24/onappupdate";
import { fileStorage } from "@b24/onappupdate/file-storage";
import { storageWorker } from "@b24/onappupdate/testing";
import process from "node:process";
import { rotating } from "../../support/keys.ts";

await storageWorker(encrypted(fileStorage({ path: process.argv[2]! }), rotating));
