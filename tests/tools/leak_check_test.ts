import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fakeBitrix24 } from "@b24/onappupdate/testing";
import { checkLeaks, LEAK_TEST } from "../../scripts/leak_check.ts";
import { describe as textOf, runTests, type TestRun } from "../../scripts/test_run.ts";
import { root } from "../support/process.ts";
import { describe, it } from "../support/test.ts";

const { accessToken } = fakeBitrix24({ clientId: "app.5f3a" }).portal({ memberId: "a".repeat(32) }).tokens();

/** Runs one test, which passes, with the check. */
async function checked(body: string): Promise<TestRun> {
  const folder = mkdtempSync(join(tmpdir(), "leak-check-"));
  const file = join(folder, "leak_test.ts");
  const support = (name: string): string => JSON.stringify(new URL(`../support/${name}.ts`, import.meta.url).href);
  const child = join(folder, "child.ts");
  writeFileSync(child, `console.error("sent", Deno.args[0]);`);
  writeFileSync(
    file,
    `import { quietLogger, recordingLogger } from ${support("app")};
     import { run } from ${support("process")};
     const token = ${JSON.stringify(accessToken)};
     const child = ${JSON.stringify(child)};
     Deno.test("passes", async () => { ${body} });`,
  );
  try {
    const args = (report: string): string[] => [
      ...["test", "-A", "--no-check", "--config", join(root, "deno.json"), `--junit-path=${report}`, file],
    ];
    return await checkLeaks((env) => runTests("fake", process.execPath, args, { env }));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

describe("checkLeaks()", () => {
  it("adds a test to a run that writes no token", async () => {
    const { passed, failed } = await checked(`console.log("hello"); quietLogger.warn("hello");`);
    assert.deepEqual([passed, failed], [["passes", LEAK_TEST], []]);
  });

  const leaks: Readonly<Record<string, string>> = {
    "a test prints": `console.log("sent", token);`,
    "a test prints in base64": `console.log("sent", btoa("x:" + token));`,
    "a process of a test prints": `await run(child, { args: [token] }).exited;`,
    "a quiet logger gets": `quietLogger.warn("sent", { url: "https://p/rest?auth=" + token });`,
    "a recording logger gets in an error": `recordingLogger().logger.info("sent", { err: new Error(token) });`,
  };
  for (const [what, body] of Object.entries(leaks)) {
    it(`fails a run for a token that ${what}, and shows the line without it`, async () => {
      const run = await checked(body);
      assert.deepEqual([run.passed, run.failed], [["passes"], [LEAK_TEST]]);
      const text = textOf(run);
      assert.match(text, /^lines with a token: 1\n.*sent.*\[token\]/m);
      assert(!text.includes(accessToken) && !text.includes(btoa(`x:${accessToken}`)), text);
    });
  }
});
