import assert from "node:assert/strict";
import { checked, issuesIn, matching, objectOf, optional, sized } from "../../../src/bitrix24/fields.ts";
import { InputError } from "../../../src/errors.ts";
import { describe as group, it } from "../../support/test.ts";

const schema = objectOf({
  name: sized(1, 4),
  inner: objectOf({ code: matching(/^\d+$/, "digits"), more: optional(sized(0, 2)) }),
});
const describe = (value: unknown, key: string): string => `${key} ${typeof value}`;
const pathsIn = (value: unknown): string[] => issuesIn(value, schema, describe).map(({ path }) => path);

group("checked()", () => {
  it("returns the value itself, with fields that are not checked", () => {
    const value = { name: "four", inner: { code: "1" }, other: 1 };
    assert.equal(checked<unknown>(value, schema, describe), value);
  });

  it("names each field that is missing or malformed, with what was seen and what is wanted", () => {
    const value = { name: "", inner: { code: "x", more: "too long" } };
    assert.throws(() => checked(value, schema, describe), (error: unknown) => {
      assert(error instanceof InputError);
      assert.deepEqual(error.issues, [
        { path: "name", saw: "name string", wanted: "a string of 1 to 4 characters" },
        { path: "inner.code", saw: "code string", wanted: "digits" },
        { path: "inner.more", saw: "more string", wanted: "a string of 0 to 2 characters" },
      ]);
      return true;
    });
  });
});

group("issuesIn()", () => {
  it("has one issue for a value that is not a map, and not one for each of its fields", () => {
    for (const inner of [undefined, null, "", 1, [], [{}]]) {
      assert.deepEqual(pathsIn({ name: "n", inner }), ["inner"]);
    }
    assert.deepEqual(pathsIn(undefined), [""]);
  });

  it("accepts the absence of an optional field only, and not null", () => {
    assert.deepEqual(pathsIn({ name: "n", inner: { code: "1", more: undefined } }), []);
    assert.deepEqual(pathsIn({ name: "n", inner: { code: "1", more: null } }), ["inner.more"]);
    assert.deepEqual(pathsIn({ inner: { code: "1" } }), ["name"]);
  });

  it("accepts no number and no list in place of a string", () => {
    assert.deepEqual(pathsIn({ name: ["n"], inner: { code: 1 } }), ["name", "inner.code"]);
  });
});
