/** Takes a few seconds. `deno task random` runs the long form. Set HISTORIES=1 and SEED to repeat one history. */
import assert from "node:assert/strict";
import process from "node:process";
import { test } from "../support/test.ts";
import { runHistory } from "./_history.ts";

const { SEED = "1", HISTORIES = "60", KEEP_GOING } = process.env;
const [first, count] = [Number(SEED), Number(HISTORIES)];
const timeout = Math.max(300_000, count * 1000);

test(`${count} random histories of portals, from seed ${first} on, end in the state of Bitrix24`, {
  timeout,
}, async () => {
  let contacts = 0;
  const failures: Error[] = [];
  for (let seed = first; seed < first + count; seed++) {
    try {
      const { neededContact } = await runHistory(seed);
      if (neededContact) contacts++;
    } catch (error) {
      // With KEEP_GOING=1, all histories run, and the first lines of all failures are printed.
      if (KEEP_GOING === undefined) throw error;
      failures.push(error as Error);
    }
  }
  const lines = failures.map(({ message }) => message.split("\n")[0]);
  assert.deepEqual(lines, []);
  // Only a lost token pair needs an administrator.
  assert(contacts <= count / 20, `${contacts} of ${count} histories needed an administrator to open the app`);
});
