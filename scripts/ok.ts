/**
 * The one gate: everything that has to hold before a commit, cheap checks first.
 *
 *     deno task ok
 *
 * One line a check, the whole output of one that fails, and at the end the tests of Deno and of every Node together.
 */
// deno-lint-ignore-file no-console
import { readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { run } from "./run.ts";
import { NODES, testNpm } from "./test_npm.ts";
import { missingIn, type TestReport } from "./test_report.ts";
import { describe, runTests, type TestRun, total, verdict } from "./test_run.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const { exports } = JSON.parse(readFileSync(join(root, "deno.json"), "utf8")) as { exports: Record<string, string> };

interface Check {
  readonly name: string;
  /** Arguments of Deno. */
  readonly args: readonly string[];
  /** Fails the check when it is printed. */
  readonly forbidden?: RegExp;
}

/** What only reads the tree, and is quick. */
const CHECKS: readonly Check[] = [
  { name: "format", args: ["fmt", "--check"] },
  { name: "lint", args: ["lint"] },
  { name: "imports", args: ["run", "-A", "scripts/check_imports.ts"] },
  { name: "types", args: ["check"] },
  { name: "doc comments", args: ["doc", "--lint", ...Object.values(exports)] },
  // Slow types are errors; what it only warns of counts in the score of JSR.
  { name: "publish", args: ["publish", "--dry-run", "--allow-dirty"], forbidden: /\bwarning\b/i },
];

async function passes({ name, args, forbidden }: Check): Promise<boolean> {
  const { ok, output, seconds } = await run(process.execPath, args, { cwd: root });
  const good = ok && !forbidden?.test(output);
  console.log(`${good ? "" : `${output}\n`}${verdict(good, name, seconds)}`);
  return good;
}

/** Reports what `run` did not run although `other` did: both run the same tree. */
function sameTests(run: TestRun, other: TestRun): TestReport {
  const missing = missingIn(run, other);
  for (const test of missing) console.log(`${run.name}: did not run, while ${other.name} did: ${test}`);
  return { passed: [], failed: missing };
}

async function main(): Promise<TestReport[]> {
  const checks = await Promise.all(CHECKS.map(passes));
  const refused = CHECKS.filter((_, i) => !checks[i]);
  if (refused.length > 0) return [{ passed: [], failed: refused.map(({ name }) => name) }];

  const report = (run: TestRun): void => console.log(describe(run));
  const args = (path: string): string[] => ["test", "-A", "--parallel", `--junit-path=${path}`];
  const deno = await runTests("Deno tests", process.execPath, args, { cwd: root });
  report(deno);
  if (deno.failed.length > 0) return [deno];

  const { smoke, tests } = await testNpm(NODES, report);
  const compared = tests.filter(({ failed }) => failed.length === 0)
    .flatMap((run) => [sameTests(run, deno), sameTests(deno, run)]);
  return [deno, ...smoke, ...tests, ...compared];
}

const results = await main().catch((error: unknown): TestReport[] => {
  console.log(error);
  return [{ passed: [], failed: ["(the gate itself)"] }];
});
console.log(`\n${total(results)}`);
process.exitCode = results.every(({ failed }) => failed.length === 0) ? 0 : 1;
