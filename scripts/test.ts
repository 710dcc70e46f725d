/**
 * Runs tests on Deno, by default those of `tests/unit`, `tests/integration` and `tests/simulation`.
 *
 *     deno task test [tier or path ...]
 *
 * A tier is a folder of `tests/`. The last line is `N passed, N failed`. TEST_DEADLINE_FACTOR multiplies all time limits.
 * TEST_REPORTS names a folder that keeps the JUnit report of each tier: `scripts/ok.ts --without-test` reads them there.
 */
// deno-lint-ignore-file no-console
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { checkLeaks } from "./leak_check.ts";
import { ensureRedis } from "./redis_binary.ts";
import { startRedis } from "./redis_server.ts";
import { readReport, type TestReport } from "./test_report.ts";
import { describe, runTests, type TestRun, total } from "./test_run.ts";

const root = fileURLToPath(new URL("..", import.meta.url));

/** The tiers of `deno task test`. */
export const TIERS: readonly string[] = ["unit", "integration", "simulation"];

/** Calls `run` with one Redis server for all tests that can share one, which find it by TEST_REDIS_PORT. */
export async function withRedis<T>(run: () => Promise<T>): Promise<T> {
  await ensureRedis();
  const server = await startRedis("--appendonly", "no");
  process.env["TEST_REDIS_PORT"] = String(server.port);
  try {
    return await run();
  } finally {
    delete process.env["TEST_REDIS_PORT"];
    await server.remove();
  }
}

/** Runs a tier of `tests/`, or a file or folder by its path, on Deno. Types are checked by the gate, once. */
export async function testOnDeno(what: string, env: Readonly<Record<string, string>> = {}): Promise<TestRun> {
  const reports = process.env["TEST_REPORTS"];
  if (reports !== undefined) mkdirSync(reports, { recursive: true });
  const path = what.includes("/") ? what : `tests/${what}`;
  const args = (report: string): string[] => [
    ...["test", "-A", "--no-check", "--parallel", `--junit-path=${report}`, path],
  ];
  const run = (more: Readonly<Record<string, string>>): Promise<TestRun> =>
    runTests(`${what} on Deno`, process.execPath, args, {
      cwd: root,
      // Files of integration tests mostly wait, so more of them run at once than there are cores.
      env: { ...(what === "integration" ? { DENO_JOBS: process.env["DENO_JOBS"] ?? "4" } : {}), ...env, ...more },
      ...(reports === undefined ? {} : { report: reportOf(reports, what) }),
    });
  // Whole apps, as in production: nothing that they write may have a token.
  return await (/^(\.\/)?tests\/scenarios\b/.test(path) ? checkLeaks(run) : run({}));
}

/** Returns what an earlier run of a tier has reported to TEST_REPORTS; a report without a test counts as a failure. */
export function reported(what: string): TestReport {
  const path = reportOf(process.env["TEST_REPORTS"] ?? ".", what);
  const report = readReport(existsSync(path) ? readFileSync(path, "utf8") : "");
  return report.passed.length + report.failed.length > 0 ? report : { passed: [], failed: [`(no test in ${path})`] };
}

const reportOf = (folder: string, what: string): string => join(folder, `${what.replaceAll(/\W+/g, "_")}.xml`);

if (import.meta.main) {
  const [, , ...wanted] = process.argv;
  const runs: TestRun[] = [];
  const test = async (): Promise<void> => {
    for (const what of wanted.length > 0 ? wanted : TIERS) {
      const run = await testOnDeno(what);
      console.log(describe(run));
      runs.push(run);
    }
  };
  try {
    // Unit tests need nothing beside Deno.
    await (wanted.join() === "unit" ? test() : withRedis(test));
  } catch (error) {
    console.log(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  }
  console.log(`\n${total(runs)}`);
  if (runs.length === 0 || runs.some(({ failed }) => failed.length > 0)) process.exitCode = 1;
}
