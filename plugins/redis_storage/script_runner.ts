/** Runs scripts on the server, and repeats interrupted ones until there is a reply or the call times out. */
import { setTimeout } from "node:timers";
import { StorageError } from "../../errors.ts";
import type { Connection } from "./connection.ts";
import type { Script } from "./scripts.ts";
import { createTimeouts, type Timeouts } from "./timeouts.ts";

/**
 * Max number of commands without a reply whose calls have ended. At this number calls wait instead of sending, so that a hung
 * server cannot exhaust the memory of the process.
 */
const MAX_ABANDONED = 100;
/** Delay (ms) before the next look at a client without a connection, and before an interrupted script is repeated. */
const RETRY_DELAY_MS = 20;
/** Error codes of a server that is starting or failing over. It has not run the script. */
const TEMPORARY = new Set(["LOADING", "BUSY", "TRYAGAIN", "CLUSTERDOWN", "MASTERDOWN"]);

/** The storage operation that a script runs for. */
export interface Operation {
  /** Returns its description for errors, such as `get ["a"] from Redis`. */
  readonly describe: () => string;
  readonly signal: AbortSignal | undefined;
}

/** A call of a script. */
export interface ScriptCall<R> {
  readonly operation: Operation;
  readonly script: Script;
  readonly keys: string[];
  /** Returns the arguments. Called for every attempt. */
  readonly args: () => string[];
  /** Returns the result, or `undefined` if the script has to run again. */
  readonly parse: (reply: unknown) => R | undefined;
}

/**
 * Runs a script and resolves to its result.
 *
 * @throws {StorageError} if the server refuses it, the client is closed, or there is no result before the time-out
 */
export type RunScript = <R>(call: ScriptCall<R>) => Promise<R>;

/** Returns a function that runs scripts through `connection`. Each call has `timeoutMs`. */
export function createScriptRunner(connection: Connection, timeoutMs: number): RunScript {
  const shared: Shared = {
    connection,
    timeoutMs,
    timeouts: createTimeouts(timeoutMs),
    retryDelay: createRetryDelay(),
    abandoned: 0,
  };
  return (call) => new Promise((resolve, reject) => new Execution(shared, call, resolve, reject).start());
}

/** State that the executions on one connection share. */
interface Shared {
  readonly connection: Connection;
  readonly timeoutMs: number;
  readonly timeouts: Timeouts;
  readonly retryDelay: () => Promise<void>;
  /** Number of commands without a reply whose calls have ended. */
  abandoned: number;
}

/** Returns a function that resolves after the delay. All callers share one timer. */
function createRetryDelay(): () => Promise<void> {
  let pending: Promise<void> | undefined;
  return () =>
    pending ??= new Promise((resolve) =>
      setTimeout(() => {
        pending = undefined;
        resolve();
      }, RETRY_DELAY_MS)
    );
}

/** The attempts of one call. */
class Execution<R> {
  readonly #shared: Shared;
  readonly #call: ScriptCall<R>;
  readonly #resolve: (result: R) => void;
  readonly #reject: (reason: unknown) => void;
  #cancelTimeout: (() => void) | undefined;
  #settled = false;
  /** Whether a command was sent and has no reply yet. */
  #inFlight = false;
  /** Whether a reply was lost, so that the server may have run the script. */
  #replyLost = false;
  /** Reason of a time-out. */
  #missing = "no connection";
  /** The last error of the client. */
  #cause: Error | undefined;

  constructor(shared: Shared, call: ScriptCall<R>, resolve: (result: R) => void, reject: (reason: unknown) => void) {
    this.#shared = shared;
    this.#call = call;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  start(): void {
    const { timeouts, timeoutMs } = this.#shared;
    this.#cancelTimeout = timeouts.start(() => this.#fail(`${this.#missing} for ${timeoutMs} milliseconds`));
    this.#call.operation.signal?.addEventListener("abort", this.#abort);
    this.#attempt();
  }

  readonly #abort = (): void => {
    if (this.#settle()) this.#reject(this.#call.operation.signal!.reason);
  };

  /** Returns whether the call was still pending. */
  #settle(): boolean {
    if (this.#settled) return false;
    this.#settled = true;
    this.#cancelTimeout!();
    this.#call.operation.signal?.removeEventListener("abort", this.#abort);
    if (this.#inFlight) this.#shared.abandoned++;
    return true;
  }

  #fail(reason: string): void {
    if (!this.#settle()) return;
    const options = this.#cause === undefined ? {} : { cause: this.#cause };
    this.#reject(new StorageError(`cannot ${this.#call.operation.describe()}: ${reason}`, options));
  }

  readonly #attempt = (): void => {
    if (this.#settled) return;
    const state = this.#shared.connection.state();
    if (state === "closed") return this.#fail("the client is closed, wanted a connected one");
    // A client without a connection would queue the command and send it long after this call has failed.
    if (state === "waiting" || this.#shared.abandoned >= MAX_ABANDONED) return this.#attemptLater();
    this.#missing = "no reply";
    this.#send("evalsha");
  };

  #attemptLater(): void {
    void this.#shared.retryDelay().then(this.#attempt);
  }

  #send(command: "evalsha" | "eval"): void {
    this.#inFlight = true;
    const { script, keys, args } = this.#call;
    this.#shared.connection[command](script, keys, args()).then(this.#onReply, this.#onError);
  }

  #received(): void {
    this.#inFlight = false;
    if (this.#settled) this.#shared.abandoned--;
  }

  readonly #onReply = (reply: unknown): void => {
    this.#received();
    const result = this.#call.parse(reply);
    if (result !== undefined) {
      if (this.#settle()) this.#resolve(result);
      return;
    }
    // The server did nothing now, but may have run an earlier attempt.
    if (this.#replyLost) return this.#fail("the connection was lost, so the outcome is unknown");
    this.#attempt();
  };

  readonly #onError = (error: unknown): void => {
    this.#received();
    if (this.#settled) return;
    const { code, reason } = parseError(error);
    if (code === "NOSCRIPT") return this.#send("eval");
    this.#cause = withoutCommand(error, reason);
    if (code !== undefined && !TEMPORARY.has(code)) return this.#fail(reason);
    if (code === undefined) this.#replyLost = true;
    this.#attemptLater();
  };
}

/** Returns the reason of an error, and its code if it is a reply of the server. */
function parseError(error: unknown): { readonly code: string | undefined; readonly reason: string } {
  const { message, name } = error instanceof Error ? error : { message: String(error), name: "" };
  // The rest quotes the arguments, which contain the value.
  const [line = ""] = message.split(/\n|,? with args beginning/);
  const code = /^([A-Z]{3,}) /.exec(line)?.[1];
  return { code, reason: line || name };
}

/** Returns a copy of an error without the command, which ioredis attaches to it together with the value. */
function withoutCommand(error: unknown, message: string): Error {
  const { name, code } = error as Partial<NodeJS.ErrnoException>;
  return Object.assign(new Error(message), name === undefined ? {} : { name }, code === undefined ? {} : { code });
}
