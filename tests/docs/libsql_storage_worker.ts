/** A worker of the conformance suite, on the database of the process that runs the tests. */
import process from "node:process";
import { storageWorker } from "@b24/onappupdate/testing";
import { libsqlStorage } from "../../examples/_libsql_storage.ts";
import { connectTo } from "./_libsql.ts";

const client = connectTo(Number(process.argv[2]));
await storageWorker(libsqlStorage(client));
client.close();
