/** Faults of a storage, for tests of code that uses one. */
import type { Storage } from "../../mod.ts";
import { StorageError } from "../../errors.ts";
import {
  encodeOperations,
  encodeValue,
  type Entry,
  type Key,
  type ListOptions,
  type WriteOperation,
  type WriteOptions,
  type WriteResult,
} from "../../storage.ts";
import { delay, systemTime } from "../async/time.ts";
import { checkOptions, option, type OptionRules } from "../check_options.ts";
import { toOperation } from "../storage/write.ts";
import { seeded } from "./seeded.ts";

/**
 * Faults of {@linkcode faultyStorage}. They are read at every call, so a test can change them while it runs. All are off
 * by default. Probabilities are from 0, never, to 1, always.
 */
export interface Faults {
  /** Probability that a call fails and does nothing. A listing can also fail between entries. */
  unavailable?: number;
  /** Probability that the reply to a write is lost: the write is done, and the call fails. */
  lostReply?: number;
  /** Number of next writes whose replies are lost. Counts down. Minimum: 0. */
  loseReplies?: number;
  /**
   * Probability that an ordered write is interrupted: at random none, some or all of its operations are applied, in
   * order, and the call fails. A storage without `write` has no ordered writes.
   */
  interrupted?: number;
  /** Probability that a `put`, or an ordered write with one, is refused because the storage is full. */
  full?: number;
  /** Duration of each call in milliseconds, or a range of random durations. Minimum: 0. */
  delayMs?: number | readonly [min: number, max: number];
}

const probability = option.number({ min: 0, max: 1 });
const duration = option.duration({ min: 0 });

const FAULT_RULES: OptionRules<Faults> = {
  unavailable: probability,
  lostReply: probability,
  loseReplies: option.number({ min: 0, max: Infinity }),
  interrupted: probability,
  full: probability,
  delayMs: (value, path) => {
    if (!Array.isArray(value)) return duration(value, path);
    const isRange = value.length === 2 && value[0] <= value[1];
    return isRange ? option.list("", duration)(value, path) : { path, seen: `[${value}]`, wanted: "[min, max]" };
  },
};

/** The arguments of {@linkcode faultyStorage}. */
interface FaultyArguments {
  readonly storage: Storage;
  readonly faults: Faults;
  readonly seed: number;
}

const ARGUMENT_RULES: OptionRules<FaultyArguments> = {
  storage: option.required(option.value(
    "a storage, such as memoryStorage()",
    (storage) => typeof (Object(storage) as Partial<Storage>).get === "function",
  )),
  faults: option.required(option.object(FAULT_RULES)),
  seed: option.required(option.value("an integer", Number.isInteger)),
};

/**
 * Wraps `storage` and injects `faults`. The same `seed` and the same calls produce the same faults.
 *
 * A call that fails rejects with a `StorageError` whose message ends with `(injected)`. After a lost reply, the entry is
 * written, and the wrapper does not look for it, unlike the built-in storages: the caller has to read. Calls reject with a
 * `TypeError` if a fault has become unknown or invalid.
 *
 * @param seed Any integer.
 *
 * @throws {TypeError} if `storage` is not a storage, a fault is unknown or invalid, or `seed` is not an integer
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
  checkOptions("cannot inject faults", { storage, faults, seed }, ARGUMENT_RULES);
  const random = seeded(seed);
  // Draws a number even if the fault is off, so that enabling one fault does not change when others happen.
  const happens = (probability = 0): boolean => random() < probability;

  function fail(action: string, reason: string): never {
    throw new StorageError(`cannot ${action} ${storage.name}: ${reason} (injected)`);
  }

  async function beforeCall(action: string, signal: AbortSignal | undefined): Promise<void> {
    checkOptions(`cannot ${action} ${storage.name}`, faults, FAULT_RULES);
    const isUnavailable = happens(faults.unavailable);
    const ms = delayOf(faults.delayMs, random());
    if (ms > 0) await delay(systemTime, ms, signal);
    signal?.throwIfAborted();
    if (isUnavailable) fail(action, "it is not available");
  }

  async function write<R>(action: string, signal: AbortSignal | undefined, run: () => Promise<R>): Promise<R> {
    await beforeCall(action, signal);
    const isLost = happens(faults.lostReply) || (faults.loseReplies ?? 0) > 0;
    const result = await run();
    if (!isLost) return result;
    if ((faults.loseReplies ?? 0) > 0) faults.loseReplies!--;
    return fail(action, "the reply was lost");
  }

  async function writeAll(
    apply: NonNullable<Storage["write"]>,
    operations: readonly WriteOperation[],
    options: WriteOptions | undefined,
  ): Promise<WriteResult> {
    const copies = encodeOperations(operations)
      .map((operation) =>
        toOperation(operation, operation.json === undefined ? undefined : JSON.parse(operation.json))
      );
    return await write("write to", options?.signal, async () => {
      if (happens(faults.full) && copies.some((copy) => "put" in copy)) fail("write to", "it is full");
      const [isInterrupted, part] = [happens(faults.interrupted), random()];
      if (!isInterrupted) return await apply(copies, options);
      await apply(copies.slice(0, Math.floor(part * (copies.length + 1))), options);
      return fail("write to", "it was interrupted");
    });
  }

  return {
    ...storage,
    ...(storage.write === undefined ? {} : {
      write: (operations, options) => writeAll(storage.write!, operations, options),
    }),
    get: async <T>(key: Key, options?: { readonly signal?: AbortSignal }) => {
      await beforeCall("get from", options?.signal);
      return await storage.get<T>(key, options);
    },
    put: async (key, value, options) => {
      // Copied before the first wait, because the caller may change them afterwards.
      const keyCopy: Key = [...key];
      const json = encodeValue(key, value);
      return await write("put into", options?.signal, () => {
        if (happens(faults.full)) fail("put into", "it is full");
        return storage.put(keyCopy, JSON.parse(json), options);
      });
    },
    delete: (key, options) => write("delete from", options?.signal, () => storage.delete(key, options)),
    list: async function* <T>(prefix: readonly string[], options?: ListOptions): AsyncGenerator<Entry<T>> {
      await beforeCall("list", options?.signal);
      for await (const entry of storage.list<T>(prefix, options)) {
        if (happens(faults.unavailable)) fail("list", "it is not available");
        yield entry;
      }
    },
  };
}

function delayOf(delayMs: Faults["delayMs"], random: number): number {
  if (delayMs === undefined || typeof delayMs === "number") return delayMs ?? 0;
  const [min, max] = delayMs;
  return min + (max - min) * random;
}
