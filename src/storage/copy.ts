/** Moving from one storage to another. */
import { CopyError, type CopyProblem } from "../errors.ts";
import { compareKeys } from "./key.ts";
import type { Entry, Key, ListOptions, Storage } from "./storage.ts";
import { encodeValue } from "./value.ts";

/** Options of {@linkcode copyStorage}. */
export interface CopyOptions {
  /** Writes over entries of the target that differ; default false. */
  readonly overwrite?: boolean;
  /** Called now and then. What it throws ends the copying. */
  readonly progress?: (progress: CopyProgress) => void;
  /** Gives up. What is written by then stays. */
  readonly signal?: AbortSignal;
  /** The time in milliseconds since 1970 by which the ends of entries are measured; default `Date.now`. */
  readonly clock?: () => number;
}

/** How far {@linkcode copyStorage} is. */
export interface CopyProgress {
  /** Everything is gone through twice: written, then compared. */
  readonly phase: "copying" | "verifying";
  /** Entries of the source that were gone through in this phase. */
  readonly done: number;
  /** The last of them. */
  readonly key: Key;
}

/** What {@linkcode copyStorage} did. */
export interface CopyReport {
  /** Entries that were written and are there now. */
  readonly copied: number;
  /** Entries that were there already, as in the source. */
  readonly same: number;
  /** Entries that only the target has. They are left alone. */
  readonly extra: number;
}

/**
 * Copies every entry of `from` that has not expired to `to`, with what is left of its life, and compares both storages
 * afterwards. When it resolves, all of `from` is in `to`.
 *
 * Stop what writes to either first. What changes meanwhile is found by the comparison and is a `CopyError`: repeat the
 * call, with `overwrite: true` if `from` is right. What is there already as it should be is not written again, so a
 * call that was interrupted is resumed by repeating it. An entry of `to` that differs is written over only with
 * `overwrite: true`; entries that only `to` has stay and are counted. Entries that end within a minute may be left out.
 *
 * `from` and `to` may be wrapped: from a plain storage to an `encrypted()` one is how a store becomes encrypted whole.
 *
 * @throws {CopyError} when `to` does not have all of `from` at the end: values that are there and differ, that are too
 * large for `to`, or that changed meanwhile; the rest is copied
 * @throws {StorageError} when one of them fails
 *
 * @example
 * ```ts
 * import { memoryStorage } from "@b24/onappupdate";
 * import { copyStorage } from "@b24/onappupdate/storage";
 * import assert from "node:assert/strict";
 *
 * const [from, to] = [memoryStorage(), memoryStorage()];
 * await from.put(["portal", "a223"], { version: "2.0.0" });
 * await from.put(["receipt", "a223", "1"], { format: 1 }, { ttlMs: 86_400_000 });
 *
 * assert.deepEqual(await copyStorage(from, to), { copied: 2, same: 0, extra: 0 });
 * assert.deepEqual(await copyStorage(from, to), { copied: 0, same: 2, extra: 0 });
 * assert.deepEqual((await to.get(["portal", "a223"]))?.value, { version: "2.0.0" });
 * ```
 */
