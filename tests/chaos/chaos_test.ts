/** Takes about 20 seconds. `deno task chaos` runs the long form. */
import assert from "node:assert/strict";
import process from "node:process";
import { describe, it } from "../support/test.ts";
import { chaos } from "./_chaos.ts";
import { planChaos } from "./_plan.ts";

const { CHAOS_SEED = "1", CHAOS_SECONDS } = process.env;
const seed = Number(CHAOS_SEED);
const size = CHAOS_SECONDS === undefined
  ? { portals: 60, chaosMs: 2000 }
  : { portals: 200, chaosMs: Number(CHAOS_SECONDS) * 1000 };
/** A worker can be killed again once it has started, which takes some time on a busy machine. */
const kills = Math.floor(size.chaosMs / 2000);
const timeout = 3 * size.chaosMs + 300_000;

describe("workers that are killed and paused, with wrong clocks and storage outages,", () => {
  for (const storage of ["file", "redis", "deno-kv"] as const) {
    it(
      `lose no event, record no step twice and never process a portal concurrently, over ${storage} storage`,
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
        const min = {
          ...{ acknowledged: size.portals, kills, pauses: 1, outages: 2, skewed: 2 },
          ...{ removed: 1, returned: 1, effects: size.portals, repeated: 1 },
        };
        for (const [name, count] of Object.entries(min)) {
          assert(
            counts[name as keyof typeof counts] >= count,
            `too little happened: ${count} ${name} wanted, ${summary}`,
          );
        }
      },
    );
  }

  it("have a plan that depends only on the seed", () => {
    const plan = (seed: number): string => {
      const { skewOf, ...rest } = planChaos({ storage: "redis", seed, ...size }, 1_785_400_000_000);
      const skews = Array.from({ length: 20 }, (_, i) => skewOf(`worker-${i}`));
      // The tokens of events expire by the system's clock, which may reach the next second between two plans.
      return JSON.stringify({ ...rest, skews }).replaceAll(/%5Bexpires%5D=\d+/g, "");
    };
    assert.equal(plan(seed), plan(seed));
    assert.notEqual(plan(seed), plan(seed + 1));
  });
});
