/** Entries and their keys, as the server has them. */
import { FormatError, StorageError } from "../../errors.ts";
import { decodeValue, encodeKey, type Entry, type Key } from "../../storage.ts";

/** Of what is stored, a digit. A change that older versions of this library would misread raises it. */
export const FORMAT = 1;

/** Of an entry: 39 characters, as versions are UUIDs. Then comes its end, or `-`, a space, and the JSON of its value. */
export function beginningOf(version: string): string {
  return `${FORMAT} ${version} `;
}

/** @throws {TypeError} for an empty key, and for one that is no text */
export function textOf(key: readonly string[]): string {
  if (key.length === 0) throw new TypeError("cannot use an empty key, wanted at least one part");
  return encodeKey(key);
}

/** The keys under `prefix`, as a sorted set is asked for them. */
export function rangeOf(prefix: readonly string[]): { from: string; to: string } {
  if (prefix.length === 0) return { from: "-", to: "+" };
  const text = encodeKey(prefix);
  return { from: `[${text}`, to: `(${text.slice(0, -1)}\x01` };
}

/** @throws {StorageError} when it is none */
export function toEntry<T>(key: Key, text: string): Entry<T> {
  const [head, format, version, end] = /^(\d+) (?:(\S+) (-|\d+) )?/.exec(text) ?? [];
  if (version === undefined || Number(format) !== FORMAT) throw strange(key, format);
  return {
    key,
    value: decodeValue("Redis", key, text.slice(head!.length)),
    version,
    ...(end === "-" ? {} : { expiresAt: Number(end) }),
  };
}

/** What is there is not what this version writes. What a newer one writes begins with its format and a space, too. */
export function strange(key: Key, format?: string): Error {
  const name = `${JSON.stringify(key)} in Redis`;
  if (Number(format) > FORMAT) return new FormatError(name, format, FORMAT);
  return new StorageError(`cannot use ${name}: what is stored there is not of this storage`);
}
