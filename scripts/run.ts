/** Child processes with captured output. */
import { spawn } from "node:child_process";
import process from "node:process";

/** Result of a child process. */
export interface Finished {
  readonly ok: boolean;
  /** Exit code; 1 if a signal ended the process. */
  readonly code: number;
  readonly stdout: string;
  /** Standard output and standard error, in order of arrival. */
  readonly output: string;
  readonly seconds: number;
}

export interface RunOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** User and group that it runs as. @default those of this process */
  readonly user?: { readonly uid: number; readonly gid: number };
  /** Time limit (ms), after which the process is stopped. @default 600_000 */
  readonly timeoutMs?: number;
  /** Time (ms) between asking the process group to end and killing it. @default 5000 */
  readonly graceMs?: number;
}

/** Running process groups. Each child leads a group of its own, so the terminal's Ctrl-C does not reach it. */
const groups = new Set<number>();
let isForwarding = false;

function forwardSignals(): void {
  if (isForwarding) return;
  isForwarding = true;
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => {
      for (const group of groups) kill(group, "SIGKILL");
      process.exit(130);
    });
  }
}

function kill(group: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-group, signal);
  } catch {
    // The group has ended.
  }
}

/**
 * Runs `command` to its end. At the time limit, its process group receives SIGINT, at which `deno test` names the running
 * tests, and later SIGKILL. Never rejects: a command that cannot be started has `ok: false` and the reason in `output`.
 */
export function run(command: string, args: readonly string[], options: RunOptions = {}): Promise<Finished> {
  const { cwd, env, user, timeoutMs = 600_000, graceMs = 5000 } = options;
  return new Promise((resolve) => {
    let stdout = "", output = "";
    const start = performance.now();
    forwardSignals();
    const child = spawn(command, args, {
      detached: true,
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, NO_COLOR: "1", ...env },
      ...(cwd === undefined ? {} : { cwd }),
      ...user,
    });
    const group = child.pid;
    if (group !== undefined) groups.add(group);
    let isLate = false;
    const finish = (code: number): void => {
      clearTimeout(timer);
      if (group !== undefined) groups.delete(group);
      resolve({ ok: code === 0 && !isLate, code, stdout, output, seconds: (performance.now() - start) / 1000 });
    };
    // Not spawn()'s own timeout: on Node, its timer outlives a command that could not be started.
    let timer = setTimeout(() => {
      isLate = true;
      output += `\n${command} takes longer than ${timeoutMs / 1000} s and is stopped\n`;
      if (group !== undefined) kill(group, "SIGINT");
      timer = setTimeout(() => {
        if (group !== undefined) kill(group, "SIGKILL");
        // A grandchild that left the group would keep the streams open.
        child.stdout.destroy();
        child.stderr.destroy();
        finish(1);
      }, graceMs);
    }, timeoutMs);
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout += text;
      output += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => output += text);
    child.once("error", (error) => {
      output += `${error.message}\n`;
      finish(1);
    });
    child.once("close", (code, signal) => {
      if (signal !== null) output += `\n${command} was ended by ${signal}\n`;
      // Kills processes that the child left running.
      if (group !== undefined) kill(group, "SIGKILL");
      finish(code ?? 1);
    });
  });
}

/** Returns the trimmed stdout of `command`. @throws {Error} with the whole output if it fails */
export async function read(command: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  const { ok, code, stdout, output } = await run(command, args, options);
  if (!ok) throw new Error(`${command} ${args.join(" ")}: exit code ${code}\n${output}`);
  return stdout.trim();
}
