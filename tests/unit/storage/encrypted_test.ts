import assert from "node:assert/strict";
import { createCipheriv, createDecipheriv } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { encrypted, memoryStorage, Secret, type Storage } from "@b24/onappupdate";
import { FormatError, StorageError } from "@b24/onappupdate/errors";
import {
  compareKeys,
  encodeKey,
  encodeValue,
  type EncryptedOptions,
  type Key,
  writeInOrder,
  type WriteOperation,
} from "@b24/onappupdate/storage";
import { fileStorage } from "@b24/onappupdate/file-storage";
import { storageConformance } from "@b24/onappupdate/testing";
import { entriesOf } from "../../support/adoption.ts";
import { MEMBER_ID, rig } from "../../support/app.ts";
import { NEW, OLD, old, rotating } from "../../support/keys.ts";
import { withFaults } from "../../support/conformance.ts";
import { describe, it, mock, test } from "../../support/test.ts";

const KEY: Key = ["portal", "a223"];
const VALUE = { accessToken: "3a0f7d66007e2a1c" };

interface Envelope {
  readonly encrypted: number;
  readonly key: string;
  readonly data: string;
}

async function envelopeIn(backend: Storage, key: Key = KEY): Promise<Envelope> {
  return (await backend.get<Envelope>(key))!.value;
}

async function listed(storage: Storage): Promise<unknown[]> {
  const values: unknown[] = [];
  for await (const { value } of storage.list([])) values.push(value);
  return values;
}

/** Encrypts with another implementation of AES-256-GCM. */
function sealedBy(key: string, { id, place, text, iv }: { id: string; place: Key; text: string; iv: string }): string {
  const cipher = createCipheriv("aes-256-gcm", Buffer.from(key, "base64"), Buffer.from(iv, "hex"));
  cipher.setAAD(Buffer.from(encodeKey(["1", id, ...place])));
  return Buffer.concat([Buffer.from(iv, "hex"), cipher.update(text), cipher.final(), cipher.getAuthTag()])
    .toString("base64");
}

/** Returns a storage in memory with a limit on the size of values. */
function smallStorage(clock: () => number, maxValueBytes: number): Storage {
  const storage = memoryStorage({ clock });
  return {
    ...storage,
    capabilities: { ...storage.capabilities, maxValueBytes },
    put: (key, value, options) =>
      encodeValue(key, value).length > maxValueBytes
        ? Promise.reject(new StorageError(`cannot put ${JSON.stringify(key)}: it is too large`))
        : storage.put(key, value, options),
  };
}

const inMemory = (clock: () => number): Storage => encrypted(memoryStorage({ clock }), rotating);
const injected = { test, clock: "injected" } as const;
storageConformance({ ...injected, name: "encrypted(memoryStorage)", create: inMemory });
storageConformance({
  ...injected,
  name: "encrypted(a storage of small values)",
  create: (clock) => encrypted(smallStorage(clock, 1000), rotating),
});
storageConformance({
  ...injected,
  name: "encrypted(encrypted(memoryStorage))",
  create: (clock) => encrypted(inMemory(clock), old),
});
storageConformance({
  ...injected,
  name: "encrypted(memoryStorage with faults)",
  ...withFaults((storage) => encrypted(storage, rotating)),
});

