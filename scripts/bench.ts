/**
 * Runs benchmarks of scripts/bench/, each in a process of its own, on Deno and then on Node against the packed package. A
 * benchmark that misses its goal exits with a code other than 0.
 *
 *     deno task bench [--node 24] [benchmark...]
 *
 * `--node` is a major version or the path of a binary. A benchmark is named as its file, without `.ts`; default all.
 */
// deno-lint-ignore-file no-console
import { readdirSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { buildNpm } from "./build_npm.ts";
import { createNpmProject, findNode } from "./npm_project.ts";
import { type Finished, run } from "./run.ts";
import { verdict } from "./test_run.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const folder = "scripts/bench";
/** Time limit (ms) of one benchmark. */
const TIMEOUT_MS = 30 * 60_000;

const { values: { node: wantedNode }, positionals } = parseArgs({
  options: { node: { type: "string", default: "24" } },
  allowPositionals: true,
});
const existing = readdirSync(join(root, folder)).filter((file) => /^[^_].*\.ts$/.test(file))
  .map((file) => file.slice(0, -".ts".length)).sort();
for (const name of positionals) {
  if (!existing.includes(name)) throw new Error(`unknown benchmark "${name}", wanted one of ${existing.join(", ")}`);
}
const names = positionals.length > 0 ? positionals : existing;

let failed = 0;
async function report(name: string, runtime: string, child: Promise<Finished>): Promise<void> {
  const { ok, output, seconds } = await child;
  console.log(`${output.trimEnd()}\n${verdict(ok, `${name} on ${runtime}`, seconds)}\n`);
  if (!ok) failed++;
}

for (const name of names) {
  const args = ["run", "-A", join(folder, `${name}.ts`)];
  await report(name, "Deno", run(process.execPath, args, { cwd: root, timeoutMs: TIMEOUT_MS }));
}
const node = await findNode(wantedNode);
const project = await createNpmProject(await buildNpm());
try {
  await project.installTestPackages();
  for (const name of names) {
    const options = { cwd: project.folder, env: project.env(node), timeoutMs: TIMEOUT_MS };
    await report(name, `Node ${node.version}`, run(node.path, [join(folder, `${name}.ts`)], options));
  }
} finally {
  project.remove();
}

console.log(`${2 * names.length - failed} benchmarks passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
