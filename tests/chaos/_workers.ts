/** The worker processes: starting, killing and pausing them. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { root, runArgs } from "../support/process.ts";
import type { ProcessHistory } from "./_check_effects.ts";
import { BEAT_MS } from "./_pace.ts";
import type { Place, StorageName } from "./_storages.ts";
import type { EffectsLog } from "./_effects_log.ts";

/** The settings of a worker. */
export interface WorkerSettings {
  readonly storage: StorageName;
  /** Path or URL of the storage. */
  readonly at: string;
  /** URL of the effects log. */
  readonly logUrl: string;
  readonly beatMs: number;
  /** Factor of all times, 1 on an idle machine. */
  readonly pace: number;
  /** Time (ms) that it waits for a storage that is down. */
  readonly patienceMs: number;
  /** Unique. */
  readonly name: string;
  /** Offset of its clock in milliseconds. */
  readonly skewMs: number;
  /** Its storage fails from the start. */
  readonly isFailing: boolean;
}

/** A worker process. */
export interface Worker {
  readonly name: string;
  readonly child: ChildProcess;
  /** For the checks at the end. */
  readonly history: ProcessHistory & {
    readonly beats: number[];
    readonly cutOff: { readonly from: number; readonly to: number }[];
    killedAt?: number;
  };
  readonly ended: Promise<void>;
  /** The test stopped it. */
  isStopped: boolean;
  url?: string;
  errors: string;
}

/** The workers. */
export interface Workers {
  /** The running workers. */
  readonly current: readonly Worker[];
  /** All workers that were started. */
  readonly all: readonly Worker[];
  /** Kills a worker once it is reachable, and starts another one. */
  readonly kill: (index: number) => Promise<void>;
  /** Number of killed workers. */
  readonly kills: () => number;
  readonly pause: (index: number, ms: number) => Promise<void>;
  /** Makes all calls to the storage fail, or succeed again. */
  readonly setFailing: (isFailing: boolean) => void;
  /** Kills all workers, and starts others with the given clock offset. */
  readonly replaceAll: (skewMs: number) => Promise<void>;
  /** Stops all workers. */
  readonly stop: () => Promise<void>;
}

/** Options of {@linkcode startWorkers}. */
export interface WorkersOptions {
  readonly count: number;
  readonly place: Place;
  readonly log: Pick<EffectsLog, "url">;
  readonly pace: number;
  /** Returns the clock offset of a worker in milliseconds, by its name. */
  readonly skewOf: (name: string) => number;
}

/** Time (ms) that a worker waits for a storage that is down, times the pace: short in the chaos, long after it. */
const PATIENCE_MS = { chaos: 400, after: 5000 };

/** Starts `count` workers. */
export function startWorkers({ count, place, log, pace, skewOf }: WorkersOptions): Workers {
  const all: Worker[] = [];
  let isFailing = false;
  let kills = 0;
  const start = (fixedSkewMs?: number): Worker => {
    const name = `worker-${all.length}`;
    const { name: storage, at } = place;
    const worker = startWorker({
      ...{ storage, at, logUrl: log.url, beatMs: BEAT_MS, pace, name, isFailing },
      skewMs: fixedSkewMs ?? skewOf(name),
      patienceMs: Math.round(pace * (fixedSkewMs === undefined ? PATIENCE_MS.chaos : PATIENCE_MS.after)),
    });
    all.push(worker);
    return worker;
  };
  const current = Array.from({ length: count }, () => start());
  const end = async (worker: Worker): Promise<void> => {
    worker.isStopped = worker.history.killedAt === undefined || worker.isStopped;
    if (worker.history.killedAt === undefined) kill(worker);
    await worker.ended;
    worker.history.killedAt ??= Date.now();
  };
  return {
    current,
    all,
    kill: async (index) => {
      const worker = current[index]!;
      // Killing a worker that has not started would test nothing.
      while (worker.url === undefined && worker.history.killedAt === undefined) await sleep(10);
      await end(worker);
      // If two calls killed it, it is replaced once.
      if (current[index] !== worker) return;
      current[index] = start();
      kills++;
    },
    kills: () => kills,
    pause: async (index, ms) => {
      const worker = current[index]!;
      if (worker.history.killedAt !== undefined) return;
      // In a shell, which resumes the worker even if this process is killed.
      const { pid } = worker.child;
      const shell = spawn("sh", ["-c", `kill -STOP ${pid} && sleep ${ms / 1000}; kill -CONT ${pid}`], {
        stdio: "ignore",
      });
      await once(shell, "close");
    },
    setFailing: (toFail) => {
      isFailing = toFail;
      for (const { child } of current) child.stdin!.write(toFail ? "fail\n" : "work\n");
    },
    replaceAll: async (skewMs) => {
      await Promise.all(current.map(end));
      for (const index of current.keys()) current[index] = start(skewMs);
    },
    stop: async () => {
      await Promise.all(all.map(end));
    },
  };
}

/** The time (ms) in which three workers start on an idle machine of two cores. */
const IDLE_START_MS = 700;

/**
 * Measures how much slower than an idle machine this one is, by starting workers: 1 to 10. All times of the chaos
 * are multiplied by it, so that the machine's load does not look like the faults of workers.
 */
export async function measurePace(options: Omit<WorkersOptions, "pace">): Promise<number> {
  const start = Date.now();
  const workers = startWorkers({ ...options, pace: 1 });
  try {
    await untilReachable(workers);
    return Math.min(10, Math.max(1, (Date.now() - start) / IDLE_START_MS));
  } finally {
    await workers.stop();
  }
}

/** Waits until all workers are reachable. */
export async function untilReachable({ current }: Workers): Promise<void> {
  while (current.some(({ url }) => url === undefined)) {
    const dead = current.find(({ history }) => history.killedAt !== undefined);
    if (dead !== undefined) throw new Error(`a worker did not start:\n${dead.errors}`);
    await sleep(20);
  }
}

function startWorker(settings: WorkerSettings): Worker {
  const child = spawn(
    process.execPath,
    [...runArgs, "tests/chaos/_chaos_worker.ts", JSON.stringify(settings)],
    { cwd: root, env: { ...process.env, NO_COLOR: "1" }, stdio: ["pipe", "pipe", "pipe"] },
  );
  const { name, skewMs } = settings;
  const history: Worker["history"] = { beats: [], cutOff: [], skewMs, startedAt: Date.now() };
  const ended = new Promise<void>((resolve) => {
    child.on("error", () => resolve());
    child.on("close", () => resolve());
  });
  const worker: Worker = { name, child, history, ended, isStopped: false, errors: "" };
  let rest = "";
  child.stdout!.setEncoding("utf8").on("data", (text: string) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    for (const line of lines) {
      const [word, from, to] = line.split(" ");
      if (word === "cut-off") history.cutOff.push({ from: Number(from), to: Number(to) });
      else if (line.startsWith("http")) worker.url = line;
      else history.beats.push(Number(line));
    }
  });
  child.stderr!.setEncoding("utf8").on("data", (text: string) => worker.errors += text);
  // Writing to a process that has ended fails.
  child.stdin!.on("error", () => {});
  void ended.then(() => history.killedAt ??= Date.now());
  return worker;
}

function kill({ child }: Worker): void {
  try {
    process.kill(child.pid!, "SIGKILL");
  } catch (error) {
    // It has ended, and the event is still to come.
    if ((error as { code?: string }).code !== "ESRCH") throw error;
  }
}
