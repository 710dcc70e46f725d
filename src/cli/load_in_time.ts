/** Modules of the user that never finish loading. */
import { setTimeout } from "node:timers/promises";
import { unreachable } from "./exit.ts";

/** Time (ms) that a module may load: `await client.connect()` of some clients tries for ever. */
const LOAD_TIMEOUT_MS = 30_000;

/**
 * Resolves as the import of a module does.
 *
 * @throws {ExitError} if it is not done after `timeoutMs`
 */
export async function loadInTime<T>(
  loading: Promise<T>,
  path: string,
  timeoutMs: number = LOAD_TIMEOUT_MS,
): Promise<T> {
  const loaded = new AbortController();
  const late = setTimeout(timeoutMs, undefined, { signal: loaded.signal }).then(() => {
    throw unreachable(
      `cannot load ${path}: it is not loaded after ${timeoutMs / 1000} s\n` +
        "If it waits for its storage at the top level, look whether the storage answers",
    );
  });
  try {
    return await Promise.race([loading, late]);
  } finally {
    loaded.abort();
  }
}
