/** One execution of `crashEverywhere()`: all events, in processes that crash at given points, until no work is left. */
import { type App, memoryStorage, type Storage } from "../../../mod.ts";
import type { CrashEverywhereOptions } from "./options.ts";
import { nextWorkAt, type Outcome, outcomeOf } from "./outcome.ts";
import { type CrashPoint, type SimulatedProcess, startProcess } from "./process.ts";
import { type Calls, count, type CountedCalls } from "./report.ts";

/** The result of an execution. */
export interface Execution {
  /** The portals at the end. */
  readonly outcome: Outcome;
  /** Number of operations of the last process. */
  readonly operations: number;
  readonly calls: Calls;
}

const FORM = { "content-type": "application/x-www-form-urlencoded" };
const START = 1_785_400_000_000;
/** Longer than every lease. Several restarts are shorter than the hour that access tokens are valid. */
const RESTART_MS = 10 * 60 * 1000;
/** Between events and ticks: longer than the minute that the app's questions to Bitrix24 are budgeted. */
const PAUSE_MS = 61_000;
/** Number of ticks after which the work of an app counts as endless. */
const MAX_TICKS = 100;

/** Processes one after the other over one storage. Each but the last crashes at its crash point. */
interface Processes {
  readonly current: () => SimulatedProcess;
  /** Runs `work` in the current process, and again in the next one for as long as the process crashes. */
  readonly survive: (work: (app: App) => Promise<unknown>) => Promise<void>;
  /** Moves the clock ahead by at least `ms`, and to `time` at least. */
  readonly elapse: (ms: number, time?: number) => void;
}

/** Runs one execution. Appends the operations at which its processes crash to `crashes`. */
export async function execute(
  options: CrashEverywhereOptions,
  crashPoints: readonly CrashPoint[],
  crashes: string[],
): Promise<Execution> {
  options.reset?.();
  const { write: _, ...withoutWrite } = memoryStorage();
  const storage: Storage = options.atomicWrites === false ? withoutWrite : memoryStorage();
  const calls: CountedCalls = new Map();
  const processes = startProcesses(options, storage, calls, crashPoints, crashes);
  for (const event of options.events) {
    const before = processes.current();
    await send(processes, typeof event === "string" ? event : event());
    processes.elapse(PAUSE_MS);
    // A process that was restarted finds what is left to do before the next event comes.
    if (processes.current() !== before) await tick(processes);
  }
  for (let ticks = 0;; ticks++) {
    const workAt = await nextWorkAt(storage);
    if (workAt === undefined) break;
    if (ticks === MAX_TICKS) throw new Error(`there is still work to do after ${MAX_TICKS} ticks`);
    processes.elapse(PAUSE_MS, workAt);
    await tick(processes);
  }
  const outcome = await outcomeOf(storage);
  const { app, operations, disarm } = processes.current();
  const execution = { outcome, operations: operations(), calls };
  // Work that runs at the same time may take another order than when the operations were counted.
  disarm();
  await options.check?.(app);
  await app.close();
  return execution;
}

async function tick({ survive }: Processes): Promise<void> {
  await survive((app) => app.tick({ concurrency: 1 }));
}

function startProcesses(
  { app, fetch, safe }: CrashEverywhereOptions,
  storage: Storage,
  calls: CountedCalls,
  crashPoints: readonly CrashPoint[],
  crashes: string[],
): Processes {
  const remaining = [...crashPoints];
  let now = START;
  let randomStrings = 0;
  const start = (): SimulatedProcess =>
    startProcess({
      ...{ app, storage, crashPoint: remaining.shift(), safe },
      clock: () => now,
      random: () => `crash-${++randomStrings}`,
      fetch: (request, call) => {
        count(calls, call);
        return fetch?.(request) ?? new Response();
      },
      onCrash: (operation) => crashes.push(operation),
    });
  let current = start();
  return {
    current: () => current,
    elapse: (ms, time = 0) => void (now = Math.max(now + ms, time)),
    survive: async (work) => {
      while (true) {
        await work(current.app).catch((error) => {
          if (!current.hasCrashed()) throw error;
        });
        if (!current.hasCrashed()) return;
        current = start();
        now += RESTART_MS;
      }
    },
  };
}

/** Sends an event until it is answered with 200, and waits for the work after the answer. */
async function send({ current, survive }: Processes, body: string): Promise<void> {
  let isAnswered = false;
  await survive(async (app) => {
    if (isAnswered) return;
    const works: Promise<unknown>[] = [];
    const request = new Request("http://localhost/", { method: "POST", body, headers: FORM });
    const { status } = await app.fetch(request, { waitUntil: (work: Promise<unknown>) => works.push(work) });
    isAnswered = status === 200 && !current().hasCrashed();
    await Promise.all(works);
    if (status !== 200 && !current().hasCrashed()) throw new Error(`an event was answered with ${status}, wanted 200`);
  });
}
