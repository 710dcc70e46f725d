/** Asks the server, again and again until there is an answer or time is up. */
import { setTimeout } from "node:timers";
import { StorageError } from "../../errors.ts";
import type { Connection } from "./connection.ts";
import type { Script } from "./scripts.ts";

/** Commands that may be out without answer after their callers have given up. */
const MAX_UNANSWERED = 100;
/** How long to wait before a client without connection is looked at again. */
const LOOK_MS = 20;

/** On whose behalf something is asked. */
export interface What {
  /** For errors. */
  readonly action: () => string;
  readonly signal: AbortSignal | undefined;
}

/**
 * Runs a script until it is answered. `argsOf` gives its arguments, anew for every try; `read` what the answer is, or
 * `undefined` when it has to be asked again.
 */
export type Ask = <R>(
  what: What,
  script: Script,
  keys: string[],
  argsOf: () => string[],
  read: (reply: unknown) => R | undefined,
) => Promise<R>;

/** Asks by `connection`. */
export function createAsk(connection: Connection, timeoutMs: number): Ask {
  const within = createDeadline(timeoutMs);
  /** Commands whose callers have given up. A server that hangs must not make the client keep ever more of them. */
  let unanswered = 0;
  let look: Promise<void> | undefined;

  /** One timer, however many wait. */
  function nextLook(): Promise<void> {
    return look ??= new Promise((resolve) =>
      setTimeout(() => {
        look = undefined;
        resolve();
      }, LOOK_MS)
    );
  }

  return ({ action, signal }, script, keys, argsOf, read) =>
    new Promise((resolve, reject) => {
      /** Whether this call has ended, whether a command is out, and whether one was lost that may have been done. */
      let [ended, out, lost] = [false, false, false];
      let saw = "no connection";
      let cause: Error | undefined;

      const cancel = within(() => fail(`${saw} for ${timeoutMs} milliseconds`));
      const abort = (): void => end(() => reject(signal!.reason));
      signal?.addEventListener("abort", abort);
      attempt();

      function end(settle: () => void): void {
        if (ended) return;
        ended = true;
        cancel();
        signal?.removeEventListener("abort", abort);
        if (out) unanswered++;
        settle();
      }

      function fail(reason: string): void {
        const options = cause === undefined ? {} : { cause };
        end(() => reject(new StorageError(`cannot ${action()} Redis: ${reason}`, options)));
      }

      function attempt(): void {
        if (ended) return;
        const state = connection.state();
        if (state === "closed") return fail("the client is closed, wanted one that is connected");
        // Not given to a client that would keep it until the server is back, which may be long after this has failed.
        if (state === "waiting" || unanswered >= MAX_UNANSWERED) return void nextLook().then(attempt);
        saw = "no answer";
        send(connection.evalsha);
      }

      function send(evaluate: Connection["evalsha"]): void {
        out = true;
        evaluate(script, keys, argsOf()).then(answered, failed);
      }

      function back(): void {
        out = false;
        if (ended) unanswered--;
      }

      function answered(reply: unknown): void {
        back();
        const result = read(reply);
        if (result !== undefined) return end(() => resolve(result));
        // What the server was too late for now, it may have done before.
        if (lost) return fail("the connection was lost, and it is not known whether it was done");
        attempt();
      }

      function failed(error: unknown): void {
        back();
        if (ended) return;
        const { code, reason } = described(error);
        if (code === "NOSCRIPT") return send(connection.eval);
        cause = withoutCommand(error, reason);
        if (code !== undefined && !PASSING.has(code)) return fail(reason);
        if (code === undefined) lost = true;
        nextLook().then(attempt);
      }
    });
}

/** What a server answers while it starts, or is stood in for. It has done nothing then. */
const PASSING = new Set(["LOADING", "BUSY", "TRYAGAIN", "CLUSTERDOWN", "MASTERDOWN"]);

/** What an error says, and the code of it if it is an answer of the server. */
function described(error: unknown): { readonly code: string | undefined; readonly reason: string } {
  const { message, name } = error instanceof Error ? error : { message: String(error), name: "" };
  // What follows are the beginnings of the arguments.
  const [line = ""] = message.split(/\n|,? with args beginning/);
  const code = /^([A-Z]{3,}) /.exec(line)?.[1];
  return { code, reason: line || name };
}

/** ioredis gives its errors the whole command, with the value in it. */
function withoutCommand(error: unknown, message: string): Error {
  const { name, code } = error as Partial<NodeJS.ErrnoException>;
  return Object.assign(new Error(message), name === undefined ? {} : { name }, code === undefined ? {} : { code });
}

/**
 * Calls `expire` once `ms` are over, unless what it returns is called before: with one timer, as one for each command would
 * cost a good part of what the command does. It keeps no process alive: connections do, and whoever looks for one.
 */
function createDeadline(ms: number): (expire: () => void) => () => void {
  /** In the order in which they end. */
  const waiting = new Set<{ readonly at: number; readonly expire: () => void }>();
  let armed = false;

  function arm(inMs: number): void {
    armed = true;
    setTimeout(expireDue, inMs).unref();
  }

  function expireDue(): void {
    armed = false;
    const now = performance.now();
    for (const one of waiting) {
      // Timers fire a little early, too.
      if (one.at > now) return arm(Math.ceil(one.at - now));
      waiting.delete(one);
      one.expire();
    }
  }

  return (expire) => {
    const one = { at: performance.now() + ms, expire };
    waiting.add(one);
    if (!armed) arm(ms);
    return () => void waiting.delete(one);
  };
}
