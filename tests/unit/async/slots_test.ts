import assert from "node:assert/strict";
import { createSlots } from "../../../src/async/slots.ts";
import { describe, it } from "../../support/test.ts";

describe("createSlots()", () => {
  it("runs so many at a time, and offers free slots to the others in order", async () => {
    const turns: string[] = [];
    const slots = createSlots(2, (key) => void turns.push(key));
    const work = ["a", "b"].map(() => Promise.withResolvers<string>());
    const [a, b] = work.map(({ promise }, i) => slots.tryRun(String(i), () => promise));
    for (const key of ["c", "d", "c", "e"]) assert.equal(slots.tryRun(key, () => Promise.resolve("no")), undefined);
    assert.equal(slots.waiting(), 3);
    work[0]!.resolve("done");
    assert.equal(await a, "done");
    assert.deepEqual(turns, ["c"]);
    work[1]!.reject(new Error("failed"));
    await assert.rejects(b!, /failed/);
    assert.deepEqual(turns, ["c", "d", "e"]);
    assert.equal(await slots.tryRun("c", () => Promise.resolve("yes")), "yes");
    assert.equal(slots.waiting(), 0);
  });
});
