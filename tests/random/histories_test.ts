/** Takes about 20 seconds. `deno task random` runs the long form. Set HISTORIES=1 and SEED to repeat one history. */
import assert from "node:assert/strict";
import process from "node:process";
import { test } from "../support/test.ts";
import { runHistory } from "./_history.ts";

const { SEED = "1", HISTORIES = "150" } = process.env;
const [first, count] = [Number(SEED), Number(HISTORIES)];
const timeout = Math.max(300_000, count * 1000);

test(`${count} random histories of portals, from seed ${first} on, end in the state of Bitrix24`, {
  timeout,
}, async () => {
  let refused = 0;
  for (let seed = first; seed < first + count; seed++) {
    const { isRefused } = await runHistory(seed);
    if (isRefused) refused++;
  }
  // These histories are checked less strictly.
  assert(refused <= count / 2, `${refused} of ${count} histories had an event that could not be verified`);
});