describe("encrypted()", () => {
  it("stores the id of the encryption key and the AES-256-GCM ciphertext of the JSON, bound to both keys", async () => {
    const backend = memoryStorage();
    await encrypted(backend, old).put(KEY, VALUE);
    const { data, ...rest } = await envelopeIn(backend);
    assert.deepEqual(rest, { encrypted: 1, key: "2026" });
    const bytes = Buffer.from(data, "base64");
    const decipher = createDecipheriv("aes-256-gcm", Buffer.from(OLD, "base64"), bytes.subarray(0, 12));
    decipher.setAAD(Buffer.from("1\x002026\0portal\0a223\0"));
    decipher.setAuthTag(bytes.subarray(-16));
    const text = Buffer.concat([decipher.update(bytes.subarray(12, -16)), decipher.final()]).toString();
    assert.equal(text, JSON.stringify(VALUE));
  });

  it("reads a value that was stored in format 1", async () => {
    const backend = memoryStorage();
    const data = "AAECAwQFBgcICQoLsQpbcqqGHkJOk7ZXeCVw88FoYnhUJWxzqo1sJfTOK/Zoq7E8Wn12j/9vH8rV+x+310g=";
    await backend.put(KEY, { encrypted: 1, key: "2026", data });
    assert.deepEqual((await encrypted(backend, old).get(KEY))?.value, VALUE);
  });

  it("uses another nonce for every write, even of the same value", async () => {
    const backend = memoryStorage();
    const storage = encrypted(backend, old);
    const nonces = new Set<string>();
    const sealed = new Set<string>();
    for (let i = 0; i < 500; i++) {
      await storage.put(KEY, VALUE);
      const { data } = await envelopeIn(backend);
      nonces.add(data.slice(0, 16));
      sealed.add(data.slice(16));
    }
    assert.deepEqual([nonces.size, sealed.size], [500, 500]);
  });

  it("adds `encrypted` to the capabilities of the storage", async () => {
    let closed = 0;
    const backend: Storage = {
      ...memoryStorage(),
      name: "disk",
      capabilities: { durable: true, scope: "host" },
      close: () => Promise.resolve(void closed++),
    };
    const { name, capabilities, close } = encrypted(backend, old);
    assert.deepEqual({ name, capabilities }, {
      name: "encrypted disk",
      capabilities: { durable: true, scope: "host", encrypted: true },
    });
    await close?.();
    assert.equal(closed, 1);
    assert.equal(encrypted(memoryStorage(), old).close, undefined);
  });

  it("accepts values up to its maxValueBytes, and none above", async () => {
    for (const maxValueBytes of [200, 201, 202, 203, 204]) {
      const storage = encrypted(smallStorage(Date.now, maxValueBytes), old);
      const largest = storage.capabilities.maxValueBytes!;
      await storage.put(KEY, "x".repeat(largest - 2));
      assert.equal((await storage.get<string>(KEY))?.value.length, largest - 2);
      await assert.rejects(storage.put(KEY, "x".repeat(largest - 1)), StorageError);
    }
    assert.equal(encrypted(smallStorage(Date.now, 10), old).capabilities.maxValueBytes, 0);
  });

  it("accepts keys as base64, as bytes, which it copies, and as a Secret", async () => {
    const backend = memoryStorage();
    await encrypted(backend, old).put(KEY, VALUE);
    const bytes = Uint8Array.from(Buffer.from(OLD, "base64"));
    for (const key of [OLD, `${OLD}\n`, OLD.replace(/=/g, ""), new Secret(OLD), bytes]) {
      const storage = encrypted(backend, { keys: { "2026": key }, current: "2026" });
      if (key === bytes) bytes.fill(0);
      assert.deepEqual((await storage.get(KEY))?.value, VALUE);
    }
  });

  it("imports each key once, as not extractable", async () => {
    const importKey = mock.method(crypto.subtle, "importKey");
    try {
      const storage = encrypted(memoryStorage(), rotating);
      for (let i = 0; i < 5; i++) await storage.put(KEY, i);
      await storage.get(KEY);
      assert.equal(importKey.mock.callCount(), 2);
      for (const { arguments: [format, , , extractable] } of importKey.mock.calls) {
        assert.deepEqual([format, extractable], ["raw", false]);
      }
    } finally {
      importKey.mock.restore();
    }
  });
});

describe("encrypted() with a new key", () => {
  it("reads what the old one wrote, and writes with the new one", async () => {
    const backend = memoryStorage();
    await encrypted(backend, old).put(KEY, VALUE);
    const storage = encrypted(backend, rotating);
    assert.deepEqual((await storage.get(KEY))?.value, VALUE);
    assert.deepEqual(await listed(storage), [VALUE]);
    await storage.put(KEY, VALUE);
    assert.equal((await envelopeIn(backend)).key, "2027");
  });

  it("no longer needs the old one once everything is rewritten, even while others write", async () => {
    const backend = memoryStorage({ clock: () => 1000 });
    const before = encrypted(backend, old);
    for (let i = 0; i < 20; i++) await before.put(["n", String(i)], i, i % 2 === 0 ? {} : { ttlMs: 500 });
    const storage = encrypted(backend, rotating);
    for await (const { key, value, version, expiresAt } of storage.list([])) {
      if (key[1] === "7") await storage.put(key, "newer");
      const expiry = expiresAt === undefined ? {} : { ttlMs: expiresAt - 1000 };
      await storage.put(key, value, { ifVersion: version, ...expiry });
    }
    const after = encrypted(backend, { keys: { "2027": NEW }, current: "2027" });
    const entries = await Promise.all(Array.from({ length: 20 }, (_, i) => after.get<unknown>(["n", String(i)])));
    assert.deepEqual(entries.map((entry) => entry?.value), Array.from({ length: 20 }, (_, i) => i === 7 ? "newer" : i));
    assert.deepEqual([entries[2]?.expiresAt, entries[3]?.expiresAt], [undefined, 1500]);
  });
});

