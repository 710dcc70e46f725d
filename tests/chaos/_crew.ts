/** The processes that work, and what is done to them. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { onDeno, root } from "../_process.ts";
import type { Place } from "./_storages.ts";
import type { Witness } from "./_witness.ts";

/** How long a worker keeps a portal without a sign of life, in milliseconds. */
export const LEASE_MS = 900;
const BEAT_MS = 50;
/** How many there are at a time. */
export const WORKERS = 3;

/** One process. */
export interface Worker {
  readonly name: string;
  readonly child: ChildProcess;
  readonly life: { readonly beats: number[]; killedAt?: number };
  readonly ended: Promise<void>;
  url?: string;
  errors: string;
}

/** The workers. */
export interface Crew {
  /** In their places. */
  readonly workers: Worker[];
  /** All that there were. */
  readonly all: Worker[];
  readonly kill: (index: number) => Promise<void>;
  readonly pause: (index: number, ms: number) => Promise<void>;
  readonly end: () => Promise<void>;
}

/** Starts them. */
export function createCrew(place: Place, witness: Witness): Crew {
  const all: Worker[] = [];
  const start = (): Worker => {
    const worker = startWorker(place, witness, `worker-${all.length}`);
    all.push(worker);
    return worker;
  };
  const workers = Array.from({ length: WORKERS }, start);
  const end = async (worker: Worker): Promise<void> => {
    if (worker.life.killedAt === undefined) kill(worker);
    await worker.ended;
    worker.life.killedAt ??= Date.now();
  };
  return {
    workers,
    all,
    kill: async (index) => {
      const worker = workers[index]!;
      await end(worker);
      // Killed twice, it is replaced once.
      if (workers[index] === worker) workers[index] = start();
    },
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
    end: async () => {
      await Promise.all(all.map(end));
    },
  };
}

function startWorker(place: Place, witness: Witness, name: string): Worker {
  const settings = {
    ...{ storage: place.name, at: place.at, witness: witness.url, leaseMs: LEASE_MS, beatMs: BEAT_MS, name },
  };
  const child = spawn(
    process.execPath,
    [...(onDeno ? ["run", "-A", "--no-check"] : []), "tests/chaos/_chaos_worker.ts", JSON.stringify(settings)],
    { cwd: root, env: { ...process.env, NO_COLOR: "1" }, stdio: ["ignore", "pipe", "pipe"] },
  );
  const life: Worker["life"] = { beats: [] };
  const ended = new Promise<void>((resolve) => {
    child.on("error", () => resolve());
    child.on("close", () => resolve());
  });
  const worker: Worker = { name, child, life, ended, errors: "" };
  let rest = "";
  child.stdout!.setEncoding("utf8").on("data", (text: string) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    for (const line of lines) {
      if (line.startsWith("http")) worker.url = line;
      else life.beats.push(Number(line));
    }
  });
  child.stderr!.setEncoding("utf8").on("data", (text: string) => worker.errors += text);
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
