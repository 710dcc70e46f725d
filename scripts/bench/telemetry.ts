/**
 * Compares the time in which portals with upgrades of 5 steps reach a deployed version while telemetry() exports to a collector
 * that never answers, with the time while it exports to one that does, and with the time without an exporter, as ratios. There
 * is a process for each, which lasts for all rounds, on a storage in memory. In a round, they take turns, so that a busy machine
 * slows them alike.
 *
 *     deno run -A scripts/bench/telemetry.ts
 *     node scripts/bench/telemetry.ts          (in a project that has the package installed)
 */
import process from "node:process";
import { startCollector } from "../../tests/support/collector.ts";
import { exportsTo } from "../../tests/support/otlp.ts";
import { report, rounds } from "./_bench.ts";
import { type Child, startChild } from "./_child.ts";

/** Number of portals in a turn. */
const PORTALS = Number(process.env["BENCH_PORTALS"] ?? 500);
/** Number of turns in a round. */
const TURNS = 6;
/** Maximum ratio of a collector that hangs to one that answers. */
const WANTED = 1.1;

interface Times {
  readonly ms: number;
  readonly cpuMs: number;
}

const [answering, hanging] = await Promise.all([startCollector(), startCollector({ isHanging: true })]);
const start = (env: Readonly<Record<string, string>>): Promise<Child> => startChild("_telemetry_child.ts", [], { env });
const children = {
  none: await start({}),
  answering: await start(exportsTo(answering.endpoint)),
  hanging: await start(exportsTo(hanging.endpoint)),
};
type Name = keyof typeof children;

const all = await rounds(async () => {
  const sums: Record<Name, Times> = {
    none: { ms: 0, cpuMs: 0 },
    answering: { ms: 0, cpuMs: 0 },
    hanging: { ms: 0, cpuMs: 0 },
  };
  for (let turn = 0; turn < TURNS; turn++) {
    for (const name of Object.keys(children) as Name[]) {
      const { ms, cpuMs } = await children[name].ask<Times>("upgradeAll", String(PORTALS));
      sums[name] = { ms: sums[name].ms + ms, cpuMs: sums[name].cpuMs + cpuMs };
    }
  }
  return sums;
});
for (const { requests } of [answering, hanging]) if (requests() === 0) throw new Error("an app has exported nothing");
for (const child of Object.values(children)) await child.stop();
for (const collector of [answering, hanging]) collector.close();

const name = `${PORTALS * TURNS} portals upgraded in 5 steps`;
report({ name: `${name}, collector hangs`, values: all.map(({ hanging }) => hanging.ms / 1000), unit: "s" });
report({
  name: `${name}, collector hangs ÷ answers`,
  values: all.map(({ answering, hanging }) => hanging.ms / answering.ms),
  wanted: { atMost: WANTED },
});
report({
  name: `${name}, processor time, collector hangs ÷ answers`,
  values: all.map(({ answering, hanging }) => hanging.cpuMs / answering.cpuMs),
  wanted: { atMost: WANTED },
});
report({
  name: `${name}, collector hangs ÷ no exporter`,
  values: all.map(({ none, hanging }) => hanging.ms / none.ms),
});
report({
  name: `${name}, processor time, collector hangs ÷ no exporter`,
  values: all.map(({ none, hanging }) => hanging.cpuMs / none.cpuMs),
});
