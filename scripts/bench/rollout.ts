/**
 * Compares the time in which 20,000 portals reach a deployed version with rollout control and without, as a ratio: on a storage in
 * memory, with an upgrade of one step. No upgrade fails, so all portals are in one stage.
 *
 *     deno run -A scripts/bench/rollout.ts
 *     node scripts/bench/rollout.ts          (in a project that has the package installed)
 */
import process from "node:process";
import { createApp, deployed, memoryStorage, type RolloutOptions } from "@b24/onappupdate";
import { quietLogger as logger, trustAll } from "../../tests/support/app.ts";
import { memberIds, storeInstalled } from "../../tests/support/rollout.ts";
import { report, rounds } from "./_bench.ts";

const PORTALS = Number(process.env["BENCH_PORTALS"] ?? 20_000);
/** Maximum ratio. */
const WANTED = 1.1;

/** Resolves to the time (ms) until all portals are on the version, and to that of the processor. */
async function upgradeAll(
  rollout: RolloutOptions | undefined,
): Promise<{ readonly ms: number; readonly cpuMs: number }> {
  const storage = memoryStorage();
  await storeInstalled(storage, memberIds(PORTALS), "1.0.0");
  const all = Promise.withResolvers<void>();
  let left = PORTALS;
  const app = createApp({
    ...{ storage, logger, versions: deployed("2.0.0"), checks: false, tickEveryMs: 30_000 },
    ...(rollout !== undefined && { rollout }),
  }).use(trustAll).upgrade("2.0.0", async ({ step }) => void await step("one", () => 1)).on("ONAPPUPDATE", () => {
    if (--left === 0) all.resolve();
  });
  const start = performance.now();
  const cpu = process.cpuUsage();
  await app.start();
  await all.promise;
  const ms = performance.now() - start;
  const { user, system } = process.cpuUsage(cpu);
  await app.close();
  return { ms, cpuMs: (user + system) / 1000 };
}

const ratios = await rounds(async () => {
  const without = await upgradeAll(undefined);
  const controlled = await upgradeAll({ stages: [{ percent: 100 }] });
  return { without, controlled };
});
report({ name: `${PORTALS} portals upgraded`, values: ratios.map(({ without }) => without.ms / 1000), unit: "s" });
report({
  name: `${PORTALS} portals upgraded, with rollout control ÷ without`,
  values: ratios.map(({ without, controlled }) => controlled.ms / without.ms),
  wanted: { atMost: WANTED },
});
report({
  name: `${PORTALS} portals upgraded, processor time with rollout control ÷ without`,
  values: ratios.map(({ without, controlled }) => controlled.cpuMs / without.cpuMs),
  wanted: { atMost: WANTED },
});
