/**
 * Compares `decodeForm` with npm `qs` and with URLSearchParams, which does not nest, on the bodies of tests/fixtures/:
 * time as a ratio, in one process, on interleaved rounds. Fails if `decodeForm` is slower than `qs`.
 *
 *     deno run -A scripts/bench/decoder.ts
 *     node scripts/bench/decoder.ts          (in a project that has the package installed)
 */
import { readdirSync, readFileSync } from "node:fs";
// @ts-types="@types/qs"
import qs from "qs";
import { decodeForm } from "../../src/bitrix24/form.ts";
import { DECODE_LIMITS } from "../../src/bitrix24/tree.ts";
import { report } from "./_bench.ts";

const ROUNDS = 31;
/** Number of times that a round decodes each fixture. */
const REPEATS = 300;

const fixtures = new URL("../../tests/fixtures/", import.meta.url);
const bodies = readdirSync(fixtures).filter((file) => file.endsWith(".form"))
  .map((file) => readFileSync(new URL(file, fixtures), "utf8"));

type Decode = (body: string) => object;

const QS_OPTIONS = { depth: DECODE_LIMITS.depth, parameterLimit: DECODE_LIMITS.fields };
const decoders: readonly (readonly [name: string, decode: Decode])[] = [
  ["decodeForm", (body) => decodeForm(body)],
  ["qs", (body) => qs.parse(body, QS_OPTIONS)],
  ["URLSearchParams", (body) => Object.fromEntries(new URLSearchParams(body))],
];

/** Returns the time (µs) that one body takes. */
function measure(decode: Decode): number {
  let events = 0;
  const start = performance.now();
  for (let i = 0; i < REPEATS; i++) {
    for (const body of bodies) events += "event" in decode(body) ? 1 : 0;
  }
  const elapsed = performance.now() - start;
  // The use of the results also keeps the engine from removing the calls.
  const wanted = REPEATS * bodies.length;
  if (events !== wanted) throw new Error(`decoded ${events} events, wanted ${wanted}`);
  return elapsed * 1000 / wanted;
}

const results = decoders.map(([name, decode]) => ({ name, decode, rounds: [] as number[] }));
// The first round is a warm-up and does not count.
for (let round = 0; round <= ROUNDS; round++) {
  for (const { decode, rounds } of results) {
    const time = measure(decode);
    if (round > 0) rounds.push(time);
  }
}

const own = results[0]!.rounds;
for (const { name, rounds } of results) {
  report({ name: `decoding a body of an event, ${name}`, values: rounds, unit: "µs" });
  if (name === "decodeForm") continue;
  report({
    name: `decoding a body of an event, ${name} ÷ decodeForm`,
    values: rounds.map((time, round) => time / own[round]!),
    ...(name === "qs" ? { wanted: { atLeast: 1 }, isExact: true } : {}),
  });
}
