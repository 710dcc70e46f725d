import assert from "node:assert/strict";
import { closeInTime } from "../../../src/cli/close_in_time.ts";
import { describe, test } from "../../support/test.ts";

describe("closeInTime()", () => {
  test("resolves although nothing closes", async () => {
    await closeInTime(() => new Promise(() => {}), 1);
  });

  test("resolves and rejects as what closes", async () => {
    let isClosed = false;
    await closeInTime(() => Promise.resolve(void (isClosed = true)), 60_000);
    assert.ok(isClosed);
    await assert.rejects(closeInTime(() => Promise.reject(new Error("broken"))), /broken/);
  });
});
