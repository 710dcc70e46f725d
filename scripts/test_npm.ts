/**
 * Packs the npm package, installs it into an empty project, and runs the unit and integration tests against it.
 *
 *     deno task test:npm [node ...] [bun]
 *
 * Each `node` is a major version or the path of a binary; default 22, 24, 26 and bun. Before the tests, each of them checks
 * the package as a user meets it (npm_smoke.mjs): every export imported and required, the command line, a small app. On Bun,
 * this is all that is checked.
 */
// deno-lint-ignore-file no-console
import { readdirSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { buildNpm } from "./build_npm.ts";
import { createNpmProject, findNode, type NodeBinary, type NpmProject } from "./npm_project.ts";
import { read } from "./run.ts";
import { withRedis } from "./test.ts";
import { deadlineFactor, describe, runTests, type TestRun, total } from "./test_run.ts";

/** The tiers that run on Node, too. */
const TIERS = ["unit", "integration"];

/** The Nodes that the package supports. */
export const NODES: readonly string[] = ["22", "24", "26"];

/** The argument that stands for Bun. */
const BUN = "bun";

/** Arguments of `node --test` by tier. A test that hangs leaves servers and timers, which must not keep the process. */
const NODE_ARGS: Readonly<Record<string, readonly string[]>> = {
  // In one process; the name of the option that Node 22 knows as well. It does not wait for timers that tests leave.
  unit: ["--experimental-test-isolation=none", "--test-force-exit"],
  // A process for each file. Files are mostly waiting, so more than there are cores.
  integration: ["--test-concurrency=4", "--test-force-exit", `--test-timeout=${600_000 * deadlineFactor()}`],
  "browser/incident_test.ts": ["--test-force-exit"],
  postgres: ["--test-concurrency=2", "--test-force-exit", `--test-timeout=${600_000 * deadlineFactor()}`],
};

/** Checks the package as a user meets it. It must come before `installTestPackages`. */
export async function smokeTest(node: NodeBinary, project: NpmProject): Promise<TestRun> {
  return await nodeTest(`package on Node ${node.version}`, node, project, ["scripts/npm_smoke.mjs"]);
}

/** Checks the package as a user meets it on Bun, which npx fetches. It must come before `installTestPackages`. */
export async function smokeTestOnBun(project: NpmProject): Promise<TestRun> {
  const bun = async (...args: string[]): Promise<string> =>
    await read("npx", ["-y", "--prefer-offline", "-p", "bun@1", "bun", ...args]);
  const path = await bun("-p", "process.execPath");
  return await runTests(
    `package on Bun ${await bun("--version")}`,
    path,
    (report) => ["test", "--reporter=junit", `--reporter-outfile=${report}`, "./scripts/npm_smoke.mjs"],
    { cwd: project.folder },
  );
}

/** Runs a tier of `tests/`, or one file of it, on `node` against the installed package. */
export async function testOnNode(tier: string, node: NodeBinary, project: NpmProject): Promise<TestRun> {
  const files = tier.endsWith("_test.ts")
    ? [join("tests", tier)]
    : readdirSync(join(project.folder, "tests", tier), { recursive: true, encoding: "utf8" })
      .filter((file) => file.endsWith("_test.ts")).sort().map((file) => join("tests", tier, file));
  return await nodeTest(`${tier} on Node ${node.version}`, node, project, [...NODE_ARGS[tier] ?? [], ...files]);
}

function nodeTest(name: string, node: NodeBinary, project: NpmProject, args: readonly string[]): Promise<TestRun> {
  const reporter = (kind: string, destination: string): string[] => [
    `--test-reporter=${kind}`,
    `--test-reporter-destination=${destination}`,
  ];
  return runTests(
    name,
    node.path,
    (report) => ["--test", ...reporter("spec", "stdout"), ...reporter("junit", report), ...args],
    { cwd: project.folder, env: project.env(node) },
  );
}

async function main(wanted: readonly string[]): Promise<TestRun[]> {
  const nodes: NodeBinary[] = [];
  for (const name of wanted.filter((name) => name !== BUN)) nodes.push(await findNode(name));
  const project = await createNpmProject(await buildNpm());
  const runs: TestRun[] = [];
  const report = (run: TestRun): void => {
    console.log(describe(run));
    runs.push(run);
  };
  try {
    for (const node of nodes) report(await smokeTest(node, project));
    if (wanted.includes(BUN)) report(await smokeTestOnBun(project));
    if (nodes.length === 0) return runs;
    await project.installTestPackages();
    await withRedis(async () => {
      for (const node of nodes) {
        for (const tier of TIERS) report(await testOnNode(tier, node, project));
      }
    });
  } finally {
    project.remove();
  }
  return runs;
}

if (import.meta.main) {
  const [, , ...wanted] = process.argv;
  const runs = await main(wanted.length > 0 ? wanted : [...NODES, BUN]);
  console.log(`\n${total(runs)}`);
  process.exitCode = runs.length > 0 && runs.every(({ failed }) => failed.length === 0) ? 0 : 1;
}
