/** What a clause of the storage battery is, and what its cases are written with. */
import type { Entry, Key, ListOptions, Storage } from "../../storage/storage.ts";
import type { Remote } from "./worker.ts";

/** What a clause is tried on. */
export interface Trial {
  readonly storage: Storage;
  /** The time by the clock of the storage, in milliseconds since 1970; near it when that clock is not ours. */
  readonly now: () => number;
  /** How far `now` may be from the clock of the storage, in milliseconds. */
  readonly toleranceMs: number;
  /** Lets this many milliseconds pass for the storage. */
  readonly elapse: (ms: number) => Promise<void>;
  /** Max time (ms) for the storage to notice a fault of its backend, and the end of one. */
  readonly faultTimeoutMs: number;
  /** Starts a process that opens the entries of `storage`; there for clauses that need it. */
  readonly start?: () => Remote;
  /** There for clauses that need one of its members. */
  readonly backend?: StorageBackend;
}

/**
 * What can be done to the backend of a storage. Each member adds the clauses that need it. After each test `start`, `delay`
 * with 0 and `drain` are called, also when all is well.
 */
export interface StorageBackend {
  /** Goes away: what is called does not reach it. Wants `start` beside it. */
  readonly stop?: () => Promise<void>;
  /** Comes back, with its entries. */
  readonly start?: () => Promise<void>;
  /** Takes this many milliseconds more for every call from now on. */
  readonly delay?: (ms: number) => Promise<void>;
  /** Does the next write, and its answer does not arrive. */
  readonly loseReply?: () => Promise<void>;
  /** Has no room for 20 KB more. Wants `drain` beside it. */
  readonly fill?: () => Promise<void>;
  /** Has room again. */
  readonly drain?: () => Promise<void>;
}

/** One sentence of the contract and how to find out whether it holds. */
export interface Clause {
  readonly number: string;
  readonly says: string;
  /** What of the options it cannot be tried without; default nothing. */
  readonly needs?: "worker" | keyof StorageBackend;
  readonly holds: (trial: Trial) => Promise<void>;
}

// The core runs where `node:assert` may not be, so the battery has assertions of its own.

/** Fails with `message` unless `condition` holds. */
export function check(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(message);
}

/** Fails unless `saw` and `wanted` are the same JSON value. `what` names the thing that was looked at. */
export function same(saw: unknown, wanted: unknown, what: string): void {
  check(equal(saw, wanted), `${what}: saw ${show(saw)}, wanted ${show(wanted)}`);
}

/** Fails unless `run` throws or rejects with an error that `wanted` accepts. */
export async function refused(
  run: () => unknown,
  wanted: (error: unknown) => boolean,
  what: string,
): Promise<void> {
  let saw: unknown;
  try {
    saw = await run();
  } catch (error) {
    check(wanted(error), `${what}: the wrong error: ${String(error)}`);
    return;
  }
  check(false, `${what}: no error, but ${show(saw)}`);
}

function equal(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (!isObject(a) || !isObject(b) || Array.isArray(a) !== Array.isArray(b)) return false;
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length &&
    keys.every((key) => Object.hasOwn(b, key) && equal(a[key], b[key]));
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

function show(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 300 ? `${text.slice(0, 300)}…` : text;
}

/** Writes whatever is there, and gives the version. */
export async function write(storage: Storage, key: Key, value: unknown, ttlMs?: number): Promise<string> {
  const result = await storage.put(key, value, ttlMs === undefined ? {} : { ttlMs });
  check(result.ok, `put of ${JSON.stringify(key)} without ifVersion: saw a refusal`);
  return result.version;
}

/** All that `list` gives. */
export async function listed<T>(
  storage: Storage,
  prefix: readonly string[],
  options?: ListOptions,
): Promise<Entry<T>[]> {
  const entries: Entry<T>[] = [];
  for await (const entry of storage.list<T>(prefix, options)) entries.push(entry);
  return entries;
}
