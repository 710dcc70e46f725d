/**
 * Packs the npm package, installs it into an empty project and runs the whole test tree against it.
 *
 *     deno run -A scripts/test_npm.ts [node ...]
 *
 * Each `node` is a major version or the path of a binary; default 22 and 24. Before the tests, those and Node 20 check
 * the package as a user meets it (npm_smoke.mjs): every export imported and required, the command line, a small app.
 */
// deno-lint-ignore-file no-console
import { readdirSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { buildNpm } from "./build_npm.ts";
import { createNpmProject, findNode, type NodeBinary, type NpmProject } from "./npm_project.ts";
import { describe, runTests, type TestRun, total } from "./test_run.ts";

/** Nodes on which the whole test tree runs. */
export const NODES: readonly string[] = ["22", "24"];
/** Oldest Node that the package supports. It strips no types, so it cannot run the tests: it gets the smoke test only. */
const OLDEST = "20";

/** What ran on npm's side. */
export interface NpmTests {
  /** The package as a user meets it, on every Node. */
  readonly smoke: readonly TestRun[];
  /** The test tree. */
  readonly tests: readonly TestRun[];
}

/** Builds, installs and tests; `report` hears of every run as soon as it has ended. */
export async function testNpm(wanted: readonly string[], report: (run: TestRun) => void): Promise<NpmTests> {
  const nodes: NodeBinary[] = [];
  for (const name of wanted) nodes.push(await findNode(name));
  const oldest = await oldestNode();
  const project = await createNpmProject(await buildNpm());
  const runAll = async (title: string, on: readonly NodeBinary[], files: readonly string[]): Promise<TestRun[]> => {
    const runs: TestRun[] = [];
    for (const node of on) {
      const run = await nodeTest(`Node ${node.version} ${title}`, node, project, files);
      report(run);
      runs.push(run);
    }
    return runs;
  };
  try {
    const smoke = await runAll("package", [oldest, ...nodes], ["scripts/npm_smoke.mjs"]);
    await project.installTestPackages();
    const files = readdirSync(join(project.folder, "tests"), { recursive: true, encoding: "utf8" })
      .filter((file) => file.endsWith("_test.ts")).sort().map((file) => join("tests", file));
    return { smoke, tests: await runAll("tests", nodes, files) };
  } finally {
    project.remove();
  }
}

/** The machine's own one saves a download. */
async function oldestNode(): Promise<NodeBinary> {
  const own = await findNode("node").catch(() => undefined);
  return own?.version.startsWith(`v${OLDEST}.`) ? own : await findNode(OLDEST);
}

function nodeTest(name: string, node: NodeBinary, project: NpmProject, files: readonly string[]): Promise<TestRun> {
  const reporter = (kind: string, destination: string): string[] => [
    `--test-reporter=${kind}`,
    `--test-reporter-destination=${destination}`,
  ];
  return runTests(
    name,
    node.path,
    (
      report,
    ) => [
      "--test",
      "--test-concurrency=4",
      "--test-timeout=300000",
      ...reporter("spec", "stdout"),
      ...reporter("junit", report),
      ...files,
    ],
    { cwd: project.folder, env: project.env(node) },
  );
}

if (import.meta.main) {
  const [, , ...wanted] = process.argv;
  const { smoke, tests } = await testNpm(wanted.length > 0 ? wanted : NODES, (run) => console.log(describe(run)));
  const runs = [...smoke, ...tests];
  console.log(`\n${total(runs)}`);
  process.exitCode = tests.length > 0 && runs.every(({ failed }) => failed.length === 0) ? 0 : 1;
}
