/** A process that works on a file storage, for the tests that share one between processes or kill one. */
import { fileStorage } from "@b24/onappupdate/file-storage";
import { writeSync } from "node:fs";
import process from "node:process";

const [, , job, path] = process.argv as [string, string, string, string];
const storage = fileStorage({ path });

if (job === "count") {
  const times = Number(process.argv[4]);
  for (let counted = 0; counted < times;) {
    const entry = await storage.get<number>(["count"]);
    const { ok } = await storage.put(["count"], (entry?.value ?? 0) + 1, { ifVersion: entry?.version ?? null });
    if (ok) counted++;
  }
  await storage.close?.();
} else {
  // Until it is killed. What is printed was acknowledged.
  for (let n = Number(process.argv[4]);; n++) {
    await storage.put(["written", String(n)], { n, fill: "x".repeat(500) });
    await storage.put(["last"], n);
    writeSync(1, `${n}\n`);
  }
}