describe("encrypted() rejects, and does not change,", () => {
  interface Case {
    /** Returns what is stored under KEY instead of what was written. */
    readonly stored: (written: Envelope) => unknown;
    readonly options?: EncryptedOptions;
    readonly message: RegExp;
    readonly error?: typeof FormatError;
  }
  const intact = (written: Envelope): Envelope => written;
  const decrypts = /does not decrypt with key "2026"/;
  const flip = (data: string, at: number): string => {
    const bytes = Buffer.from(data, "base64");
    bytes[at]! ^= 1;
    return bytes.toString("base64");
  };
  const at = (i: number) => (written: Envelope): Envelope => ({
    ...written,
    data: flip(written.data, i < 0 ? Buffer.from(written.data, "base64").length + i : i),
  });
  const length = (bytes: number) => (written: Envelope): Envelope => ({
    ...written,
    data: Buffer.from(written.data, "base64").subarray(0, bytes).toString("base64"),
  });
  const cases: Readonly<Record<string, Case>> = {
    "a value that was encrypted with another key of that id": {
      stored: intact,
      options: { keys: { "2026": NEW }, current: "2026" },
      message: decrypts,
    },
    "a value whose encryption key is missing": {
      stored: intact,
      options: { keys: { "2027": NEW, "2028": OLD }, current: "2027" },
      message: /is encrypted with key "2026", wanted one of "2027", "2028"$/,
    },
    "a value whose key id was replaced, even by one of the same key": {
      stored: (written) => ({ ...written, key: "2027" }),
      options: { keys: { "2026": OLD, "2027": OLD }, current: "2027" },
      message: /does not decrypt with key "2027"/,
    },
    "a damaged nonce": { stored: at(0), message: decrypts },
    "a damaged value": { stored: at(12), message: decrypts },
    "a damaged tag": { stored: at(-1), message: decrypts },
    "a shortened value": { stored: length(30), message: decrypts },
    "a value without a tag": { stored: length(12), message: decrypts },
    "no data": { stored: length(0), message: decrypts },
    "data that is not base64": { stored: (written) => ({ ...written, data: "*" }), message: decrypts },
    "data that is not a string": { stored: (written) => ({ ...written, data: 7 }), message: /: it is damaged$/ },
    "an envelope without data": { stored: ({ encrypted, key }) => ({ encrypted, key }), message: /: it is damaged$/ },
    "an envelope with an invalid key id": {
      stored: (written) => ({ ...written, key: VALUE.accessToken.repeat(3) }),
      message: /: it is damaged$/,
    },
    "an encrypted value that is not JSON": {
      stored: () => ({
        encrypted: 1,
        key: "2026",
        data: sealedBy(OLD, { id: "2026", place: KEY, text: VALUE.accessToken, iv: "0".repeat(24) }),
      }),
      message: /the stored value is not JSON$/,
    },
    "an envelope of a newer format": {
      stored: () => ({ encrypted: 2, key: { alg: "?" }, bytes: [1] }),
      message: /has format 2, wanted 1; deploy the version of @b24\/onappupdate that wrote it$/,
      error: FormatError,
    },
    "a value that is not encrypted": { stored: () => VALUE, message: /it is not encrypted; .*, set acceptPlain$/ },
    "a value that looks encrypted": {
      stored: (written) => ({ ...written, encrypted: "1" }),
      message: /it is not encrypted; .*, set acceptPlain$/,
    },
    "a number that is not encrypted": { stored: () => 7, message: /it is not encrypted/ },
    "null that is not encrypted": { stored: () => null, message: /it is not encrypted/ },
  };
  for (const [name, { stored, options = old, message, error: wanted = StorageError }] of Object.entries(cases)) {
    it(name, async () => {
      const backend = memoryStorage();
      await encrypted(backend, old).put(KEY, VALUE);
      const value = stored(await envelopeIn(backend));
      await backend.put(KEY, value);
      const storage = encrypted(backend, options);
      const isClear = (error: Error): boolean => {
        assert.ok(error instanceof wanted, String(error));
        assert.match(error.message, message);
        assert.ok(error.message.includes(`["portal","a223"]`) && error.message.includes("encrypted memory"));
        for (const secret of [VALUE.accessToken, OLD, NEW]) assert.ok(!error.message.includes(secret));
        return true;
      };
      await assert.rejects(storage.get(KEY), isClear);
      await assert.rejects(listed(storage), isClear);
      assert.deepEqual(await storage.put(KEY, "mine", { ifVersion: null }), { ok: false });
      assert.deepEqual((await backend.get(KEY))?.value, value);
    });
  }

  it("a value that was moved to another key", async () => {
    const backend = memoryStorage();
    const storage = encrypted(backend, old);
    await storage.put(["a", "b"], VALUE);
    for (const place of [["a"], ["b"], ["a", "b", ""], ["a\0b"], ["b", "a"], ["2026", "a", "b"]] as const) {
      await backend.put(place, await envelopeIn(backend, ["a", "b"]));
      await assert.rejects(storage.get(place), { name: "StorageError", message: decrypts });
    }
  });

  it("an entry that the backend returns for another key", async () => {
    const backend = memoryStorage();
    const storage = encrypted({ ...backend, get: <T>() => backend.get<T>(["other"]) }, old);
    await storage.put(["other"], VALUE);
    await assert.rejects(storage.get(KEY), { name: "StorageError", message: decrypts });
  });
});

