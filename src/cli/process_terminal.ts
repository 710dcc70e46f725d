/** The terminal of this process. */
import { readFile } from "node:fs/promises";
import { userInfo } from "node:os";
import process from "node:process";
import { createInterface } from "node:readline/promises";
import { text } from "node:stream/consumers";
import { setTimeout } from "node:timers/promises";
import type { WriteStream } from "node:tty";
import { runtimeEnvironment } from "../net/runtime.ts";
import { loadInTime } from "./load_in_time.ts";
import { loadModule } from "./load_module.ts";
import { progressBar } from "./progress.ts";
import type { Output, Terminal } from "./terminal.ts";

/** The permissions that Deno asks for before it reports who the user is. */
const USER_KINDS = ["uid", "gid", "userInfo"] as const;

type UserKind = typeof USER_KINDS[number];

interface DenoNamespace {
  readonly noColor: boolean;
  readonly permissions: {
    readonly querySync: (wanted: { readonly name: "sys"; readonly kind: UserKind }) => { readonly state: string };
  };
}

/** Returns the terminal of this process. It needs no permission on Deno. */
export function processTerminal(): Terminal {
  const { Deno: deno } = globalThis as { readonly Deno?: DenoNamespace };
  const { variable } = runtimeEnvironment();
  const isColorless = deno === undefined ? (variable("NO_COLOR") ?? "") !== "" : deno.noColor;
  const [stdout, stderr] = [process.stdout, process.stderr].map((stream) => outputOf(stream, isColorless));
  let interruption: AbortController | undefined;
  return {
    stdout: stdout!,
    stderr: stderr!,
    isInteractive: process.stdin.isTTY === true && process.stderr.isTTY === true,
    read: (path) => path === "-" ? text(process.stdin) : readFile(path, "utf8"),
    ask: async (question) => {
      const lines = createInterface({ input: process.stdin, output: process.stderr });
      // Ctrl+C and Ctrl+D end it without an answer.
      const closed = new Promise<undefined>((resolve) => lines.once("close", () => resolve(undefined)));
      try {
        const answer = await Promise.race([lines.question(question), closed]);
        if (answer === undefined) stderr!.write("\n");
        return answer ?? "";
      } finally {
        lines.close();
      }
    },
    progress: (label, total) => progressBar(process.stderr, label, total),
    variable,
    userName: () => {
      // Without the permission, Deno would stop and prompt for it.
      const isAllowed = (kind: UserKind): boolean =>
        deno === undefined || deno.permissions.querySync({ name: "sys", kind }).state === "granted";
      try {
        return USER_KINDS.every(isAllowed) ? userInfo().username : undefined;
      } catch {
        // A user without an entry in the system's list of users, as in some containers.
        return undefined;
      }
    },
    load: (path) => loadInTime(loadModule(path), path),
    fetch: (url, init) => fetch(url, init),
    now: Date.now,
    wait: (ms, signal) => setTimeout(ms, undefined, { signal }).catch(() => {}),
    interrupted: () => {
      if (interruption === undefined) {
        const controller = interruption = new AbortController();
        process.once("SIGINT", () => controller.abort());
      }
      return interruption.signal;
    },
  };
}

type Stream = Pick<WriteStream, "write" | "isTTY" | "columns" | "on">;

/** Returns an output of a stream of this process. */
export function outputOf(stream: Stream, isColorless: boolean): Output {
  // The reader of a pipe, such as `head`, may have ended.
  stream.on("error", (error: Error & { readonly code?: string }) => {
    if (error.code !== "EPIPE") throw error;
    process.exit();
  });
  const isTerminal = stream.isTTY === true;
  return {
    write: (text) => void stream.write(text),
    isTerminal,
    hasColor: isTerminal && !isColorless,
    get columns() {
      // Some terminals do not know their width, which is 0 then.
      return isTerminal && stream.columns > 0 ? stream.columns : 80;
    },
  };
}
