/** Whether the path of a storage still leads to the files that it has open. */
import { statSync } from "node:fs";
import { StorageError } from "../../errors.ts";

/** Suffixes of the files that hold what is written: SQLite keeps recent writes in the second one. */
const SUFFIXES = ["", "-wal"] as const;

/**
 * Returns a function that checks that the files are still those that were open when it was first called after they were
 * created. SQLite itself goes on writing to files that nobody will find again.
 *
 * @throws {StorageError} if a file was removed or replaced; also later, unless it is put back
 */
export function createFileCheck(file: string): () => void {
  const opened = new Map<string, string>();
  return () => {
    for (const suffix of SUFFIXES) {
      const found = identityOf(`${file}${suffix}`);
      const known = opened.get(suffix);
      if (known === undefined && found !== undefined) opened.set(suffix, found);
      if (known === undefined || found === known) continue;
      const change = found === undefined ? "removed" : "replaced";
      throw new StorageError(
        `${file}${suffix} was ${change} while it was open; stop all processes that use it, put the right file in place, ` +
          "and start them again",
      );
    }
  };
}

/** Returns the device and inode of a file; `undefined` if it does not exist. */
function identityOf(path: string): string | undefined {
  const stat = statSync(path, { bigint: true, throwIfNoEntry: false });
  return stat && `${stat.dev} ${stat.ino}`;
}
