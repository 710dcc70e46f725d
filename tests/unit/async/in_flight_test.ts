import assert from "node:assert/strict";
import { createInFlight } from "../../../src/async/in_flight.ts";
import { describe, it } from "../../support/test.ts";

describe("createInFlight()", () => {
  it("is idle when all work has settled, also work that came meanwhile or failed", async () => {
    const { track, idle } = createInFlight();
    await idle();
    const log: string[] = [];
    const [first, second] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const failed = assert.rejects(track(first.promise), /no/);
    const done = idle().then(() => log.push("idle"));
    void track(second.promise).then(() => log.push("second"));
    first.reject(new Error("no"));
    await failed;
    second.resolve();
    await done;
    assert.deepEqual(log, ["second", "idle"]);
  });
});
