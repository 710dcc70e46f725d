import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run } from "../../support/process.ts";
import { test } from "../../support/test.ts";

test("a program is warned of its storage by the environment that it really has", async () => {
  const folder = mkdtempSync(join(tmpdir(), "start-"));
  // What the machine of the tests says of itself does not count.
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
      /"warn".* in this process alone.*"storage":"memory","place":"AWS Lambda"\}\nstarted/,
    );
    assert.match(
      await logged(lambda, join(folder, "app.db")),
      /on this host alone.*"place":"AWS Lambda"\}\n.*encrypted\(\)/,
    );
    assert.match(await logged({}), /^\nstarted/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
