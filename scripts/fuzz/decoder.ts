/**
 * Decodes generated bodies, form and JSON by turns. The decoder may throw nothing but an InputError, no prototype may change,
 * a decoded tree keeps the limits, and a valid body decodes to the tree that it was written from. Prints the slowest body.
 *
 *     deno run -A scripts/fuzz/decoder.ts [seed] [bodies]
 *
 * Default: seed 1, a million bodies. The same seed makes the same bodies.
 */
// deno-lint-ignore-file no-console
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import process from "node:process";
import { InputError } from "../../src/errors.ts";
import { decodeForm } from "../../src/bitrix24/form.ts";
import { decodeJson } from "../../src/bitrix24/json.ts";
import { DECODE_LIMITS, isTree, type WireTree, type WireValue } from "../../src/bitrix24/tree.ts";
import { seeded } from "../../tests/support/seeded.ts";
import { prototypes } from "./_prototypes.ts";
import { below, pick, type Random } from "./_random.ts";

/** Maximum time (ms) of a body: far above the slowest, far below a hang. */
const SLOW_MS = 250;

/** Result of a run. */
export interface FuzzReport {
  /** Number of bodies that decoded to a tree. */
  readonly decoded: number;
  /** Number of bodies that threw an InputError. */
  readonly refused: number;
  /** Time (ms) of the slowest body. */
  readonly slowestMs: number;
}

/**
 * Decodes `count` bodies, of each of the `kinds` by turns.
 *
 * @throws {Error} with the body, at the first that breaks a requirement
 */
export function fuzz(seed: number, count: number, kinds: readonly Kind[] = ["form", "json"]): FuzzReport {
  const random = seeded(seed);
  const before = prototypes();
  let decoded = 0, refused = 0, slowestMs = 0;
  for (let i = 0; i < count; i++) {
    const kind = kinds[i % kinds.length]!;
    const { body, written } = generate(kind, random);
    const start = performance.now();
    try {
      const tree = (kind === "form" ? decodeForm : decodeJson)(body);
      slowestMs = Math.max(slowestMs, performance.now() - start);
      checkTree(tree);
      if (written !== undefined) assert.equal(JSON.stringify(tree), JSON.stringify(written));
      decoded++;
    } catch (error) {
      slowestMs = Math.max(slowestMs, performance.now() - start);
      if (!(error instanceof InputError)) throw new Error(`body ${i}: ${JSON.stringify(body)}`, { cause: error });
      checkError(error);
      assert.equal(written, undefined, `body ${i} was refused: ${error.message}`);
      refused++;
    }
    if (i % 256 === 0) assert.deepEqual(prototypes(), before);
  }
  assert.deepEqual(prototypes(), before);
  return { decoded, refused, slowestMs };
}

type Kind = "form" | "json";

interface Generated {
  readonly body: string;
  /** Tree that the body must decode to; absent if the body may be invalid. */
  readonly written?: WireTree;
}

const times = <T>(count: number, make: () => T): T[] => Array.from({ length: count }, make);

const NAMES = "a b event __proto__ constructor prototype hasOwnProperty toString 10 -3 007".split(" ");
// Without backslashes: once V8 (13.6 and 15.0) has seen a key with one, JSON.parse confuses escaped keys with it.
const ODD_NAMES = ["a.b", "a b", "&=+;", "%5B", "%zz", "\u0000", "\u2028", "ключ", "😀", "'", '"', "0x1", "1.5"];
const TOKENS: Readonly<Record<Kind, readonly string[]>> = {
  form: [
    ..."& & &a[ = = [ ] [] [][] [0] [1] [-1] [01] [999999999999999] + \\".split(" "),
    ..."% %zz %4 %00 %25 %26 %3D %2B %5B %5d %C3%A9 %C3 %FF %ED%A0%80 %F4%90%80%80".split(" "),
    ...NAMES,
    ...ODD_NAMES,
  ],
  json: [
    ...`{ } [ ] : , " {} [] {"a": "b": ": null true -1 1e999 01 NaN \\ud800 \n \ufeff`.split(" "),
    ...`"__proto__":{ "\\u005f_proto__":1 {"constructor":{"prototype":`.split(" "),
    ...NAMES,
    ...ODD_NAMES,
  ],
};

const folder = new URL("../../tests/fixtures/", import.meta.url);
const fixtures = (kind: Kind): readonly string[] =>
  readdirSync(folder).filter((file) => file.endsWith(`.${kind}`)).map((file) =>
    readFileSync(new URL(file, folder), "utf8")
  );
const FIXTURES: Readonly<Record<Kind, readonly string[]>> = { form: fixtures("form"), json: fixtures("json") };

function generate(kind: Kind, random: Random): Generated {
  const choice = random();
  if (choice < 0.02) return { body: bomb(kind, random) };
  if (choice < 0.35) return { body: times(below(random, 30), () => pick(random, TOKENS[kind])).join("") };
  if (choice < 0.65) return { body: mutated(pick(random, FIXTURES[kind]), kind, random) };
  const written = tree(kind, random, 1);
  return { body: kind === "json" ? JSON.stringify(written) : writeForm(written, random), written };
}

/** Maximum length of a body: enough for a string above the limit, and more than an app reads. */
const MAX_BODY = 2 ** 21;

