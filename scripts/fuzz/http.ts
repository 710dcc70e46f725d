/**
 * Posts mutated fixtures to an app that believes everything: it must answer each with a documented status and never
 * reject, no prototype may change, and no answer or refusal in the log may hold a token of the fixtures.
 *
 *     deno run -A scripts/fuzz/http.ts [count] [seed]
 *
 * Default: 200,000 requests, seed 1. The same seed makes the same requests.
 */
// deno-lint-ignore-file no-console
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import process from "node:process";
import { type App, createApp, type Logger, memoryStorage, type Plugin } from "@b24/onappupdate";

/** What a run saw. */
export interface HttpFuzzReport {
  /** How often each status was answered. */
  readonly statuses: Readonly<Record<number, number>>;
  /** Of one request. */
  readonly slowestMs: number;
}

/** What an app with a storage that works may say to whoever is believed. */
const DOCUMENTED = [200, 400, 405, 413, 415];
/** Milliseconds that no request of this generator may take: far above what any takes, far below what a hang is. */
const SLOW_MS = 1000;
/** So that what is stored stays small. */
const REQUESTS_PER_APP = 1000;

/**
 * Sends `count` requests.
 *
 * @throws {AssertionError} with the request, at the first that breaks a promise
 */
export async function fuzzHttp(seed: number, count: number): Promise<HttpFuzzReport> {
  const random = randomNumbers(seed);
  const before = prototypes();
  const statuses: Record<number, number> = {};
  let slowestMs = 0;
  let target = makeApp();
  for (let i = 0; i < count; i++) {
    if (i % REQUESTS_PER_APP === REQUESTS_PER_APP - 1) {
      for (const { type, bytes } of FIXTURES) {
        const { status } = await target.app.fetch(requestOf({ method: "POST", type, bytes, pieces: 1 }));
        assert.equal(status, 200, `a fixture is refused after request ${i}`);
      }
      await target.app.close();
      target = makeApp();
    }
    const sent = mutated(random);
    const say = (what: string): string => `request ${i} of seed ${seed}, ${what}: ${inspectSent(sent)}`;
    const begin = performance.now();
    const response = await target.app.fetch(requestOf(sent)).catch((error) => {
      throw new Error(say("rejected"), { cause: error });
    });
    const body = await response.text();
    const ms = performance.now() - begin;
    slowestMs = Math.max(slowestMs, ms);
    const { status } = response;
    statuses[status] = (statuses[status] ?? 0) + 1;
    assert(ms < SLOW_MS, say(`${ms} ms`));
    assert(DOCUMENTED.includes(status), say(`${status} ${target.lines.join("\n")}`));
    if (status === 200) assert.equal(body, "", say("a body"));
    else assert.equal(JSON.parse(body).status, status, say(body));
    // Of what is believed, a token that came as a member_id or a domain is one, and is logged as such.
    const lines = target.lines.splice(0).map((line) => line.replace(/"memberId":"\w+"/, ""));
    for (const text of status === 200 ? [body] : [body, ...lines]) {
      for (const token of TOKENS) assert(!text.includes(token), say(`a token in ${text}`));
    }
    if (i % 256 === 0) assert.deepEqual(prototypes(), before, say("a prototype changed"));
  }
  assert.deepEqual(prototypes(), before);
  await target.app.close();
  return { statuses, slowestMs };
}

const trusting: Plugin = { name: "trusting", phase: "verify", around: (_ctx, next) => next() };

function makeApp(): { readonly app: App; readonly lines: string[] } {
  const lines: string[] = [];
  const log = (message: string, fields?: object): void =>
    void lines.push(JSON.stringify({ message, ...fields }, plain));
  const logger: Logger = { debug: log, info: log, warn: log, error: log };
  const app = createApp({ storage: memoryStorage(), acknowledge: "handled", logger }).use(trusting)
    .upgrade("2", () => {})
    .on(["ONAPPPAYMENT", "ONAPPTEST", "ONAPPMETHODCONFIRM"], ({ event, log }) => log.info("handling", { event }));
  return { app, lines };
}

function plain(_key: string, value: unknown): unknown {
  return value instanceof Error ? { ...value, name: value.name, message: value.message, cause: value.cause } : value;
}

interface Sent {
  readonly method: string;
  readonly type: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** In how many the body comes. */
  readonly pieces: number;
}

function requestOf({ method, type, bytes, pieces }: Sent): Request {
  const init = { method, headers: { "content-type": type } };
  if (method === "GET" || method === "HEAD") return new Request("http://localhost/", init);
  if (pieces === 1) return new Request("http://localhost/", { ...init, body: bytes });
  const size = Math.ceil(bytes.byteLength / pieces);
  let start = 0;
  const body = new ReadableStream({
    pull: (controller) => {
      if (start >= bytes.byteLength) return controller.close();
      controller.enqueue(bytes.subarray(start, start += size));
    },
  });
  const streamed: RequestInit & { duplex: "half" } = { ...init, body, duplex: "half" };
  return new Request("http://localhost/", streamed);
}

