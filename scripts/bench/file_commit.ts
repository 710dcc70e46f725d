/**
 * `fileStorage` with 64 writers at once beside the same storage with one commit a put: puts per second as a ratio, in
 * one process, in turn, round by round. What bare `node:sqlite` does with one commit a put is printed beside it.
 *
 * The file is in the temporary folder, or in the one that is named; one in memory has nothing to share.
 *
 *     deno run -A scripts/bench/file_commit.ts [folder]
 *     node scripts/bench/file_commit.ts [folder]          (in a project that has the package installed)
 */
// deno-lint-ignore-file no-console
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { DatabaseSync } from "node:sqlite";
import { fileStorage } from "@b24/onappupdate/file-storage";

const WANTED = 5;
const WRITERS = 64;
const ROUNDS = 9;
const ROUND_MS = 250;
/** As long as the record of a portal. */
const FILL = "x".repeat(350);
const onDeno = "Deno" in globalThis;

const folder = mkdtempSync(join(process.argv[2] ?? tmpdir(), "file-commit-"));
const storage = fileStorage({ path: join(folder, "storage.db") });
const bare = new DatabaseSync(join(folder, "bare.db"));

/** Puts per second of so many writers, each of which waits for its put before the next. */
async function rate(writers: number, put: (writer: number, n: number) => unknown): Promise<number> {
  let done = 0;
  const begin = performance.now();
  await Promise.all(Array.from({ length: writers }, async (_, writer) => {
    for (let n = 0; performance.now() - begin < ROUND_MS; n++, done++) await put(writer, n);
  }));
  return done / (performance.now() - begin) * 1000;
}

function prepareBare(): (writer: number, n: number) => void {
  bare.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE entries (key TEXT PRIMARY KEY, value)");
  const upsert = bare.prepare(
    "INSERT INTO entries VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
  );
  return (writer, n) => void upsert.run(`portal ${writer}`, JSON.stringify({ n, fill: FILL }));
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
}

try {
  const put = (writer: number, n: number): Promise<unknown> => storage.put(["portal", `${writer}`], { n, fill: FILL });
  const barePut = prepareBare();
  const alone: number[] = [];
  const ratios = { shared: [] as number[], bare: [] as number[] };
  for (let round = 0; round <= ROUNDS; round++) {
    const one = await rate(1, put);
    const shared = await rate(WRITERS, put);
    const bareOne = await rate(1, barePut);
    if (round === 0) continue; // warms up
    alone.push(one);
    ratios.shared.push(shared / one);
    ratios.bare.push(bareOne / one);
  }
  const runtime = onDeno ? "Deno" : `Node ${process.versions.node}`;
  const ratio = median(ratios.shared);
  console.log(`${runtime}: one commit a put: ${Math.round(median(alone))} puts/s`);
  console.log(`${runtime}: ${WRITERS} writers at once: ${ratio.toFixed(1)} times that, wanted ${WANTED}`);
  console.log(`${runtime}: bare node:sqlite, one commit a put: ${median(ratios.bare).toFixed(2)} times that`);
  if (ratio < WANTED) process.exitCode = 1;
} finally {
  await storage.close?.();
  bare.close();
  rmSync(folder, { recursive: true });
}
