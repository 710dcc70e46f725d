/** Encryption at rest over any storage: AES-256-GCM of WebCrypto, with keys that can be rotated. */
import { checkOptions, option, type OptionRules } from "../check_options.ts";
import { defined } from "../defined.ts";
import { FormatError, StorageError } from "../errors.ts";
import { Secret } from "../secret.ts";
import { encodeKey } from "./key.ts";
import { storageRule } from "./rule.ts";
import type { Entry, Key, ListOptions, Storage } from "./storage.ts";
import { decodeValue, encodeValue } from "./value.ts";
import { encodeOperations, toOperation } from "./write.ts";

/** Options of {@linkcode encrypted}. */
export interface EncryptedOptions {
  /**
   * Encryption keys by id. An id has 1 to 32 letters, digits, `_`, `.` and `-`, and is stored with each value. A key has
   * 32 random bytes, as bytes or in base64: `openssl rand -base64 32` creates one. All keys decrypt.
   */
  readonly keys: Readonly<Record<string, string | Secret | Uint8Array>>;
  /** Id of the key that encrypts. */
  readonly current: string;
  /**
   * Whether to also read values that are not encrypted, in a storage that was used without encryption before. Set it only
   * until these values are rewritten: meanwhile anyone who can write to the backend can plant values.
   *
   * @default false
   */
  readonly acceptPlain?: boolean;
}

/**
 * Wraps `storage`, so that values are encrypted with AES-256-GCM before they reach it. Every write uses a random nonce. A
 * value is bound to its key: if it is moved to another key, it does not decrypt. Keep `keys` where you keep your secrets,
 * such as in environment variables, and use them for one storage.
 *
 * **A value cannot be recovered without its encryption key.** Reading a value that does not decrypt or is not encrypted
 * throws `StorageError`, which names the entry and the id of its encryption key; a newer format throws `FormatError`.
 * Neither is ever reported as "absent".
 *
 * **What stays readable** in the backend: the keys of entries (`member_id`s, states and versions of portals, digests of their
 * domains, names and times of events), the ids of the encryption keys, the sizes of values, versions, and expiry times. Anyone who can write to the backend can delete an
 * entry, and restore an older value of the same entry.
 *
 * **To rotate keys**, add the new key to `keys` in every instance. Then make it `current` in every instance. Then rewrite
 * the values that the old key encrypted, as in the example, while the app runs. Then remove the old key. To encrypt an
 * existing storage, stop all instances that do not encrypt: they cannot read encrypted values. Then rewrite the values in
 * the same way, with `acceptPlain: true` until that is done. A key should encrypt at most 2^32 values, because nonces are
 * random: at 50 writes a second, rotate it every other year.
 *
 * @throws {TypeError} if `storage` is not a storage, `current` is not the id of one of `keys`, or one of them is invalid. No
 * message quotes a key.
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
 * for await (const { key, value, version, expiresAt } of storage.list([])) {
 *   const expiry = expiresAt === undefined ? {} : { ttlMs: expiresAt - Date.now() };
 *   // Refused if the app has written since. That write used the current key.
 *   await storage.put(key, value, { ifVersion: version, ...expiry });
 * }
 *
 * const after = encrypted(backend, { keys: { "2027": process.env.B24_KEY_2027 }, current: "2027" });
 * assert.deepEqual((await after.get(["portal", "a223"]))?.value, { token: "3a0f7d66" });
 * ```
 */
