/** The storage of a random life: in memory, with or without encryption, with a limit, and with entries of newer code. */
import assert from "node:assert/strict";
import { createCipheriv, createDecipheriv } from "node:crypto";
import { Buffer } from "node:buffer";
import { encrypted, memoryStorage, type Storage } from "@b24/onappupdate";
import type { Key, StorageCapabilities } from "@b24/onappupdate/storage";
import { indexKey, outboxDueKey, outboxMessageKey, portalKey } from "../../src/portal/keys.ts";
import { NAME, NEWER_MESSAGE_ID } from "./_outbox.ts";
import { entryId } from "../../src/portal/schedule.ts";

/** Maximum size (bytes) of a value, as in Deno KV. */
export const MAX_VALUE_BYTES = 64 * 1024;

/** A portal that newer code knows. */
const NEWER_MEMBER_ID = "d".repeat(32);

/** The storage of a life. */
export interface LifeStorage {
  readonly storage: Storage;
  /** Asserts that the entries of newer code are as they were, and that everything is encrypted. */
  readonly assertAll: () => Promise<void>;
}

export interface LifeStorageOptions {
  readonly clock: () => number;
  readonly pick: <T>(from: readonly T[]) => T;
  readonly isEncrypted: boolean;
  /** Newer code has stored a portal that this code must not touch. */
  readonly hasNewer: boolean;
}

/** Returns an empty storage. Each write is encrypted with one of two keys, as while keys are rotated. */
export function createLifeStorage({ clock, pick, isEncrypted, hasNewer }: LifeStorageOptions): LifeStorage {
  const memory = limited(memoryStorage({ clock }));
  const storage = isEncrypted ? encryptedBy(memory, pick) : memory;
  const due = entryId(clock(), "newer");
  const newer: readonly (readonly [Key, unknown])[] = hasNewer
    ? [
      [portalKey(NEWER_MEMBER_ID), { format: 1000, news: true }],
      [["due", due, NEWER_MEMBER_ID], {}],
      [indexKey("state", "upgrading", NEWER_MEMBER_ID), {}],
      [indexKey("blocked", "rollout", NEWER_MEMBER_ID), {}],
      [outboxMessageKey(NAME, NEWER_MESSAGE_ID), { format: 1000, due }],
      [outboxDueKey(due, NAME, NEWER_MESSAGE_ID), {}],
    ]
    : [];
  for (const [key, value] of newer) void storage.put(key, value);
  return {
    storage,
    assertAll: async () => {
      for (const [key, value] of newer) {
        assert.deepEqual((await storage.get(key))?.value, value, `${key.join("/")}, which newer code wrote`);
      }
      for await (const { key, value } of memory.list([])) {
        const isEnvelope = (value as { encrypted?: unknown }).encrypted === 1;
        assert.equal(isEnvelope, isEncrypted, `${key.join("/")} is encrypted: ${isEnvelope}`);
      }
    },
  };
}

function limited(memory: Storage): Storage {
  const capabilities: StorageCapabilities = { ...memory.capabilities, maxValueBytes: MAX_VALUE_BYTES };
  const check = (key: Key, value: unknown): void => {
    const bytes = JSON.stringify(value).length;
    assert(bytes <= MAX_VALUE_BYTES, `${key.join("/")} has ${bytes} bytes, which the storage cannot take`);
  };
  return {
    ...memory,
    capabilities,
    put: async (key, value, options) => {
      check(key, value);
      return await memory.put(key, value, options);
    },
    write: async (operations, options) => {
      for (const operation of operations) if ("put" in operation) check(operation.put, operation.value);
      return await memory.write!(operations, options);
    },
  };
}

function encryptedBy(memory: Storage, pick: <T>(from: readonly T[]) => T): Storage {
  answerCiphersAtOnce();
  const keys = { old: new Uint8Array(32).fill(1), new: new Uint8Array(32).fill(2) };
  const [old, current] = ["old", "new"].map((current) => encrypted(memory, { keys, current })) as [Storage, Storage];
  return {
    ...current,
    put: (...args) => pick([old, current]).put(...args),
    write: (...args) => pick([old, current]).write!(...args),
  };
}

let isAnsweredAtOnce = false;

/** WebCrypto answers from other threads, at any time. Keys that this imports are their bytes. */
function answerCiphersAtOnce(): void {
  if (isAnsweredAtOnce) return;
  isAnsweredAtOnce = true;
  type Algorithm = { readonly iv: Uint8Array; readonly additionalData: Uint8Array };
  const answers = {
    importKey: (_format: string, bytes: Uint8Array) => bytes,
    encrypt: ({ iv, additionalData }: Algorithm, key: Uint8Array, plain: Uint8Array) => {
      const cipher = createCipheriv("aes-256-gcm", key, iv).setAAD(additionalData);
      const parts = [cipher.update(plain), cipher.final()];
      return bufferOf(Buffer.concat([...parts, cipher.getAuthTag()]));
    },
    decrypt: ({ iv, additionalData }: Algorithm, key: Uint8Array, sealed: Uint8Array) => {
      const decipher = createDecipheriv("aes-256-gcm", key, iv).setAAD(additionalData).setAuthTag(sealed.subarray(-16));
      return bufferOf(Buffer.concat([decipher.update(sealed.subarray(0, -16)), decipher.final()]));
    },
  };
  for (const [name, answer] of Object.entries(answers)) {
    const value = async (...args: never[]): Promise<unknown> =>
      await (answer as (...args: never[]) => unknown)(...args);
    Object.defineProperty(crypto.subtle, name, { configurable: true, value });
  }
}

function bufferOf({ buffer, byteOffset, byteLength }: Uint8Array): ArrayBufferLike {
  return buffer.slice(byteOffset, byteOffset + byteLength);
}
