/** Shared by the benchmarks. */
import process from "node:process";
import type { Logger } from "@b24/onappupdate";

/** Name of the runtime, such as `Node 24.1.0`. */
export const runtime: string = "Deno" in globalThis ? "Deno" : `Node ${process.versions.node}`;

const discard = (): void => {};
export const silentLogger: Logger = { debug: discard, info: discard, warn: discard, error: discard };

export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
}
