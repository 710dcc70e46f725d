/** Connections of the user that never close. */
import { setTimeout } from "node:timers/promises";

/** Time (ms) that closing may take: clients of databases that do not answer may wait for ever. */
const CLOSE_TIMEOUT_MS = 5000;

/** Resolves as `close()` does, at the latest after `timeoutMs`. */
export async function closeInTime(close: () => Promise<void>, timeoutMs: number = CLOSE_TIMEOUT_MS): Promise<void> {
  const closed = new AbortController();
  // The timer also keeps the process alive: without one, it would end here, and without a word.
  const late = setTimeout(timeoutMs, undefined, { signal: closed.signal }).catch(() => {});
  try {
    await Promise.race([close(), late]);
  } finally {
    closed.abort();
  }
}
