/**
 * Runs schedules until one fails, in a copy of the package: `_find_mutant.ts SCENARIO...`. Prints the failure, and exits
 * with 1 if there is none.
 */
// deno-lint-ignore-file no-console
import process from "node:process";
import { exploreAll, exploreRandom, ScheduleError } from "./_explore.ts";
import { scenarioOf } from "./_scenarios.ts";
import { schedulesOf } from "./_world.ts";

/** Numbers of random schedules of each scenario before and after those within the bound. */
const [BEFORE, AFTER] = [150, 2000];

try {
  for (const name of process.argv.slice(2)) {
    const subject = schedulesOf(scenarioOf(name));
    for (let seed = 0; seed < BEFORE; seed++) await exploreRandom(subject, seed);
    await exploreAll(subject, { deviations: 1, faults: 1 });
    for (let seed = BEFORE; seed < BEFORE + AFTER; seed++) await exploreRandom(subject, seed);
  }
  process.exitCode = 1;
} catch (error) {
  if (!(error instanceof ScheduleError)) throw error;
  console.log(error.message);
}
