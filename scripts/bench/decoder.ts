/**
 * `decodeForm` on the bodies of tests/fixtures/ beside npm `qs` and beside URLSearchParams, which does not nest: time
 * as a ratio, in one process, on interleaved rounds. Runs on Deno and on Node.
 *
 *     deno run -A scripts/bench/decoder.ts
 *     node scripts/bench/decoder.ts          (in a project that has the package installed)
 */
// deno-lint-ignore-file no-console
import { readdirSync, readFileSync } from "node:fs";
import process from "node:process";
// @ts-types="@types/qs"
import qs from "qs";
import { decodeForm } from "../../src/bitrix24/form.ts";
import { DECODE_LIMITS } from "../../src/bitrix24/tree.ts";

const ROUNDS = 31;
/** How often a round decodes each fixture. */
const REPEATS = 300;

const fixtures = new URL("../../tests/fixtures/", import.meta.url);
const bodies = readdirSync(fixtures).filter((file) => file.endsWith(".form"))
  .map((file) => readFileSync(new URL(file, fixtures), "utf8"));

const QS_OPTIONS = { depth: DECODE_LIMITS.depth, parameterLimit: DECODE_LIMITS.fields };
const decoders: Readonly<Record<string, (body: string) => object>> = {
  decodeForm: (body) => decodeForm(body),
  qs: (body) => qs.parse(body, QS_OPTIONS),
  URLSearchParams: (body) => Object.fromEntries(new URLSearchParams(body)),
};

/** Microseconds for one body. */
function measure(decode: (body: string) => object): number {
  let keys = 0;
  const begin = performance.now();
  for (let i = 0; i < REPEATS; i++) {
    for (const body of bodies) keys += "event" in decode(body) ? 1 : 0;
  }
  const elapsed = performance.now() - begin;
  // Also keeps the engine from leaving out work whose result nobody looks at.
  if (keys !== REPEATS * bodies.length) throw new Error(`decoded ${keys} events, wanted ${REPEATS * bodies.length}`);
  return elapsed * 1000 / (REPEATS * bodies.length);
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
}

const times = Object.keys(decoders).map((name) => ({ name, rounds: [] as number[] }));
// The first round warms up and is not counted.
for (let round = 0; round <= ROUNDS; round++) {
  for (const { name, rounds } of times) {
    const time = measure(decoders[name]!);
    if (round > 0) rounds.push(time);
  }
}

const runtime = "Deno" in globalThis ? "Deno" : `Node ${process.versions.node}`;
const own = times[0]!.rounds;
console.log(`${runtime}: ${bodies.length} fixtures, median of ${ROUNDS} rounds`);
let faster = true;
for (const { name, rounds } of times) {
  const ratio = median(rounds.map((time, round) => time / own[round]!));
  if (name === "qs") faster = ratio > 1;
  console.log(`${name.padEnd(16)} ${median(rounds).toFixed(2).padStart(8)} us  ${ratio.toFixed(2).padStart(6)} x`);
}
if (!faster) {
  console.log("decodeForm is slower than qs, wanted faster");
  process.exitCode = 1;
}
