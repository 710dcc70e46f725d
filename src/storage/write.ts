/** Ordered writes: several operations in one call, on any storage. */
import { checkOptions, option, type OptionRule, type OptionRules } from "../check_options.ts";
import { defined } from "../defined.ts";
import { StorageError } from "../errors.ts";
import { assertKey, encodeKey } from "./key.ts";
import type { Key, Storage, WriteOperation, WriteOptions, WriteResult } from "./storage.ts";
import { encodeValue, expiryOf } from "./value.ts";

const OPTION_RULES: OptionRules<WriteOptions> = { signal: option.signal() };

/** Keys, values and TTLs are checked when they are encoded. */
const anything: OptionRule = () => undefined;

const PUT_RULES: OptionRules<Extract<WriteOperation, { readonly put: Key }>> = {
  put: anything,
  value: anything,
  ifVersion: option.value("a version or null", (version) => typeof version === "string" || version === null),
  ttlMs: anything,
};

const DELETE_RULES: OptionRules<Extract<WriteOperation, { readonly delete: Key }>> = {
  delete: anything,
  ifVersion: option.value("a version", (version) => typeof version === "string"),
};

/**
 * Applies the operations in order and stops at the first whose condition does not hold. Uses `storage.write` if there is
 * one, and `put` and `delete` one by one otherwise.
 *
 * After a crash or a rejection nothing is applied, or a prefix of the operations, or all of them. So put first what the
 * later ones refer to, and let one operation decide: the entry that makes the others count.
 *
 * @throws {TypeError} if an operation is invalid, also by a member that does not exist, two have the same key, or an option is
 * unknown or invalid. Nothing is applied then
 * @throws {StorageError} if the storage fails
 *
 * @example
 * ```ts
 * import { memoryStorage, type Storage } from "@b24/onappupdate";
 * import { writeInOrder } from "@b24/onappupdate/storage";
 * import assert from "node:assert/strict";
 *
 * const storage: Storage = memoryStorage();
 * const created = await storage.put(["order", "1"], { state: "new" });
 * const result = await writeInOrder(storage, [
 *   { put: ["invoice", "7"], value: { order: "1" } },
 *   { put: ["order", "1"], value: { state: "billed" }, ifVersion: created.ok ? created.version : null },
 *   { delete: ["todo", "1"] },
 * ]);
 * assert(result.ok);
 * assert.equal((await storage.get(["order", "1"]))?.version, result.versions[1]);
 *
 * // The second operation fails, so the third is not applied. The first may be.
 * const refused = await writeInOrder(storage, [
 *   { put: ["invoice", "8"], value: { order: "1" } },
 *   { put: ["order", "1"], value: { state: "billed" }, ifVersion: null },
 *   { delete: ["invoice", "7"] },
 * ]);
 * assert.deepEqual(refused, { ok: false, failedAt: 1 });
 * ```
 */
export async function writeInOrder(
  storage: Storage,
  operations: readonly WriteOperation[],
  options: WriteOptions = {},
): Promise<WriteResult> {
  checkOptions("cannot write", options, OPTION_RULES);
  if (storage.write !== undefined) return await storage.write(operations, options);
  const { signal } = options;
  signal?.throwIfAborted();
  const encoded = encodeOperations(operations);
  assertSizes(storage, encoded);
  const versions: (string | undefined)[] = [];
  for (const [i, { key, json, ifVersion, ttlMs }] of encoded.entries()) {
    signal?.throwIfAborted();
    const result: { readonly ok: boolean; readonly version?: string } = json === undefined
      ? await storage.delete(key, defined({ ifVersion: ifVersion ?? undefined, signal }))
      : await storage.put<unknown>(key, JSON.parse(json), defined({ ifVersion, ttlMs, signal }));
    if (!result.ok) return { ok: false, failedAt: i };
    versions.push(result.version);
  }
  return { ok: true, versions };
}

/** An operation, checked and copied. */
export interface EncodedOperation {
  /** The key. */
  readonly key: Key;
  /** The key as {@linkcode encodeKey} encodes it. */
  readonly encodedKey: string;
  /** JSON of the value. Absent: the operation deletes. */
  readonly json?: string;
  /** The condition, as in the operation. */
  readonly ifVersion: string | null | undefined;
  /** Milliseconds until the entry expires. */
  readonly ttlMs: number | undefined;
}

/**
 * Checks and copies the operations of a write. For authors of storages: call it before the first `await` of `write`,
 * because the caller may change them later.
 *
 * @throws {TypeError} if a key, value, `ifVersion` or `ttlMs` is invalid, a member does not exist, or two operations have the
 * same key
 */
export function encodeOperations(operations: readonly WriteOperation[]): readonly EncodedOperation[] {
  const seen = new Set<string>();
  return operations.map((operation) => {
    const key: Key = "put" in operation ? [...operation.put] : [...operation.delete];
    assertKey(key);
    const encodedKey = encodeKey(key);
    if (seen.has(encodedKey)) throw new TypeError(`cannot write ${JSON.stringify(key)} twice in one write`);
    seen.add(encodedKey);
    const action = `cannot write ${JSON.stringify(key)}`;
    const { ifVersion } = operation;
    if (!("put" in operation)) {
      checkOptions(action, operation, DELETE_RULES);
      return { key, encodedKey, ifVersion, ttlMs: undefined };
    }
    checkOptions(action, operation, PUT_RULES);
    const { value, ttlMs } = operation;
    expiryOf(key, 0, ttlMs); // throws for an invalid ttlMs
    return { key, encodedKey, json: encodeValue(key, value), ifVersion, ttlMs };
  });
}

/** Returns the operation that was encoded, with `value` as its value if it is a `put`. */
export function toOperation({ key, json, ifVersion, ttlMs }: EncodedOperation, value: unknown): WriteOperation {
  if (json === undefined) return { delete: key, ...defined({ ifVersion: ifVersion ?? undefined }) };
  return { put: key, value, ...defined({ ifVersion, ttlMs }) };
}

/** The storage would refuse a value that is too large only after it has applied the operations before it. */
function assertSizes(
  { name, capabilities: { maxValueBytes } }: Storage,
  operations: readonly EncodedOperation[],
): void {
  if (maxValueBytes === undefined) return;
  for (const { key, json } of operations) {
    // A character has at most three bytes.
    if (json === undefined || 3 * json.length <= maxValueBytes) continue;
    const bytes = new TextEncoder().encode(json).length;
    if (bytes <= maxValueBytes) continue;
    const sizes = `the value has ${bytes} bytes, wanted at most ${maxValueBytes}`;
    throw new StorageError(`cannot put ${JSON.stringify(key)} into ${name}: ${sizes}`);
  }
}
