/**
 * Ends the process of an app before and after everything that it does outside of itself, alone and in pairs, starts it
 * again, and looks whether it comes to the same end.
 */
import { type App, type Logger, memoryStorage, type Storage } from "../../../mod.ts";
import type { Entry, ListOptions } from "../../../storage.ts";
import { type Call, type Calls, compareCalls, count, type CrashReport, describeCall, makeReport } from "./report.ts";
import { describeOutcome, differenceOf, hasWork, type Outcome, outcomeOf } from "./outcome.ts";

export type { CrashReport, RepeatedCall } from "./report.ts";

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
  /** It asks Bitrix24 nothing unasked: that would never come to an end. */
  readonly checks: false;
}

/** Options of {@linkcode crashEverywhere}. */
export interface CrashEverywhereOptions {
  /** Builds the app, and does not start it: called for each process. */
  readonly app: (environment: CrashEnvironment) => App<never> | App;
  /**
   * Bodies of events as Bitrix24 sends them, or what makes them when it is their turn, in their order; one that was not
   * answered 200 is sent again.
   */
  readonly events: readonly (string | (() => string))[];
  /** Answers what the app calls, such as a fake portal; default 200 without a body. */
  readonly fetch?: (request: Request) => Response | Promise<Response>;
  /** Called before each schedule: makes what is outside of the app as it was. */
  readonly reset?: () => void;
  /** Called at the end of each schedule, when nothing is left to do; throws when something is not as it should be. */
  readonly check?: (app: App) => void | Promise<void>;
  /** At most this many schedules of two ends, spread over all of them; default 1000. */
  readonly pairs?: number;
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
 * that it has without an end. The report says which calls were repeated, and of which the other side cannot tell.
 *
 * Handlers see an end as an error of the storage or of `fetch`, which is all that they can see of it; what they do
 * otherwise than through these two is not caught. Portals are worked on one after the other.
 *
 * @throws {Error} when the app does not come to the same end, or `check` throws; names the operation
 * @throws {TypeError} when `app` gives an app that has started
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
 *   fetch: (request) => request.url.includes("/rest/") ? bitrix24.fetch(request) : new Response(),
 *   pairs: 20,
 *   app: (environment) =>
 *     createApp({ ...environment, clientId: "app.5f3a" }).use(applicationToken())
 *       .upgrade("3", async ({ step }) => {
 *         await step("create the pipeline", async ({ idempotencyKey }) => {
 *           const headers = { "idempotency-key": idempotencyKey };
 *           await environment.fetch("https://crm.example/pipelines", { method: "POST", headers });
 *         });
 *         await environment.fetch("https://crm.example/mails", { method: "POST" }); // a mistake: in no step
 *       }),
 * });
 * assert.deepEqual(report.unsafe.map(({ call }) => call), ["POST https://crm.example/mails"]);
 * ```
 */
export async function crashEverywhere(options: CrashEverywhereOptions): Promise<CrashReport> {
  const calm = await live(options, [], []);
  if (calm.outcome.size === 0) throw new Error("the app stored no portal in the storage that it was given");
  const calls = compareCalls(calm.calls);
  let schedules = 0;

  async function tryOut(ends: readonly End[]): Promise<Lived> {
    const ended: string[] = [];
    const where = (): string => ended.map((operation, i) => `${ends[i]!.when} ${operation}`).join(", then ");
    const counted = ends.map(({ at, when }) => `${when} operation ${at}`).join(", then ");
    let lived: Lived;
    try {
      lived = await live(options, ends, ended);
    } catch (error) {
      const message = error instanceof Error ? error.message : error;
      throw new Error(`an end ${where()} (${counted}): ${message}`, { cause: error });
    }
    const difference = differenceOf(lived.outcome, calm.outcome);
    if (difference !== undefined) throw new Error(`an end ${where()} (${counted}) leaves ${difference}`);
    calls.add(lived.calls, where());
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
  return makeReport(
    { schedules, operations: calm.operations, repeated: calls.repeated() },
    describeOutcome(calm.outcome),
  );
}

function ends(operations: number): End[] {
  return Array.from(
    { length: operations },
    (_, i) => (["before", "after"] as const).map((when) => ({ at: i + 1, when })),
  )
    .flat();
}

interface Lived {
  /** What the portals are in the end. */
  readonly outcome: Outcome;
  /** Of the last process. */
  readonly operations: number;
  readonly calls: Calls;
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

/** One life. The operations at which its processes end are added to `ended`. */
async function live(options: CrashEverywhereOptions, ends: readonly End[], ended: string[]): Promise<Lived> {
  options.reset?.();
  const durable = memoryStorage();
  const calls = new Map<string, { readonly call: Call; readonly times: number }>();
  const remaining = [...ends];
  let now = START;
  let texts = 0;

  function start(): Process {
    const end = remaining.shift();
    let operations = 0;
    let hasEnded = false;
    let step: string | undefined;
    const guarded = async <T>(what: () => string, run: () => T | Promise<T>): Promise<T> => {
      if (hasEnded) throw new Ended();
      const isEnd = ++operations === end?.at;
      if (isEnd) ended.push(step === undefined ? what() : `${what()} in step "${step}"`);
      if (isEnd && end?.when === "before") hasEnded = true;
      if (hasEnded) throw new Ended();
      const result = await run();
      if (isEnd) hasEnded = true;
      if (hasEnded) throw new Ended();
      return result;
    };
    const storage: Storage = {
      ...durable,
      get: (key, o) => guarded(() => named("get", key), () => durable.get(key, o)),
      put: (key, value, o) => guarded(() => named("put", key), () => durable.put(key, value, o)),
      delete: (key, o) => guarded(() => named("delete", key), () => durable.delete(key, o)),
      list: async function* <T>(prefix: readonly string[], o?: ListOptions): AsyncGenerator<Entry<T>> {
        await guarded(() => named("list", prefix), () => {});
        for await (const entry of durable.list<T>(prefix, o)) {
          if (hasEnded) throw new Ended();
          yield entry;
        }
      },
      close: () => Promise.resolve(),
    };
    const request = async (request: Request): Promise<Response> => {
      const call = await describeCall(request, step);
      return await guarded(() => call.call, async () => {
        count(calls, call);
        return await (options.fetch?.(request) ?? new Response());
      });
    };
    const silent = (): void => {};
    const app = options.app({
      storage,
      fetch: (input, init) => request(new Request(input, init)),
      clock: () => now,
      random: () => `crash-${++texts}`,
      logger: { debug: silent, info: silent, warn: silent, error: silent },
      ...{ tickEveryMs: false, checks: false },
    }) as App;
    const leave = (): void => void (step = undefined);
    app.use({
      name: "crashEverywhere",
      observe: { stepStarted: (report) => void (step = report.step), stepFinished: leave, stepFailed: leave },
    });
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

  for (const event of options.events) {
    const body = typeof event === "string" ? event : event();
    let isAnswered = false;
    await survive(async (app) => {
      if (isAnswered) return;
      const works: Promise<unknown>[] = [];
      const request = new Request("http://localhost/", { method: "POST", body, headers: FORM });
      const { status } = await app.fetch(request, { waitUntil: (work: Promise<unknown>) => works.push(work) });
      isAnswered = status === 200 && !process.hasEnded();
      await Promise.all(works);
      if (status !== 200 && !process.hasEnded()) throw new Error(`an event is answered ${status}`);
    });
  }
  for (let round = 0; await hasWork(durable); round++) {
    if (round === ROUNDS) throw new Error("there is work left that never ends");
    now += HOURS;
    await survive((app) => app.tick({ concurrency: 1 }));
  }
  const outcome = await outcomeOf(durable);
  const { app } = process;
  const operations = process.operations();
  await options.check?.(app);
  await app.close();
  return { outcome, operations, calls };
}

function named(operation: string, key: readonly string[]): string {
  return `${operation} ${key.join("/")}`;
}
