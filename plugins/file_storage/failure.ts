/** Errors of SQLite and the file system. */
import { FormatError, StorageError } from "../../errors.ts";

/**
 * Returns the result of `run`.
 *
 * @throws {StorageError} if `run` throws. The message starts with `cannot` and `action`
 */
export function attempt<R>(action: string, run: () => R): R {
  try {
    return run();
  } catch (error) {
    throw toStorageError(action, error);
  }
}

/** Returns the error for callers. An error that is already one of the storage is returned unchanged. */
export function toStorageError(action: string, error: unknown): Error {
  if (error instanceof StorageError || error instanceof FormatError) return error;
  const message = error instanceof Error ? error.message : String(error);
  const wanted = /unable to open|readonly/.test(message) ? ", wanted a writable file in a writable folder" : "";
  return new StorageError(`cannot ${action}: ${message}${wanted}`, { cause: error });
}
