/** Runs modules in child processes. */
import { spawn } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { keepOutput } from "./kept_output.ts";

/** Arguments of the current runtime before the path of a module. */
export const runArgs: readonly string[] = "Deno" in globalThis ? ["run", "-A", "--no-check"] : [];

/** The root of the repository or, on Node, of the project that has the package installed. */
export const root: string = fileURLToPath(new URL("../../", import.meta.url));

export interface RunOptions {
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Standard input is a pipe, which `type` writes to. */
  readonly hasInput?: boolean;
  /** Runtime to use instead of the current one, and the folder that `file` is relative to. */
  readonly on?: { readonly command: string; readonly cwd: string };
}

export interface Running {
  /** Returns everything printed so far. */
  readonly output: () => string;
  /** Resolves to the first match of `pattern` in the output; rejects if the process exits before it. */
  readonly printed: (pattern: RegExp) => Promise<RegExpExecArray>;
  /** Writes to standard input. */
  readonly type: (text: string) => void;
  /** Sends SIGTERM. */
  readonly stop: () => void;
  /** Resolves to the exit code, or to null after a signal. */
  readonly exited: Promise<number | null>;
}

/** Starts `file`, a path relative to the root. */
export function run(file: string, { args = [], env = {}, hasInput = false, on }: RunOptions = {}): Running {
  const child = spawn(on?.command ?? process.execPath, [...(on === undefined ? runArgs : []), file, ...args], {
    cwd: on?.cwd ?? root,
    env: { ...process.env, NO_COLOR: "1", ...env },
    stdio: [hasInput ? "pipe" : "ignore", "pipe", "pipe"],
  });
  let output = "";
  let changed = Promise.withResolvers<void>();
  const wake = (): void => {
    changed.resolve();
    changed = Promise.withResolvers<void>();
  };
  for (const stream of [child.stdout, child.stderr]) {
    stream!.setEncoding("utf8");
    stream!.on("data", (text: string) => {
      output += text;
      keepOutput(`process-${child.pid}`, text);
      wake();
    });
  }
  let ended = false;
  const exited = new Promise<number | null>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => {
      ended = true;
      wake();
      resolve(code);
    });
  });
  return {
    output: () => output,
    printed: async (pattern) => {
      while (true) {
        const match = pattern.exec(output);
        if (match !== null) return match;
        if (ended) throw new Error(`${file} exited without printing ${pattern}:\n${output}`);
        await changed.promise;
      }
    },
    type: (text) => void child.stdin!.write(text),
    // Not `child.kill()`: on Deno, it loses the exit code of a child that exits by itself after the signal.
    stop: () => void process.kill(child.pid!, "SIGTERM"),
    exited,
  };
}
