/**
 * The storage contract, and functions to write, encrypt and copy storages.
 *
 * @example
 * ```ts
 * import { encodeKey, memoryStorage } from "@b24/onappupdate/storage";
 * import assert from "node:assert/strict";
 *
 * const storage = memoryStorage();
 * await storage.put(["greeting"], "hello");
 * assert.equal((await storage.get<string>(["greeting"]))?.value, "hello");
 * assert.equal(typeof encodeKey(["greeting"]), "string");
 * ```
 *
 * @module
 */

// Contract
export type {
  Entry,
  Key,
  ListOptions,
  PutOptions,
  PutResult,
  Storage,
  StorageCapabilities,
  WriteOperation,
  WriteOptions,
  WriteResult,
} from "./src/storage/storage.ts";

// Keys and values, for adapters
export { assertKey, compareKeys, decodeKey, encodeKey } from "./src/storage/key.ts";
export { decodeValue, encodeValue, expiryOf, isExpired } from "./src/storage/value.ts";

// Lists that one value which cannot be read does not end
export { listEntries, type UnreadableEntry } from "./src/storage/list_keys.ts";

// Ordered writes
export { type EncodedOperation, encodeOperations, writeInOrder } from "./src/storage/write.ts";

// Calls to backends, for adapters
export { type BackendCall, type BackendCaller, createBackendCaller } from "./src/storage/backend_calls.ts";

// Storages
export { memoryStorage, type MemoryStorageOptions } from "./src/storage/memory.ts";
export { encrypted, type EncryptedOptions } from "./src/storage/encrypted.ts";
export { Secret } from "./src/secret.ts";
export { type CopyOptions, type CopyProgress, type CopyReport, copyStorage } from "./src/storage/copy.ts";
