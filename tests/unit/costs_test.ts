import assert from "node:assert/strict";
import { memoryStorage } from "@b24/onappupdate";
import { type Cost, restCosts, storageCosts } from "../support/costs.ts";
import { countingStorage } from "../support/counting_storage.ts";
import { test } from "../support/test.ts";

/** Asserts all costs at once, so that a failure names each one that is too high. */
function assertLow(costs: readonly Cost[]): void {
  const tooHigh = costs.filter(({ count, atMost }) => !(count <= atMost));
  assert.deepEqual(tooHigh, []);
}

test("createApp() costs of an event, an upgrade and a step", async () => assertLow(await storageCosts()));

test("rest() costs of lists and calls", async () => assertLow(await restCosts()));

test("countingStorage() operations that wait for one another", async () => {
  const { storage, inSequence, operations, rows, reads, bytes, reset } = countingStorage(memoryStorage());
  const counted = (): number[] => [inSequence(), operations(), reads(), rows(), bytes()];
  await Promise.all([storage.get(["a"]), storage.put(["b"], "four"), storage.delete(["c"])]);
  assert.deepEqual(counted(), [1, 3, 1, 0, 6]);
  await storage.write!([{ put: ["a"], value: 1 }, { delete: ["b"] }, { put: ["c"], value: [2] }]);
  assert.equal((await Array.fromAsync(storage.list([]))).length, 2);
  assert.deepEqual(counted(), [3, 5, 2, 2, 10]);
  // One branch has two operations, the other has one.
  await Promise.all([storage.get(["a"]).then(() => storage.get(["c"])), storage.get(["a"])]);
  assert.deepEqual(counted(), [5, 8, 5, 5, 10]);
  reset();
  assert.deepEqual(counted(), [0, 0, 0, 0, 0]);
});
