/**
 * Bring every customer's Bitrix24 portal from the app version it is on to the version it is on now.
 *
 * @module
 */

// Storage
export { memoryStorage } from "./src/storage/memory.ts";
export { compareKeys, decodeKey, encodeKey } from "./src/storage/key.ts";
export type {
  Entry,
  Key,
  ListOptions,
  PutOptions,
  PutResult,
  Storage,
  StorageCapabilities,
} from "./src/storage/storage.ts";

// Secrets and errors
export { Secret } from "./src/secret.ts";
export {
  CannotVerifyError,
  FormatError,
  InputError,
  type InputIssue,
  NotGenuineError,
  OnAppUpdateError,
  StorageError,
  UnknownPortalError,
  UpgradeError,
  VersionError,
} from "./src/errors.ts";
