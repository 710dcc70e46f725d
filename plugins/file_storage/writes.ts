/** The statements of writes. They run in the transaction of a commit. */
import type { WriteResult } from "../../storage.ts";
import type { Statements } from "./database.ts";

/** A put of one entry, or a deletion. */
export interface EntryWrite {
  /** The encoded key. */
  readonly bytes: Uint8Array;
  /** The value. Absent: the write deletes. */
  readonly json?: string | undefined;
  readonly ifVersion: string | null | undefined;
  readonly expiresAt?: number | undefined;
}

/**
 * Puts or deletes an entry if the condition holds. Returns the new version, `null` for a deletion, and `undefined` if
 * the condition does not hold.
 */
export function writeEntry(statements: Statements, operation: EntryWrite, now: number): string | null | undefined {
  const { bytes, json, ifVersion, expiresAt = null } = operation;
  if (json === undefined) {
    if (typeof ifVersion === "string") {
      return statements.deleteVersion.run(bytes, ifVersion, now).changes > 0 ? null : undefined;
    }
    statements.delete.run(bytes);
    return null;
  }
  // Not a counter: other processes write too, and a deleted entry would lose it.
  const version = crypto.randomUUID();
  const { changes } = ifVersion === undefined
    ? statements.put.run(bytes, json, version, expiresAt)
    : ifVersion === null
    ? statements.create.run(bytes, json, version, expiresAt, now)
    : statements.replace.run(json, version, expiresAt, bytes, ifVersion, now);
  return changes > 0 ? version : undefined;
}

/** Applies all operations, or none if a condition does not hold. */
export function writeEntries(statements: Statements, operations: readonly EntryWrite[], now: number): WriteResult {
  const versions: (string | undefined)[] = [];
  statements.savepoint.run();
  for (const [failedAt, operation] of operations.entries()) {
    const version = writeEntry(statements, operation, now);
    if (version === undefined) {
      statements.undo.run();
      statements.release.run();
      return { ok: false, failedAt };
    }
    versions.push(version ?? undefined);
  }
  statements.release.run();
  return { ok: true, versions };
}
