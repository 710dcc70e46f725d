/**
 * Ends the process of an app before and after everything that it does outside of itself, alone and in pairs, starts it
 * again, and looks whether it comes to the same end.
 */
import { type App, type Entry, type ListOptions, type Logger, memoryStorage, type Storage } from "../../mod.ts";

/** What an app is built with, so that it can be ended anywhere. Give all of it to `createApp`. */
export interface CrashEnvironment {
  /** Outlives the process. */
  readonly storage: Storage;
  /** For what the app and its handlers call; each call is a place where the process may end. */
  readonly fetch: typeof fetch;
  /** Milliseconds since 1970; moves when the process is started again. */
  readonly clock: () => number;
  /** Gives the same texts in every schedule. */
  readonly random: () => string;
  /** Silent. */
  readonly logger: Logger;
  /** The app does not tick by itself. */
  readonly tickEveryMs: false;
}

/** Options of {@linkcode crashEverywhere}. */
export interface CrashEverywhereOptions {
  /** Builds the app as it starts: called for each process. */
  readonly app: (environment: CrashEnvironment) => App<never> | App;
  /** Bodies of events as Bitrix24 sends them, in their order; one that was not answered 200 is sent again. */
  readonly events: readonly string[];
  /** Answers what the app calls, such as a fake portal; default 200 without a body. */
  readonly fetch?: (request: Request) => Response | Promise<Response>;
  /** Called before each schedule: makes what is outside of the app as it was. */
  readonly reset?: () => void;
  /** Called at the end of each schedule, when nothing is left to do; throws when something is not as it should be. */
  readonly check?: (app: App) => void | Promise<void>;
  /** At most this many schedules of two ends, spread over all of them; default 1000. */
  readonly pairs?: number;
}

/** A call to the outside that was made more often than without a crash. */
export interface RepeatedCall {
  /** Method and address. */
  readonly call: string;
  /** What in it looks like the idempotency key of a step; without one, the other side cannot tell a repetition. */
  readonly idempotencyKey?: string;
  /** How often it was made at most. */
  readonly times: number;
  /** The first schedule in which it was. */
  readonly schedule: string;
}

/** What {@linkcode crashEverywhere} saw. */
export interface CrashReport {
  /** How many different ends were tried. */
  readonly schedules: number;
  /** Operations of one life without an end: reads and writes of the storage, and calls. */
  readonly operations: number;
  /** Calls that were repeated. */
  readonly repeated: readonly RepeatedCall[];
}

/** Where a process ends: at this operation, counted from its start. */
interface End {
  readonly at: number;
  readonly when: "before" | "after";
}

const FORM = { "content-type": "application/x-www-form-urlencoded" };
const START = 1_785_400_000_000;
/** Longer than every lease, every wait and every sleep of a test. */
const HOURS = 24 * 60 * 60 * 1000;
/** Rounds after which an app that still has work to do is taken for one that will never end. */
const ROUNDS = 100;

/**
 * Runs the app once without an end, then once for each end of its process, then for pairs of ends. After each, every
 * event that was answered must be reflected: each portal has the version, the target, the status and the applied upgrades
 * that it has without an end.
 *
 * Handlers see an end as an error of the storage or of `fetch`, which is all that they can see of it; what they do
 * otherwise than through these two is not caught.
 *
 * @throws {Error} when the app does not come to the same end, or `check` throws; names the operation
 *
 * @example
 * ```ts
 * import { createApp } from "@b24/onappupdate";
 * import { applicationToken } from "@b24/onappupdate/application-token";
 * import { crashEverywhere, fakeBitrix24 } from "@b24/onappupdate/testing";
 * import assert from "node:assert/strict";
 *
 * const bitrix24 = fakeBitrix24({ clientId: "app.5f3a" });
 * const portal = bitrix24.portal({ memberId: "a223c6b3710f85df22e9377d6c4f7553" });
 * const report = await crashEverywhere({
 *   events: [portal.install(2), portal.update(3)],
 *   fetch: (request) => request.url.includes("/rest/app.info") ? bitrix24.fetch(request) : new Response(),
 *   pairs: 20,
 *   app: (environment) =>
 *     createApp({ ...environment, clientId: "app.5f3a" }).use(applicationToken())
 *       .upgrade("3", async ({ step }) => {
 *         await step("create the pipeline", async ({ idempotencyKey }) => {
 *           await environment.fetch(`https://crm.example/pipelines/${idempotencyKey}`, { method: "PUT" });
 *         });
 *         await environment.fetch("https://crm.example/mails", { method: "POST" }); // a mistake: in no step
 *       }),
 * });
 * const unsafe = report.repeated.filter(({ call, idempotencyKey }) => !call.includes("app.info") && !idempotencyKey);
 * assert.deepEqual(unsafe.map(({ call }) => call), ["POST https://crm.example/mails"]);
 * ```
 */
