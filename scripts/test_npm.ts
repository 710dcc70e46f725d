/**
 * Packs the npm package, installs it into an empty project and runs the whole test tree against it.
 *
 *     deno run -A scripts/test_npm.ts [node ...]
 *
 * Each `node` is a major version or the path of a binary; default 22 and 24. Before the tests, those and Node 20 check
 * the package as a user meets it (npm_smoke.mjs): every export imported and required, the command line, a small app.
 */
// deno-lint-ignore-file no-console
import { readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { buildNpm } from "./build_npm.ts";
import { createNpmProject, findNode, type NodeBinary, type NpmProject } from "./npm_project.ts";
import { type Finished, run } from "./run.ts";
import { readReport, type TestReport } from "./test_report.ts";

/** Oldest Node that the package runs on. Its type stripping does not reach the tests, so it gets the smoke test only. */
const OLDEST = "20";

/** What `run` gave, as counted tests: a run that fails without a failed test still counts as one. */
async function nodeTest(node: NodeBinary, project: NpmProject, files: string[]): Promise<TestReport & Finished> {
  const path = join(project.folder, "report.xml");
  rmSync(path, { force: true });
  const reporters = [["spec", "stdout"], ["junit", path]].flatMap(([reporter, destination]) => [
    `--test-reporter=${reporter}`,
    `--test-reporter-destination=${destination}`,
  ]);
  const finished = await run(node.path, ["--test", "--test-concurrency=4", ...reporters, ...files], {
    cwd: project.folder,
    env: project.env(node),
    timeoutMs: 20 * 60_000,
  });
  const report = readReport(readText(path));
  if (finished.ok ? report.passed.length > 0 : report.failed.length > 0) return { ...finished, ...report };
  return {
    ...finished,
    ok: false,
    ...report,
    failed: [...report.failed, finished.ok ? "no test ran" : "the run itself"],
  };
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

/** The machine's own one saves a download. */
async function oldestNode(): Promise<NodeBinary> {
  const own = await findNode("node").catch(() => undefined);
  return own?.version.startsWith(`v${OLDEST}.`) ? own : await findNode(OLDEST);
}

async function main(wanted: string[]): Promise<number> {
  const nodes: NodeBinary[] = [];
  for (const name of wanted) nodes.push(await findNode(name));
  const project = await createNpmProject(await buildNpm());
  const sum = { passed: 0, failed: 0 };
  const lines: string[] = [];
  const check = async (title: string, node: NodeBinary, files: string[]): Promise<void> => {
    const { ok, output, passed, failed } = await nodeTest(node, project, files);
    const line = `node ${node.version} ${title}: ${passed.length} passed, ${failed.length} failed`;
    if (!ok || failed.length > 0) console.log(`${output}\n${line}\n${failed.map((name) => `  ${name}\n`).join("")}`);
    sum.passed += passed.length;
    sum.failed += failed.length || (ok ? 0 : 1);
    lines.push(line);
  };
  try {
    for (const node of [await oldestNode(), ...nodes]) await check("package", node, ["scripts/npm_smoke.mjs"]);
    await project.installTestPackages();
    const files = readdirSync(join(project.folder, "tests"), { recursive: true, encoding: "utf8" })
      .filter((file) => file.endsWith("_test.ts")).sort().map((file) => join("tests", file));
    for (const node of nodes) await check("tests", node, files);
  } finally {
    project.remove();
  }
  console.log([...lines, "", `${sum.passed} passed, ${sum.failed} failed`].join("\n"));
  return sum.failed === 0 && sum.passed > 0 ? 0 : 1;
}

if (import.meta.main) process.exitCode = await main(process.argv.length > 2 ? process.argv.slice(2) : ["22", "24"]);
