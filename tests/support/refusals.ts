/** Tests of calls that are refused. */
import assert from "node:assert/strict";
import { it } from "./test.ts";

/** A call, and the message of the `TypeError` that it throws or rejects with. */
export type Mistake = readonly [message: string, call: () => unknown];

/** Registers a test for each mistake. */
export function refuses(mistakes: readonly Mistake[]): void {
  for (const [message, call] of mistakes) {
    it(`refuses: ${message}`, async () => {
      await assert.rejects(async () => await call(), { name: "TypeError", message });
    });
  }
}

/** A function that must not be called. */
export const none = (): never => assert.fail("nothing is called");
