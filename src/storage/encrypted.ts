/** Encryption at rest over any storage: AES-256-GCM of WebCrypto, with keys that can be changed. */
import { FormatError, StorageError } from "../errors.ts";
import { Secret } from "../secret.ts";
import { encodeKey } from "./key.ts";
import type { Entry, Key, ListOptions, Storage } from "./storage.ts";
import { decodeValue, encodeValue } from "./value.ts";

/** Options of {@linkcode encrypted}. */
export interface EncryptedOptions {
  /**
   * The keys, each under an id of yours: 1 to 32 letters, digits, `_`, `.` and `-`, stored beside what it encrypted. A
   * key is 32 random bytes, as they are or in base64, as `openssl rand -base64 32` makes them. All of them read.
   */
  readonly keys: Readonly<Record<string, string | Secret | Uint8Array>>;
  /** Id of the key that writes. */
  readonly current: string;
  /**
   * Also reads values that are not encrypted, for a storage that was in use before; default false. Meant for the time
   * until they are rewritten: whoever can write to the backend can have any value of theirs read meanwhile.
   */
  readonly acceptPlain?: boolean;
}

/**
 * `storage`, with its values encrypted by AES-256-GCM before they reach it. Every write has a random nonce, and a value
 * is bound to its key: put in another place, it does not decrypt. `keys` should come from where secrets are kept, such
 * as an environment variable, and be used for one storage.
 *
 * **Without its key, a value is lost for good.** Reading what does not decrypt, and what is not encrypted, is a
 * `StorageError` that names the entry and the id of its key; a newer format is a `FormatError`. Neither is ever taken
 * for "absent".
 *
 * **What stays readable** to whoever reads the backend: the keys of the entries (`member_id`s, names and times of
 * events), the ids of your keys, the length of values, versions and ends. Whoever can write to it can delete an entry,
 * and put back an older value of the same entry.
 *
 * **Changing keys:** give every instance the new key among `keys`; then make it `current` everywhere; then rewrite what
 * the old one wrote, as the example does while the app runs; then take the old one away. Values of before the
 * encryption are rewritten in the same way, with `acceptPlain: true` until it is done. A key should encrypt no more
 * than 2^32 values, as its nonces are random: with 50 writes a second, change it every other year.
 *
 * @throws {TypeError} when `current` names none of `keys`, or one of them is no key; no message quotes a key
 *
 * @example
 * ```ts
 * import { encrypted, memoryStorage } from "@b24/onappupdate";
 * import assert from "node:assert/strict";
 * import process from "node:process";
 *
 * // From `openssl rand -base64 32`.
 * process.env.B24_KEY_2026 = "rKxJ1wXAJmoM3UEfiJcNKB5rHeVTxPZd/LvTVnIuYHI=";
 * process.env.B24_KEY_2027 = "m+VwmUZhcRdpDFPjYrXuFpUHtOMqdXDB/TL85MQzDIE=";
 *
 * const backend = memoryStorage();
 * const before = encrypted(backend, { keys: { "2026": process.env.B24_KEY_2026 }, current: "2026" });
 * await before.put(["portal", "a223"], { token: "3a0f7d66" });
 * assert(!JSON.stringify((await backend.get(["portal", "a223"]))?.value).includes("3a0f7d66"));
 *
 * const storage = encrypted(backend, {
 *   keys: { "2026": process.env.B24_KEY_2026, "2027": process.env.B24_KEY_2027 },
 *   current: "2027",
 * });
 * // Refused where somebody has written since, and then with the current key.
 * for await (const { key, value, version, expiresAt } of storage.list([])) {
 *   const end = expiresAt === undefined ? {} : { ttlMs: expiresAt - Date.now() };
 *   await storage.put(key, value, { ifVersion: version, ...end });
 * }
 *
 * const after = encrypted(backend, { keys: { "2027": process.env.B24_KEY_2027 }, current: "2027" });
 * assert.deepEqual((await after.get(["portal", "a223"]))?.value, { token: "3a0f7d66" });
 * ```
 */
