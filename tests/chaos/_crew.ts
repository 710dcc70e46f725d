/** The processes that work, and what is done to them. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { root, runArgs } from "../support/process.ts";
import type { Life } from "./_judge.ts";
import { BEAT_MS } from "./_pace.ts";
import type { Place, StorageName } from "./_storages.ts";
import type { Witness } from "./_witness.ts";

/** What a worker is started with. */
export interface WorkerSettings {
  readonly storage: StorageName;
  /** Where the storage is. */
  readonly at: string;
  /** Address of the witness. */
  readonly witness: string;
  readonly beatMs: number;
  /** Factor of all times, 1 on an idle machine. */
  readonly pace: number;
  /** How long it waits for a storage that is down, in milliseconds. */
  readonly patienceMs: number;
  /** Unlike that of every other process. */
  readonly name: string;
  /** By how much its clock is wrong, in milliseconds. */
  readonly skewMs: number;
  /** Its storage fails from the beginning. */
  readonly isFailing: boolean;
}

/** One process. */
export interface Worker {
  readonly name: string;
  readonly child: ChildProcess;
  /** What is known of it besides what it tells the witness. */
  readonly life: Life & {
    readonly beats: number[];
    readonly cutOff: { readonly from: number; readonly to: number }[];
    killedAt?: number;
  };
  readonly ended: Promise<void>;
  /** It was to end. */
  isDismissed: boolean;
  url?: string;
  errors: string;
}

/** The workers. */
export interface Crew {
  /** In their places. */
  readonly workers: readonly Worker[];
  /** All that there were. */
  readonly all: readonly Worker[];
  /** As soon as it can be reached. */
  readonly kill: (index: number) => Promise<void>;
  /** How many were killed, and replaced. */
  readonly kills: () => number;
  readonly pause: (index: number, ms: number) => Promise<void>;
  /** Has every call to the storage fail, or no more. */
  readonly setFailing: (isFailing: boolean) => void;
  /** Kills all of them, and puts others in their places whose clocks are ahead by so much. */
  readonly relieve: (skewMs: number) => Promise<void>;
  readonly end: () => Promise<void>;
}

/** What a crew works with. */
export interface CrewOptions {
  readonly count: number;
  readonly place: Place;
  readonly witness: Pick<Witness, "url">;
  readonly pace: number;
  /** By how much the clock of a worker is wrong, in milliseconds, by its name. */
  readonly skewOf: (name: string) => number;
}

/** Time (ms) that a worker waits for a storage that is down, times the pace: short in the storm, long after it. */
const PATIENCE_MS = { storm: 400, calm: 5000 };

/** Starts `count` workers. */
export function createCrew({ count, place, witness, pace, skewOf }: CrewOptions): Crew {
  const all: Worker[] = [];
  let isFailing = false;
  let kills = 0;
  const start = (calmSkewMs?: number): Worker => {
    const name = `worker-${all.length}`;
    const { name: storage, at } = place;
    const worker = startWorker({
      ...{ storage, at, witness: witness.url, beatMs: BEAT_MS, pace, name, isFailing },
      skewMs: calmSkewMs ?? skewOf(name),
      patienceMs: Math.round(pace * (calmSkewMs === undefined ? PATIENCE_MS.storm : PATIENCE_MS.calm)),
    });
    all.push(worker);
    return worker;
  };
  const workers = Array.from({ length: count }, () => start());
  const end = async (worker: Worker): Promise<void> => {
    worker.isDismissed = worker.life.killedAt === undefined || worker.isDismissed;
    if (worker.life.killedAt === undefined) kill(worker);
    await worker.ended;
    worker.life.killedAt ??= Date.now();
  };
  return {
    workers,
    all,
    kill: async (index) => {
      const worker = workers[index]!;
      // Of one that has not begun there is nothing to be cut off.
      while (worker.url === undefined && worker.life.killedAt === undefined) await sleep(10);
      await end(worker);
      // Killed twice, it is replaced once.
      if (workers[index] !== worker) return;
      workers[index] = start();
      kills++;
    },
    kills: () => kills,
    pause: async (index, ms) => {
      const worker = workers[index]!;
      if (worker.life.killedAt !== undefined) return;
      // By a process of its own: were this one killed meanwhile, the worker would be left as it is.
      const { pid } = worker.child;
      const shell = spawn("sh", ["-c", `kill -STOP ${pid} && sleep ${ms / 1000}; kill -CONT ${pid}`], {
        stdio: "ignore",
      });
      await once(shell, "close");
    },
    setFailing: (toFail) => {
      isFailing = toFail;
      for (const { child } of workers) child.stdin!.write(toFail ? "fail\n" : "work\n");
    },
    relieve: async (skewMs) => {
      await Promise.all(workers.map(end));
      for (const index of workers.keys()) workers[index] = start(skewMs);
    },
    end: async () => {
      await Promise.all(all.map(end));
    },
  };
}

/** The time (ms) in which three workers start on an idle machine of two cores. */
const IDLE_START_MS = 700;

/**
 * Measures how much slower than an idle machine this one is, by the start of a crew: 1 to 10. All times of the chaos
 * are multiplied by it, so that the machine's load does not look like the faults of workers.
 */
export async function paceOf(options: Omit<CrewOptions, "pace">): Promise<number> {
  const begun = Date.now();
  const crew = createCrew({ ...options, pace: 1 });
  try {
    await ready(crew);
    return Math.min(10, Math.max(1, (Date.now() - begun) / IDLE_START_MS));
  } finally {
    await crew.end();
  }
}

/** Waits until all of them can be reached. */
export async function ready({ workers }: Crew): Promise<void> {
  while (workers.some(({ url }) => url === undefined)) {
    const dead = workers.find(({ life }) => life.killedAt !== undefined);
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
  const life: Worker["life"] = { beats: [], cutOff: [], skewMs, bornAt: Date.now() };
  const ended = new Promise<void>((resolve) => {
    child.on("error", () => resolve());
    child.on("close", () => resolve());
  });
  const worker: Worker = { name, child, life, ended, isDismissed: false, errors: "" };
  let rest = "";
  child.stdout!.setEncoding("utf8").on("data", (text: string) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    for (const line of lines) {
      const [word, from, to] = line.split(" ");
      if (word === "cut-off") life.cutOff.push({ from: Number(from), to: Number(to) });
      else if (line.startsWith("http")) worker.url = line;
      else life.beats.push(Number(line));
    }
  });
  child.stderr!.setEncoding("utf8").on("data", (text: string) => worker.errors += text);
  // What it is told once it has ended goes nowhere.
  child.stdin!.on("error", () => {});
  void ended.then(() => life.killedAt ??= Date.now());
  return worker;
}

function kill({ child }: Worker): void {
  try {
    process.kill(child.pid!, "SIGKILL");
  } catch (error) {
    // It has ended, and its end is not told of yet.
    if ((error as { code?: string }).code !== "ESRCH") throw error;
  }
}
