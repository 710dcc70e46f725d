/** A worker of the conformance suite. */
import process from "node:process";
import { postgresStorage } from "@b24/onappupdate/postgres-storage";
import { storageWorker } from "@b24/onappupdate/testing";
import { connectPostgres, type PostgresLibrary } from "../support/postgres.ts";

const [library, url, table] = process.argv.slice(2) as [PostgresLibrary, string, string];
const { client, close } = connectPostgres(library, url);
await storageWorker(postgresStorage(client, { table }));
await close();
