/** State that the methods of a storage share. */
import type { RunStatements } from "./runner.ts";
import type { Statements } from "./statements.ts";

/** State that the methods of one storage share. */
export interface Context {
  readonly run: RunStatements;
  readonly statements: Statements;
  /** The clock by which entries expire in tests. Absent: they expire by the server's clock. */
  readonly clock: (() => number) | undefined;
  /** Number of operations since expired entries were deleted. */
  writesSinceSweep: number;
}

/** Returns the parameter of a statement that has the time in tests. */
export function timeParameter({ clock }: Context): string | null {
  return clock === undefined ? null : String(clock());
}
