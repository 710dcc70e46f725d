import assert from "node:assert/strict";
import { nodeProblem } from "../../../src/cli/node_version.ts";
import { describe, test } from "../../support/test.ts";

describe("the Node of the command line", () => {
  for (const version of ["22.13.0", "22.18.1", "24.0.0", "26.1.0"]) {
    test(`${version} is accepted`, () => assert.equal(nodeProblem(version), undefined));
  }
  for (const version of ["18.20.0", "20.20.2", "22.12.9"]) {
    test(`${version} is refused, and the error says which one is wanted`, () => {
      assert.equal(
        nodeProblem(version),
        `onappupdate cannot run on Node ${version}, wanted Node 22.13 or later, or Deno 2.9`,
      );
    });
  }
});
