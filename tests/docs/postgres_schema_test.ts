import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { PGlite } from "@electric-sql/pglite";
import { postgresStorage } from "@b24/onappupdate/postgres-storage";
import { root } from "../support/process.ts";
import { test } from "../support/test.ts";

/** Columns and indexes of the table. */
async function schemaOf(database: PGlite): Promise<unknown> {
  const columns = await database.query(`SELECT column_name, data_type, is_nullable, column_default
    FROM information_schema.columns WHERE table_name = 'onappupdate' ORDER BY ordinal_position`);
  const indexes = await database.query("SELECT indexdef FROM pg_indexes WHERE tablename = 'onappupdate' ORDER BY 1");
  return { columns: columns.rows, indexes: indexes.rows };
}

test("docs/storage.md creates the table that postgresStorage() creates", async () => {
  const [, sql] = /^```sql\n([\s\S]*?)^```$/m.exec(readFileSync(join(root, "docs/storage.md"), "utf8"))!;
  const database = await PGlite.create();
  try {
    await database.exec("CREATE ROLE app");
    await database.exec(sql!);
    const documented = await schemaOf(database);
    const storage = postgresStorage(database);
    assert.equal((await storage.put(["a"], 1)).ok, true);
    await database.exec("DROP TABLE onappupdate");
    assert.equal((await storage.put(["a"], 1)).ok, true);
    assert.deepEqual(await schemaOf(database), documented);
  } finally {
    await database.close();
  }
});
