import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { deadlineFactor, runTests } from "../../scripts/test_run.ts";
import { describe, it } from "../support/test.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));

describe("tests/support/test.ts", () => {
  it("fails what hangs by name, says what it waited for, and runs the rest", async () => {
    const { passed, failed, output } = await runTests(
      "hangs",
      process.execPath,
      (report) => ["test", "-A", "--no-check", `--junit-path=${report}`, "tests/tools/_hangs.ts"],
      { cwd: root, env: { NO_COLOR: "1", TEST_DEADLINE_FACTOR: "0.5" }, timeoutMs: 60_000 * deadlineFactor() },
    );
    assert.deepEqual(passed.toSorted(), ["a group > runs", "a hanging after() > runs", "runs at last"]);
    assert.deepEqual(failed.toSorted(), [
      "a group > hangs",
      "a hanging before()",
      "a hanging beforeEach() > does not run",
      "hangs with a server that listens",
      "polls for ever",
    ]);
    assert.match(output, /the test did not end within 0\.1 s, waiting for: what never comes$/m);
    for (const hook of ["before", "after", "beforeEach"]) {
      assert.match(output, new RegExp(`${hook}\\(\\) did not end within 0\\.1 s$`, "m"));
    }
  });

  it("is the only module that imports node:test", () => {
    const importers = readdirSync(join(root, "tests"), { recursive: true, encoding: "utf8" })
      .filter((file) =>
        file.endsWith(".ts") && /(from|import\()\s*"node:test"/.test(readFileSync(join(root, "tests", file), "utf8"))
      );
    assert.deepEqual(importers, [join("support", "test.ts")]);
  });
});
