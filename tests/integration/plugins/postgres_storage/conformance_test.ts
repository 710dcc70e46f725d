import { PGlite } from "@electric-sql/pglite";
import type { Storage } from "@b24/onappupdate";
import { postgresStorage } from "@b24/onappupdate/postgres-storage";
import { type StorageBackend, storageConformance } from "@b24/onappupdate/testing";
import { type ClientFaults, closeDatabase, faultyBackend, faultyClient, fullDisk } from "../../../support/postgres.ts";
import { after, before, test } from "../../../support/test.ts";

let database: PGlite;
before(async () => {
  database = await PGlite.create();
});
after(() => closeDatabase(database));

const backends = new Map<Storage, StorageBackend>();
for (const clock of ["injected", "real"] as const) {
  storageConformance({
    name: `postgresStorage, PGlite, ${clock} clock`,
    test,
    clock,
    create: async (time) => {
      const table = `case${backends.size}`;
      const faults: ClientFaults = {};
      const options = { table, timeoutMs: 6000 };
      const storage = postgresStorage(
        faultyClient(database, faults),
        clock === "injected" ? { ...options, clock: time } : options,
      );
      await storage.delete(["none"]); // creates the table
      const disk = fullDisk((sql) => database.exec(sql), table);
      backends.set(storage, { ...faultyBackend(faults), ...disk });
      return storage;
    },
    // The database is in this process; tests/postgres/ has processes.
    worker: false,
    backend: {
      of: (storage) => backends.get(storage)!,
      can: ["stop", "start", "delay", "loseReply", "fill", "drain"],
    },
  });
}