/** Returns a body around the limits: more, deeper or longer than allowed, or just within. */
function bomb(kind: Kind, random: Random): string {
  // Long ones are rare, because each takes as long as a thousand others.
  const count = below(random, random() < 0.02 ? 1_200_000 : pick(random, [20, 600, 20_000]));
  const body = pick(
    random,
    kind === "form"
      ? [
        () => "a[]=&".repeat(count),
        () => "a".repeat(count),
        () => "a&".repeat(count),
        () => `a${"[b]".repeat(count)}=1`,
        () => `a${"[".repeat(count)}`,
        () => `a=${"%D0%B9".repeat(count)}`,
        () => `a=${"v".repeat(count)}`,
        () => Array.from({ length: count }, (_, i) => `a[${i}][b]=1`).join("&"),
        () => `a${"[b]".repeat(below(random, 24))}=1`,
        () => "%=%zz&".repeat(count),
        () => "&".repeat(count),
      ]
      : [
        () => `{"a":${"[".repeat(count)}${"]".repeat(count)}}`,
        () => `${'{"a":'.repeat(count)}1${"}".repeat(count)}`,
        () => "[".repeat(count),
        () => `{"a":[${"[],".repeat(count)}"${"[{".repeat(count)}"]}`,
        () => `{"a":${"[".repeat(below(random, 24))}${"]".repeat(below(random, 24))}}`,
        () => JSON.stringify({ a: times(count, () => 0) }),
        () => JSON.stringify(Object.fromEntries(times(count, random).map((n) => [n, n]))),
        () => JSON.stringify({ ["k".repeat(count)]: "v".repeat(count) }),
      ],
  )();
  return body.slice(0, MAX_BODY);
}

function mutated(body: string, kind: Kind, random: Random): string {
  let text = body;
  for (let left = 1 + below(random, 6); left > 0; left--) {
    const from = below(random, text.length + 1);
    const to = from + below(random, 20);
    const middle = pick(random, ["", text.slice(from, to).repeat(2), pick(random, TOKENS[kind])]);
    text = text.slice(0, from) + middle + text.slice(random() < 0.5 ? from : to);
  }
  return text;
}

function tree(kind: Kind, random: Random, depth: number): WireTree {
  const made: Record<string, WireValue> = Object.create(null);
  for (const name of times(1 + below(random, 4), () => pick(random, random() < 0.5 ? NAMES : ODD_NAMES))) {
    made[name] = value(kind, random, depth);
  }
  return made;
}

/** Returns a random value. Forms have strings only, and no empty containers. */
function value(kind: Kind, random: Random, depth: number): WireValue {
  const nested = depth < 4 ? random() : 1;
  if (nested < 0.2) return tree(kind, random, depth + 1);
  if (nested < 0.4) return times(1 + below(random, 4), () => value(kind, random, depth + 1));
  if (kind === "json" && random() < 0.5) {
    return pick(random, [0, -1.5, 1e21, true, false, null, [], Object.create(null)]);
  }
  return pick(random, ["", "3", "crm,user", "\\", "https://a.b/?c=d&e=f", ...ODD_NAMES]);
}

/** Writes a form as PHP's `http_build_query` or a browser does: brackets escaped or not, a space as `+` or as `%20`. */
function writeForm(top: WireTree, random: Random): string {
  const escape = (text: string): string => {
    const escaped = encodeURIComponent(text);
    return random() < 0.5 ? escaped : escaped.replaceAll("%20", "+").replace(/%../g, (code) => code.toLowerCase());
  };
  const pairs = (name: string, value: WireValue): string[] => {
    const child = (key: string, below: WireValue): string[] =>
      pairs(random() < 0.5 ? `${name}[${escape(key)}]` : `${name}%5B${escape(key)}%5D`, below);
    if (isTree(value)) return Object.entries(value).flatMap(([key, below]) => child(key, below));
    if (typeof value !== "object" || value === null) return [`${name}=${escape(String(value))}`];
    return value.flatMap((below, index) =>
      child(typeof below === "string" && random() < 0.5 ? "" : String(index), below)
    );
  };
  return Object.entries(top).flatMap(([name, value]) => pairs(escape(name), value)).join("&");
}

function checkTree(top: WireTree): void {
  let values = -1;
  const check = (value: WireValue, depth: number): void => {
    values++;
    if (typeof value === "string") assert(value.length <= DECODE_LIMITS.valueLength);
    if (typeof value === "number") assert(Number.isFinite(value));
    if (typeof value !== "object" || value === null) return;
    assert(depth <= DECODE_LIMITS.depth);
    assert.equal(Object.getPrototypeOf(value), isTree(value) ? null : Array.prototype);
    for (const key of Reflect.ownKeys(value)) assert(typeof key === "string" && key.length <= DECODE_LIMITS.keyLength);
    for (const child of Object.values(value)) check(child, depth + 1);
  };
  assert(isTree(top));
  check(top, 1);
  assert(values <= DECODE_LIMITS.fields);
}

function checkError(error: InputError): void {
  assert.equal(error.cause, undefined);
  assert.equal(error.issues.length, 1);
  for (const { path, saw, wanted } of error.issues) {
    assert.match(path, /^[ -~…]*$/);
    assert(path.length <= DECODE_LIMITS.depth * 250 && saw.length < 60 && wanted.length < 60);
  }
}

if (import.meta.main) {
  const [seed = "1", count = "1000000"] = process.argv.slice(2);
  const start = performance.now();
  const { decoded, refused, slowestMs } = fuzz(Number(seed), Number(count));
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  console.log(`seed ${seed}: ${count} bodies in ${seconds} s, ${decoded} decoded, ${refused} refused`);
  console.log(`slowest body: ${slowestMs.toFixed(1)} ms (wanted at most ${SLOW_MS} ms)`);
  if (!(slowestMs <= SLOW_MS)) process.exitCode = 1;
}
