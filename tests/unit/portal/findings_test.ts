import assert from "node:assert/strict";
import { Secret } from "@b24/onappupdate";
import { storedProblems } from "../../../src/portal/findings.ts";
import { describe, it } from "../../support/test.ts";

describe("storedProblems()", () => {
  it("keeps the first 20 problems, and the first 300 characters of a message", () => {
    const found = Array.from(
      { length: 30 },
      (_, n: number) => ({ code: "c".repeat(200), message: `${n} `.padEnd(500, "x") }),
    );
    const problems = storedProblems(found, []);
    assert.deepEqual(problems.map(({ message }) => Number.parseInt(message, 10)), [...Array(20).keys()]);
    for (const { code, message } of problems) assert.deepEqual([code.length, message.length], [100, 300]);
  });

  it("removes secrets, also one that the limit would cut", () => {
    const token = "3a0f7d66007e2a1c";
    const message = `${"x ".repeat(145)}${token}`;
    const [problem] = storedProblems([{ code: "rest", message }], [new Secret(token)]);
    assert.ok(!problem!.message.includes(token.slice(0, 4)), problem!.message);
    const [named] = storedProblems([{ code: "rest", message: "refused client_secret=abcdef" }], []);
    assert.equal(named!.message, "refused client_secret=[redacted]");
  });
});
