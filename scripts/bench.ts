/**
 * Runs benchmarks of scripts/bench/, each in a process of its own, on Deno and on Node against the packed package. A
 * benchmark that misses its goal exits with a code other than 0.
 *
 *     deno task bench [--on deno|node] [--node 24] [--write] [benchmark...]
 *
 * A benchmark is named as its file, without `.ts`; default all. `--on` runs them on one runtime, default both. `--node` is a
 * major version or the path of a binary. `--write` puts the figures into the table of docs/performance.md, where those of
 * other benchmarks stay. BENCH_ROUNDS=1 is for a first look.
 */
// deno-lint-ignore-file no-console
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import type { Result } from "./bench/_bench.ts";
import { withFigures } from "./bench_table.ts";
import { buildNpm } from "./build_npm.ts";
import { createNpmProject, findNode } from "./npm_project.ts";
import { read, run, type RunOptions } from "./run.ts";
import { verdict } from "./test_run.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const folder = "scripts/bench";
const page = join(root, "docs/performance.md");
/** Time limit (ms) of one benchmark. */
const TIMEOUT_MS = 60 * 60_000;

const { values: { on, node: wantedNode, write }, positionals } = parseArgs({
  options: {
    on: { type: "string", default: "both" },
    node: { type: "string", default: "24" },
    write: { type: "boolean", default: false },
  },
  allowPositionals: true,
});
if (!["deno", "node", "both"].includes(on)) throw new Error(`unknown runtime "${on}", wanted deno or node`);
const existing = readdirSync(join(root, folder)).filter((file) => /^[^_].*\.ts$/.test(file))
  .map((file) => file.slice(0, -".ts".length)).sort();
for (const name of positionals) {
  if (!existing.includes(name)) throw new Error(`unknown benchmark "${name}", wanted one of ${existing.join(", ")}`);
}
const names = positionals.length > 0 ? positionals : existing;

const resultsFolder = mkdtempSync(join(tmpdir(), "onappupdate-bench-"));
const results = join(resultsFolder, "results.jsonl");
let passed = 0, failed = 0;

/** The benchmark that imports nothing but the package. */
const START_UP = "startup";

async function bench(name: string, runtime: string, command: string, options: RunOptions): Promise<void> {
  const args = [...(runtime === "Deno" ? ["run", "-A"] : []), join(folder, `${name}.ts`)];
  const env = { ...options.env, BENCH_RESULTS: results };
  const { ok, output, seconds } = await run(command, args, { ...options, env, timeoutMs: TIMEOUT_MS });
  console.log(`${output.trimEnd()}\n${verdict(ok, `${name} on ${runtime}`, seconds)}\n`);
  if (ok) passed++;
  else failed++;
}

async function onNode(): Promise<void> {
  const node = await findNode(wantedNode);
  const project = await createNpmProject(await buildNpm());
  try {
    const options = { cwd: project.folder, env: project.env(node) };
    const benchOnNode = (name: string): Promise<void> => bench(name, `Node ${node.version}`, node.path, options);
    // The import is that of the package as users have it; the other benchmarks import internal modules, too.
    if (names.includes(START_UP)) await benchOnNode(START_UP);
    const others = names.filter((name) => name !== START_UP);
    if (others.length > 0) await project.installBenchPackages();
    for (const name of others) await benchOnNode(name);
  } finally {
    project.remove();
  }
}

try {
  if (on !== "node") { for (const name of names) await bench(name, "Deno", process.execPath, { cwd: root }); }
  if (on !== "deno") await onNode();
  if (write && existsSync(results)) {
    const lines = readFileSync(results, "utf8").trim().split("\n");
    writeFileSync(page, withFigures(readFileSync(page, "utf8"), lines.map((line) => JSON.parse(line) as Result)));
    await read(process.execPath, ["fmt", "--quiet", page]);
  }
} finally {
  rmSync(resultsFolder, { recursive: true });
}

console.log(`${passed} benchmarks passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
