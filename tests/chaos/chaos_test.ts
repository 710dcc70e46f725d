/** `scripts/chaos.ts` runs it for longer, by the environment. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import process from "node:process";
import { chaos } from "./_chaos.ts";

const { CHAOS_SEED = "1", CHAOS_SECONDS } = process.env;
const seed = Number(CHAOS_SEED);
const size = CHAOS_SECONDS === undefined
  ? { portals: 40, stormMs: 4000, restMs: 40_000 }
  : { portals: 200, stormMs: Number(CHAOS_SECONDS) * 1000, restMs: 180_000 };

describe("processes that are killed and stopped", () => {
  for (const storage of ["file", "redis", "deno-kv"] as const) {
    it(`lose no event, record no step twice and never work on a portal together, over ${storage} storage`, async () => {
      const { problems, ...counts } = await chaos({ storage, seed, ...size });
      const summary = `${storage}, seed ${seed}: ${JSON.stringify(counts)}`;
      if (CHAOS_SECONDS !== undefined) process.stdout.write(`${summary}\n`);
      assert.deepEqual(
        problems,
        [],
        `${problems.length} problems over ${summary}\n${problems.slice(0, 20).join("\n")}`,
      );
      const { kills, pauses, acknowledged, effects } = counts;
      assert(kills > 0 && pauses > 0 && acknowledged > 0 && effects > 0, `nothing happened over ${summary}`);
    });
  }
});