export async function crashEverywhere(options: CrashEverywhereOptions): Promise<CrashReport> {
  const calm = await live(options, []);
  if (calm.outcome === "[]") throw new Error("the app stored no portal in the storage that it was given");
  const repeated = new Map<string, RepeatedCall>();
  let schedules = 0;

  async function tryOut(ends: readonly End[]): Promise<Lived> {
    const name = ends.map(({ at, when }) => `${when} operation ${at}`).join(", then ");
    let lived: Lived;
    try {
      lived = await live(options, ends);
    } catch (error) {
      throw new Error(`an end ${name}: ${error instanceof Error ? error.message : error}`, { cause: error });
    }
    const where = lived.ended.map((operation, i) => `${ends[i]!.when} ${operation}`).join(", then ");
    if (lived.outcome !== calm.outcome) {
      throw new Error(`an end ${where} (${name}) leaves ${lived.outcome}, wanted ${calm.outcome}`);
    }
    for (const [call, times] of lived.calls) {
      if (times <= (calm.calls.get(call) ?? 0) || times <= (repeated.get(call)?.times ?? 0)) continue;
      const idempotencyKey = /[0-9a-f]{64}/.exec(call)?.[0];
      repeated.set(call, {
        call: call.split("\n")[0]!,
        ...(idempotencyKey === undefined ? {} : { idempotencyKey }),
        times,
        schedule: where,
      });
    }
    schedules++;
    return lived;
  }

  const firsts = ends(calm.operations);
  const pairs: (readonly [End, End])[] = [];
  for (const first of firsts) {
    const { operations } = await tryOut([first]);
    for (const second of ends(operations)) pairs.push([first, second]);
  }
  const most = options.pairs ?? 1000;
  const stride = Math.max(1, pairs.length / most);
  for (let i = 0; i < pairs.length && most > 0; i += stride) await tryOut(pairs[Math.floor(i)]!);
  return { schedules, operations: calm.operations, repeated: [...repeated.values()] };
}

function ends(operations: number): End[] {
  return Array.from(
    { length: operations },
    (_, i) => (["before", "after"] as const).map((when) => ({ at: i + 1, when })),
  )
    .flat();
}

interface Lived {
  /** What the portals are in the end, as text. */
  readonly outcome: string;
  /** Of the last process. */
  readonly operations: number;
  /** The operations at which processes ended. */
  readonly ended: readonly string[];
  /** How often each call was made. */
  readonly calls: ReadonlyMap<string, number>;
}

/** One process: what it does, and whether it has ended. */
interface Process {
  readonly app: App;
  readonly hasEnded: () => boolean;
  readonly operations: () => number;
}

class Ended extends Error {
  constructor() {
    super("this process has ended");
  }
}

