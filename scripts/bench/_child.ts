/** Child processes of benchmarks: a server or a task of its own, on the runtime of the benchmark, that answers commands. */
import { type ChildProcess, spawn } from "node:child_process";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/** Functions of a child by name. Their results pass as JSON. */
export type Commands = Readonly<Record<string, (argument: string) => unknown>>;

/** A child process that has called {@linkcode answerCommands}. */
export interface Child {
  readonly pid: number;
  /** Calls a command and resolves to its result; rejects if the child ends before. */
  readonly ask: <T>(command: string, argument?: string) => Promise<T>;
  /** Ends it and waits until it has ended. */
  readonly stop: () => Promise<void>;
}

/** V8 flags and profilers are options of Node, and of Deno by `--v8-flags`. */
export interface ChildOptions {
  /** Offers `globalThis.gc`. */
  readonly exposesGc?: boolean;
  /** Options of Node; Deno does not get them. */
  readonly nodeArgs?: readonly string[];
  /** Variables beside those of this process. */
  readonly env?: Readonly<Record<string, string>>;
}

const onDeno = "Deno" in globalThis;
/** Lines of answers begin with this; a child may print others. */
const ANSWER = "answer ";

/** Starts `file` of this folder with `args`, and waits until it answers commands. */
export async function startChild(
  file: string,
  args: readonly string[] = [],
  { exposesGc = false, nodeArgs = [], env = {} }: ChildOptions = {},
): Promise<Child> {
  const path = fileURLToPath(new URL(file, import.meta.url));
  const options = onDeno
    ? ["run", "-A", "--no-check", ...(exposesGc ? ["--v8-flags=--expose-gc"] : [])]
    : [...(exposesGc ? ["--expose-gc"] : []), ...nodeArgs];
  const child = spawn(process.execPath, [...options, path, ...args], {
    stdio: ["pipe", "pipe", "inherit"],
    env: { ...process.env, ...env },
  });
  const waiting: PromiseWithResolvers<unknown>[] = [];
  let isOver = false;
  const over = new Promise<void>((resolve) =>
    child.once("close", (code, signal) => {
      isOver = true;
      for (const { reject } of waiting.splice(0)) reject(new Error(`${file} has ended with ${signal ?? code}`));
      resolve();
    })
  );
  createInterface({ input: child.stdout! }).on("line", (line) => {
    if (!line.startsWith(ANSWER)) return;
    const answer = JSON.parse(line.slice(ANSWER.length)) as { readonly result?: unknown; readonly error?: string };
    const { resolve, reject } = waiting.shift()!;
    if (answer.error === undefined) resolve(answer.result);
    else reject(new Error(`${file}: ${answer.error}`));
  });
  const answer = (): Promise<unknown> => {
    if (isOver) return Promise.reject(new Error(`${file} has ended`));
    const next = Promise.withResolvers<unknown>();
    waiting.push(next);
    return next.promise;
  };
  await answer(); // of answerCommands itself
  return {
    pid: child.pid!,
    ask: async <T>(command: string, argument = "") => {
      const answered = answer();
      child.stdin!.write(`${command} ${argument}\n`);
      return await answered as T;
    },
    stop: () => stop(child, over),
  };
}

async function stop(child: ChildProcess, over: Promise<void>): Promise<void> {
  child.kill("SIGKILL");
  await over;
}

/** In the child: answers the commands of the parent, one after the other, until the parent ends it. */
export function answerCommands(commands: Commands): void {
  const print = (answer: object): void => void process.stdout.write(`${ANSWER}${JSON.stringify(answer)}\n`);
  print({});
  let last = Promise.resolve();
  createInterface({ input: process.stdin }).on("line", (line) => {
    const [name = "", argument = ""] = line.split(/ (.*)/s);
    last = last.then(async () => {
      try {
        print({ result: await commands[name]!(argument) });
      } catch (error) {
        print({ error: error instanceof Error ? error.stack ?? error.message : String(error) });
      }
    });
  }).on("close", () => process.exit());
}

/** Returns the processor time (µs) that this process has used on all its threads. */
export function cpuMicros(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}
