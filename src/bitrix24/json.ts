/** `application/json` bodies, as proxies, queues and the examples of Bitrix24's documentation have them. */
import { exceeds } from "./json_size.ts";
import { checkKey, checkText, DECODE_LIMITS, type DecodeLimits, inputError, isTree } from "./tree.ts";
import { tooDeep, tooManyFields } from "./tree.ts";
import type { WireTree, WireValue } from "./tree.ts";

/**
 * Decodes a JSON object; the last of repeated keys wins.
 *
 * @throws {InputError} if the body is not JSON, not an object, exceeds a limit, or contains a number that is too large
 */
export function decodeJson(body: string, limits: Partial<DecodeLimits> = {}): WireTree {
  const all = { ...DECODE_LIMITS, ...limits };
  // Every container but the outermost is a field, and there are more fields than commas.
  if (exceeds(body, { containers: all.fields + 1, commas: all.fields })) throw tooManyFields(all);
  const parsed = parse(body);
  if (!isTree(parsed)) throw inputError([], kind(parsed), "an object");
  return copyTree(parsed, { limits: all, path: [], left: all.fields });
}

function parse(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    // Not the engine's message: it quotes the body, which may contain tokens.
    const saw = body === "" ? "nothing" : `${body.length} characters that are not JSON`;
    throw inputError([], saw, "a JSON object");
  }
}

/** The position of the copy, and how many more fields the limit allows. */
interface Progress {
  readonly limits: DecodeLimits;
  readonly path: string[];
  left: number;
}

// The depth is checked before each descent, so that no body can exhaust the stack.
function copyTree(from: object, progress: Progress): WireTree {
  const tree: Record<string, WireValue> = Object.create(null);
  for (const [key, value] of entries(from, progress)) tree[key] = copy(key, value, progress);
  return tree;
}

function copyArray(from: readonly unknown[], progress: Progress): readonly WireValue[] {
  return entries(from, progress).map(([key, value]) => copy(key, value, progress));
}

function entries(container: object, progress: Progress): [string, unknown][] {
  const { limits, path } = progress;
  if (path.length >= limits.depth) throw tooDeep(path, limits);
  progress.left -= Array.isArray(container) ? container.length : Object.keys(container).length;
  if (progress.left < 0) throw tooManyFields(limits);
  return Object.entries(container);
}

function copy(key: string, value: unknown, progress: Progress): WireValue {
  const { limits, path } = progress;
  path.push(key);
  checkKey(path, key, limits);
  checkWellFormed(path, key);
  const copied = copyValue(value, progress);
  path.pop();
  return copied;
}

function copyValue(value: unknown, progress: Progress): WireValue {
  if (typeof value === "string") {
    checkText(progress.path, value, progress.limits);
    checkWellFormed(progress.path, value);
    return value;
  }
  if (typeof value === "number") {
    // JSON.parse reads 1e999 as Infinity, which cannot be stored as JSON.
    if (!Number.isFinite(value)) throw inputError(progress.path, "a number that is too large", "a number below 1e308");
    return value;
  }
  if (Array.isArray(value)) return copyArray(value, progress);
  return typeof value === "object" && value !== null ? copyTree(value, progress) : value as boolean | null;
}

/** JSON can escape half of a surrogate pair, which cannot be stored as UTF-8. */
function checkWellFormed(path: readonly string[], text: string): void {
  if (/\p{Surrogate}/u.test(text)) throw inputError(path, "half of a surrogate pair", "whole characters");
}

function kind(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "an array";
  return typeof value === "string" ? `a string of ${value.length} characters` : `a ${typeof value}`;
}
