/** Time-outs, signals, and the locks of other processes. */
import { FormatError, StorageError } from "../../errors.ts";
import { NAME } from "./entries.ts";

/** Pauses before what another process has kept from being done is tried again. */
const FIRST_PAUSE_MS = 5;
const LAST_PAUSE_MS = 160;

/** Requests something of the backend, until it is not kept from it by another process. */
export type Ask = <R>(request: () => Promise<R>) => Promise<R>;

/** Runs what may take its time, or fail in the backend. */
export async function patiently<R>(
  action: string,
  timeoutMs: number,
  signal: AbortSignal | undefined,
  run: (ask: Ask) => Promise<R>,
): Promise<R> {
  let locked: unknown;
  let ended: { readonly error: unknown } | undefined;
  let end: (error: unknown) => void = () => {};
  const over = new Promise<never>((_, reject) => {
    end = (error) => {
      ended = { error };
      reject(error);
    };
  });
  over.catch(() => {}); // at that moment, nobody may be waiting

  const timer = setTimeout(() => {
    const saw = locked === undefined ? "no answer" : "only locks of other processes";
    end(new Error(`${saw} for ${timeoutMs} milliseconds`, { cause: locked }));
  }, timeoutMs);
  const abort = (): void => end(signal?.reason);
  signal?.addEventListener("abort", abort);

  const ask: Ask = async (request) => {
    for (let pauseMs = FIRST_PAUSE_MS;; pauseMs = Math.min(2 * pauseMs, LAST_PAUSE_MS)) {
      if (ended !== undefined) throw ended.error;
      try {
        return await Promise.race([over, request()]);
      } catch (error) {
        if (!isLocked(error)) throw error;
        locked = error;
      }
      await Promise.race([over, new Promise((resolve) => setTimeout(resolve, pauseMs))]);
    }
  };
  try {
    return await run(ask);
  } catch (error) {
    if (signal?.aborted || error instanceof StorageError || error instanceof FormatError) throw error;
    // The other lines are where in the library it happened.
    const [reason] = String(error instanceof Error ? error.message : error).split("\n");
    throw new StorageError(`cannot ${action} ${NAME}: ${reason}`, { cause: error });
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
  }
}

/** SQLite says so before it has done anything. */
function isLocked(error: unknown): boolean {
  return error instanceof Error && /database (table )?is locked/.test(error.message);
}
