import assert from "node:assert/strict";
import { run } from "../../support/process.ts";
import { test } from "../../support/test.ts";

test("a promise that a handler forgets fails its portal, not the process; others end the process as usual", async () => {
  const { output, exited } = run("tests/integration/app/unhandled_rejection_child.ts");
  assert.equal(await exited, 1, output());
  const forgotten = "a promise that the handler did not await was rejected: forgotten in an upgrade";
  assert.match(output(), new RegExp(`^failed: ${forgotten}, attempts 1$`, "m"));
  assert.match(output(), /^rehearsed: failed, .*: forgotten in a rehearsal$/m);
  assert.match(output(), /^upgraded: 3\.0\.0$/m);
  assert.match(output(), /Error: foreign/);
  assert.doesNotMatch(output(), /the process goes on/);
});
