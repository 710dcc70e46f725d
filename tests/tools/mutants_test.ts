/** `deno task mutants` takes too long for the gate. That all mutants still apply is part of it. */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { MUTANTS } from "../../scripts/mutants/list.ts";
import { type Mutant, mutated } from "../../scripts/mutants/mutant.ts";
import { SCENARIOS } from "../simulation/_scenarios.ts";
import { describe, it } from "../support/test.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));

describe("the mutants", () => {
  it("apply to the source", () => {
    for (const mutant of MUTANTS) {
      const source = readFileSync(join(root, mutant.file), "utf8");
      assert.notEqual(mutated(source, mutant), source, mutant.name);
    }
  });

  it("have different names, and tests or scenarios that exist", () => {
    assert.equal(new Set(MUTANTS.map(({ name }) => name)).size, MUTANTS.length);
    for (const { name, tests, scenarios } of MUTANTS) {
      assert(tests.length > 0 && tests.every((path) => existsSync(join(root, path))), name);
      for (const scenario of scenarios ?? []) assert(SCENARIOS.some(({ name }) => name === scenario), name);
    }
  });

  it("are at least 60, of all parts that decide what is stored and what runs", () => {
    assert(MUTANTS.length >= 60);
    for (const part of ["portal", "worker", "upgrade", "verify", "intake"]) {
      assert(MUTANTS.filter(({ file }) => file.startsWith(`src/${part}/`)).length >= 10, part);
    }
  });

  it("include those that tests once did not notice", () => {
    const names = MUTANTS.filter(({ reason }) => reason === undefined).map(({ name }) => name);
    for (
      const name of [
        "history is stored after the version has moved",
        "a step's own retry limit is ignored",
        "the tick keeps stale entries",
        "an id is recorded after its delivery is removed",
        "the check on arrivals is removed",
      ]
    ) assert(names.includes(name), name);
  });
});

describe("mutated()", () => {
  const mutant: Mutant = { name: "a", file: "b.ts", from: "x", to: "$&", tests: [] };

  it("replaces the text as it is", () => assert.equal(mutated("1x2", mutant), "1$&2"));

  it("throws if the text is not in the source, or more than once", () => {
    for (const source of ["", "xx"]) assert.throws(() => mutated(source, mutant), /in b\.ts, wanted 1$/);
  });
});
