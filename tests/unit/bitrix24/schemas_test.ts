import assert from "node:assert/strict";
import { MAX_SCOPES, scopesOf } from "../../../src/bitrix24/schemas.ts";
import { describe, it } from "../../support/test.ts";

describe("scopesOf()", () => {
  it("returns the scopes that commas and spaces separate, at most 200", () => {
    assert.deepEqual(scopesOf("crm,user, tasks  log"), ["crm", "user", "tasks", "log"]);
    assert.deepEqual([scopesOf(""), scopesOf(undefined)], [[], []]);
    assert.equal(scopesOf("crm,".repeat(1000)).length, MAX_SCOPES);
  });
});
