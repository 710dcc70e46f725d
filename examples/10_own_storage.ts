/**
 * A storage of your own: a table of libSQL. Here, the SQLite of Deno and Node takes the place of a libSQL server, and the
 * conformance suite is a test of yours, see `docs/writing-a-storage.md`. Run it with `deno task example 10`.
 */
// deno-lint-ignore-file no-console
import { DatabaseSync } from "node:sqlite";
import { consoleLogger, createApp } from "@b24/onappupdate";
import { applicationToken } from "@b24/onappupdate/application-token";
import { fakeBitrix24 } from "@b24/onappupdate/testing";
import { type LibsqlClient, libsqlStorage, SCHEMA } from "./_libsql_storage.ts";

const database = new DatabaseSync(":memory:");
database.exec(SCHEMA);
const client: LibsqlClient = {
  execute: ({ sql, args }) => {
    const rows = database.prepare(sql).all(...args);
    // libSQL's client returns buffers for blobs.
    return Promise.resolve({
      rows: rows.map(({ key, ...row }) => key instanceof Uint8Array ? { ...row, key: key.slice().buffer } : row),
    });
  },
};

const bitrix24 = fakeBitrix24({ clientId: "app.5f3a2b1c", handler: (request) => app.fetch(request) });
const portal = bitrix24.portal({ memberId: "a223c6b3710f85df22e9377d6c4f7553" });
const app = createApp({
  storage: libsqlStorage(client),
  clientId: "app.5f3a2b1c",
  fetch: bitrix24.fetch,
  acknowledge: "handled",
  logger: consoleLogger({ level: "error" }),
}).use(applicationToken()).upgrade("2.0.0", () => console.log("upgrade to 2.0.0"));

console.log("installed:", ...await portal.sends.install(1));
console.log("updated:", ...await portal.sends.update(2));
console.log("version:", (await app.portal(portal.memberId))?.version);
await app.close();
const stored = database.prepare("SELECT count(*) AS entries FROM b24_entries").get();
console.log("the table has entries:", Number(stored?.["entries"]) > 0);
