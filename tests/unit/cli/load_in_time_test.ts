import assert from "node:assert/strict";
import { EXIT, ExitError } from "../../../src/cli/exit.ts";
import { loadInTime } from "../../../src/cli/load_in_time.ts";
import { describe, test } from "../../support/test.ts";

describe("the time to load a module", () => {
  test("a module that never finishes loading is unreachable, and the error says where to look", async () => {
    await assert.rejects(loadInTime(new Promise(() => {}), "app.ts", 20), (error) => {
      assert.ok(error instanceof ExitError);
      assert.equal(error.exitCode, EXIT.unreachable);
      assert.match(
        error.message,
        /^cannot load app\.ts: it is not loaded after 0\.02 s\n.*whether the storage answers$/,
      );
      return true;
    });
  });

  test("a module that is loaded, or fails, in time ends it", async () => {
    assert.equal(await loadInTime(Promise.resolve("app"), "app.ts"), "app");
    await assert.rejects(loadInTime(Promise.reject(new Error("no such file")), "app.ts"), /no such file/);
  });
});