describe("encrypted() with acceptPlain", () => {
  it("reads what is not encrypted, by get and list, and writes it encrypted", async () => {
    const backend = memoryStorage();
    for (const [key, value] of [["a", VALUE], ["b", null], ["c", { encrypted: "no" }]] as const) {
      await backend.put([key], value);
    }
    const storage = encrypted(backend, { ...old, acceptPlain: true });
    const entry = (await storage.get(["a"]))!;
    assert.deepEqual(entry, await backend.get(["a"]));
    assert.deepEqual(await listed(storage), [VALUE, null, { encrypted: "no" }]);
    assert.equal((await storage.put(["a"], VALUE, { ifVersion: entry.version })).ok, true);
    assert.equal((await envelopeIn(backend, ["a"])).encrypted, 1);
    assert.deepEqual(await listed(storage), [VALUE, null, { encrypted: "no" }]);
  });

  it("is no longer needed once everything is rewritten", async () => {
    const backend = memoryStorage();
    for (const key of ["a", "b"]) await backend.put([key], key);
    const storage = encrypted(backend, { ...old, acceptPlain: true });
    for await (const { key, value, version } of storage.list([])) await storage.put(key, value, { ifVersion: version });
    assert.deepEqual(await listed(encrypted(backend, old)), ["a", "b"]);
  });

  it("never returns an encrypted value as plain", async () => {
    const backend = memoryStorage();
    await encrypted(backend, old).put(KEY, VALUE);
    const storage = encrypted(backend, { keys: { "2026": NEW }, current: "2026", acceptPlain: true });
    await assert.rejects(storage.get(KEY), StorageError);
    await backend.put(KEY, { encrypted: 2 });
    await assert.rejects(storage.get(KEY), FormatError);
  });
});

