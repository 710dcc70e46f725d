/** State that the methods of a storage share. */
import type { Keyspace } from "./keyspace.ts";
import type { RunScript } from "./script_runner.ts";

/** State that the methods of one storage share. */
export interface Context {
  readonly runScript: RunScript;
  readonly keyspace: Keyspace;
  readonly timeoutMs: number;
  /** Whether the client sends interrupted commands again without a sign. */
  readonly hidesResends: boolean;
  /** The clock by which entries expire in tests. Absent: they expire by the server's clock. */
  readonly clock: (() => number) | undefined;
  /** Server's clock minus this process's clock, in milliseconds. `undefined` until a reply contains the server's time. */
  serverAheadMs: number | undefined;
}

/** Stores the offset of the server's clock, from a reply that contains its time. */
export function syncClock(context: Context, serverTime: number): void {
  context.serverAheadMs = serverTime - Date.now();
}
