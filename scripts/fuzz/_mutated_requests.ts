/** Requests made of the bodies in tests/fixtures/ by random mutations. */
import { readdirSync, readFileSync } from "node:fs";
import { FORM } from "../../tests/support/app.ts";
import { JSON_TYPE } from "../../tests/support/bad_requests.ts";
import { below, pick, type Random } from "./_random.ts";

/** A request to send. */
export interface Sent {
  readonly method: string;
  readonly type: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Number of chunks of the body. */
  readonly pieces: number;
}

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

export interface Fixture {
  readonly type: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly text: string;
}

const FOLDER = new URL("../../tests/fixtures/", import.meta.url);
export const FIXTURES: readonly Fixture[] = readdirSync(FOLDER).filter((name) => /\.(form|json)$/.test(name)).sort()
  .map(
    (name) => {
      const text = readFileSync(new URL(name, FOLDER), "utf8");
      return { type: name.endsWith(".json") ? JSON_TYPE : FORM, text, bytes: encode(text) };
    },
  );
/** Every token in the fixtures. */
export const TOKENS: ReadonlySet<string> = new Set(
  FIXTURES.flatMap(({ type, text }) =>
    type === FORM
      ? [...new URLSearchParams(text)].filter(([key]) => /token/i.test(key)).map(([, value]) => value)
      : [...text.matchAll(/token"\s*:\s*"([^"]+)"/gi)].map(([, value]) => value!)
  ),
);

function encode(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text);
}

/** Returns a request with the body of a fixture, mutated. */
export function mutatedRequest(random: Random): Sent {
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

/** Strings that a parser may take for something else. */
const ODD = [
  ...["", "0", "-1", "1e999", "null", "true", "[]", "{}", '"', "\\", "\0", "\r\n"],
  ...["%", "%00", "%ff", "%F0%9F%98%80", "+", "&", "=", "&&=&"],
  ...["[", "]", "[]", "[][]", "[0]", "[__proto__]", "__proto__", "constructor", "prototype", "toString"],
  ...["\ufeff", "\u2028", "😀", "ё", "\ud800", "<script>", "' OR 1=1", "../../"],
  ...["NaN", "9".repeat(400), "A".repeat(120), "latest", "2.0.0"],
  ...["ONAPPUPDATE", "ONAPPINSTALL", "ONAPPUNINSTALL", "ONAPPUSERREADY", "ONCRMDEALADD", "onappupdate"],
];
/** Lengths above the limits of names, values and bodies. */
const LONG = [300, 9000, 70_000];

type ByteMutation = (bytes: Uint8Array<ArrayBuffer>, random: Random) => Uint8Array<ArrayBuffer>;

/** Returns a copy with `removed` bytes at `at` replaced by `inserted`. */
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

/** Returns a random range of at most 200 bytes. */
function range(bytes: Uint8Array<ArrayBuffer>, random: Random): { readonly at: number; readonly size: number } {
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
    const { at, size } = range(bytes, random);
    return spliced(bytes, at, size, new Uint8Array());
  },
  (bytes, random) => {
    const { at, size } = range(bytes, random);
    return spliced(bytes, below(random, bytes.byteLength), 0, bytes.slice(at, at + size));
  },
  (bytes, random) => {
    const other = pick(random, FIXTURES).bytes;
    const { at, size } = range(other, random);
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
  const isRaw = random() < 0.1;
  return fields.map(([name, value]) => isRaw ? `${name}=${value}` : `${escape(name)}=${escape(value)}`).join("&");
}

function escape(text: string): string {
  return encodeURIComponent(text.replace(/\p{Surrogate}/gu, "\ufffd"));
}

/** Returns `text` repeated to at least `length` characters. */
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

/** Changes one random property of a random node. */
function mutateNode(node: Record<string, unknown>, random: Random): void {
  const keys = Object.keys(node);
  const key = pick(random, keys);
  if (key === undefined) return;
  const value = node[key];
  if (typeof value === "object" && value !== null && random() < 0.7) {
    return mutateNode(value as Record<string, unknown>, random);
  }
  // An assignment to __proto__ would not add a property.
  const put = (name: string, value: unknown): void =>
    void Object.defineProperty(node, name, { value, enumerable: true, configurable: true, writable: true });
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

/** Returns `value` inside `depth` objects and arrays by turns. */
function nested(value: unknown, depth: number): unknown {
  return depth === 0 ? value : depth % 2 === 0 ? [nested(value, depth - 1)] : { a: nested(value, depth - 1) };
}
