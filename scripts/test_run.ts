/** Runs tests in a child process and counts them, on Deno and on Node alike. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { run, type RunOptions } from "./run.ts";
import { readReport, type TestReport } from "./test_report.ts";

/** One run of tests on one runtime. */
export interface TestRun extends TestReport {
  /** The tier and the runtime. */
  readonly name: string;
  /** Everything that was printed. */
  readonly output: string;
  readonly seconds: number;
}

/** Time limit (ms) of one run, which is there so that a hang ends: each test has a shorter one of its own. */
const DEADLINE_MS = 20 * 60_000;

/** Errors that are repeated after the names of failed tests: many tests that fail for one reason have one. */
const MAX_ERRORS = 10;

/** Time limits are multiplied by this, for machines that are busy. @throws {Error} if it is not a number above 0 */
export function deadlineFactor(): number {
  const text = process.env["TEST_DEADLINE_FACTOR"] ?? "1";
  const factor = Number(text);
  if (!(factor > 0)) throw new Error(`invalid TEST_DEADLINE_FACTOR ${JSON.stringify(text)}, wanted a number above 0`);
  return factor;
}

/**
 * Runs `command`. `args` returns its arguments from the path where it must write its JUnit report. A run that fails
 * without a failed test, and one that executes no test, count as one failed test.
 */
export async function runTests(
  name: string,
  command: string,
  args: (report: string) => readonly string[],
  options: RunOptions & { /** Keeps the report there. */ readonly report?: string } = {},
): Promise<TestRun> {
  const folder = mkdtempSync(join(tmpdir(), "onappupdate-report-"));
  try {
    const path = options.report ?? join(folder, "report.xml");
    const { ok, output, seconds } = await run(command, args(path), {
      timeoutMs: DEADLINE_MS * deadlineFactor(),
      ...options,
    });
    const { passed, failed, errors = [] } = readReport(existsSync(path) ? readFileSync(path, "utf8") : "");
    const unnamed = passed.length + failed.length === 0 ? ["(no test ran)"] : ok ? [] : ["(the run itself)"];
    return { name, output, seconds, passed, failed: failed.length > 0 ? failed : unnamed, errors };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Returns `N passed, N failed` of all runs together. */
export function total(runs: readonly TestReport[]): string {
  const sum = (count: (run: TestReport) => number): number => runs.reduce((n, run) => n + count(run), 0);
  return `${sum((run) => run.passed.length)} passed, ${sum((run) => run.failed.length)} failed`;
}

/**
 * Returns one line for a run that passed; otherwise the output of the failed tests, that line, their names and the first
 * errors, so that the end of a long output tells why.
 */
export function describe({ name, output, seconds, ...report }: TestRun): string {
  const { failed, errors = [] } = report;
  const line = verdict(failed.length === 0, `${name}: ${total([report])}`, seconds);
  return failed.length === 0 ? line : [
    failureOutput(output),
    line,
    ...failed.map((test) => `       ${test}`),
    ...errors.slice(0, MAX_ERRORS).map((error) => `error: ${error}`),
  ].join("\n");
}

/** Returns the output without the lines of tests that passed and what those printed; of Node, its list of failures. */
export function failureOutput(output: string): string {
  const listed = output.indexOf("\n✖ failing tests:\n");
  if (listed >= 0) return output.slice(listed + 1);
  const printedByPassed =
    /(?:^.* \.\.\.\n)?^-+ output -+\n(?:(?!-+ output end).*\n)*-+ output end -+\n(?=.* \.\.\. ok \(.*\)$)/gm;
  return output.replace(printedByPassed, "").split("\n").filter((line) => !/ \.\.\. ok \(.*\)$|^\s*✔ /.test(line)).join(
    "\n",
  );
}

/** Returns the line that every part of the gate gets. */
export function verdict(ok: boolean, text: string, seconds: number): string {
  return `${ok ? "ok    " : "FAILED"} ${text}, ${seconds.toFixed(1)} s`;
}
