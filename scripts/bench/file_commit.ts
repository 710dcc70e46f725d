/**
 * Compares `fileStorage` with 64 concurrent writers, which share commits, with one writer, which commits each put: puts per
 * second, as a ratio, in one process, in turn, round by round. The rate of bare `node:sqlite` is printed but has no goal.
 *
 * `folder` holds the database; default the temporary folder. It must be on a disk: in memory, a commit costs nothing.
 *
 *     deno run -A scripts/bench/file_commit.ts [folder]
 *     node scripts/bench/file_commit.ts [folder]          (in a project that has the package installed)
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { DatabaseSync } from "node:sqlite";
import { fileStorage } from "@b24/onappupdate/file-storage";
import { report } from "./_bench.ts";

/** Minimum ratio of 64 writers to one. */
const WANTED = 5;
const WRITERS = 64;
const ROUNDS = 9;
const ROUND_MS = 250;
/** Makes a value about as long as a portal's record. */
const FILL = "x".repeat(350);

const folder = mkdtempSync(join(process.argv[2] ?? tmpdir(), "file-commit-"));
const storage = fileStorage({ path: join(folder, "storage.db") });
const bare = new DatabaseSync(join(folder, "bare.db"));

/** Returns the puts per second of concurrent writers. Each writer awaits a put before the next. */
async function rate(writers: number, put: (writer: number, n: number) => unknown): Promise<number> {
  let done = 0;
  const start = performance.now();
  await Promise.all(Array.from({ length: writers }, async (_, writer) => {
    for (let n = 0; performance.now() - start < ROUND_MS; n++, done++) await put(writer, n);
  }));
  return done / (performance.now() - start) * 1000;
}

function prepareBare(): (writer: number, n: number) => void {
  bare.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE entries (key TEXT PRIMARY KEY, value)");
  const upsert = bare.prepare(
    "INSERT INTO entries VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
  );
  return (writer, n) => void upsert.run(`portal ${writer}`, JSON.stringify({ n, fill: FILL }));
}

try {
  const put = (writer: number, n: number): Promise<unknown> => storage.put(["portal", `${writer}`], { n, fill: FILL });
  const barePut = prepareBare();
  const rates: number[] = [];
  const ratios = { shared: [] as number[], bare: [] as number[] };
  for (let round = 0; round <= ROUNDS; round++) {
    const one = await rate(1, put);
    const shared = await rate(WRITERS, put);
    const bareOne = await rate(1, barePut);
    if (round === 0) continue; // warm-up
    rates.push(one);
    ratios.shared.push(shared / one);
    ratios.bare.push(bareOne / one);
  }
  report({ name: "puts into a file, one writer", values: rates, unit: "per second" });
  report({
    name: `puts into a file, ${WRITERS} writers ÷ one`,
    values: ratios.shared,
    wanted: { atLeast: WANTED },
    isExact: true,
  });
  report({ name: "puts into a file, bare node:sqlite ÷ fileStorage, one writer", values: ratios.bare });
} finally {
  await storage.close?.();
  bare.close();
  rmSync(folder, { recursive: true });
}
