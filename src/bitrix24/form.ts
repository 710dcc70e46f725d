/**
 * `application/x-www-form-urlencoded` bodies with nested values, in the notation of PHP: what Bitrix24 sends.
 *
 * Unlike PHP, dots and spaces in names do not become underscores, and a NUL does not end a name.
 */
import { checkKey, checkText, DECODE_LIMITS, type DecodeLimits, inputError, tooDeep, tooManyFields } from "./tree.ts";
import type { WireTree, WireValue } from "./tree.ts";

/**
 * Decodes a form as PHP's `$_POST` does: `a[b]=1` is a map in a map, `a[]=1` is an array, and the last of repeated names
 * wins. Names that PHP drops (empty, or beginning with a bracket) are dropped.
 *
 * @throws {InputError} if a field is not UTF-8 or exceeds a limit; the fields after it are not read
 */
export function decodeForm(body: string, limits: Partial<DecodeLimits> = {}): WireTree {
  const all = { ...DECODE_LIMITS, ...limits };
  const top = new Branch();
  let fields = 0;
  const count = (): void => {
    if (++fields > all.fields) throw tooManyFields(all);
  };
  let equals = -1;
  for (let start = 0, end: number; start < body.length; start = end + 1) {
    end = indexOrEnd(body, "&", start);
    if (end === start) continue;
    count();
    // Searched once and kept: otherwise each name without a value would search the rest of the body.
    if (equals < start) equals = indexOrEnd(body, "=", start);
    const path = pathOf(body.slice(start, Math.min(equals, end)), all);
    if (path === undefined) continue;
    const value = unescaped(body.slice(equals + 1, end), path);
    checkText(path, value, all);
    const last = path.length - 1;
    let branch = top;
    for (let i = 0; i < last; i++) branch = branch.child(path[i]!, count);
    branch.set(path[last]!, copyOf(value));
  }
  return top.toTree();
}

function indexOrEnd(text: string, sought: string, from: number): number {
  const index = text.indexOf(sought, from);
  return index < 0 ? text.length : index;
}

/**
 * Returns a copy of a part of a body. To V8, a slice is a reference to the whole text: a token that is kept would keep its
 * whole body in memory. The sum is a text of its own.
 */
function copyOf(slice: string): string {
  return `${slice} `.slice(0, -1);
}

function unescaped(raw: string, path: readonly string[]): string {
  const spaced = raw.includes("+") ? raw.replaceAll("+", " ") : raw;
  if (!spaced.includes("%")) return spaced;
  try {
    return decodeURIComponent(spaced);
  } catch {
    // Either a `%` that escapes nothing, which PHP keeps, or bytes that are not UTF-8.
  }
  try {
    return decodeURIComponent(spaced.replace(/%(?![\da-f]{2})/gi, "%25"));
  } catch {
    throw inputError(path, "bytes that are not UTF-8", "UTF-8");
  }
}

/** Cache of paths by the raw names of fields: the names in Bitrix24's events are always the same. */
const paths = new Map<string, readonly string[]>();
/** Limits of the cache, because anybody can send names; far more than the events need. */
const MAX_CACHED_PATHS = 256;
const MAX_CACHED_NAME = 64;

/** Returns the keys that lead to a field's value, or `undefined` for a name that PHP drops. */
function pathOf(rawName: string, limits: DecodeLimits): readonly string[] | undefined {
  const cached = paths.get(rawName);
  if (cached !== undefined && isWithin(cached, limits)) return cached;
  const copy = rawName.length > MAX_CACHED_NAME ? undefined : copyOf(rawName);
  const name = unescaped(copy ?? rawName, [rawName]);
  if (name === "" || name.startsWith("[")) return undefined;
  const path = split(name, limits);
  if (copy !== undefined) {
    if (paths.size >= MAX_CACHED_PATHS) paths.clear();
    paths.set(copy, path);
  }
  return path;
}

function isWithin(path: readonly string[], limits: DecodeLimits): boolean {
  return path.length <= limits.depth && path.every((key) => key.length <= limits.keyLength);
}

/**
 * Splits `a[b][]` into `a`, `b` and an empty key. A bracket that is not closed is part of the name, and text after a
 * closing bracket is ignored.
 */
function split(name: string, limits: DecodeLimits): string[] {
  let open = name.indexOf("[");
  let close = open < 0 ? -1 : name.indexOf("]", open);
  const path = [close < 0 ? name : name.slice(0, open)];
  while (close >= 0) {
    if (path.length >= limits.depth) throw tooDeep(path, limits);
    path.push(name.slice(open + 1, close));
    open = close + 1;
    close = name[open] === "[" ? name.indexOf("]", open) : -1;
  }
  for (const key of path) checkKey(path, key, limits);
  return path;
}

/** An integer key of PHP. A key with more digits than JavaScript can count with is a string. */
const INTEGER = /^(?:0|-?[1-9]\d{0,14})$/;

/** A map under construction. It keeps keys in their order, which objects do not for integers. */
class Branch {
  readonly #entries = new Map<string, string | Branch>();
  /** Key of the next `[]`: one above the highest integer key. */
  #next: number | undefined;

  set(key: string, value: string): void {
    this.#entries.set(this.#counted(key), value);
  }

  /** Returns the branch at `key`, or creates it after a call of `count`. As in PHP, it replaces a string. */
  child(key: string, count: () => void): Branch {
    const counted = this.#counted(key);
    const present = this.#entries.get(counted);
    if (present instanceof Branch) return present;
    count();
    const branch = new Branch();
    this.#entries.set(counted, branch);
    return branch;
  }

  toTree(): WireTree {
    const tree: Record<string, WireValue> = Object.create(null);
    for (const [key, value] of this.#entries) tree[key] = value instanceof Branch ? value.#toValue() : value;
    return tree;
  }

  /** Returns an array if the keys are 0, 1, 2 and so on in this order, as PHP's `json_encode` does. */
  #toValue(): WireValue {
    let index = 0;
    for (const key of this.#entries.keys()) {
      if (key !== String(index++)) return this.toTree();
    }
    return Array.from(this.#entries.values(), (value) => value instanceof Branch ? value.#toValue() : value);
  }

  /** Returns `key`, or the next index if it is empty. */
  #counted(key: string): string {
    if (key !== "" && !INTEGER.test(key)) return key;
    const index = key === "" ? this.#next ?? 0 : Number(key);
    this.#next = Math.max(this.#next ?? -Infinity, index + 1);
    return String(index);
  }
}
