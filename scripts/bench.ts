/**
 * Runs every benchmark of scripts/bench/ in a process of its own: on Deno, and on Node against the packed package,
 * unless its opening comment says "Deno only". A benchmark fails by its exit code.
 *
 *     deno task bench [node]
 *
 * `node` is a major version or the path of a binary; default 24.
 */
// deno-lint-ignore-file no-console
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { buildNpm } from "./build_npm.ts";
import { createNpmProject, findNode, type NodeBinary, type NpmProject } from "./npm_project.ts";
import { type Finished, run } from "./run.ts";
import { verdict } from "./test_run.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const folder = "scripts/bench";
const files = readdirSync(join(root, folder)).filter((file) => file.endsWith(".ts")).sort();
const openingComment = (file: string): string =>
  /^\/\*\*[\s\S]*?\*\//.exec(readFileSync(join(root, folder, file), "utf8"))?.[0] ?? "";
const onNode = files.filter((file) => !openingComment(file).includes("Deno only"));

let failed = 0;
async function bench(runtime: string, file: string, child: Promise<Finished>): Promise<void> {
  const { ok, output, seconds } = await child;
  console.log(`${output.trimEnd()}\n${verdict(ok, `${file} on ${runtime}`, seconds)}\n`);
  if (!ok) failed++;
}

for (const file of files) {
  await bench(`Deno`, file, run(process.execPath, ["run", "-A", join(folder, file)], { cwd: root }));
}
if (onNode.length > 0) {
  const node: NodeBinary = await findNode(process.argv[2] ?? "24");
  const project: NpmProject = await createNpmProject(await buildNpm());
  try {
    await project.installTestPackages();
    for (const file of onNode) {
      const options = { cwd: project.folder, env: project.env(node) };
      await bench(`Node ${node.version}`, file, run(node.path, [join(folder, file)], options));
    }
  } finally {
    project.remove();
  }
}

const ran = files.length + onNode.length;
console.log(`${ran - failed} benchmarks as wanted, ${failed} not`);
process.exitCode = ran > 0 && failed === 0 ? 0 : 1;