function inspectSent({ bytes, ...sent }: Sent): string {
  return `${JSON.stringify(sent)} ${JSON.stringify(new TextDecoder("latin1").decode(bytes.subarray(0, 4000)))}`;
}

const FORM = "application/x-www-form-urlencoded";
const JSON_TYPE = "application/json";
const TYPES = [
  FORM,
  JSON_TYPE,
  "text/plain",
  "",
  `${FORM}; charset=koi8-r`,
  `${FORM};charset=utf-8`,
  "multipart/form-data",
];
const METHODS = ["GET", "HEAD", "PUT", "OPTIONS", "DELETE"];

interface Fixture {
  readonly type: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly text: string;
}

const FOLDER = new URL("../../tests/fixtures/", import.meta.url);
const FIXTURES: readonly Fixture[] = readdirSync(FOLDER).filter((name) => !name.endsWith(".md")).sort().map((name) => {
  const text = readFileSync(new URL(name, FOLDER), "utf8");
  return { type: name.endsWith(".json") ? JSON_TYPE : FORM, text, bytes: encode(text) };
});
const TOKENS: ReadonlySet<string> = new Set(
  FIXTURES.flatMap(({ type, text }) =>
    type === FORM
      ? [...new URLSearchParams(text)].filter(([key]) => /token/i.test(key)).map(([, value]) => value)
      : [...text.matchAll(/token"\s*:\s*"([^"]+)"/gi)].map(([, value]) => value!)
  ),
);

function encode(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text);
}

type Random = () => number;

/** Numbers from 0 to below 1, the same ones for the same seed (mulberry32). */
function randomNumbers(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const below = (random: Random, end: number): number => Math.floor(random() * end);
const pick = <T>(random: Random, from: readonly T[]): T => from[below(random, from.length)]!;

function mutated(random: Random): Sent {
  const fixture = pick(random, FIXTURES);
  let text = fixture.text;
  if (random() < 0.7) text = (fixture.type === FORM ? mutateForm : mutateJson)(text, random);
  let bytes = encode(text);
  if (random() < 0.6) {
    for (let times = 1 + below(random, 4); times > 0; times--) bytes = pick(random, BYTE_MUTATIONS)(bytes, random);
  }
  return {
    method: random() < 0.01 ? pick(random, METHODS) : "POST",
    type: random() < 0.05 ? pick(random, TYPES) : fixture.type,
    bytes,
    pieces: random() < 0.2 ? 1 + below(random, 20) : 1,
  };
}

const ODD = [
  ...[
    "",
    "0",
    "-1",
    "1e999",
    "null",
    "true",
    "[]",
    "{}",
    '"',
    "\\",
    "\0",
    "\r\n",
    "%",
    "%00",
    "%ff",
    "%F0%9F%98%80",
    "+",
  ],
  ...[
    "[",
    "]",
    "[]",
    "[][]",
    "[0]",
    "[__proto__]",
    "__proto__",
    "constructor",
    "prototype",
    "toString",
    "&",
    "=",
    "&&=&",
  ],
  ...[
    "\ufeff",
    "\u2028",
    "😀",
    "ё",
    "<script>",
    "' OR 1=1",
    "../../",
    "\ud800",
    "NaN",
    "9".repeat(400),
    "A".repeat(120),
  ],
  ...[
    "ONAPPUPDATE",
    "ONAPPINSTALL",
    "ONAPPUNINSTALL",
    "ONAPPUSERREADY",
    "ONCRMDEALADD",
    "onappupdate",
    "latest",
    "2.0.0",
  ],
];
const LONG = [300, 9000, 70_000];

type ByteMutation = (bytes: Uint8Array<ArrayBuffer>, random: Random) => Uint8Array<ArrayBuffer>;

function spliced(
  bytes: Uint8Array<ArrayBuffer>,
  at: number,
  removed: number,
  inserted: Uint8Array,
): Uint8Array<ArrayBuffer> {
  const result = new Uint8Array(bytes.byteLength - removed + inserted.byteLength);
  result.set(bytes.subarray(0, at));
  result.set(inserted, at);
  result.set(bytes.subarray(at + removed), at + inserted.byteLength);
  return result;
}

function slice(bytes: Uint8Array<ArrayBuffer>, random: Random): { readonly at: number; readonly size: number } {
  const at = below(random, bytes.byteLength);
  return { at, size: below(random, Math.min(200, bytes.byteLength - at)) };
}

const BYTE_MUTATIONS: readonly ByteMutation[] = [
  (bytes, random) => {
    const copy = bytes.slice();
    if (copy.byteLength > 0) copy[below(random, copy.byteLength)]! ^= 1 << below(random, 8);
    return copy;
  },
  (bytes, random) => spliced(bytes, below(random, bytes.byteLength), 0, Uint8Array.of(below(random, 256))),
  (bytes, random) => bytes.slice(0, below(random, bytes.byteLength + 1)),
  (bytes, random) => bytes.slice(below(random, bytes.byteLength + 1)),
  (bytes, random) => {
    const { at, size } = slice(bytes, random);
    return spliced(bytes, at, size, new Uint8Array());
  },
  (bytes, random) => {
    const { at, size } = slice(bytes, random);
    return spliced(bytes, below(random, bytes.byteLength), 0, bytes.slice(at, at + size));
  },
  (bytes, random) => {
    const other = pick(random, FIXTURES).bytes;
    const { at, size } = slice(other, random);
    return spliced(bytes, below(random, bytes.byteLength), 0, other.slice(at, at + size));
  },
  (bytes, random) => spliced(bytes, below(random, bytes.byteLength), 0, encode(pick(random, ODD))),
];

type Field = readonly [name: string, value: string];

function mutateForm(text: string, random: Random): string {
  let fields: Field[] = [...new URLSearchParams(text)];
  for (let times = 1 + below(random, 3); times > 0 && fields.length > 0; times--) {
    const at = below(random, fields.length);
    const field = fields[at]!;
    fields = fields.toSpliced(at, 1, ...pick(random, FIELD_MUTATIONS)(field, random, fields));
  }
  const raw = random() < 0.1;
  return fields.map(([name, value]) => raw ? `${name}=${value}` : `${escape(name)}=${escape(value)}`).join("&");
}

function escape(text: string): string {
  return encodeURIComponent(text.replace(/\p{Surrogate}/gu, "\ufffd"));
}

function grown(text: string, length: number): string {
  return (text || "a").repeat(Math.ceil(length / (text.length || 1)));
}

const FIELD_MUTATIONS: readonly ((field: Field, random: Random, all: readonly Field[]) => Field[])[] = [
  () => [],
  ([name, value]) => [[value, name]],
  (field) => [field, field],
  ([name], random, all) => [[name, pick(random, all)[1]]],
  ([, value], random, all) => [[pick(random, all)[0], value]],
  ([name, value], random, all) => [[name, value], [name, pick(random, all)[1]]],
  ([name], random) => [[name, pick(random, ODD)]],
  ([, value], random) => [[pick(random, ODD), value]],
  ([name, value], random) => [[name + pick(random, ODD), value]],
  ([name, value], random) => [[name, value + pick(random, ODD)]],
  ([name, value], random) => [[name, grown(value, pick(random, LONG))]],
  ([name, value], random) => [[grown(name, pick(random, LONG)), value]],
  ([name, value], random) => [[name + "[a]".repeat(below(random, 2000)), value]],
  ([, value], random) => [["a", value + "]".repeat(below(random, 20))], [value + "[".repeat(below(random, 20)), value]],
  ([name, value], random) => Array.from({ length: below(random, 400) }, (_, i): Field => [`${name}[${i}]`, value]),
  ([name, value]) => [[`${name}[${value}][${value}]`, value], [value.repeat(300), value]],
];

function mutateJson(text: string, random: Random): string {
  const root: unknown = JSON.parse(text);
  for (let times = 1 + below(random, 3); times > 0; times--) mutateNode(root as Record<string, unknown>, random);
  return JSON.stringify(root);
}

const VALUES: readonly unknown[] = [null, true, false, 0, -1, 1.5, 1e300, "", [], {}, [[]], [{}], ...ODD];

function mutateNode(node: Record<string, unknown>, random: Random): void {
  const keys = Object.keys(node);
  const key = pick(random, keys);
  if (key === undefined) return;
  const value = node[key];
  if (typeof value === "object" && value !== null && random() < 0.7) {
    return mutateNode(value as Record<string, unknown>, random);
  }
  const put = (name: string, what: unknown): void =>
    void Object.defineProperty(node, name, { value: what, enumerable: true, configurable: true, writable: true });
  switch (below(random, 6)) {
    case 0:
      delete node[key];
      break;
    case 1:
      put(key, pick(random, VALUES));
      break;
    case 2:
      delete node[key];
      put(String(value), key);
      break;
    case 3:
      put(pick(random, ODD), value);
      break;
    case 4:
      put(key, nested(value, below(random, 20)));
      break;
    case 5:
      put(String(value).repeat(below(random, 300)), { [String(value)]: value });
  }
}

function nested(value: unknown, depth: number): unknown {
  return depth === 0 ? value : depth % 2 === 0 ? [nested(value, depth - 1)] : { a: nested(value, depth - 1) };
}

/** What a polluted prototype would show. */
function prototypes(): unknown {
  return [Object, Array, String, Number, Function, Map].map(({ prototype }) => [
    Object.getOwnPropertyNames(prototype).sort().join(),
    Object.getPrototypeOf(prototype) === (prototype === Object.prototype ? null : Object.prototype),
  ]);
}

if (import.meta.main) {
  const [count = "200000", seed = "1"] = process.argv.slice(2);
  const { statuses, slowestMs } = await fuzzHttp(Number(seed), Number(count));
  console.log(`${count} requests, seed ${seed}: no promise broken; slowest ${slowestMs.toFixed(1)} ms`);
  for (const [status, times] of Object.entries(statuses)) console.log(`  ${status}: ${times}`);
}
