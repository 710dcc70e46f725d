/**
 * Has an app receive and handle 100,000 events, and compares the memory in use and the number of open handles (files,
 * sockets, timers) near the end with those near the beginning: neither may grow.
 *
 *     deno run -A scripts/bench/leaks.ts
 *     node scripts/bench/leaks.ts          (in a project that has the package installed)
 */
import { join } from "node:path";
import process from "node:process";
import { memoryFolder } from "./_backends.ts";
import { median, report } from "./_bench.ts";
import { startChild } from "./_child.ts";

const EVENTS = Number(process.env["BENCH_EVENTS"] ?? 100_000);
const SAMPLES = 20;
/** Samples at the beginning, during which caches fill, and samples that are compared at either end. */
const [SKIPPED, COMPARED] = [2, 5];
/** Bytes that an event may leave: below the size of anything that is kept for one. */
const MAX_BYTES_PER_EVENT = 8;

interface Usage {
  readonly bytes: number;
  readonly handles: number;
}

const folder = memoryFolder();
const child = await startChild("_leaks_child.ts", [join(folder.path, "storage.db")], { exposesGc: true });
try {
  const samples: Usage[] = [];
  for (let n = 0; n < SAMPLES; n++) {
    await child.ask("deliver", String(EVENTS / SAMPLES));
    samples.push(await child.ask<Usage>("usage"));
  }
  const early = samples.slice(SKIPPED, SKIPPED + COMPARED);
  const late = samples.slice(-COMPARED);
  const growth = (of: keyof Usage): number => median(late.map((s) => s[of])) - median(early.map((s) => s[of]));
  const events = EVENTS / SAMPLES * (SAMPLES - SKIPPED - COMPARED);
  report({
    name: `memory in use during ${EVENTS} deliveries`,
    values: samples.map(({ bytes }) => bytes / 1e6),
    unit: "MB",
  });
  report({
    name: `memory that each of ${EVENTS} deliveries leaves`,
    values: [growth("bytes") / events],
    unit: "bytes",
    wanted: { atMost: MAX_BYTES_PER_EVENT },
  });
  report({
    name: `growth of open handles during ${EVENTS} deliveries`,
    values: [growth("handles")],
    wanted: { atMost: 0 },
    isExact: true,
  });
} finally {
  await child.stop();
  folder.remove();
}
