import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run } from "../../support/process.ts";
import { test } from "../../support/test.ts";

test("app.start() recognizes the environment that the process really has", async () => {
  const folder = mkdtempSync(join(tmpdir(), "start-"));
  // The environment of the machine that runs the tests must not count.
  const names = ["DENO_DEPLOYMENT_ID", "K_SERVICE", "DYNO", "KUBERNETES_SERVICE_HOST", "NODE_APP_INSTANCE"];
  const nowhere = Object.fromEntries(["AWS_LAMBDA_FUNCTION_NAME", ...names].map((name) => [name, ""]));
  const logged = async (env: Record<string, string>, ...args: string[]): Promise<string> => {
    const { output, exited } = run("tests/integration/app/start_child.ts", {
      args,
      env: { ...nowhere, ...env },
    });
    assert.equal(await exited, 0, output());
    return output();
  };
  try {
    const lambda = { AWS_LAMBDA_FUNCTION_NAME: "b24" };
    assert.match(
      await logged(lambda),
      /"warn".*"storage":"memory","event":"storage.not_shared","environment":"AWS Lambda".*\n.*app.started.*\nstarted/,
    );
    assert.match(
      await logged(lambda, join(folder, "app.db")),
      /"event":"storage.not_persistent","environment":"AWS Lambda".*\n.*"event":"storage.not_encrypted"/,
    );
    assert.match(await logged({}), /^\{"level":"info","message":"app started"[^\n]*\nstarted/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
