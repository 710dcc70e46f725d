/** `LIVES=10000 deno test -A tests/lives` is the long form; `LIFE=7` is the first one's seed, and with `LIVES=1` the only one. */
import assert from "node:assert/strict";
import process from "node:process";
import { test } from "../support/test.ts";
import { live } from "./_life.ts";

const { LIFE = "1", LIVES = "60" } = process.env;

test(`${LIVES} lives of portals, from seed ${LIFE} on, end as Bitrix24 says, whatever is lost, repeated, or fails`, async () => {
  let refused = 0;
  for (let seed = Number(LIFE); seed < Number(LIFE) + Number(LIVES); seed++) {
    const { isRefused } = await live(seed);
    if (isRefused) refused++;
  }
  // In those, less can be said.
  assert(refused <= Number(LIVES) / 2, `${refused} of ${LIVES} lives had an event that could not be verified`);
});