export async function copyStorage(from: Storage, to: Storage, options: CopyOptions = {}): Promise<CopyReport> {
  const { overwrite = false, signal, clock = Date.now } = options;
  const { maxValueBytes } = to.capabilities;
  let copied = 0;
  let same = 0;
  let extra = 0;

  function fits({ key, value }: Entry<unknown>): boolean {
    return maxValueBytes === undefined || new TextEncoder().encode(encodeValue(key, value)).length <= maxValueBytes;
  }

  async function write({ source, target }: Pair): Promise<void> {
    if (source === undefined) return;
    if (target !== undefined && alike(source, target)) return void same++;
    if (target !== undefined && !overwrite || !fits(source)) return;
    const { key, value, expiresAt } = source;
    const ttlMs = expiresAt === undefined ? undefined : expiresAt - clock();
    if (ttlMs !== undefined && ttlMs <= 0) return;
    const { ok } = await to.put(key, value, {
      ifVersion: target?.version ?? null,
      ...(ttlMs === undefined ? {} : { ttlMs }),
      ...(signal === undefined ? {} : { signal }),
    });
    if (ok) copied++;
    // Somebody else has written it meanwhile. Unless it is the same, the comparison finds it.
    else same++;
  }

  function problemOf({ source, target }: Pair): CopyProblem["problem"] | undefined {
    if (source === undefined) return void extra++;
    if (target !== undefined && alike(source, target)) return undefined;
    if (!fits(source)) return "too large";
    if (target !== undefined) return "different";
    return (source.expiresAt ?? Infinity) <= clock() + END_TOLERANCE_MS ? undefined : "missing";
  }

  for await (const batch of batches(from, to, "copying", options)) {
    // When one fails, the others are waited for: nothing is written any more once this has rejected.
    for (const result of await Promise.allSettled(batch.map(write))) {
      if (result.status === "rejected") throw result.reason;
    }
  }
  const problems: CopyProblem[] = [];
  for await (const batch of batches(from, to, "verifying", options)) {
    for (const pair of batch) {
      const problem = problemOf(pair);
      if (problem !== undefined) problems.push({ key: pair.key, problem });
    }
  }
  if (problems.length > 0) throw new CopyError(from.name, to.name, problems);
  return { copied, same, extra };
}

/** How many entries are written at a time: a storage may share the cost of a write among them. */
const BATCH = 64;

/** How far two ends may be apart: what is left of a life is measured anew when it is written. */
const END_TOLERANCE_MS = 60_000;

/** What the storages have under one key; at least one of them has something. */
interface Pair {
  readonly key: Key;
  readonly source: Entry<unknown> | undefined;
  readonly target: Entry<unknown> | undefined;
}

async function* batches(
  from: Storage,
  to: Storage,
  phase: CopyProgress["phase"],
  { progress, signal }: CopyOptions,
): AsyncGenerator<readonly Pair[]> {
  let batch: Pair[] = [];
  let done = 0;
  let last: Key | undefined;
  const told = (): void => {
    if (last !== undefined) progress?.({ phase, done, key: last });
  };
  for await (const pair of pairs(from, to, signal === undefined ? {} : { signal })) {
    batch.push(pair);
    if (pair.source !== undefined) [done, last] = [done + 1, pair.key];
    if (batch.length < BATCH) continue;
    yield batch;
    told();
    batch = [];
  }
  if (batch.length === 0) return;
  yield batch;
  told();
}

/** Both are listed in the same order, so they can be gone through side by side. */
async function* pairs(from: Storage, to: Storage, options: ListOptions): AsyncGenerator<Pair> {
  const targets = to.list<unknown>([], options)[Symbol.asyncIterator]();
  try {
    let next = await targets.next();
    for await (const source of from.list<unknown>([], options)) {
      for (; !next.done && compareKeys(next.value.key, source.key) < 0; next = await targets.next()) {
        yield { key: next.value.key, source: undefined, target: next.value };
      }
      const found = !next.done && compareKeys(next.value.key, source.key) === 0;
      yield { key: source.key, source, target: found ? next.value : undefined };
      if (found) next = await targets.next();
    }
    for (; !next.done; next = await targets.next()) {
      yield { key: next.value.key, source: undefined, target: next.value };
    }
  } finally {
    await targets.return?.();
  }
}

function alike(a: Entry<unknown>, b: Entry<unknown>): boolean {
  const [end, other] = [a.expiresAt ?? Infinity, b.expiresAt ?? Infinity];
  return (end === other || Math.abs(end - other) <= END_TOLERANCE_MS) && equal(a.value, b.value);
}

/** Whether they are the same JSON, whatever the order of members: some backends have their own. */
function equal(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const members = Object.entries(a);
  return members.length === Object.keys(b).length &&
    members.every(([name, value]) => Object.hasOwn(b, name) && equal(value, (b as Record<string, unknown>)[name]));
}
