import assert from "node:assert/strict";
import { describe, it } from "node:test";
import process from "node:process";
import { surroundings } from "../src/surroundings.ts";

const denied = (): never => {
  throw new Error("denied");
};
const env = { A: "1" };

/** A Deno that has the variable, and that asks its user when it is read without a permission. */
function deno(state: string): { Deno: NonNullable<NonNullable<Parameters<typeof surroundings>[0]>["Deno"]> } {
  return {
    Deno: {
      env: { get: (name) => state === "granted" ? `${name} of Deno` : denied() },
      permissions: {
        querySync: ({ name, variable }) => {
          assert.deepEqual([name, variable], ["env", "A"]);
          return { state };
        },
      },
    },
  };
}

describe("surroundings()", () => {
  it("are those of this program", () => {
    process.env["ONAPPUPDATE_TEST"] = "here";
    assert.equal(surroundings().variable("ONAPPUPDATE_TEST"), "here");
    delete process.env["ONAPPUPDATE_TEST"];
    assert.equal(surroundings().variable("ONAPPUPDATE_TEST"), undefined);
    assert.equal(surroundings().isWorker, false);
  });

  it("has the variables of Node, and what node:cluster says", () => {
    const getBuiltinModule = (name: string): unknown => name === "node:cluster" ? { isWorker: true } : denied();
    const { variable, isWorker } = surroundings({ process: { env, getBuiltinModule } });
    assert.deepEqual([variable("A"), variable("B"), isWorker], ["1", undefined, true]);
  });

  it("has the variables of Deno only with the permission, which it does not ask for", () => {
    assert.equal(surroundings({ ...deno("granted"), process: { env } }).variable("A"), "A of Deno");
    for (const state of ["prompt", "denied"]) {
      let read = 0;
      const runtime = deno(state);
      const counting = { ...runtime.Deno, env: { get: (): string => String(++read) } };
      assert.equal(surroundings({ Deno: counting, process: { env } }).variable("A"), undefined);
      assert.equal(read, 0);
    }
  });

  it("is empty where nothing is known, and where looking fails", () => {
    const throwing = {
      get env(): never {
        return denied();
      },
      getBuiltinModule: denied,
    };
    const lacking = { env: { get: denied } } as unknown as NonNullable<ReturnType<typeof deno>["Deno"]>;
    for (const runtime of [{}, { process: {} }, { process: throwing }, { Deno: lacking, process: { env } }]) {
      const { variable, isWorker } = surroundings(runtime);
      assert.deepEqual([variable("A"), isWorker], [undefined, false]);
    }
  });
});
