/** Processes that work on one storage: for the clauses that no single process can show. */
import { type ChildProcess, spawn } from "node:child_process";
import process from "node:process";
import { createInterface } from "node:readline";
import type { Storage } from "../../../mod.ts";
import type { Key, PutOptions } from "../../../storage.ts";

/** How to start a process that runs {@linkcode storageWorker}. */
export interface StorageWorkerCommand {
  /** A program, such as `process.execPath`. */
  readonly command: string;
  /** Its arguments, such as the module to run and where the entries are. */
  readonly args?: readonly string[];
  /** Added to the environment of this process. */
  readonly env?: Readonly<Record<string, string>>;
}

/** What a worker can be asked to do, one line of JSON each. */
export type WorkerTask =
  | { readonly do: "get" | "delete"; readonly key: Key; readonly ifVersion?: string }
  | { readonly do: "put"; readonly key: Key; readonly value: unknown; readonly ifVersion?: string | null }
  | { readonly do: "count"; readonly key: Key; readonly times: number }
  | { readonly do: "lease"; readonly key: Key; readonly rounds: number }
  | { readonly do: "fill"; readonly prefix: Key };

/**
 * What the program of a worker calls once it has opened its storage: does what the suite asks for on standard input,
 * and answers on standard output, until the input ends. Prints nothing else, and closes the storage.
 *
 * @example
 * ```ts
 * import { memoryStorage } from "@b24/onappupdate";
 * import { storageWorker } from "@b24/onappupdate/testing";
 *
 * // A module of its own, which opens what its arguments name.
 * await storageWorker(memoryStorage());
 * ```
 */
export async function storageWorker(storage: Storage): Promise<void> {
  const say = (answer: unknown): void => void process.stdout.write(`${JSON.stringify(answer)}\n`);
  for await (const line of createInterface({ input: process.stdin })) {
    try {
      say({ result: await work(storage, JSON.parse(line), say) });
    } catch (error) {
      say({ error: error instanceof Error ? `${error.name}: ${error.message}` : String(error) });
    }
  }
  await storage.close?.();
}

async function work(storage: Storage, task: WorkerTask, say: (answer: unknown) => void): Promise<unknown> {
  switch (task.do) {
    case "get":
      return await storage.get(task.key);
    case "put":
      return await storage.put(task.key, task.value, conditionOf(task));
    case "delete":
      return await storage.delete(task.key, task.ifVersion === undefined ? {} : { ifVersion: task.ifVersion });
    case "count":
      return await count(storage, task.key, task.times);
    case "lease":
      return await lease(storage, task.key, task.rounds);
    case "fill":
      for (let n = 0;; n++) {
        const key = [...task.prefix, String(n)] as unknown as Key;
        await storage.put(key, fillOf(n));
        say({ wrote: n });
      }
  }
}

function conditionOf({ ifVersion }: { readonly ifVersion?: string | null }): PutOptions {
  return ifVersion === undefined ? {} : { ifVersion };
}

/** What "fill" writes as its `n`th entry: half of it is not the same. */
export function fillOf(n: number): { readonly n: number; readonly fill: string; readonly end: number } {
  return { n, fill: String(n % 10).repeat(500 + n % 300), end: n };
}

async function count(storage: Storage, key: Key, times: number): Promise<number> {
  let tries = 0;
  for (let counted = 0; counted < times; tries++) {
    const entry = await storage.get<number>(key);
    const { ok } = await storage.put(key, (entry?.value ?? 0) + 1, { ifVersion: entry?.version ?? null });
    if (ok) counted++;
  }
  return tries;
}

interface Lease {
  readonly owner: number;
  readonly until: number;
}

/** Holds what is under `key` so often, for some milliseconds each; from and to when it held it. */
async function lease(storage: Storage, key: Key, rounds: number): Promise<[number, number][]> {
  const held: [number, number][] = [];
  while (held.length < rounds) {
    const entry = await storage.get<Lease>(key);
    const isFree = entry === null || entry.value.until <= Date.now();
    const mine: Lease = { owner: process.pid, until: Date.now() + 60_000 };
    const taken = isFree && await storage.put(key, mine, { ifVersion: entry?.version ?? null });
    if (!taken || !taken.ok) {
      await new Promise((resolve) => setTimeout(resolve, 1));
      continue;
    }
    const from = Date.now();
    await new Promise((resolve) => setTimeout(resolve, 3));
    held.push([from, Date.now()]);
    const back = await storage.put(key, { ...mine, until: 0 }, { ifVersion: taken.version });
    if (!back.ok) throw new Error("another process has written what this one held");
  }
  return held;
}

/** A worker as the suite sees it. */
export interface Remote {
  /** Gives the result of a task; rejects with what it rejected with. One at a time. */
  readonly ask: <T>(task: WorkerTask) => Promise<T>;
  /** Sends a task without waiting: what it answers comes with the next `answer()`. */
  readonly send: (task: WorkerTask) => void;
  readonly answer: <T>() => Promise<T>;
  readonly signal: (name: "SIGSTOP" | "SIGCONT" | "SIGKILL") => void;
  /** Resolves when the process is gone. */
  readonly gone: Promise<void>;
}

/** Starts a worker. */
export function startWorker({ command, args = [], env = {} }: StorageWorkerCommand): Remote {
  const child: ChildProcess = spawn(command, [...args], {
    env: { ...process.env, ...env },
    stdio: ["pipe", "pipe", "inherit"],
  });
  const answers: string[] = [];
  let waiting: ((line: string | undefined) => void) | undefined;
  let isGone = false;
  const gone = new Promise<void>((resolve) => {
    child.on("error", () => resolve());
    child.on("close", () => resolve());
  }).then(() => {
    isGone = true;
    waiting?.(undefined);
  });
  // What is asked of a process that is gone is answered by its end.
  child.stdin!.on("error", () => {});
  createInterface({ input: child.stdout! }).on("line", (line) => {
    if (waiting === undefined) return void answers.push(line);
    const give = waiting;
    waiting = undefined;
    give(line);
  });

  async function answer<T>(): Promise<T> {
    const line = answers.shift() ??
      (isGone ? undefined : await new Promise<string | undefined>((resolve) => waiting = resolve));
    if (line === undefined) throw new Error(`the worker ${command} ${args.join(" ")} ended without an answer`);
    const said = JSON.parse(line) as { result?: T; error?: string; wrote?: number };
    if (said.error !== undefined) throw new Error(`a worker failed: ${said.error}`);
    return (said.wrote ?? said.result) as T;
  }
  const send = (task: WorkerTask): void => void child.stdin!.write(`${JSON.stringify(task)}\n`);
  return {
    ask: (task) => {
      send(task);
      return answer();
    },
    send,
    answer,
    // Deno's `child.kill()` forgets the exit code of a child that ends by itself after it.
    signal: (name) => void (isGone || child.pid === undefined || process.kill(child.pid, name)),
    gone,
  };
}
