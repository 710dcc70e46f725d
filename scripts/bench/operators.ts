/**
 * Compares the time of `app.admin.counts()` and of a page of parked portals, among 100,000 portals and among 1,000, as a
 * ratio, over memory storage. In both, the same number of portals is parked, spread evenly.
 *
 *     deno run -A scripts/bench/operators.ts
 *     node scripts/bench/operators.ts          (in a project that has the package installed)
 */
import { type App, createApp, memoryStorage } from "@b24/onappupdate";
import { backgroundWork, post, quietLogger, trustAll } from "../../tests/support/app.ts";
import { median, report, rounds } from "./_bench.ts";
import { bench24, benchPortal, forEach } from "./_portals.ts";

/** Maximum ratio. */
const WANTED = 1.5;
const [FEW, MANY] = [1000, 100_000];
const PARKED = 200;
const PAGE = 100;
/** Calls whose median is the value of a round. */
const CALLS = 5;

async function withPortals(count: number): Promise<App> {
  const app = createApp({ storage: memoryStorage(), logger: quietLogger, checks: false, tickEveryMs: false })
    .use(trustAll)
    .upgrade("3", () => Promise.reject(new Error("never")), { retry: { maxAttempts: 1 } });
  const bitrix24 = bench24();
  const { platform, settled } = backgroundWork();
  await forEach(count, 64, async (n) => {
    const portal = benchPortal(bitrix24, n);
    await app.fetch(post(portal.install(2)), platform);
    if (n % (count / PARKED) === 0) await app.fetch(post(portal.update(3)), platform);
  });
  await settled();
  return app;
}

/** Returns the time (ms) of a call. */
async function measure(call: () => Promise<unknown>): Promise<number> {
  const times: number[] = [];
  for (let n = 0; n < CALLS; n++) {
    const start = performance.now();
    await call();
    times.push(performance.now() - start);
  }
  return median(times);
}

async function counts(app: App, wanted: number): Promise<void> {
  const all = await app.admin.counts();
  const sum = all.reduce((sum, { count }) => sum + count, 0);
  if (sum !== wanted) throw new Error(`counted ${sum} portals, wanted ${wanted}`);
}

async function page(app: App): Promise<void> {
  const { items } = await app.admin.portals({ status: "parked", limit: PAGE });
  if (items.length !== PAGE) throw new Error(`the page has ${items.length} portals, wanted ${PAGE}`);
}

const few = await withPortals(FEW);
const many = await withPortals(MANY);
const results = await rounds(async () => ({
  counts: [await measure(() => counts(few, FEW)), await measure(() => counts(many, MANY))] as const,
  page: [await measure(() => page(few)), await measure(() => page(many))] as const,
}));
for (const [name, key] of [["admin.counts()", "counts"], [`a page of ${PAGE} parked portals`, "page"]] as const) {
  report({ name: `${name} among ${FEW} portals`, values: results.map((of) => of[key][0]), unit: "ms" });
  report({
    name: `${name}, among ${MANY} ÷ among ${FEW} portals`,
    values: results.map((of) => of[key][1] / of[key][0]),
    wanted: { atMost: WANTED },
  });
}
await few.close();
await many.close();