export function encrypted(storage: Storage, options: EncryptedOptions): Storage {
  checkOptions("cannot encrypt", { storage }, { storage: option.required(storageRule) });
  checkOptions("cannot encrypt", options, OPTION_RULES);
  const name = `encrypted ${storage.name}`;
  const cipher = createCipher(name, options);
  const { maxValueBytes: maxEnvelopeBytes } = storage.capabilities;
  const maxValueBytes = maxEnvelopeBytes === undefined ? undefined : capacityOf(maxEnvelopeBytes, options.current);

  async function encrypt(key: Key, json: string): Promise<Envelope> {
    const bytes = encoder.encode(json);
    if (bytes.length > (maxValueBytes ?? Infinity)) {
      const sizes = `it has ${bytes.length} bytes of JSON, wanted at most ${maxValueBytes}`;
      throw new StorageError(`cannot put ${JSON.stringify(key)} into ${name}: ${sizes}`);
    }
    return await cipher.encrypt(key, bytes);
  }

  return {
    name,
    capabilities: { ...storage.capabilities, encrypted: true, ...defined({ maxValueBytes }) },

    get: async <T>(key: Key, options?: { readonly signal?: AbortSignal }) => {
      const keyCopy: Key = [...key];
      const entry = await storage.get<unknown>(keyCopy, options);
      return entry === null ? null : await cipher.decrypt<T>(keyCopy, entry);
    },

    put: async (key, value, options) => {
      const keyCopy: Key = [...key];
      const optionsCopy = { ...options };
      const envelope = await encrypt(keyCopy, encodeValue(keyCopy, value));
      return await storage.put(keyCopy, envelope, optionsCopy);
    },

    delete: (key, options) => storage.delete(key, options),

    list: async function* <T>(prefix: readonly string[], options?: ListOptions): AsyncGenerator<Entry<T>> {
      for await (const entry of storage.list<unknown>(prefix, options)) yield await cipher.decrypt<T>(entry.key, entry);
    },

    ...(storage.write === undefined ? {} : {
      write: async (operations, options) => {
        const encryptedOperations = await Promise.all(
          encodeOperations(operations).map(async (operation) => {
            const { key, json } = operation;
            return toOperation(operation, json === undefined ? undefined : await encrypt(key, json));
          }),
        );
        return await storage.write!(encryptedOperations, options);
      },
    }),

    ...(storage.close === undefined ? {} : { close: () => storage.close!() }),
  };
}

/** No value is shown: it may be a key that was passed in the wrong place. */
const OPTION_RULES: OptionRules<EncryptedOptions> = {
  keys: option.required(
    option.value("keys by id", (keys) => typeof keys === "object" && keys !== null, { isSecret: true }),
  ),
  current: option.required(option.value("the id of a key", (id) => typeof id === "string", { isSecret: true })),
  acceptPlain: option.value("true or false", (value) => typeof value === "boolean", { isSecret: true }),
};

/** Format of the envelope. Raise it with a change that older versions of this library would misread. */
const FORMAT = 1;
const KEY_ID = /^[\w.-]{1,32}$/;
const KEY_BYTES = 32;
/** Length of the nonce: the one that GCM uses without hashing. */
const IV_BYTES = 12;
/** Length of the tag, which WebCrypto appends to the ciphertext. */
const TAG_BYTES = 16;

/** An encrypted value as it is stored. No value of the core has a member `encrypted`. */
interface Envelope {
  readonly encrypted: typeof FORMAT;
  /** Id of the encryption key. */
  readonly key: string;
  /** Nonce, ciphertext and tag of the JSON of the value, in base64. */
  readonly data: string;
}

interface Cipher {
  /** Encrypts the JSON of a value. */
  readonly encrypt: (key: Key, json: Uint8Array<ArrayBuffer>) => Promise<Envelope>;
  /** Returns the entry with its value decrypted. */
  readonly decrypt: <T>(key: Key, entry: Entry<unknown>) => Promise<Entry<T>>;
}

/** Returns the cipher of a storage. `name` is for errors. */
function createCipher(name: string, { keys, current, acceptPlain = false }: EncryptedOptions): Cipher {
  const cryptoKeys = importKeys(keys);
  const ids = Array.from(cryptoKeys.keys(), (id) => JSON.stringify(id)).join(", ");
  const currentKey = cryptoKeys.get(current);
  if (currentKey === undefined) {
    // `current` is not quoted: it may be a key that was passed instead of an id.
    throw new TypeError(`cannot encrypt: current is not the id of a key, wanted one of ${ids}`);
  }

  return {
    encrypt: async (key, json) => {
      const iv = crypto.getRandomValues(new Uint8Array(IV_BYTES));
      const algorithm = { name: "AES-GCM", iv, additionalData: bindingOf(current, key) };
      const ciphertext = await crypto.subtle.encrypt(algorithm, await currentKey, json);
      return envelope(current, toBase64(iv, new Uint8Array(ciphertext)));
    },

    decrypt: async <T>(key: Key, entry: Entry<unknown>) => {
      const unreadable = (why: string, options?: ErrorOptions): StorageError =>
        new StorageError(`cannot read ${JSON.stringify(key)} of ${name}: ${why}`, { ...options, unreadableKey: key });
      const { value } = entry;
      if (!isEnvelope(value)) {
        if (acceptPlain) return entry as Entry<T>;
        throw unreadable("it is not encrypted; to read values from before the encryption, set acceptPlain");
      }
      const { encrypted: format, key: id, data } = value;
      if (format !== FORMAT) throw new FormatError(`${JSON.stringify(key)} of ${name}`, format, FORMAT);
      if (typeof id !== "string" || !KEY_ID.test(id) || typeof data !== "string") throw unreadable("it is damaged");
      const cryptoKey = await cryptoKeys.get(id);
      if (cryptoKey === undefined) throw unreadable(`it is encrypted with key "${id}", wanted one of ${ids}`);
      let text: string;
      try {
        const bytes = fromBase64(data);
        const iv = bytes.subarray(0, IV_BYTES);
        const algorithm = { name: "AES-GCM", iv, additionalData: bindingOf(id, key) };
        text = decoder.decode(await crypto.subtle.decrypt(algorithm, cryptoKey, bytes.subarray(IV_BYTES)));
      } catch (cause) {
        const why = "it is damaged, was moved from another key, or was encrypted with another key of that id";
        throw unreadable(`it does not decrypt with key "${id}": ${why}`, { cause });
      }
      return { ...entry, value: decodeValue<T>(name, key, text) };
    },
  };
}

