/** Encoding of entries in Redis. */
import { FormatError, StorageError } from "../../errors.ts";
import { decodeValue, type Entry, type Key } from "../../storage.ts";

/** Format of an entry: one digit. Raise it with a change that older versions of this library would misread. */
export const FORMAT = 1;

/**
 * Returns the first 39 characters of an entry: its format and its version, which is a UUID. They are followed by the time of
 * expiry or `-`, a space, and the JSON of the value.
 */
export function entryHeader(version: string): string {
  return `${FORMAT} ${version} `;
}

/** Returns the text of an entry that never expires. The write script replaces the `-` if there is a TTL. */
export function encodeEntry(version: string, json: string): string {
  return `${entryHeader(version)}- ${json}`;
}

/**
 * Returns the entry that `text` encodes.
 *
 * @throws {FormatError} if a newer version of this library wrote it
 * @throws {StorageError} if it is not an entry
 */
export function decodeEntry<T>(key: Key, text: string): Entry<T> {
  const [head, format, version, expiry] = /^(\d+) (?:(\S+) (-|\d+) )?/.exec(text) ?? [];
  if (version === undefined || Number(format) !== FORMAT) throw notAnEntry(key, format);
  return {
    key,
    value: decodeValue("Redis", key, text.slice(head!.length)),
    version,
    ...(expiry === "-" ? {} : { expiresAt: Number(expiry) }),
  };
}

/** Returns the error for stored data in another format. Newer formats will start with their number and a space, too. */
export function notAnEntry(key: Key, format?: string): Error {
  const name = `${JSON.stringify(key)} in Redis`;
  if (Number(format) > FORMAT) return new FormatError(name, format, FORMAT);
  return new StorageError(`cannot use ${name}: the stored data was not written by this storage`);
}
