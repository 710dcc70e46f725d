/** Sends commands to the server, and repeats interrupted ones until there is a reply or the call times out. */
import { setTimeout } from "node:timers";
import { StorageError } from "../../errors.ts";
import { type BackendCall, createBackendCaller } from "../../storage.ts";
import type { Connection } from "./connection.ts";
import { GET, type Script } from "./scripts.ts";

/**
 * Max number of commands without a reply whose calls have ended. At this number calls wait instead of sending, so that a hung
 * server cannot exhaust the memory of the process.
 */
const MAX_ABANDONED = 100;
/** Delay (ms) before the next look at a client without a connection, and before an interrupted script is repeated. */
const RETRY_DELAY_MS = 20;
/** Error codes of a server that is starting or failing over. It has not run the script. */
const TEMPORARY = new Set(["LOADING", "BUSY", "TRYAGAIN", "CLUSTERDOWN", "MASTERDOWN", "READONLY"]);

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
  /** Whether the script would return this result also if it runs for the second time. Absent: it never does. */
  readonly isAmbiguous?: (result: R) => boolean;
}

/**
 * Runs a script and resolves to its result.
 *
 * @throws {StorageError} if the server refuses it, the client is closed, or there is no result before the timeout
 */
export type RunScript = <R>(call: ScriptCall<R>) => Promise<R>;

/**
 * Returns a function that runs scripts through `connection`. Each call has `timeoutMs`.
 *
 * @throws {TypeError} if `timeoutMs` is not above 0 and below 2^31
 */
export function createScriptRunner(connection: Connection, timeoutMs: number): RunScript {
  const callServer = createBackendCaller(timeoutMs);
  const retryDelay = createRetryDelay();
  /** Number of commands without a reply whose calls have ended. */
  let abandoned = 0;

  return async <R>({ operation, script, keys, args, parse, isAmbiguous }: ScriptCall<R>): Promise<R> => {
    /** Whether a command was sent and has no reply yet, and whether the call has ended meanwhile. */
    let [inFlight, isAbandoned] = [false, false];
    /** The last reply, if it was a temporary error. */
    let refusal: string | undefined;

    async function send(command: () => Promise<unknown>): Promise<unknown> {
      inFlight = true;
      try {
        return await command();
      } finally {
        inFlight = false;
        if (isAbandoned) abandoned--;
      }
    }

    async function attempt(call: BackendCall): Promise<unknown> {
      call.status = refusal ?? "no reply";
      if (script === GET && connection.get !== undefined) return await send(() => connection.get!(keys[0]!));
      try {
        return await send(() => connection.evalsha(script, keys, args()));
      } catch (error) {
        if (call.isSettled || parseError(error).code !== "NOSCRIPT") throw error;
        return await send(() => connection.eval(script, keys, args()));
      }
    }

    const fail = (reason: string, cause: unknown): StorageError =>
      new StorageError(`cannot ${operation.describe()}: ${reason}`, cause === undefined ? {} : { cause });

    try {
      return await callServer(operation.describe, operation.signal, async (call) => {
        /** Whether a reply was lost, so that the server may have run the script. */
        let replyLost = false;
        const interruptions = connection.interruptions?.();
        call.status = "no connection";
        while (!call.isSettled) {
          const state = connection.state();
          if (state === "closed") throw fail("the client is closed, wanted a connected one", call.cause);
          // A client without a connection would queue the command and send it long after this call has failed.
          if (state === "waiting") call.status = "no connection";
          if (state === "waiting" || abandoned >= MAX_ABANDONED) {
            await retryDelay();
            continue;
          }
          let reply: unknown;
          try {
            reply = await attempt(call);
          } catch (error) {
            const { code, reason } = parseError(error);
            call.cause = withoutCommand(error, reason);
            if (code !== undefined && !TEMPORARY.has(code)) throw call.cause;
            if (code === undefined) replyLost = true;
            refusal = code === undefined ? undefined : reason;
            await retryDelay();
            continue;
          }
          if (connection.interruptions?.() !== interruptions) replyLost = true;
          const result = parse(reply);
          if (result !== undefined && !(replyLost && isAmbiguous?.(result))) return result;
          // The server did nothing now, but may have run an earlier attempt.
          if (replyLost) throw fail("the connection was lost, so the outcome is unknown", call.cause);
        }
        throw new Error("the call is settled");
      });
    } finally {
      if (inFlight) {
        isAbandoned = true;
        abandoned++;
      }
    }
  };
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

/** Returns the reason of an error, and its code if it is a reply of the server. */
function parseError(error: unknown): { readonly code: string | undefined; readonly reason: string } {
  const { message, name } = error instanceof Error ? error : { message: String(error), name: "" };
  // The rest quotes the arguments, which contain the value.
  const [line = ""] = message.split(/\n|,? with args beginning/);
  // Before Redis 7, an error of a command in a script has its code after a hyphen.
  const [, code, inner] = /^([A-Z]{3,}) (?:Error running script .*: -([A-Z]{3,}) )?/.exec(line) ?? [];
  return { code: inner ?? code, reason: line || name };
}

/** Returns a copy of an error without the command, which ioredis attaches to it together with the value. */
function withoutCommand(error: unknown, message: string): Error {
  const { name, code } = error as Partial<NodeJS.ErrnoException>;
  return Object.assign(new Error(message), name === undefined ? {} : { name }, code === undefined ? {} : { code });
}