describe("encrypted() rejects the options with", () => {
  const text = (bytes: number): string => Buffer.alloc(bytes, 7).toString("base64");
  const wanted = "wanted 32 random bytes, such as `openssl rand -base64 32` prints";
  const cases: Readonly<Record<string, readonly [options: unknown, message: string]>> = {
    "no keys": [{ keys: {}, current: "a" }, "cannot encrypt without keys, wanted at least one"],
    "an unknown current key": [
      { keys: { a: OLD, b: NEW }, current: NEW },
      `cannot encrypt: current is not the id of a key, wanted one of "a", "b"`,
    ],
    "a current key that is a member of every object": [
      { keys: { a: OLD }, current: "constructor" },
      `cannot encrypt: current is not the id of a key, wanted one of "a"`,
    ],
    "an undefined key": [
      { keys: { a: undefined }, current: "a" },
      `cannot use key "a": saw undefined, ${wanted}`,
    ],
    "a key that is a number": [
      { keys: { a: 7 }, current: "a" },
      `cannot use key "a": saw a value of type number, ${wanted}`,
    ],
    "a string that is not base64": [
      { keys: { a: "correct-horse-battery" }, current: "a" },
      `cannot use key "a": saw a string that is not base64, ${wanted}`,
    ],
    "an empty key": [{ keys: { a: "" }, current: "a" }, `cannot use key "a": saw 0 bytes, ${wanted}`],
    "a key of 16 bytes": [{ keys: { a: text(16) }, current: "a" }, `cannot use key "a": saw 16 bytes, ${wanted}`],
    "a key of 31 bytes": [
      { keys: { a: new Secret(text(31)) }, current: "a" },
      `cannot use key "a": saw 31 bytes, ${wanted}`,
    ],
    "a key of 33 bytes": [
      { keys: { a: OLD, b: new Uint8Array(33) }, current: "a" },
      `cannot use key "b": saw 33 bytes, ${wanted}`,
    ],
    "a key in hexadecimal": [
      { keys: { a: Buffer.from(OLD, "base64").toString("hex") }, current: "a" },
      `cannot use key "a": saw 48 bytes, ${wanted}`,
    ],
    "an empty key id": [
      { keys: { "": OLD }, current: "" },
      "cannot use a key id of 0 characters, wanted 1 to 32 of A-Z a-z 0-9 _ . -",
    ],
    "a key instead of its id": [
      { keys: { [OLD]: "a" }, current: "a" },
      "cannot use a key id of 44 characters, wanted 1 to 32 of A-Z a-z 0-9 _ . -",
    ],
  };
  for (const [name, [options, message]] of Object.entries(cases)) {
    it(name, () => {
      assert.throws(() => encrypted(memoryStorage(), options as EncryptedOptions), { name: "TypeError", message });
    });
  }
  it("what is no storage", () => {
    assert.throws(() => encrypted(undefined as never, { keys: { a: OLD }, current: "a" }), {
      name: "TypeError",
      message: "cannot encrypt with storage undefined, wanted a storage, such as memoryStorage() to try it out",
    });
  });
});

