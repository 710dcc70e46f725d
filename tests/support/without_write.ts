import type { Storage } from "@b24/onappupdate";

/** Returns the storage without `write`, so that a test that wraps `put` and `delete` sees each operation of an ordered write. */
export function withoutWrite({ write: _, ...storage }: Storage): Storage {
  return storage;
}
