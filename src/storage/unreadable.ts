/** Entries that this process cannot read: newer code wrote them, or it does not have their encryption key. */
import { FormatError, StorageError } from "../errors.ts";

/** Returns whether an error is about a single entry that cannot be read, so that others may be. */
export function isUnreadable(error: unknown): boolean {
  return error instanceof FormatError || (error instanceof StorageError && error.unreadableKey !== undefined);
}
