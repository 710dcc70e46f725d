/**
 * Measures the ticker that an app runs by itself, over memory storage:
 *
 * - 20,000 portals that are due at once, as a ratio to the time that one call of `app.tick` takes which does them all. The
 *   ticker should go on while there is more, and not wait for its next interval after a part of them.
 * - The delay of a portal's retry while another portal has a long run, which a tick has resumed.
 *
 *     deno run -A scripts/bench/ticker.ts
 *     node scripts/bench/ticker.ts          (in a project that has the package installed)
 */
import { setTimeout as delay } from "node:timers/promises";
import { type App, createApp, memoryStorage, type Storage } from "@b24/onappupdate";
import { backgroundWork, post, quietLogger, trustAll } from "../../tests/support/app.ts";
import { report, ROUNDS } from "./_bench.ts";
import { bench24, benchPortal, forEach } from "./_portals.ts";

/** Maximum ratio of the ticker's time to that of the work alone, and maximum delay (ms) by a long run. */
const WANTED = { ratio: 1.5, delayMs: 1000 };
const PORTALS = 20_000;
const CONCURRENCY = 64;
/** Interval (ms) of the ticker: the ratio does not count the first one. */
const TICK_EVERY_MS = 10_000;
/** The ticker is stopped after this many times of what the work takes. */
const PATIENCE = 3;

const options = { logger: quietLogger, checks: false } as const;
const HOUR_MS = 60 * 60 * 1000;
/** An upgrade that fails is due again after at most an hour of the app's clock, which moves from round to round. */
const retry = { maxAttempts: 1_000_000, initialDelayMs: HOUR_MS, maxDelayMs: HOUR_MS };
const bitrix24 = bench24();
let ahead = 0;
const clock = (): number => Date.now() + ahead;
let attempts = 0;

/** Returns an app that leaves the storage open when it closes. */
function appOver({ close: _, ...storage }: Storage, tickEveryMs: number | false): App {
  return createApp({ storage, ...options, retry, clock, tickEveryMs }).use(trustAll).upgrade("3", () => {
    attempts++;
    return Promise.reject(new Error("never"));
  });
}

/** Returns the time (ms) in which `run` has made an attempt for each portal, and the share that it has made. */
async function attemptAll(run: () => Promise<unknown>, limitMs = Infinity): Promise<{ ms: number; share: number }> {
  ahead += 2 * HOUR_MS;
  attempts = 0;
  const start = performance.now();
  await run();
  while (attempts < PORTALS && performance.now() - start < limitMs) await delay(10);
  return { ms: performance.now() - start, share: Math.min(1, attempts / PORTALS) };
}

async function manyDue(): Promise<void> {
  const storage = memoryStorage();
  const app = appOver(storage, false);
  const { platform, settled } = backgroundWork();
  await forEach(PORTALS, CONCURRENCY, async (n) => {
    const portal = benchPortal(bitrix24, n);
    for (const body of [portal.install(2), portal.update(3)]) await app.fetch(post(body), platform);
  });
  await settled();
  const ratios: number[] = [];
  const shares: number[] = [];
  for (let round = 1; round <= ROUNDS; round++) {
    const work = await attemptAll(() => app.tick({ limit: PORTALS, concurrency: CONCURRENCY, budgetMs: 1e9 }));
    const ticking = appOver(storage, TICK_EVERY_MS);
    const ticker = await attemptAll(() => ticking.start(), TICK_EVERY_MS + PATIENCE * work.ms);
    await ticking.close();
    // Portals that the ticker has not reached count as if it went on at the same pace.
    ratios.push((ticker.ms - TICK_EVERY_MS) / ticker.share / work.ms);
    shares.push(ticker.share);
  }
  report({
    name: `${PORTALS} portals due, the ticker ÷ the work alone`,
    values: ratios,
    wanted: { atMost: WANTED.ratio },
  });
  report({ name: `${PORTALS} portals due, share done in ${PATIENCE} times that`, values: shares });
}

/** Time (ms) that the long run takes, and interval (ms) of the ticker. */
const [LONG_MS, SHORT_TICK_MS] = [6000, 200];

/** Returns the time (ms) by which the retry of one portal is later than it was due, while another has a long run. */
async function delayedByLongRun(): Promise<number> {
  const [long, short] = [benchPortal(bitrix24, 1, "c"), benchPortal(bitrix24, 2, "c")];
  const longBegan = Promise.withResolvers<void>();
  const shortDone = Promise.withResolvers<void>();
  const calls = { long: 0, short: 0 };
  const retry = { maxAttempts: 5, initialDelayMs: 1000, maxDelayMs: 1000 };
  const app = createApp({ storage: memoryStorage(), ...options, retry, tickEveryMs: SHORT_TICK_MS }).use(trustAll)
    .upgrade("3", async ({ portal }) => {
      if (portal.memberId === long.memberId) {
        if (++calls.long === 1) throw new Error("the first attempt fails, so that a tick makes the second");
        longBegan.resolve();
        await delay(LONG_MS);
        return;
      }
      if (++calls.short === 1) throw new Error("the first attempt fails");
      shortDone.resolve();
    });
  await app.start();
  // The timers of an app do not keep a process of Node running.
  const running = setInterval(() => {}, 1000);
  const { platform, settled } = backgroundWork();
  for (const body of [long.install(2), long.update(3)]) await app.fetch(post(body), platform);
  await longBegan.promise;
  await app.fetch(post(short.install(2)), platform);
  await app.fetch(post(short.update(3)), platform);
  await settled();
  const dueAt = (await app.portal(short.memberId))!.failure!.retryAt!;
  await shortDone.promise;
  const lateMs = Date.now() - dueAt;
  clearInterval(running);
  await app.close();
  return lateMs;
}

await manyDue();
const delays: number[] = [];
for (let round = 1; round <= ROUNDS; round++) delays.push(await delayedByLongRun());
report({
  name: "delay of a retry while another portal has a long run",
  values: delays,
  unit: "ms",
  wanted: { atMost: WANTED.delayMs },
});
