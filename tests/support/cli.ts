/** Runs commands of the command line in this process. */
import { readFileSync } from "node:fs";
import { main } from "../../src/cli/main.ts";
import type { Output, Terminal } from "../../src/cli/terminal.ts";

/** The outcome of a command. */
export interface Outcome {
  readonly code: number;
  /** Standard output. */
  readonly out: string;
  /** Standard error. */
  readonly err: string;
}

/** The differences from a process without input, terminal, environment and network. */
export interface CliOptions extends Partial<Omit<Terminal, "stdout" | "stderr" | "variable">> {
  /** Content of standard input. */
  readonly stdin?: string;
  /** Environment variables. */
  readonly env?: Readonly<Record<string, string>>;
  /** Both outputs are terminals with colors. */
  readonly isTerminal?: boolean;
  /** Content of files, by path; others are read from the disk. */
  readonly files?: Readonly<Record<string, string>>;
}

/** Runs one command. */
export async function cli(args: readonly string[], options: CliOptions = {}): Promise<Outcome> {
  const { stdin = "", env = {}, isTerminal = false, files = {}, ...terminal } = options;
  const written = { out: "", err: "" };
  const output = (name: keyof typeof written): Output => ({
    write: (text) => void (written[name] += text),
    isTerminal,
    hasColor: isTerminal,
    columns: 80,
  });
  const code = await main(args, {
    stdout: output("out"),
    stderr: output("err"),
    isInteractive: isTerminal,
    read: (path) => Promise.resolve(path === "-" ? stdin : files[path] ?? readFileSync(path, "utf8")),
    ask: () => Promise.reject(new Error("this test answers no question")),
    progress: () => ({ update: () => {}, stop: () => {} }),
    variable: (name) => env[name],
    userName: () => "ada",
    load: (path) => Promise.reject(new Error(`this test loads no module: ${path}`)),
    fetch: () => Promise.reject(new TypeError("this test has no network")),
    now: () => 1_700_000_000_000,
    wait: () => Promise.reject(new Error("this test does not wait")),
    interrupted: () => new AbortController().signal,
    ...terminal,
  });
  return { code, ...written };
}
