import assert from "node:assert/strict";
import { run } from "../support/process.ts";
import { test } from "../support/test.ts";

test("Secret prints as [redacted] on the console and in the inspector of the runtime", async () => {
  const { output, exited } = run("tests/integration/secret_child.ts");
  assert.equal(await exited, 0, output());
  assert.ok(output().match(/\[redacted\]/g)!.length >= 8, output());
  assert.doesNotMatch(output(), /3a0f7d66007e2a1c0056b0f100000001/);
});
