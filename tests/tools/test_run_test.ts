import assert from "node:assert/strict";
import process from "node:process";
import { describe, runTests, type TestRun, total } from "../../scripts/test_run.ts";
import { describe as group, it, test } from "../support/test.ts";

const PASSED = `<testsuites><testcase name="a"/></testsuites>`;
const FAILED = `<testsuites><testcase name="a"/><testcase name="b"><failure/></testcase></testsuites>`;

/** A run that writes `report`, if any, prints a line and ends with `code`. */
function fakeRun(report: string | undefined, code: number): Promise<TestRun> {
  const evaluate = process.versions.deno === undefined ? ["--input-type=module", "-e"] : ["eval"];
  return runTests("fake", process.execPath, (path) => [
    ...evaluate,
    `import { writeFileSync } from "node:fs";
     if (${report !== undefined}) writeFileSync(${JSON.stringify(path)}, ${JSON.stringify(report ?? "")});
     console.log("printed");
     process.exit(${code});`,
  ]);
}

group("runTests()", () => {
  const cases: Readonly<Record<string, readonly [report: string | undefined, code: number, failed: string[]]>> = {
    "counts a run that passes": [PASSED, 0, []],
    "counts a run that fails": [FAILED, 1, ["b"]],
    "fails a run that ends badly although its tests pass": [PASSED, 1, ["(the run itself)"]],
    "fails a run without a test": ["<testsuites></testsuites>", 0, ["(no test ran)"]],
    "fails a run that does not come as far as its report": [undefined, 1, ["(no test ran)"]],
    "fails a run that says it is well and leaves no report": [undefined, 0, ["(no test ran)"]],
  };
  for (const [name, [report, code, failed]] of Object.entries(cases)) {
    it(name, async () => {
      const run = await fakeRun(report, code);
      assert.deepEqual(run.failed, failed);
      assert.match(run.output, /^printed$/m);
    });
  }
  it("fails a command that cannot be started, and says why", async () => {
    const run = await runTests("none", "no-such-command-here", () => []);
    assert.deepEqual(run.failed, ["(no test ran)"]);
    assert.match(run.output, /no-such-command-here/);
  });
});

test("total() adds up runs", () => {
  assert.equal(total([{ passed: ["a", "b"], failed: ["c"] }, { passed: ["a"], failed: [] }]), "3 passed, 1 failed");
  assert.equal(total([]), "0 passed, 0 failed");
});

test("describe() shows what a run printed only when it failed", () => {
  const run = { name: "Deno tests", output: "all of it", seconds: 1.26, passed: ["a"], failed: [] };
  assert.equal(describe(run), "ok     Deno tests: 1 passed, 0 failed, 1.3 s");
  assert.equal(
    describe({ ...run, failed: ["b > c"] }),
    "all of it\nFAILED Deno tests: 1 passed, 1 failed, 1.3 s\n       b > c",
  );
  assert.match(describe({ ...run, failed: ["b > c"], errors: ["none left"] }), /\n {7}b > c\nerror: none left$/);
});
