import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { type Finished, run, type RunOptions } from "../../scripts/run.ts";
import { failureOutput } from "../../scripts/test_run.ts";
import { checkDeadline, describe, it, test } from "../support/test.ts";
import { until } from "../support/until.ts";

function inFolder(body: (folder: string) => Promise<void>): () => Promise<void> {
  return async () => {
    const folder = mkdtempSync(join(tmpdir(), "run-"));
    try {
      await body(folder);
    } finally {
      rmSync(folder, { recursive: true });
    }
  };
}

const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

/** Runs a command that hangs after it has printed `begun`, with a time limit in which it has: a busy machine takes long. */
async function runHanging(
  command: string,
  args: readonly string[],
  options: RunOptions,
): Promise<Finished & { readonly timeoutMs: number }> {
  for (let timeoutMs = 1000;; timeoutMs *= 2) {
    checkDeadline();
    const finished = await run(command, args, { ...options, timeoutMs });
    if (/^begun$/m.test(finished.output)) return { ...finished, timeoutMs };
  }
}

describe("run()", () => {
  it(
    "stops a command at its time limit, with all that it has started",
    inFolder(async (folder) => {
      const pidFile = join(folder, "pid");
      const script = `sleep 600 & echo $! > ${pidFile}; trap '' INT; echo begun; wait; sleep 600`;
      const { ok, output, timeoutMs } = await runHanging("sh", ["-c", script], { graceMs: 200 });
      assert.equal(ok, false);
      assert(output.includes(`\nsh takes longer than ${timeoutMs / 1000} s and is stopped\n`), output);
      const grandchild = Number(readFileSync(pidFile, "utf8"));
      await until("the grandchild is gone", () => !isAlive(grandchild));
    }),
  );

  it(
    "leaves nothing behind of a command that ends",
    inFolder(async (folder) => {
      const pidFile = join(folder, "pid");
      const { ok } = await run("sh", ["-c", `sleep 600 >/dev/null 2>&1 & echo $! > ${pidFile}`]);
      assert.equal(ok, true);
      const grandchild = Number(readFileSync(pidFile, "utf8"));
      await until("the grandchild is gone", () => !isAlive(grandchild));
    }),
  );

  it(
    "lets deno test name the tests that were running",
    inFolder(async (folder) => {
      const file = join(folder, "hanging_test.ts");
      writeFileSync(
        file,
        `Deno.test("hangs", () => {
           console.log("begun");
           return new Promise((resolve) => setTimeout(resolve, 600_000));
         });`,
      );
      const args = ["test", "--no-check", "--no-config", file];
      const { output } = await runHanging(process.execPath, args, { graceMs: 60_000 });
      assert.match(output, /tests were pending:\s+hangs => /);
    }),
  );
});

test("failureOutput() keeps what failed tests printed, and drops the lines and output of the others", () => {
  const passed =
    "quiet ... ok (1ms)\nloud ...\n------- output -------\nhello\n----- output end -----\nloud ... ok (2ms)\n";
  const failed = "bad ...\n------- output -------\nhelp\n----- output end -----\nbad ... FAILED (1ms)\n\n ERRORS \n";
  assert.equal(failureOutput(passed + failed), failed);
  assert.equal(failureOutput("▶ a\n  ✔ good (1ms)\n\n✖ failing tests:\n\n✖ bad\n"), "✖ failing tests:\n\n✖ bad\n");
  assert.equal(failureOutput("▶ group\n  ✔ good (1ms)\n  ✖ bad (1ms)\n"), "▶ group\n  ✖ bad (1ms)\n");
});
