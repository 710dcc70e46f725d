/**
 * Compares the time in which portals with upgrades of 5 steps reach a deployed version while telemetry() exports to a collector
 * that never answers, with the time while it exports to one that does, and with the time without an exporter, as ratios. Each
 * time is that of a new process, on a storage in memory.
 *
 *     deno run -A scripts/bench/telemetry.ts
 *     node scripts/bench/telemetry.ts          (in a project that has the package installed)
 */
import process from "node:process";
import { startCollector } from "../../tests/support/collector.ts";
import { exportsTo } from "../../tests/support/otlp.ts";
import { report, rounds } from "./_bench.ts";
import { startChild } from "./_child.ts";

const PORTALS = Number(process.env["BENCH_PORTALS"] ?? 3000);
/** Maximum ratio of a collector that hangs to one that answers. */
const WANTED = 1.1;

/** Resolves to the time (s) of the upgrades. */
async function upgradeAll(env: Readonly<Record<string, string>>): Promise<number> {
  const child = await startChild("_telemetry_child.ts", [], { env });
  try {
    return await child.ask<number>("upgradeAll", String(PORTALS)) / 1000;
  } finally {
    await child.stop();
  }
}

/** Resolves to the time (s) while the app exports to a collector. */
async function exporting(isHanging: boolean): Promise<number> {
  const collector = await startCollector({ isHanging });
  try {
    const seconds = await upgradeAll(exportsTo(collector.endpoint));
    if (collector.requests() === 0) throw new Error("the app has exported nothing");
    return seconds;
  } finally {
    collector.close();
  }
}

const times = await rounds(async () => ({
  without: await upgradeAll({}),
  answering: await exporting(false),
  hanging: await exporting(true),
}));
const name = `${PORTALS} portals upgraded in 5 steps`;
report({ name: `${name}, collector hangs`, values: times.map(({ hanging }) => hanging), unit: "s" });
report({
  name: `${name}, collector hangs ÷ answers`,
  values: times.map(({ answering, hanging }) => hanging / answering),
  wanted: { atMost: WANTED },
});
report({
  name: `${name}, collector hangs ÷ no exporter`,
  values: times.map(({ without, hanging }) => hanging / without),
});
