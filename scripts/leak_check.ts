/** Looks for tokens in everything that a test run writes: by the tests, their apps, and the processes that they start. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { linesWithToken, withoutTokens } from "../tests/support/leaks.ts";
import type { TestRun } from "./test_run.ts";

/** Name of the test that a checked run has in addition. */
export const LEAK_TEST = "no output has a token of the fake Bitrix24";

/**
 * Runs tests, and adds a test that fails if anything that was written has a token of the fake Bitrix24. The output names the lines,
 * without the tokens. `runTests` passes its argument to the tests as environment.
 */
export async function checkLeaks(
  runTests: (env: Readonly<Record<string, string>>) => Promise<TestRun>,
): Promise<TestRun> {
  const folder = mkdtempSync(join(tmpdir(), "onappupdate-outputs-"));
  try {
    const run = await runTests({ TEST_OUTPUTS: folder });
    const kept = readdirSync(folder).map((file) => readFileSync(join(folder, file), "utf8"));
    const lines = [run.output, ...kept].flatMap(linesWithToken);
    if (lines.length === 0) return { ...run, passed: [...run.passed, LEAK_TEST] };
    const report = [`lines with a token: ${lines.length}`, ...lines.slice(0, 20)].join("\n");
    return { ...run, output: `${withoutTokens(run.output)}\n${report}\n`, failed: [...run.failed, LEAK_TEST] };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
