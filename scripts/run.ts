/** Child processes for the scripts: what they print is kept, and shown when it matters. */
import { spawn } from "node:child_process";
import process from "node:process";

/** How a child process ended. */
export interface Finished {
  readonly ok: boolean;
  /** Exit code; 1 when a signal ended it. */
  readonly code: number;
  readonly stdout: string;
  /** Both streams in the order of arrival. */
  readonly output: string;
  readonly seconds: number;
}

export interface RunOptions {
  readonly cwd?: string;
  readonly env?: Record<string, string>;
  /** The child is ended after this long; default 10 minutes, so that a hung child cannot hang the gate. */
  readonly timeoutMs?: number;
}

/** Runs `command` to its end. Never rejects: a command that cannot be started has `ok: false` and says why. */
export function run(command: string, args: readonly string[], options: RunOptions = {}): Promise<Finished> {
  const { cwd, env, timeoutMs = 600_000 } = options;
  return new Promise((resolve) => {
    let stdout = "", output = "";
    const start = performance.now();
    const finish = (code: number): void => {
      clearTimeout(timer);
      resolve({ ok: code === 0, code, stdout, output, seconds: (performance.now() - start) / 1000 });
    };
    const child = spawn(command, args, {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, NO_COLOR: "1", ...env },
      ...(cwd === undefined ? {} : { cwd }),
    });
    // Not the option of spawn(): on Node that outlives a command that could not be started.
    let timer = setTimeout(() => {
      output += `\n${command} takes longer than ${timeoutMs} ms\n`;
      // Not child.kill(): on Deno it works once.
      if (child.pid !== undefined) process.kill(child.pid, "SIGTERM");
      timer = setTimeout(() => {
        if (child.pid !== undefined) process.kill(child.pid, "SIGKILL");
        // A grandchild that lives on would keep the streams open.
        child.stdout.destroy();
        child.stderr.destroy();
        finish(1);
      }, 5000);
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
      finish(code ?? 1);
    });
  });
}

/** What `command` prints on stdout. @throws {Error} with all it printed when it fails */
export async function read(command: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  const { ok, code, stdout, output } = await run(command, args, options);
  if (!ok) throw new Error(`${command} ${args.join(" ")}: exit code ${code}\n${output}`);
  return stdout.trim();
}
