/** Shared by the benchmarks. */
import process from "node:process";

/** Name of the runtime, such as `Node 24.1.0`. */
export const runtime: string = "Deno" in globalThis ? "Deno" : `Node ${process.versions.node}`;

export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
}