describe("an app on encrypted(fileStorage)", () => {
  /** Returns everything on the disk, one character a byte. */
  const bytesIn = (folder: string): string =>
    readdirSync(folder).map((name) => readFileSync(join(folder, name), "latin1")).join("\n");

  /**
   * Installs, and updates with a handler that fails, so that the event stays. Returns what is on the disk, and the tokens.
   */
  async function run(
    wrap: (storage: Storage) => Storage,
  ): Promise<{ folder: string; tokens: string[]; disk: string }> {
    const folder = mkdtempSync(join(tmpdir(), "encrypted-"));
    const { app, portal, send } = rig({ storage: wrap(fileStorage({ path: join(folder, "app.db") })) });
    app.upgrade("3", () => Promise.reject(new Error("not yet")));
    const bodies: string[] = [];
    for (const next of [() => portal.install(2), () => portal.update(3, { rotateToken: true })]) {
      bodies.push(next());
      assert.equal(await send(bodies.at(-1)!), 200);
    }
    assert.equal((await app.portal(MEMBER_ID))?.failure?.attempts, 1);
    const tokens = bodies.flatMap((body) => [...new URLSearchParams(body)])
      .flatMap(([name, value]) => /\[(access_token|refresh_token|application_token)\]$/.test(name) ? [value] : []);
    assert.equal(tokens.length, 6);
    const open = bytesIn(folder);
    await app.close();
    return { folder, tokens, disk: open + bytesIn(folder) };
  }

  it("stores no token of an event in plain text", async () => {
    const { folder, tokens, disk } = await run((storage) => encrypted(storage, old));
    try {
      assert.ok(disk.includes(MEMBER_ID), "keys stay readable");
      assert.deepEqual(tokens.filter((token) => disk.includes(token)), []);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it("would store them in plain text without encryption", async () => {
    const { folder, tokens, disk } = await run((storage) => storage);
    rmSync(folder, { recursive: true });
    assert.deepEqual(tokens.filter((token) => !disk.includes(token)), []);
  });

  it("answers 503 with a wrong key and changes nothing, and works again with the right one", async () => {
    const { folder } = await run((storage) => encrypted(storage, old));
    const reopen = (): Storage => fileStorage({ path: join(folder, "app.db") });
    const entries = async (): Promise<unknown[]> => {
      const storage = reopen();
      const found: unknown[] = [];
      for await (const entry of storage.list([])) found.push(entry);
      await storage.close?.();
      return found;
    };
    try {
      const before = await entries();
      const wrong = rig({ storage: encrypted(reopen(), { keys: { "2026": NEW }, current: "2026" }) });
      assert.equal(await wrong.send(wrong.portal.install(2)), 503);
      assert.deepEqual(await wrong.app.tick(), { handled: 0, failed: 0 });
      wrong.later();
      assert.deepEqual(await wrong.app.tick(), { handled: 0, failed: 1 });
      await wrong.app.close();
      assert.deepEqual(await entries(), before);

      const right = rig({ storage: encrypted(reopen(), old) });
      let upgraded = 0;
      right.app.upgrade("3", () => void upgraded++);
      right.later();
      assert.deepEqual(await right.app.tick(), { handled: 1, failed: 0 });
      assert.equal((await right.app.portal(MEMBER_ID))?.version, "3.0.0");
      await right.app.close();
      assert.equal(upgraded, 1);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

test("an app answers 503 to the event of a portal whose record is encrypted in a newer format, and changes nothing", async () => {
  const backend = memoryStorage();
  const { app, portal, send, lines } = rig({ storage: encrypted(backend, old) });
  const newer = { encrypted: 2, key: "2026", data: "?" };
  await backend.put(["portal", MEMBER_ID], newer);
  assert.equal(await send(portal.install(1)), 503);
  assert.deepEqual(await entriesOf(backend, ["app"]), [[["portal", MEMBER_ID], newer]]);
  assert.ok(lines.some((line) => line.includes("has format 2")));
  await app.close();
});

test("an app without encrypted() answers 503 to the event of a portal whose record is encrypted, and says why", async () => {
  const backend = memoryStorage();
  await encrypted(backend, old).put(["portal", MEMBER_ID], { format: 1 });
  const { app, portal, send, lines } = rig({ storage: backend });
  assert.equal(await send(portal.update(2)), 503);
  const wanted = `portal ${MEMBER_ID} has no format, wanted 1; if it is encrypted, wrap the storage in encrypted()`;
  assert.ok(lines.some((line) => line.includes(wanted)), String(lines.at(-1)));
  await app.close();
});

test("encrypted() lists in the order of keys", async () => {
  const storage = encrypted(memoryStorage(), old);
  const keys: Key[] = [["b"], ["a", "b"], ["a"], ["\u{1F600}"], ["\uffee"]];
  for (const key of keys) await storage.put(key, key);
  assert.deepEqual(await listed(storage), keys.toSorted(compareKeys));
});

describe("encrypted() with an ordered write", () => {
  it("encrypts every value, and passes all operations on in one call", async () => {
    const backend = memoryStorage();
    const calls: (readonly WriteOperation[])[] = [];
    const storage = encrypted({
      ...backend,
      write: (operations, options) => {
        calls.push(operations);
        return backend.write!(operations, options);
      },
    }, old);
    const { version } = await storage.put(KEY, 1) as { readonly version: string };
    const result = await storage.write!([
      { put: ["a"], value: VALUE, ttlMs: 60_000 },
      { put: KEY, value: VALUE, ifVersion: version },
      { delete: ["b"] },
    ]);
    assert.equal(result.ok, true);
    const [operations] = calls as [WriteOperation[]];
    assert.equal(calls.length, 1);
    assert.doesNotMatch(JSON.stringify(operations), /3a0f7d66/);
    assert.deepEqual(operations.map(({ ifVersion }) => ifVersion), [undefined, version, undefined]);
    assert.deepEqual((await storage.get(["a"]))?.value, VALUE);
    assert.deepEqual((await storage.get(KEY))?.value, VALUE);
    assert.ok((await storage.get(["a"]))!.expiresAt! > 0);
  });

  it("has none if the storage has none", async () => {
    const { write: _, ...backend } = memoryStorage();
    const storage = encrypted(backend, old);
    assert.equal(storage.write, undefined);
    assert.equal((await writeInOrder(storage, [{ put: KEY, value: VALUE }])).ok, true);
    assert.deepEqual((await storage.get(KEY))?.value, VALUE);
  });
});
