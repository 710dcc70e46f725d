import assert from "node:assert/strict";
import { createDeadline } from "../../../src/async/deadline.ts";
import { test } from "../../support/test.ts";

test("createDeadline() expires what waits, in order, and nothing that was in time", async () => {
  const deadline = createDeadline(5);
  const expired: number[] = [];
  await new Promise<void>((resolve) => {
    deadline(() => expired.push(1));
    const inTime = deadline(() => expired.push(2));
    deadline(() => expired.push(3));
    inTime();
    inTime();
    deadline(resolve);
  });
  assert.deepEqual(expired, [1, 3]);
});

test("createDeadline() begins anew for what comes after an end, and while a timer runs", async () => {
  const deadline = createDeadline(5);
  for (let round = 0; round < 3; round++) {
    deadline(() => assert.fail("this one was in time"))();
    await new Promise<void>((resolve) => void deadline(resolve));
  }
});
