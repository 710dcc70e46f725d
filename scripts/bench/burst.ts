/**
 * Sends the updates of thousands of portals at once, through the same 200 connections, to an app over a file in memory:
 * number of handlers that run at a time, memory, and the time until an answer, as ratios to a burst of 1,000. Each handler
 * holds about 250 kB for 300 ms.
 *
 * Each burst has a process of its own, which has done nothing else; the portals were installed by another one.
 *
 *     deno run -A scripts/bench/burst.ts
 *     node scripts/bench/burst.ts          (in a project that has the package installed)
 */
import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { memoryFolder } from "./_backends.ts";
import { report, ROUNDS } from "./_bench.ts";
import { startChild } from "./_child.ts";
import { encodeRequest, percentile, sendAll } from "./_load.ts";
import { bench24, benchPortal } from "./_portals.ts";

/** Maximum number of handlers, which is the default of `concurrency`. */
const MAX_HANDLERS = 64;
/** Maximum ratios to the small burst. */
const WANTED = { memory: 1.5, p99: 2 };
const [SMALL, MIDDLE, LARGE] = [1000, 3000, 20_000];
const SIZES = [SMALL, MIDDLE, LARGE];
/** Rounds with the large burst, which takes minutes. */
const LARGE_ROUNDS = 3;
const CONNECTIONS = 200;

interface Burst {
  readonly maxRunning: number;
  /** Memory (MB) of the process at its peak. */
  readonly memory: number;
  /** Time (ms) within which 99 % of the events were answered. */
  readonly p99: number;
  /** Longest time (ms) that the event loop did nothing else. */
  readonly maxPauseMs: number;
}

const folder = memoryFolder();
const installed = (portals: number): string => join(folder.path, `${portals}.db`);

async function burst(portals: number): Promise<Burst> {
  // A folder of its own: the database has files beside it.
  const own = mkdtempSync(join(folder.path, "burst-"));
  const path = join(own, "storage.db");
  copyFileSync(installed(portals), path);
  const child = await startChild("_burst_server.ts", [path]);
  try {
    const port = await child.ask<number>("port");
    const times = await sendAll(port, updates.slice(0, portals), CONNECTIONS);
    const { maxRssKb, upgraded, ...result } = await child.ask<
      { readonly maxRunning: number; readonly upgraded: number; readonly maxPauseMs: number; readonly maxRssKb: number }
    >("finish");
    if (upgraded !== portals) throw new Error(`upgraded ${upgraded} portals, wanted ${portals}`);
    return { ...result, memory: maxRssKb / 1000, p99: percentile(times, 0.99) };
  } finally {
    await child.stop();
    rmSync(own, { recursive: true });
  }
}

const bitrix24 = bench24();
const updates = Array.from({ length: LARGE }, (_, n) => {
  const portal = benchPortal(bitrix24, n);
  portal.install(2);
  return encodeRequest({ body: portal.update(3) });
});
const bursts = new Map<number, Burst[]>(SIZES.map((size) => [size, []]));
try {
  for (const size of SIZES) await (await startChild("_burst_server.ts", [installed(size), String(size)])).stop();
  for (let round = 1; round <= ROUNDS; round++) {
    for (const size of round > LARGE_ROUNDS ? [SMALL, MIDDLE] : SIZES) bursts.get(size)!.push(await burst(size));
  }
} finally {
  folder.remove();
}

for (const [size, results] of bursts) {
  const what = `${size} updates at once`;
  report({
    name: `${what}: handlers at a time`,
    values: [Math.max(...results.map((of) => of.maxRunning))],
    wanted: { atMost: MAX_HANDLERS },
    isExact: true,
  });
  report({ name: `${what}: memory`, values: results.map((of) => of.memory), unit: "MB" });
  report({ name: `${what}: 99 % answered within`, values: results.map((of) => of.p99), unit: "ms" });
  report({ name: `${what}: longest pause of the event loop`, values: results.map((of) => of.maxPauseMs), unit: "ms" });
  if (size === SMALL) continue;
  const ratio = (of: "memory" | "p99"): number[] =>
    results.map((result, round) => result[of] / bursts.get(SMALL)![round]![of]);
  report({ name: `${what}: memory ÷ that of ${SMALL}`, values: ratio("memory"), wanted: { atMost: WANTED.memory } });
  report({
    name: `${what}: 99 % answered within ÷ that of ${SMALL}`,
    values: ratio("p99"),
    wanted: { atMost: WANTED.p99 },
  });
}
