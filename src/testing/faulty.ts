/** A storage that fails as storages do: for tests of what is built on one. */
import type { Storage } from "../../mod.ts";
import { StorageError } from "../../errors.ts";
import { encodeValue, type Entry, type Key, type ListOptions } from "../../storage.ts";

/** What goes wrong, read at every call: change it while a test runs. Shares are from 0, never, to 1, always. */
export interface Faults {
  /** Share of calls that fail without having done anything; a listing fails on its way, too. */
  unavailable?: number;
  /** Share of writes that are done and of which the answer is lost: the call fails all the same. */
  lostReply?: number;
  /** So many of the next writes are done, and their answers lost; counts down. */
  loseReplies?: number;
  /** Share of `put`s that are refused for want of room. */
  full?: number;
  /** How long each call takes, in milliseconds, or from and to how long. */
  delayMs?: number | readonly [least: number, most: number];
}

/**
 * `storage`, with `faults` injected. The same `seed`, an integer, and the same calls give the same faults. What fails
 * rejects with a `StorageError` that says "injected"; nothing is retried and nothing is remembered.
 *
 * @throws {TypeError} when `seed` is no integer
 *
 * @example
 * ```ts
 * import { memoryStorage } from "@b24/onappupdate";
 * import { type Faults, faultyStorage } from "@b24/onappupdate/testing";
 * import assert from "node:assert/strict";
 *
 * const faults: Faults = { loseReplies: 1 };
 * const storage = faultyStorage(memoryStorage(), faults, 1);
 * await assert.rejects(storage.put(["key"], "written"), { code: "storage" });
 * assert.equal((await storage.get(["key"]))?.value, "written");
 *
 * faults.unavailable = 1;
 * await assert.rejects(storage.get(["key"]), { code: "storage" });
 * ```
 */
export function faultyStorage(storage: Storage, faults: Faults, seed: number): Storage {
  if (!Number.isInteger(seed)) throw new TypeError(`cannot make faults of seed ${seed}, wanted an integer`);
  const chance = randomOf(seed);
  // One number for each question, asked or not: a fault that is switched on does not move the others.
  const happens = (share = 0): boolean => chance() < share;

  function fail(what: string, how: string): never {
    throw new StorageError(`cannot ${what} ${storage.name}: ${how} (injected)`);
  }

  async function before(what: string, signal: AbortSignal | undefined): Promise<void> {
    const isDown = happens(faults.unavailable);
    const ms = delayOf(faults.delayMs, chance());
    if (ms > 0) await pause(ms, signal);
    signal?.throwIfAborted();
    if (isDown) fail(what, "it is not available");
  }

  async function write<R>(what: string, signal: AbortSignal | undefined, run: () => Promise<R>): Promise<R> {
    await before(what, signal);
    const isLost = happens(faults.lostReply) || (faults.loseReplies ?? 0) > 0;
    const result = await run();
    if (!isLost) return result;
    if ((faults.loseReplies ?? 0) > 0) faults.loseReplies!--;
    return fail(what, "the answer to it was lost");
  }

  return {
    ...storage,
    get: async <T>(key: Key, options?: { readonly signal?: AbortSignal }) => {
      await before("get from", options?.signal);
      return await storage.get<T>(key, options);
    },
    put: async (key, value, options) => {
      // Before the first wait: what the caller changes afterwards must not be written.
      const copy = [...key] as unknown as Key;
      const text = encodeValue(key, value);
      return await write("put into", options?.signal, () => {
        if (happens(faults.full)) fail("put into", "it is full");
        return storage.put(copy, JSON.parse(text), options);
      });
    },
    delete: (key, options) => write("delete from", options?.signal, () => storage.delete(key, options)),
    list: async function* <T>(prefix: readonly string[], options?: ListOptions): AsyncGenerator<Entry<T>> {
      await before("list", options?.signal);
      for await (const entry of storage.list<T>(prefix, options)) {
        if (happens(faults.unavailable)) fail("list", "it is not available");
        yield entry;
      }
    },
  };
}

function delayOf(delay: Faults["delayMs"], chance: number): number {
  if (delay === undefined || typeof delay === "number") return delay ?? 0;
  const [least, most] = delay;
  return least + (most - least) * chance;
}

function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = (): void => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, ms);
    if (signal?.aborted) stop();
    else signal?.addEventListener("abort", stop, { once: true });
  });
}

/** Numbers from 0 up to 1, always the same for a seed. */
function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
