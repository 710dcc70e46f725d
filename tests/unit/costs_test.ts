import assert from "node:assert/strict";
import { type Cost, restCosts, storageCosts } from "../support/costs.ts";
import { test } from "../support/test.ts";

/** Asserts all costs at once, so that a failure names each one that is too high. */
function assertLow(costs: readonly Cost[]): void {
  const tooHigh = costs.filter(({ count, atMost }) => !(count <= atMost));
  assert.deepEqual(tooHigh, []);
}

test("createApp() costs of an event, an upgrade and a step", async () => assertLow(await storageCosts()));

test("rest() costs of lists and calls", async () => assertLow(await restCosts()));
