import type { Storage } from "@b24/onappupdate";
import { StorageError } from "@b24/onappupdate/errors";
import { withoutWrite } from "./without_write.ts";

/** A storage without `write` that fails all operations after a number of them, as if the process had crashed. */
export interface CrashingStorage {
  readonly storage: Storage;
  /** Operations may go on until there were `count` more. */
  readonly crashAfter: (count: number) => void;
  /** Whether an operation has failed. */
  readonly hasCrashed: () => boolean;
}

/** Returns a storage that fails after `count` puts and deletes. It closes without closing `storage`. */
export function crashingStorage(storage: Storage, count = Infinity): CrashingStorage {
  let left = count;
  let hasCrashed = false;
  const run = async <T>(operation: () => Promise<T>): Promise<T> => {
    if (left-- > 0) return await operation();
    hasCrashed = true;
    throw new StorageError("crash");
  };
  return {
    storage: {
      ...withoutWrite(storage),
      put: (...args) => run(() => storage.put(...args)),
      delete: (...args) => run(() => storage.delete(...args)),
      close: () => Promise.resolve(),
    },
    crashAfter: (count) => void (left = count),
    hasCrashed: () => hasCrashed,
  };
}
