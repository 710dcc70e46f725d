/** A stand-in at a terminal: prints what happens, and runs what is typed. */
import process from "node:process";
import { setTimeout } from "node:timers";
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
  /** @default 5000 */
  readonly patienceMs?: number;
}

/**
 * Time (ms) that a change of the OAuth hosts waits for the commands before it, in a pipe. An outage must end while a
 * command waits for an app that waits for the OAuth hosts.
 */
const PATIENCE_MS = 5000;

/** Clears the line of the cursor. */
const CLEAR = "\r\x1b[2K";

/** Commands that a person sees done at once. */
const INSTANT = /^(oauth|slow|expire|duplicate|reorder|lose|fail|portal|rename|grant|revoke)\b/;

/** Resolves after this time, without keeping the process alive. */
function passed(ms: number): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, ms).unref());
}

/**
 * Runs until `quit`, Ctrl+C or a signal. Commands run one after the other: in a pipe all of them, at a terminal those that
 * send an event. The end of the input does not end it.
 */
export async function runSession(options: SessionOptions): Promise<void> {
  const { standIn, terminal, json, input = process.stdin, patienceMs = PATIENCE_MS } = options;
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
    if (line === "help") return help();
    const isQuit = ["quit", "exit"].includes(line);
    const start = (): void | Promise<void> => isQuit ? end() : runNoted(standIn, line);
    if (usesKeys && (isQuit || INSTANT.test(line))) return void start();
    const before = !usesKeys && /^(oauth|slow)\b/.test(line) ? Promise.race([queue, passed(patienceMs)]) : queue;
    queue = before.then(start);
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
