/** A worker of the conformance suite, on the database of the process that runs the tests. */
import process from "node:process";
import { storageWorker } from "@b24/onappupdate/testing";
import { postgresStorage } from "../../examples/postgres_storage.ts";
import { connectTo } from "./_postgres.ts";

const client = connectTo(Number(process.argv[2]));
await storageWorker(postgresStorage(client));
client.close();
