/** Entries that this process cannot read: newer code wrote them, or it does not have their encryption key. */
import { FormatError, StorageError } from "../errors.ts";
import type { Key, Storage } from "./storage.ts";

/** Returns whether an error is about a single entry that cannot be read, so that others may be. */
export function isUnreadable(error: unknown): boolean {
  return error instanceof FormatError || (error instanceof StorageError && error.unreadableKey !== undefined);
}

/** Returns whether there is an entry, whether or not it can be read. */
export async function isStored(storage: Storage, key: Key): Promise<boolean> {
  try {
    return await storage.get(key) !== null;
  } catch (error) {
    if (isUnreadable(error)) return true;
    throw error;
  }
}
