/** Shared by the benchmarks: rounds, figures, and what happens if a figure misses its goal. */
// deno-lint-ignore-file no-console
import { appendFileSync } from "node:fs";
import process from "node:process";

/** Name of the runtime, such as `Node 24.1.0`. */
export const runtime: string = "Deno" in globalThis ? "Deno" : `Node ${process.versions.node}`;

/** Number of paired rounds; one more comes before them as a warm-up. BENCH_ROUNDS replaces it, to try a benchmark. */
export const ROUNDS: number = Number(process.env["BENCH_ROUNDS"] ?? 7);

/** Share by which a median may miss its goal, because cores are noisy. Counts and bytes are exact. */
const TOLERANCE = 0.15;

/** One figure of a benchmark. */
export interface Figure {
  /** Row of the table in docs/performance.md. Unique. */
  readonly name: string;
  /** The value of each round, or the only one. */
  readonly values: readonly number[];
  /** Such as `ms`; printed after the value. */
  readonly unit?: string;
  /** The goal; a figure without one is only printed. */
  readonly wanted?: { readonly atMost: number } | { readonly atLeast: number };
  /** The goal has no tolerance, as that of a count. */
  readonly isExact?: boolean;
}

/** A figure as `bench.ts` reads it from the file that BENCH_RESULTS names. */
export interface Result {
  readonly name: string;
  readonly runtime: "Deno" | "Node";
  readonly value: string;
  readonly wanted: string;
  readonly isGood: boolean;
}

export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
}

/** Calls `run` for each round and once before them, and returns what it resolved to, by round. */
export async function rounds<T>(run: (round: number) => Promise<T>): Promise<T[]> {
  const results: T[] = [];
  for (let round = 0; round <= ROUNDS; round++) {
    const result = await run(round);
    if (round > 0) results.push(result);
  }
  return results;
}

/** Prints a figure: median, spread and goal. A missed goal fails the process at its end. */
export function report({ name, values, unit = "", wanted, isExact = false }: Figure): void {
  const value = median(values);
  const tolerance = isExact ? 0 : TOLERANCE;
  const isGood = wanted === undefined ||
    ("atMost" in wanted ? value <= wanted.atMost * (1 + tolerance) : value >= wanted.atLeast * (1 - tolerance));
  if (!isGood) process.exitCode = 1;
  const goal = wanted === undefined
    ? ""
    : "atMost" in wanted
    ? `at most ${written(wanted.atMost, unit)}`
    : `at least ${written(wanted.atLeast, unit)}`;
  const spread = values.length === 1
    ? ""
    : ` (${written(Math.min(...values), "")} to ${written(Math.max(...values), "")})`;
  const measured = written(value, unit) + spread;
  console.log(
    `${runtime}: ${wanted === undefined ? "      " : isGood ? "ok    " : "MISSED"} ${name}: ${measured}${
      goal && `, wanted ${goal}`
    }`,
  );
  const file = process.env["BENCH_RESULTS"];
  if (file === undefined) return;
  const result: Result = {
    name,
    runtime: runtime.split(" ")[0] as Result["runtime"],
    value: measured,
    wanted: goal,
    isGood,
  };
  appendFileSync(file, `${JSON.stringify(result)}\n`);
}

function written(value: number, unit: string): string {
  const digits = value >= 100 || Number.isInteger(value) ? 0 : value >= 10 ? 1 : 2;
  return value.toFixed(digits) + (unit && ` ${unit}`);
}
