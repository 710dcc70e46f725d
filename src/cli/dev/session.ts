/** A stand-in at a terminal: prints what happens, and runs what is typed. */
import process from "node:process";
import type { Terminal } from "../terminal.ts";
import { painter, safe } from "../text.ts";
import { createKeyReader, type KeyAction } from "./keys.ts";
import { entryLines, helpLines } from "./lines.ts";
import { runNoted } from "./server.ts";
import type { StandIn } from "./stand_in.ts";
import { type Entry, shownEntry } from "./transcript.ts";

/** Standard input, as far as a session uses it. */
export interface SessionInput {
  readonly isTTY?: boolean;
  readonly setRawMode?: (isRaw: boolean) => unknown;
  readonly setEncoding: (encoding: "utf8") => unknown;
  readonly on: (event: "data", listener: (text: string) => void) => unknown;
  readonly off: (event: "data", listener: (text: string) => void) => unknown;
  readonly pause: () => unknown;
}

/** Options of {@linkcode runSession}. */
export interface SessionOptions {
  readonly standIn: StandIn;
  readonly terminal: Pick<Terminal, "stdout" | "stderr" | "interrupted">;
  /** Each entry is a line of JSON. */
  readonly json: boolean;
  /** @default standard input */
  readonly input?: SessionInput;
}

/** Clears the line of the cursor. */
const CLEAR = "\r\x1b[2K";

/** Runs until `quit`, Ctrl+C or a signal. Commands run one after the other. The end of the input does not end it. */
export async function runSession({ standIn, terminal, json, input = process.stdin }: SessionOptions): Promise<void> {
  const { stdout, stderr } = terminal;
  const { promise: ended, resolve: end } = Promise.withResolvers<void>();
  const paint = painter(stdout);
  const usesKeys = input.isTTY === true && input.setRawMode !== undefined;
  let typing: string | undefined;
  let queue: Promise<unknown> = Promise.resolve();

  /** Writes above the line that is being typed. */
  function print(write: () => void): void {
    if (typing !== undefined) stderr.write(CLEAR);
    write();
    if (typing !== undefined) stderr.write(`: ${typing}`);
  }

  function show(entry: Entry): void {
    const isPending = entry.kind === "sent" && entry.outcome === undefined;
    const lines = json ? (isPending ? [] : [safe(JSON.stringify(shownEntry(entry)))]) : entryLines(entry, paint);
    if (lines.length > 0) print(() => stdout.write(`${lines.join("\n")}\n`));
  }

  const help = (): void => print(() => stderr.write(`${helpLines().join("\n")}\n`));

  function run(line: string): void {
    if (["quit", "exit"].includes(line)) return end();
    if (line === "help") return help();
    // An outage must end while a command waits for an app that waits for the OAuth hosts.
    const isInstant = /^(oauth|slow|expire|duplicate|reorder|lose|fail|portal|rename)\b/.test(line);
    if (isInstant) void runNoted(standIn, line);
    else queue = queue.then(() => runNoted(standIn, line));
  }

  function act(action: KeyAction): void {
    if (action.kind === "quit") return end();
    if (action.kind === "help") return help();
    if (action.kind === "run") return run(action.line);
    stderr.write(CLEAR);
    typing = action.line;
    if (typing !== undefined) stderr.write(`: ${typing}`);
  }

  const readKeys = createKeyReader();
  let rest = "";
  const onData = (text: string): void => {
    if (usesKeys) return readKeys(text).forEach(act);
    const lines = (rest + text).split(/\r?\n/);
    rest = lines.pop() ?? "";
    lines.map((line) => line.trim()).filter((line) => line !== "").forEach(run);
  };

  const stopListening = standIn.transcript.listen(show);
  const interrupted = terminal.interrupted();
  interrupted.addEventListener("abort", () => end(), { once: true });
  process.once("SIGTERM", end);
  input.setEncoding("utf8");
  if (usesKeys) input.setRawMode!(true);
  input.on("data", onData);
  try {
    await ended;
  } finally {
    stopListening();
    process.off("SIGTERM", end);
    input.off("data", onData);
    if (usesKeys) input.setRawMode!(false);
    input.pause();
  }
}
