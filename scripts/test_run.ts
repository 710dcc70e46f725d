/** Runs tests in a child process and counts them, on Deno and on Node alike. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run, type RunOptions } from "./run.ts";
import { readReport, type TestReport } from "./test_report.ts";

/** One run of tests on one runtime. */
export interface TestRun extends TestReport {
  /** Runtime and what was run. */
  readonly name: string;
  /** All that was printed. */
  readonly output: string;
  readonly seconds: number;
}

/**
 * Runs `command`; `args` makes its arguments of the path where it is to write its JUnit report. A run that fails
 * without a failed test, or that runs none, counts as one failed test.
 */
export async function runTests(
  name: string,
  command: string,
  args: (report: string) => string[],
  options: RunOptions = {},
): Promise<TestRun> {
  const folder = mkdtempSync(join(tmpdir(), "onappupdate-report-"));
  try {
    const path = join(folder, "report.xml");
    const { ok, ...printed } = await run(command, args(path), { timeoutMs: 20 * 60_000, ...options });
    const { passed, failed } = readReport(readText(path));
    const unnamed = passed.length + failed.length === 0 ? ["(no test ran)"] : ok ? [] : ["(the run itself)"];
    return {
      name,
      output: printed.output,
      seconds: printed.seconds,
      passed,
      failed: failed.length > 0 ? failed : unnamed,
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    // A run that did not come as far as its report.
    return "";
  }
}

/** `N passed, N failed` of all runs together. */
export function total(runs: readonly TestReport[]): string {
  const sum = (count: (run: TestReport) => number): number => runs.reduce((n, run) => n + count(run), 0);
  return `${sum((run) => run.passed.length)} passed, ${sum((run) => run.failed.length)} failed`;
}

/** One line for a run that passed; for another all it printed before that line, and the names of what failed. */
export function describe({ name, output, seconds, ...report }: TestRun): string {
  const { failed } = report;
  const line = verdict(failed.length === 0, `${name}: ${total([report])}`, seconds);
  return failed.length === 0 ? line : [output, line, ...failed.map((test) => `       ${test}`)].join("\n");
}

/** The line that every check of the gate gets. */
export function verdict(ok: boolean, text: string, seconds: number): string {
  return `${ok ? "ok    " : "FAILED"} ${text}, ${seconds.toFixed(1)} s`;
}
