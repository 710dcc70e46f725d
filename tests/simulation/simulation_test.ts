/**
 * Takes some 10 seconds. `deno task simulation [seed] [schedules]` runs the long form. BOUND=2 runs all schedules with two
 * choices other than the default, which takes an hour. SCHEDULE="…" repeats the schedule of a failure and prints it.
 */
// deno-lint-ignore-file no-console
import assert from "node:assert/strict";
import process from "node:process";
import { describe, it, test } from "../support/test.ts";
import { exploreAll, exploreRandom, parseSchedule, replay } from "./_explore.ts";
import { randomScenario, scenarioOf, SCENARIOS } from "./_scenarios.ts";
import { schedulesOf } from "./_world.ts";

const { SCHEDULE, SEED = "1", SCHEDULES = "400", BOUND = "1" } = process.env;
const [first, count, bound] = [Number(SEED), Number(SCHEDULES), Number(BOUND)];
const isLong = process.env["SCHEDULES"] !== undefined;
const timeout = Math.max(300_000, count * 100, (bound - 1) * 7_200_000);

if (SCHEDULE !== undefined) {
  test(`the schedule ${SCHEDULE}`, async () => {
    const { name, deviations } = parseSchedule(SCHEDULE);
    console.log((await replay(schedulesOf(scenarioOf(name)), deviations)).join("\n"));
  });
} else {
  describe("every schedule keeps its promises", () => {
    for (const scenario of SCENARIOS) {
      it(`${scenario.name}, all schedules with ${bound} choices other than the default`, { timeout }, async () => {
        const schedules = await exploreAll(schedulesOf(scenario), { deviations: bound, faults: 2 });
        assert(schedules > 80, `there were only ${schedules} schedules`);
      });
    }
    it("two updates, all orders with two switches", async () => {
      const schedules = await exploreAll(schedulesOf(scenarioOf("two updates")), { deviations: 2, faults: 0 });
      assert(schedules > 200, `there were only ${schedules} schedules`);
    });
    it(`${count} random schedules from seed ${first} on`, { timeout }, async () => {
      const start = performance.now();
      for (let seed = first; seed < first + count; seed++) {
        await exploreRandom(schedulesOf(randomScenario(seed)), seed);
      }
      const minutes = (performance.now() - start) / 60_000;
      if (isLong) console.log(`${Math.round(count / minutes)} schedules a minute`);
    });
  });

  it("a seed gives the same schedule each time", async () => {
    for (let seed = first; seed < first + 20; seed++) {
      assert.deepEqual(await traceOf(seed), await traceOf(seed));
    }
  });
}

/** Returns everything that happens in the random schedule of a seed. */
async function traceOf(seed: number): Promise<readonly string[]> {
  const lines: string[] = [];
  const { name, run } = schedulesOf(randomScenario(seed));
  await exploreRandom({ name, run: (choose) => run(choose, (line) => lines.push(line)) }, seed);
  return lines;
}