export function encrypted(storage: Storage, { keys, current, acceptPlain = false }: EncryptedOptions): Storage {
  const ring = importKeys(keys);
  const ids = Array.from(ring.keys(), (id) => JSON.stringify(id)).join(", ");
  const writing = ring.get(current);
  // Not quoted: it may be a key that was given in the wrong place.
  if (writing === undefined) throw new TypeError(`cannot encrypt: current is the id of no key, wanted one of ${ids}`);
  const name = `encrypted ${storage.name}`;
  const { maxValueBytes: most } = storage.capabilities;
  const maxValueBytes = most === undefined ? undefined : roomIn(most, current);

  async function unseal<T>(key: Key, entry: Entry<unknown>): Promise<Entry<T>> {
    const unreadable = (why: string, options?: ErrorOptions): StorageError =>
      new StorageError(`cannot read ${JSON.stringify(key)} of ${name}: ${why}`, { ...options, unreadableKey: key });
    const { value } = entry;
    if (!isEnvelope(value)) {
      if (acceptPlain) return entry as Entry<T>;
      throw unreadable("it is not encrypted; the option acceptPlain reads what is from before the encryption");
    }
    const { encrypted: format, key: id, data } = value;
    if (format !== FORMAT) throw new FormatError(`${JSON.stringify(key)} of ${name}`, format, FORMAT);
    if (typeof id !== "string" || !KEY_ID.test(id) || typeof data !== "string") throw unreadable("it is damaged");
    const cryptoKey = await ring.get(id);
    if (cryptoKey === undefined) throw unreadable(`it is encrypted with key "${id}", and the keys are ${ids}`);
    let text: string;
    try {
      const bytes = fromBase64(data);
      const iv = bytes.subarray(0, IV_BYTES);
      const algorithm = { name: "AES-GCM", iv, additionalData: placeOf(id, key) };
      text = decoder.decode(await crypto.subtle.decrypt(algorithm, cryptoKey, bytes.subarray(IV_BYTES)));
    } catch (cause) {
      const why = `it does not decrypt with key "${id}": it is damaged, from another place, or of another key "${id}"`;
      throw unreadable(why, { cause });
    }
    return { ...entry, value: decodeValue<T>(name, key, text) };
  }

  return {
    name,
    capabilities: {
      ...storage.capabilities,
      encrypted: true,
      ...(maxValueBytes === undefined ? {} : { maxValueBytes }),
    },

    get: async <T>(key: Key, options?: { readonly signal?: AbortSignal }) => {
      const place: Key = [...key];
      const entry = await storage.get<unknown>(place, options);
      return entry === null ? null : await unseal<T>(place, entry);
    },

    put: async (key, value, options) => {
      const place: Key = [...key];
      const copy = { ...options };
      const bytes = encoder.encode(encodeValue(place, value));
      if (bytes.length > (maxValueBytes ?? Infinity)) {
        const sizes = `it has ${bytes.length} bytes of JSON, wanted at most ${maxValueBytes}`;
        throw new StorageError(`cannot put ${JSON.stringify(key)} into ${name}: ${sizes}`);
      }
      const iv = crypto.getRandomValues(new Uint8Array(IV_BYTES));
      const algorithm = { name: "AES-GCM", iv, additionalData: placeOf(current, place) };
      const sealed = await crypto.subtle.encrypt(algorithm, await writing, bytes);
      return await storage.put(place, envelope(current, toBase64(iv, new Uint8Array(sealed))), copy);
    },

    delete: (key, options) => storage.delete(key, options),

    list: async function* <T>(prefix: readonly string[], options?: ListOptions): AsyncGenerator<Entry<T>> {
      for await (const entry of storage.list<unknown>(prefix, options)) yield await unseal<T>(entry.key, entry);
    },

    ...(storage.close === undefined ? {} : { close: () => storage.close!() }),
  };
}

/** Of the envelope. A change that older versions of this library would misread raises it. */
const FORMAT = 1;
const KEY_ID = /^[\w.-]{1,32}$/;
const KEY_BYTES = 32;
/** Of the nonce: what GCM takes without hashing. */
const IV_BYTES = 12;
/** GCM puts it after what it encrypted. */
const TAG_BYTES = 16;

/** What is stored. Its first member is one that no value of the core has. */
interface Envelope {
  readonly encrypted: typeof FORMAT;
  readonly key: string;
  /** The nonce and what AES-GCM made of the JSON of the value, in base64. */
  readonly data: string;
}

function envelope(key: string, data: string): Envelope {
  return { encrypted: FORMAT, key, data };
}

function isEnvelope(value: unknown): value is { readonly [Name in keyof Envelope]?: unknown } {
  return typeof value === "object" && value !== null && "encrypted" in value && typeof value.encrypted === "number";
}

/** How many bytes of JSON fit into an envelope of `bytes`. */
function roomIn(bytes: number, current: string): number {
  const base64 = bytes - JSON.stringify(envelope(current, "")).length;
  return Math.max(0, Math.floor(base64 / 4) * 3 - IV_BYTES - TAG_BYTES);
}

/** What a value is bound to. */
function placeOf(keyId: string, key: Key): Uint8Array<ArrayBuffer> {
  return encoder.encode(encodeKey([String(FORMAT), keyId, ...key]));
}

/** None of them can be read out again, and nothing of what they were given as is kept. */
function importKeys(keys: EncryptedOptions["keys"]): ReadonlyMap<string, Promise<CryptoKey>> {
  const entries = Object.entries(keys);
  if (entries.length === 0) throw new TypeError("cannot encrypt without keys, wanted one or more");
  return new Map(entries.map(([id, key]) => {
    // Not quoted: it may be a key that was given in the wrong place.
    if (!KEY_ID.test(id)) {
      throw new TypeError(`cannot use a key id of ${id.length} characters, wanted 1 to 32 of A-Z a-z 0-9 _ . -`);
    }
    const imported = crypto.subtle.importKey("raw", keyBytes(id, key), "AES-GCM", false, ["encrypt", "decrypt"]);
    // Whoever uses it is told.
    imported.catch(() => {});
    return [id, imported];
  }));
}

function keyBytes(id: string, key: unknown): Uint8Array<ArrayBuffer> {
  const given = key instanceof Secret ? key.reveal() : key;
  const wanted = `wanted ${KEY_BYTES} random bytes, such as \`openssl rand -base64 ${KEY_BYTES}\` prints`;
  const refused = (saw: string): TypeError => new TypeError(`cannot use key "${id}": saw ${saw}, ${wanted}`);
  let bytes: Uint8Array<ArrayBuffer>;
  if (given instanceof Uint8Array) bytes = Uint8Array.from(given);
  else if (typeof given === "string") {
    try {
      bytes = fromBase64(given);
    } catch {
      throw refused("text that is no base64");
    }
  } else throw refused(given === undefined ? "undefined" : `a value of type ${typeof given}`);
  if (bytes.length !== KEY_BYTES) throw refused(`${bytes.length} bytes`);
  return bytes;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Uint8Array.prototype.toBase64 is not in every runtime yet. */
function toBase64(...parts: readonly Uint8Array[]): string {
  let binary = "";
  for (const bytes of parts) {
    // All at once would be more arguments than a call may have.
    for (let i = 0; i < bytes.length; i += 8192) binary += String.fromCharCode(...bytes.subarray(i, i + 8192));
  }
  return btoa(binary);
}

/** @throws {DOMException} when `text` is no base64 */
function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}
