/**
 * Random schedules of a rollout, with crashes, pauses, lost replies, clocks that differ, and operators in several processes.
 * ROLLOUT_SCHEDULES and SEED run others. ROLLOUT_SCHEDULE="…" repeats the schedule of a failure and prints it.
 */
// deno-lint-ignore-file no-console
import process from "node:process";
import { it } from "../support/test.ts";
import { exploreRandom, parseSchedule, replay } from "./_explore.ts";
import { randomRollout, rolloutSchedules } from "./_rollout_world.ts";

const { ROLLOUT_SCHEDULE, SEED = "1", ROLLOUT_SCHEDULES = "60" } = process.env;
const [first, count] = [Number(SEED), Number(ROLLOUT_SCHEDULES)];

if (ROLLOUT_SCHEDULE !== undefined) {
  it(`the schedule ${ROLLOUT_SCHEDULE}`, async () => {
    const { name, deviations } = parseSchedule(ROLLOUT_SCHEDULE);
    console.log((await replay(rolloutSchedules(randomRollout(Number(name.split(" ")[1]))), deviations)).join("\n"));
  });
} else {
  it(`a rollout keeps its promises in ${count} random schedules from seed ${first} on`, {
    timeout: Math.max(300_000, count * 3000),
  }, async () => {
    for (let seed = first; seed < first + count; seed++) {
      await exploreRandom(rolloutSchedules(randomRollout(seed)), seed);
    }
  });
}