async function live(options: CrashEverywhereOptions, ends: readonly End[]): Promise<Lived> {
  options.reset?.();
  const durable = memoryStorage();
  const calls = new Map<string, number>();
  const ended: string[] = [];
  const remaining = [...ends];
  let now = START;
  let texts = 0;

  function start(): Process {
    const end = remaining.shift();
    let operations = 0;
    let hasEnded = false;
    const guarded = async <T>(what: () => string, run: () => T | Promise<T>): Promise<T> => {
      if (hasEnded) throw new Ended();
      const isEnd = ++operations === end?.at;
      if (isEnd) ended.push(what());
      if (isEnd && end?.when === "before") hasEnded = true;
      if (hasEnded) throw new Ended();
      const result = await run();
      if (isEnd) hasEnded = true;
      if (hasEnded) throw new Ended();
      return result;
    };
    const storage: Storage = {
      ...durable,
      get: (key, o) => guarded(() => `get ${JSON.stringify(key)}`, () => durable.get(key, o)),
      put: (key, value, o) => guarded(() => `put ${JSON.stringify(key)}`, () => durable.put(key, value, o)),
      delete: (key, o) => guarded(() => `delete ${JSON.stringify(key)}`, () => durable.delete(key, o)),
      list: async function* <T>(prefix: readonly string[], o?: ListOptions): AsyncGenerator<Entry<T>> {
        await guarded(() => `list ${JSON.stringify(prefix)}`, () => {});
        for await (const entry of durable.list<T>(prefix, o)) {
          if (hasEnded) throw new Ended();
          yield entry;
        }
      },
      close: () => Promise.resolve(),
    };
    const call = async (request: Request): Promise<Response> => {
      const body = await request.clone().text();
      const name = `${request.method} ${request.url}`;
      return await guarded(() => name, async () => {
        const told = `${name}\n${[...request.headers].join("\n")}\n${body}`;
        calls.set(told, (calls.get(told) ?? 0) + 1);
        return await (options.fetch?.(request) ?? new Response());
      });
    };
    const silent = (): void => {};
    const app = options.app({
      storage,
      fetch: (input, init) => call(new Request(input, init)),
      clock: () => now,
      random: () => `crash-${++texts}`,
      logger: { debug: silent, info: silent, warn: silent, error: silent },
      tickEveryMs: false,
    }) as App;
    return { app, hasEnded: () => hasEnded, operations: () => operations };
  }

  let process = start();
  /** Does `work` in the process that runs, or in the next ones until it is done in one. */
  async function survive<T>(work: (app: App) => Promise<T>): Promise<T> {
    while (true) {
      const result = await work(process.app).catch((error) => {
        if (!process.hasEnded()) throw error;
        return undefined;
      });
      if (!process.hasEnded()) return result as T;
      process = start();
      now += HOURS;
    }
  }

  for (const body of options.events) {
    await survive(async (app) => {
      const works: Promise<unknown>[] = [];
      const request = new Request("http://localhost/", { method: "POST", body, headers: FORM });
      const { status } = await app.fetch(request, { waitUntil: (work: Promise<unknown>) => works.push(work) });
      await Promise.all(works);
      if (status !== 200 && !process.hasEnded()) throw new Error(`an event is answered ${status}`);
    });
  }
  for (let round = 0; await hasWork(durable); round++) {
    if (round === ROUNDS) throw new Error("there is work left that never ends");
    now += HOURS;
    await survive((app) => app.tick());
  }
  const outcome = await outcomeOf(durable);
  const { operations, app } = process;
  await options.check?.(app);
  await app.close();
  return { outcome, operations: operations(), ended, calls };
}

async function hasWork(storage: Storage): Promise<boolean> {
  for await (const { key } of storage.list(["due"])) {
    const record = await storage.get<{ due?: string }>(["portal", key[2]!]);
    if (record?.value.due === key[1]) return true;
  }
  return false;
}

/** What is the same for every way to the end: neither times nor counts of attempts. */
async function outcomeOf(storage: Storage): Promise<string> {
  const portals: unknown[] = [];
  for await (const { value } of storage.list<Outcome>(["portal"])) {
    const { memberId, status, generation, version, target, applied, failure, lease } = value;
    portals.push({
      ...{ memberId, status, generation, version, target },
      applied: applied.map(({ id, from, to }) => ({ id, from, to })),
      failure: failure === undefined ? undefined : { upgradeId: failure.upgradeId, message: failure.message },
      lease,
    });
  }
  return JSON.stringify(portals);
}

interface Outcome {
  readonly memberId: string;
  readonly status: string;
  readonly generation: number;
  readonly version?: string;
  readonly target?: string;
  readonly applied: readonly { readonly id: string; readonly from: string; readonly to: string }[];
  readonly failure?: { readonly upgradeId: string; readonly message: string };
  readonly lease?: object;
}
