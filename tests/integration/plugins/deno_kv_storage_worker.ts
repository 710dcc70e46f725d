/** A process on a file of Deno KV, for tests that share the file between processes or kill one. */
import { denoKvStorage } from "@b24/onappupdate/deno-kv-storage";
import { storageWorker } from "@b24/onappupdate/testing";
import { writeSync } from "node:fs";
import process from "node:process";
import { openKv } from "../../support/deno_kv.ts";

const [, , path, job, text] = process.argv as [string, string, string, string?, string?];
const storage = denoKvStorage(await openKv(path), { timeoutMs: 60_000 });

if (job === "write") {
  // Until the process is killed. It prints each acknowledged write.
  for (let n = Number(text);; n++) {
    await storage.put(["written", String(n)], { n, fill: "x".repeat(n % 4 === 0 ? 70_000 : 500) });
    await storage.put(["last"], n);
    writeSync(1, `${n}\n`);
  }
} else if (job === "replace") {
  for (let i = 1; i <= 20; i++) await storage.put(["shared"], text!.repeat(7000 * i));
} else {
  await storageWorker(storage);
}
