/** Some 20 seconds; `deno task chaos` runs it for longer. */
import assert from "node:assert/strict";
import process from "node:process";
import { describe, it } from "../support/test.ts";
import { chaos } from "./_chaos.ts";
import { planChaos } from "./_plan.ts";

const { CHAOS_SEED = "1", CHAOS_SECONDS } = process.env;
const seed = Number(CHAOS_SEED);
const size = CHAOS_SECONDS === undefined
  ? { portals: 60, stormMs: 2000 }
  : { portals: 200, stormMs: Number(CHAOS_SECONDS) * 1000 };
/** A worker can be killed again once it has begun, which takes some time on a machine that has much to do. */
const kills = Math.floor(size.stormMs / 2000);
const timeout = 3 * size.stormMs + 300_000;

describe("processes that are killed and stopped, with wrong clocks and a storage that goes down", () => {
  for (const storage of ["file", "redis", "deno-kv"] as const) {
    it(
      `lose no event, record no step twice and never work on a portal together, over ${storage} storage`,
      { timeout },
      async () => {
        const { problems, ...counts } = await chaos({ storage, seed, ...size });
        const summary = `${storage}, seed ${seed}: ${JSON.stringify(counts)}`;
        if (CHAOS_SECONDS !== undefined) process.stdout.write(`${summary}\n`);
        assert.deepEqual(
          problems,
          [],
          `${problems.length} problems over ${summary}\n${problems.slice(0, 20).join("\n")}`,
        );
        const least = {
          ...{ acknowledged: size.portals, kills, pauses: 1, outages: 2, skewed: 2 },
          ...{ removed: 1, returned: 1, effects: size.portals, repeated: 1 },
        };
        for (const [name, count] of Object.entries(least)) {
          assert(
            counts[name as keyof typeof counts] >= count,
            `too little happened: ${count} ${name} wanted, ${summary}`,
          );
        }
      },
    );
  }

  it("are planned by the seed alone", () => {
    const plan = (seed: number): unknown => {
      const { skewOf, ...rest } = planChaos({ storage: "redis", seed, ...size }, 1_785_400_000_000);
      return { ...rest, skews: Array.from({ length: 20 }, (_, i) => skewOf(`worker-${i}`)) };
    };
    assert.deepEqual(plan(seed), plan(seed));
    assert.notDeepEqual(plan(seed), plan(seed + 1));
  });
});
