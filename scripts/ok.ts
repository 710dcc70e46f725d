/**
 * The gate: everything that must hold before a commit.
 *
 *     deno task ok [--without-test]
 *
 * First the checks that only read the tree, then the tests of `deno task test`, then everything else. One line a part, and
 * the whole output of a part that fails. The last line is the sum of all tests.
 *
 * `--without-test` takes the results of `deno task test` from the folder that TEST_REPORTS names, where that has written
 * them, instead of running it again.
 */
// deno-lint-ignore-file no-console
import { readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { buildNpm } from "./build_npm.ts";
import { createNpmProject, findNode, type NpmProject } from "./npm_project.ts";
import { ensurePostgres } from "./postgres_binary.ts";
import { run } from "./run.ts";
import { reported, testOnDeno, TIERS, withRedis } from "./test.ts";
import { NODES, smokeTest, smokeTestOnBun, testOnNode } from "./test_npm.ts";
import { missingIn, type TestReport } from "./test_report.ts";
import { describe, type TestRun, total, verdict } from "./test_run.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const { exports } = JSON.parse(readFileSync(join(root, "deno.json"), "utf8")) as { exports: Record<string, string> };

interface Check {
  readonly name: string;
  /** Arguments of Deno. */
  readonly args: readonly string[];
  /** Fails the check if it is printed. */
  readonly forbidden?: RegExp;
}

/** Checks that only read the tree. */
const CHECKS: readonly Check[] = [
  { name: "format", args: ["fmt", "--check"] },
  { name: "lint", args: ["lint"] },
  { name: "imports", args: ["run", "-A", "scripts/check_imports.ts"] },
  { name: "types", args: ["check"] },
  { name: "doc comments", args: ["doc", "--lint", ...Object.values(exports)] },
  // Slow types are errors; a warning would lower the score on JSR. The lint rule core/no-computed-import says which module may
  // import what the publisher cannot see: the command line, which loads the module of its user.
  {
    name: "publish",
    args: ["publish", "--dry-run", "--allow-dirty"],
    forbidden: /\bwarning\b(?!\[unanalyzable-dynamic-import\])/i,
  },
];

/** The tiers that run on Deno alone, after those of `deno task test`. */
const DENO_TIERS = ["tools", "docs", "browser", "random", "scenarios", "chaos"];
/** The Node on which the tests of real backends and the snippets for Node run. */
const MAIN_NODE = "24";

async function passes({ name, args, forbidden }: Check): Promise<boolean> {
  const { ok, output, seconds } = await run(process.execPath, args, { cwd: root });
  const isGood = ok && !forbidden?.test(output);
  console.log(`${isGood ? "" : `${output}\n`}${verdict(isGood, name, seconds)}`);
  return isGood;
}

function report(run: TestRun): TestRun {
  console.log(describe(run));
  return run;
}

/** Fails for each test that only one of two runs of a tier has executed: Deno and Node run the same tests. */
function sameTests(name: string, run: TestReport, other: TestReport): TestReport {
  if (run.failed.length + other.failed.length > 0) return { passed: [], failed: [] };
  const failed = [
    ...missingIn(run, other).map((test) => `ran on Deno only: ${test}`),
    ...missingIn(other, run).map((test) => `ran on Node only: ${test}`),
  ];
  for (const test of failed) console.log(`${name} ${test}`);
  return { passed: [], failed };
}

const isGood = ({ failed }: TestReport): boolean => failed.length === 0;

/** A part of the gate that runs beside another one. */
type Part = () => Promise<readonly TestReport[]>;

/** Returns the tests on Node by tier. What `onDeno` lacks, the tests that need PostgreSQL, runs on Deno first. */
function partsOnNode(project: NpmProject, onDeno: ReadonlyMap<string, TestReport>): Part[] {
  const onNode = (tier: string, version: string): Part => async () => {
    const other = onDeno.get(tier);
    const deno = other ?? report(await testOnDeno(tier));
    const node = report(await testOnNode(tier, await findNode(version), project));
    return [...(other === undefined ? [deno] : []), node, sameTests(node.name, node, deno)];
  };
  return [
    ...NODES.map((version) => onNode("unit", version)),
    onNode("integration", MAIN_NODE),
    onNode("postgres", MAIN_NODE),
    // The pages are the same on both, so one flow through them is enough here.
    async () => [report(await testOnNode("browser/incident_test.ts", await findNode(MAIN_NODE), project))],
  ];
}

/** Runs two parts at a time, one from each end of the list. */
async function fromBothEnds(parts: readonly Part[]): Promise<TestReport[]> {
  const left = [...parts];
  const lane = async (next: () => Part | undefined): Promise<TestReport[]> => {
    const results: TestReport[] = [];
    for (let part = next(); part !== undefined; part = next()) results.push(...await part());
    return results;
  };
  const lanes = await Promise.all([lane(() => left.shift()), lane(() => left.pop())]);
  return lanes.flat();
}

async function main(withTest: boolean): Promise<TestReport[]> {
  const building = buildNpm();
  building.catch(() => {}); // Reported where it is awaited.
  const checks = await Promise.all(CHECKS.map(passes));
  const refused = CHECKS.filter((_, i) => !checks[i]);
  if (refused.length > 0) return [{ passed: [], failed: refused.map(({ name }) => name) }];

  const onDeno = new Map<string, TestReport>();
  for (const tier of TIERS) onDeno.set(tier, withTest ? report(await testOnDeno(tier)) : reported(tier));
  const results = [...onDeno.values()];
  if (!results.every(isGood)) return results;

  const tarball = await building;
  const project = await createNpmProject(tarball);
  try {
    for (const version of NODES) results.push(report(await smokeTest(await findNode(version), project)));
    results.push(report(await smokeTestOnBun(project)));
    await project.installTestPackages();
    const env = {
      TEST_TARBALL: tarball,
      TEST_NPM_PROJECT: project.folder,
      TEST_NODE: (await findNode(MAIN_NODE)).path,
    };
    // The tests on Node compute and those on Deno mostly wait, so they share two cores well.
    const onlyOnDeno = DENO_TIERS.map((tier): Part => async () => [report(await testOnDeno(tier, env))]);
    return [...results, ...await fromBothEnds([...partsOnNode(project, onDeno), ...onlyOnDeno])];
  } finally {
    project.remove();
  }
}

const start = performance.now();
const withTest = !process.argv.includes("--without-test");
const results = await ensurePostgres().then(() => withRedis(() => main(withTest))).catch(
  (error: unknown): TestReport[] => {
    console.log(error);
    return [{ passed: [], failed: ["(the gate itself)"] }];
  },
);
console.log(`${verdict(results.every(isGood), "all of it", (performance.now() - start) / 1000)}\n\n${total(results)}`);
process.exitCode = results.every(isGood) ? 0 : 1;
