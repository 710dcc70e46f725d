/** Some 20 seconds; `deno task random` runs it for longer. LIFE is the first seed, and with `LIVES=1` the only one. */
import assert from "node:assert/strict";
import process from "node:process";
import { test } from "../support/test.ts";
import { live } from "./_life.ts";

const { LIFE = "1", LIVES = "150" } = process.env;
const timeout = Math.max(300_000, Number(LIVES) * 1000);

test(`${LIVES} lives of portals, from seed ${LIFE} on, end as Bitrix24 says, whatever is lost, repeated, or fails`, {
  timeout,
}, async () => {
  let refused = 0;
  for (let seed = Number(LIFE); seed < Number(LIFE) + Number(LIVES); seed++) {
    const { isRefused } = await live(seed);
    if (isRefused) refused++;
  }
  // In those, less can be said.
  assert(refused <= Number(LIVES) / 2, `${refused} of ${LIVES} lives had an event that could not be verified`);
});
