/** State that the methods of a storage share. */
import { StorageError } from "../../errors.ts";
import type { Database } from "./database.ts";
import { attempt } from "./failure.ts";

/** State that the methods of one storage share. */
export interface Context {
  /** Absolute path of the file. */
  readonly file: string;
  readonly database: Database;
  /** Throws a {@linkcode StorageError} if the file was removed or replaced since it was opened. */
  readonly checkFile: () => void;
  readonly clock: () => number;
  closed: boolean;
}

/**
 * Checks that the storage is open.
 *
 * @throws {StorageError} if it is closed
 */
export function assertOpen({ closed }: Context, action: string): void {
  if (closed) throw new StorageError(`cannot ${action}: this storage is closed`);
}

/**
 * Returns the result of a read.
 *
 * @throws {StorageError} if the storage is closed, or the read fails
 */
export function read<R>(context: Context, action: string, run: () => R): R {
  assertOpen(context, action);
  return attempt(action, run);
}