function envelope(key: string, data: string): Envelope {
  return { encrypted: FORMAT, key, data };
}

function isEnvelope(value: unknown): value is { readonly [Name in keyof Envelope]?: unknown } {
  return typeof value === "object" && value !== null && "encrypted" in value && typeof value.encrypted === "number";
}

/** Returns how many bytes of JSON fit into an envelope of `maxEnvelopeBytes`. */
function capacityOf(maxEnvelopeBytes: number, current: string): number {
  const base64 = maxEnvelopeBytes - JSON.stringify(envelope(current, "")).length;
  return Math.max(0, Math.floor(base64 / 4) * 3 - IV_BYTES - TAG_BYTES);
}

/** Returns the additional data of AES-GCM, which binds a value to its encryption key and to the key of its entry. */
function bindingOf(keyId: string, key: Key): Uint8Array<ArrayBuffer> {
  return encoder.encode(encodeKey([String(FORMAT), keyId, ...key]));
}

/** Imports the keys, so that they cannot be extracted, and keeps nothing else of them. */
function importKeys(keys: EncryptedOptions["keys"]): ReadonlyMap<string, Promise<CryptoKey>> {
  const entries = Object.entries(keys);
  if (entries.length === 0) throw new TypeError("cannot encrypt without keys, wanted at least one");
  return new Map(entries.map(([id, key]) => {
    if (!KEY_ID.test(id)) {
      // Not quoted: it may be a key that was passed instead of an id.
      throw new TypeError(`cannot use a key id of ${id.length} characters, wanted 1 to 32 of A-Z a-z 0-9 _ . -`);
    }
    const imported = crypto.subtle.importKey("raw", keyBytes(id, key), "AES-GCM", false, ["encrypt", "decrypt"]);
    // A failed import rejects where the key is used.
    imported.catch(() => {});
    return [id, imported];
  }));
}

function keyBytes(id: string, key: unknown): Uint8Array<ArrayBuffer> {
  const revealed = key instanceof Secret ? key.reveal() : key;
  const wanted = `wanted ${KEY_BYTES} random bytes, such as \`openssl rand -base64 ${KEY_BYTES}\` prints`;
  const invalid = (saw: string): TypeError => new TypeError(`cannot use key "${id}": saw ${saw}, ${wanted}`);
  let bytes: Uint8Array<ArrayBuffer>;
  if (revealed instanceof Uint8Array) bytes = Uint8Array.from(revealed);
  else if (typeof revealed === "string") {
    try {
      bytes = fromBase64(revealed);
    } catch {
      throw invalid("a string that is not base64");
    }
  } else throw invalid(revealed === undefined ? "undefined" : `a value of type ${typeof revealed}`);
  if (bytes.length !== KEY_BYTES) throw invalid(`${bytes.length} bytes`);
  return bytes;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

// Uint8Array.prototype.toBase64 is not in every runtime yet.
function toBase64(...parts: readonly Uint8Array[]): string {
  let binary = "";
  for (const bytes of parts) {
    // In chunks, because the number of arguments of a call is limited.
    for (let i = 0; i < bytes.length; i += 8192) binary += String.fromCharCode(...bytes.subarray(i, i + 8192));
  }
  return btoa(binary);
}

/** @throws {DOMException} if `text` is not base64 */
function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}
