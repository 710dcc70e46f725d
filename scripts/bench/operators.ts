/**
 * Compares the time of `app.admin.counts()`, of the look-up of a domain and of pages by each filter, among 100,000 portals
 * and among 1,000, as a ratio, over each storage. Pages by one member of a filter are measured together: those by a value
 * that many portals have, and those by one that 20 have, whatever their number. Pages of the console are timed, too. Starts
 * Redis servers of its own.
 *
 *     deno run -A scripts/bench/operators.ts
 *     node scripts/bench/operators.ts          (in a project that has the package installed)
 *
 * BENCH_PORTALS=200,2000 is for a first look. Both numbers are multiples of 200.
 */
import process from "node:process";
import { type App, createApp, type Storage } from "@b24/onappupdate";
import { operatorConsole } from "@b24/onappupdate/operator-console";
import { quietLogger, trustAll } from "../../tests/support/app.ts";
import { COMBINED_PAGES, type FilteredPage, LOOK_UP, PAGES, storePortals } from "../../tests/support/many_portals.ts";
import { startRedis } from "../redis_server.ts";
import { type Backend, memoryFolder, openStorage } from "./_backends.ts";
import { median, report, rounds } from "./_bench.ts";

/** Maximum ratio of calls of `app.admin`. */
const WANTED = 1.5;
/** Maximum ratio of pages of the console, which make several calls. */
const WANTED_PAGES = 2;
const ORIGIN = "https://ops.example.com";
const [FEW = 0, MANY = 0] = (process.env["BENCH_PORTALS"] ?? "1000,100000").split(",").map(Number);
/** Portals on a page. Even among few, more portals than these have a frequent value. */
const PAGE = Math.min(100, FEW / 4);
/** Calls whose median is the value of a round. */
const CALLS = 25;

/** The measured call. It throws if the result is not complete. */
interface Call {
  readonly name: string;
  /** One call of an operator, whose time is a figure of its own. */
  readonly isSingle: boolean;
  readonly run: (site: Site, count: number) => Promise<void>;
  readonly atMost: number;
}

interface Site {
  readonly app: App;
  /** Answers a request to the console. */
  readonly fetch: (request: Request) => Promise<Response>;
}

async function countPortals({ app }: Site, wanted: number): Promise<void> {
  const all = await app.admin.counts();
  const sum = all.reduce((sum, { count }) => sum + count, 0);
  if (sum !== wanted) throw new Error(`counted ${sum} portals, wanted ${wanted}`);
}

/** Returns a call that lists the pages one after the other. */
const listing = (name: string, pages: readonly FilteredPage[], isSingle = false): Call => ({
  name,
  isSingle,
  atMost: WANTED,
  run: async ({ app }) => {
    for (const { filter, matches } of pages) {
      const { items: { length } } = await app.admin.portals({ ...filter, limit: PAGE });
      const wanted = Math.min(matches, PAGE);
      if (length !== wanted) throw new Error(`found ${length} portals by ${JSON.stringify(filter)}, wanted ${wanted}`);
    }
  },
});

/** Returns a call that opens a page of the console. */
const opening = (name: string, path: string): Call => ({
  name: `${name} of the console`,
  isSingle: true,
  atMost: WANTED_PAGES,
  run: async ({ fetch }) => {
    const response = await fetch(new Request(`${ORIGIN}${path}`));
    await response.text();
    if (response.status !== 200) throw new Error(`${path} answered ${response.status}`);
  },
});

const MEMBERS = ["status", "version", "blockedOn", "upgradeId", "fingerprint"] as const;

const TIMED: readonly Call[] = [
  { name: "admin.counts()", isSingle: true, atMost: WANTED, run: countPortals },
  listing("look-up of a domain", [LOOK_UP], true),
  listing(`page of ${PAGE} portals`, PAGES.filter(({ filter }) => Object.keys(filter).length === 0), true),
  ...MEMBERS.map((member) => listing(`pages by ${member}`, PAGES.filter(({ filter }) => member in filter))),
  listing("pages by several members", COMBINED_PAGES),
  opening("overview", "/"),
  opening("list of parked portals", "/portals?status=parked"),
];

/** Returns the times (ms) of a call among few and among many portals. They take turns, so that a busy machine slows both. */
async function measure({ run }: Call, few: Site, many: Site): Promise<readonly [few: number, many: number]> {
  const times: [number[], number[]] = [[], []];
  for (let n = 0; n < CALLS; n++) {
    for (const [i, site, count] of [[0, few, FEW], [1, many, MANY]] as const) {
      const start = performance.now();
      await run(site, count);
      times[i].push(performance.now() - start);
    }
  }
  return [median(times[0]), median(times[1])];
}

/** Calls `work` with an app among `count` portals, and its console. */
async function withPortals(backend: Backend, count: number, work: (site: Site) => Promise<void>): Promise<void> {
  const folder = memoryFolder();
  const server = backend === "Redis" ? await startRedis("--appendonly", "no") : undefined;
  try {
    const storage: Storage = await openStorage(backend, folder.path, server?.port ?? 0);
    await storePortals(storage, count);
    const app = createApp({ storage, logger: quietLogger, checks: false, tickEveryMs: false }).use(trustAll);
    const guard = (): { name: string; role: "read" } => ({ name: "bench", role: "read" });
    const { fetch } = operatorConsole({ app, guard, origin: ORIGIN, logger: quietLogger });
    await work({ app, fetch });
    await app.close();
  } finally {
    await server?.remove();
    folder.remove();
  }
}

async function compare(backend: Backend, few: Site, many: Site): Promise<void> {
  const results = await rounds(async () => {
    const times: (readonly [few: number, many: number])[] = [];
    for (const call of TIMED) times.push(await measure(call, few, many));
    return times;
  });
  for (const [i, { name, isSingle, atMost }] of TIMED.entries()) {
    const values = results.map((of) => of[i]![0]);
    if (isSingle) report({ name: `${name} among ${FEW} portals, ${backend}`, values, unit: "ms" });
    report({
      name: `${name}, among ${MANY} ÷ among ${FEW} portals, ${backend}`,
      values: results.map((of) => of[i]![1] / of[i]![0]),
      wanted: { atMost },
    });
  }
}

for (const backend of ["file", "Redis", "Deno KV"] as const) {
  await withPortals(backend, FEW, (few) => withPortals(backend, MANY, (many) => compare(backend, few, many)));
}
