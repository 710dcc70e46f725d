/** A requirement of the storage contract, and the functions that its tests are written with. */
import { option, type OptionRules } from "../../check_options.ts";
import { StorageError } from "../../errors.ts";
import type { Entry, Key, ListOptions, Storage } from "../../storage/storage.ts";
import { isSameJson } from "../../storage/value.ts";
import { writeInOrder } from "../../storage/write.ts";
import type { WorkerProcess } from "./worker.ts";

/** A requirement of the storage contract and its test. */
export interface Requirement {
  /** Section and number, such as `3.2`. */
  readonly number: string;
  /** The requirement as `docs/storage-contract.md` states it. */
  readonly text: string;
  /** The option, or the member of `backend`, that the test needs. Without it the requirement is not tested. */
  readonly needs?: "worker" | keyof StorageBackend;
  /** Rejects if the storage does not meet the requirement. */
  readonly verify: (context: TestContext) => Promise<void>;
}

/** The storage under test and its environment. */
export interface TestContext {
  readonly storage: Storage;
  /** Returns the time of the storage's clock in milliseconds since 1970, accurate to `toleranceMs`. */
  readonly now: () => number;
  /** Max difference in milliseconds between `now` and the storage's clock. */
  readonly toleranceMs: number;
  /** Lets `ms` milliseconds pass on the storage's clock. */
  readonly elapse: (ms: number) => Promise<void>;
  /** Max time (ms) for the storage to notice a fault of its backend, and to recover from one. */
  readonly faultTimeoutMs: number;
  /** Starts a process that opens the entries of `storage`. Present if the requirement needs a worker. */
  readonly start?: () => WorkerProcess;
  /** Injects faults. Present if the requirement needs a fault. */
  readonly backend?: StorageBackend;
}

/**
 * Injects faults into the backend of a storage. Each member adds the requirements that need it. After each test, passed or
 * failed, `start`, `delay(0)` and `drain` are called to clear the faults.
 */
export interface StorageBackend {
  /** Stops the backend: calls no longer reach it. Needs `start`. */
  readonly stop?: () => Promise<void>;
  /** Starts the backend again, with its entries. */
  readonly start?: () => Promise<void>;
  /** Delays every call from now on by this many milliseconds. */
  readonly delay?: (ms: number) => Promise<void>;
  /** Loses the reply to the next write, which is done. */
  readonly loseReply?: () => Promise<void>;
  /** Fills the backend, so that it has no space for another 20 KB. Needs `drain`. */
  readonly fill?: () => Promise<void>;
  /** Makes space again. */
  readonly drain?: () => Promise<void>;
}

/** The rules of a {@linkcode StorageBackend}. */
export const BACKEND_RULES: OptionRules<StorageBackend> = {
  stop: option.function(),
  start: option.function(),
  delay: option.function(),
  loseReply: option.function(),
  fill: option.function(),
  drain: option.function(),
};

// The suite has its own assertions, because `node:assert` is not available wherever the core runs.

/** Fails with `message` unless `condition` holds. */
export function check(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(message);
}

/** Fails unless `saw` and `wanted` are the same JSON. `subject` names what was compared. */
export function same(saw: unknown, wanted: unknown, subject: string): void {
  check(isSameJson(saw, wanted), `${subject}: saw ${show(saw)}, wanted ${show(wanted)}`);
}

/** Fails unless `run` throws, or rejects with, an error that `isWanted` accepts. */
export async function rejects(
  run: () => unknown,
  isWanted: (error: unknown) => boolean,
  subject: string,
): Promise<void> {
  let saw: unknown;
  try {
    saw = await run();
  } catch (error) {
    check(isWanted(error), `${subject}: saw the wrong error: ${String(error)}`);
    return;
  }
  check(false, `${subject}: saw ${show(saw)}, wanted an error`);
}

function show(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 300 ? `${text.slice(0, 300)}…` : text;
}

export function isStorageError(error: unknown): boolean {
  return error instanceof StorageError;
}

/** Fails if a write is refused. Returns whether it was ok, rather than an error. */
export async function isOk(run: () => Promise<{ readonly ok: boolean }>, subject: string): Promise<boolean> {
  try {
    same((await run()).ok, true, subject);
    return true;
  } catch (error) {
    if (!isStorageError(error)) throw error;
    return false;
  }
}

/** Awaits `run`. A `StorageError` is not a failure. */
export async function ignoreStorageError(run: () => Promise<unknown>): Promise<void> {
  try {
    await run();
  } catch (error) {
    if (!isStorageError(error)) throw error;
  }
}

/** Writes without a condition, and returns the version. */
export async function write(storage: Storage, key: Key, value: unknown, ttlMs?: number): Promise<string> {
  const result = await storage.put(key, value, ttlMs === undefined ? {} : { ttlMs });
  check(result.ok, `put of ${JSON.stringify(key)} without ifVersion: saw a refusal`);
  return result.version;
}

/** Returns all entries that `list` yields. */
export async function listed<T>(
  storage: Storage,
  prefix: readonly string[],
  options?: ListOptions,
): Promise<Entry<T>[]> {
  const entries: Entry<T>[] = [];
  for await (const entry of storage.list<T>(prefix, options)) entries.push(entry);
  return entries;
}

/** A way to do an ordered write. */
export interface Writer {
  /** `write`, or `put and delete`. Also the first part of the keys that its test uses. */
  readonly name: string;
  readonly write: NonNullable<Storage["write"]>;
}

/** Returns the ways to do an ordered write on a storage: its own `write`, if it has one, and the fallback. */
export function writersOf(storage: Storage): readonly Writer[] {
  const { write, ...others } = storage;
  const fallback: Writer["write"] = (operations, options) => writeInOrder(others, operations, options);
  return [...(write === undefined ? [] : [{ name: "write", write }]), { name: "put and delete", write: fallback }];
}

/** Fails unless the operations that were applied are the first ones. */
export function checkPrefix(applied: readonly boolean[], subject: string): void {
  const count = applied.filter(Boolean).length;
  const isPrefix = applied.slice(0, count).every(Boolean);
  check(isPrefix, `${subject}: saw ${applied.map(Number).join("")} applied, wanted a prefix`);
}
