/** Copies all entries from one storage to another. */
import { checkOptions, option, type OptionRules } from "../check_options.ts";
import { defined } from "../defined.ts";
import { CopyError, type CopyProblem } from "../errors.ts";
import { compareKeys } from "./key.ts";
import { storageRule } from "./rule.ts";
import type { Entry, Key, ListOptions, Storage } from "./storage.ts";
import { encodeValue, isSameJson } from "./value.ts";

/** Options of {@linkcode copyStorage}. */
export interface CopyOptions {
  /**
   * Whether to overwrite entries of the target that differ from the source.
   *
   * @default false
   */
  readonly overwrite?: boolean;
  /** Called after each batch of entries. An error that it throws stops the copy. */
  readonly progress?: (progress: CopyProgress) => void;
  /** Stops the copy and rejects with the signal's reason. Entries that are already written stay. */
  readonly signal?: AbortSignal;
  /**
   * Returns the time in milliseconds since 1970. The remaining TTL of an entry is computed by it.
   *
   * @default Date.now
   */
  readonly clock?: () => number;
}

const OPTION_RULES: OptionRules<CopyOptions> = {
  overwrite: option.flag(),
  progress: option.function(),
  signal: option.signal(),
  clock: option.function(),
};

/** Progress of {@linkcode copyStorage}. */
export interface CopyProgress {
  /** All entries are first copied, then compared. */
  readonly phase: "copying" | "verifying";
  /** Number of entries of the source that this phase has processed. */
  readonly done: number;
  /** Key of the last of them. */
  readonly key: Key;
}

/** Result of {@linkcode copyStorage}, in numbers of entries. */
export interface CopyReport {
  /** Entries that this call wrote. */
  readonly copied: number;
  /** Entries that the target already had, as in the source. */
  readonly same: number;
  /** Entries that only the target has. They are left alone. */
  readonly extra: number;
}

/**
 * Copies every entry of `from` that has not expired to `to`, with its remaining TTL, and then compares both storages. When
 * the promise resolves, `to` contains all of `from`.
 *
 * Stop everything that writes to either storage first. The comparison finds entries that changed meanwhile and reports
 * them as a `CopyError`. Entries that the target already has are not written again, so a call that was interrupted is
 * resumed by calling again. An entry of `to` that differs is only overwritten with `overwrite: true`. Entries that only
 * `to` has are left alone and counted. Entries that expire within a minute may be left out.
 *
 * Either storage may be wrapped: copying from a plain storage to an `encrypted()` one encrypts everything.
 *
 * @throws {CopyError} if `to` lacks entries of `from` at the end: they differ and `overwrite` is not set, are too large for
 * `to`, or changed meanwhile. All other entries are copied.
 * @throws {StorageError} if one of the storages fails
 * @throws {TypeError} if `from` or `to` is not a storage, or an option is unknown or invalid
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
  checkOptions("cannot copy", { from, to }, { from: option.required(storageRule), to: option.required(storageRule) });
  checkOptions("cannot copy", options, OPTION_RULES);
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
    if (target !== undefined && isSame(source, target)) return void same++;
    if (target !== undefined && !overwrite || !fits(source)) return;
    const { key, value, expiresAt } = source;
    const ttlMs = expiresAt === undefined ? undefined : expiresAt - clock();
    if (ttlMs !== undefined && ttlMs <= 0) return;
    const { ok } = await to.put(key, value, { ifVersion: target?.version ?? null, ...defined({ ttlMs, signal }) });
    if (ok) copied++;
    // Another writer was faster. If its entry differs, the comparison finds it.
    else same++;
  }

  function problemOf(source: Entry<unknown>, target: Pair["target"]): CopyProblem["problem"] | undefined {
    if (target !== undefined && isSame(source, target)) return undefined;
    if (!fits(source)) return "too large";
    if (target !== undefined) return "different";
    return (source.expiresAt ?? Infinity) <= clock() + EXPIRY_TOLERANCE_MS ? undefined : "missing";
  }

  for await (const batch of batches(from, to, "copying", options)) {
    // Await all of them even if one fails, so that nothing is written after this function has rejected.
    for (const result of await Promise.allSettled(batch.map(write))) {
      if (result.status === "rejected") throw result.reason;
    }
  }
  const problems: CopyProblem[] = [];
  for await (const batch of batches(from, to, "verifying", options)) {
    for (const { key, source, target } of batch) {
      const problem = source === undefined ? void extra++ : problemOf(source, target);
      if (problem !== undefined) problems.push({ key, problem });
    }
  }
  if (problems.length > 0) throw new CopyError(from.name, to.name, problems);
  return { copied, same, extra };
}

/** Number of entries that are written concurrently: a storage may share the cost of a write among them. */
const BATCH = 64;

/** Maximum difference of two expiry times that count as the same: a write computes the expiry from the remaining TTL. */
const EXPIRY_TOLERANCE_MS = 60_000;

/** The entries of both storages under one key. At least one of them exists. */
interface Pair {
  readonly key: Key;
  readonly source: Entry<unknown> | undefined;
  readonly target: Entry<unknown> | undefined;
}

/** Yields the pairs in batches, and reports the progress after each. */
async function* batches(
  from: Storage,
  to: Storage,
  phase: CopyProgress["phase"],
  { progress, signal }: CopyOptions,
): AsyncGenerator<readonly Pair[]> {
  let batch: Pair[] = [];
  let done = 0;
  let last: Key | undefined;
  const report = (): void => {
    if (last !== undefined) progress?.({ phase, done, key: last });
  };
  for await (const pair of pairs(from, to, defined({ signal }))) {
    batch.push(pair);
    if (pair.source !== undefined) [done, last] = [done + 1, pair.key];
    if (batch.length < BATCH) continue;
    yield batch;
    report();
    batch = [];
  }
  if (batch.length === 0) return;
  yield batch;
  report();
}

/** Yields the pairs in key order. Both storages list in this order, so one pass over each is enough. */
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

function isSame(a: Entry<unknown>, b: Entry<unknown>): boolean {
  const [expiresA, expiresB] = [a.expiresAt ?? Infinity, b.expiresAt ?? Infinity];
  const expireTogether = expiresA === expiresB || Math.abs(expiresA - expiresB) <= EXPIRY_TOLERANCE_MS;
  return expireTogether && isSameJson(a.value, b.value);
}
