import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { createApp, type Storage } from "@b24/onappupdate";
import { FormatError, StorageError } from "@b24/onappupdate/errors";
import type { Entry, Key, WriteOperation } from "@b24/onappupdate/storage";
import {
  denoKvStorage,
  type DenoKvStorageOptions,
  type KvAtomicLike,
  type KvEntryLike,
  type KvLike,
} from "@b24/onappupdate/deno-kv-storage";
import { storageConformance, type StorageWorkerCommand } from "@b24/onappupdate/testing";
import { deadlineFactor } from "../../../scripts/test_run.ts";
import { faultyKv, kvBackend, type KvFaults, type OpenKv, openKv } from "../../support/deno_kv.ts";
import { runArgs } from "../../support/process.ts";
import { afterEach, beforeEach, describe, it, test } from "../../support/test.ts";

const WORKER = fileURLToPath(new URL("deno_kv_storage_worker.ts", import.meta.url));

function commandOf(storage: Storage): StorageWorkerCommand {
  return { command: process.execPath, args: [...runArgs, WORKER, opened.get(storage)!.path] };
}

interface Opened {
  readonly path: string;
  readonly faults: KvFaults;
  readonly close: () => void;
}

const opened = new Map<Storage, Opened>();
for (const clock of ["injected", "real"] as const) {
  storageConformance({
    name: `denoKvStorage, ${clock} clock`,
    test,
    clock,
    create: async (time) => {
      const folder = mkdtempSync(join(tmpdir(), "deno-kv-storage-"));
      const path = join(folder, "app.db");
      const kv = await openKv(path);
      const faults: KvFaults = {};
      const storage = denoKvStorage(faultyKv(kv, faults), {
        timeoutMs: 30_000,
        ...(clock === "injected" ? { clock: time } : {}),
      });
      const close = (): void => {
        kv.close();
        rmSync(folder, { recursive: true });
      };
      opened.set(storage, { path, faults, close });
      return storage;
    },
    dispose: (storage) => opened.get(storage)!.close(),
    // The processes use the system's clock.
    worker: clock === "real" ? commandOf : false,
    backend: {
      of: (storage) => kvBackend(opened.get(storage)!.faults),
      can: ["stop", "start", "delay", "loseReply", "fill", "drain"],
    },
  });
}

const KEY: Key = ["portal", "a223"];
/** A value that is stored in chunks. */
const LONG = "x".repeat(100_000);

let kv: OpenKv;
let faults: KvFaults;
/** Requests to the database. */
let requests: string[];
let now: number;

beforeEach(async () => {
  kv = await openKv(":memory:");
  requests = [];
  faults = {};
  now = 1_785_300_000_000;
});
afterEach(() => kv.close());

/** Returns a storage over `kv` with `faults`. */
function open(options: DenoKvStorageOptions = {}): Storage {
  const counting: KvFaults = {
    before: (method) => {
      requests.push(method);
      return faults.before?.(method);
    },
    after: (committed) => faults.after?.(committed),
  };
  return denoKvStorage(faultyKv(kv, counting), { clock: () => now, ...options });
}

/** Returns everything in the database. */
async function raw(): Promise<Raw[]> {
  return await Array.fromAsync(kv.list({ start: [""], end: [true] }, { limit: 1000, batchSize: 100 })) as Raw[];
}

interface Raw extends KvEntryLike {
  readonly key: readonly string[];
}

function fromBytes(bytes: unknown): Record<string, unknown> {
  return JSON.parse(new TextDecoder().decode(bytes as Uint8Array));
}

function toBytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** Returns the number of chunks in the database. */
async function chunksLeft(): Promise<number> {
  return (await raw()).filter(({ key }) => key[1] === "chunk").length;
}

/** Returns the number of markers of large values in the database. */
async function markersLeft(): Promise<number> {
  return (await raw()).filter(({ key }) => key[1] === "large").length;
}

/** Every method, for requirements that are the same for all. */
const METHODS: readonly { readonly name: string; readonly call: Call }[] = [
  { name: "get", call: (storage, key, options) => storage.get(key, options) },
  { name: "put", call: (storage, key, options) => storage.put(key, 1, options) },
  {
    name: "put of a new entry",
    call: (storage, key, options) => storage.put(key, 1, { ifVersion: null, ...options }),
  },
  { name: "delete", call: (storage, key, options) => storage.delete(key, options) },
  { name: "list", call: (storage, key, options) => Array.fromAsync(storage.list(key, options)) },
];
type Call = (storage: Storage, key: Key, options?: { readonly signal: AbortSignal }) => Promise<unknown>;

/** Returns a check for `assert.rejects`. */
function storageError(message: string | RegExp, cause?: unknown): (error: Error) => true {
  return (error) => {
    assert.ok(error instanceof StorageError, String(error));
    if (typeof message === "string") assert.equal(error.message, message);
    else assert.match(error.message, message);
    if (cause !== undefined) assert.equal(error.cause, cause);
    return true;
  };
}

describe("denoKvStorage()", () => {
  it("has capabilities that depend on the scope", () => {
    const maxValueBytes = 786_432;
    assert.equal(open().name, "deno-kv");
    assert.deepEqual(open().capabilities, { durable: true, scope: "host", maxValueBytes });
    assert.deepEqual(open({ scope: "network" }).capabilities, { durable: true, scope: "network", maxValueBytes });
    assert.deepEqual(open({ scope: "process" }).capabilities, { durable: false, scope: "process", maxValueBytes });
  });

  it("stores an entry under a readable key, in a format that every runtime reads", async () => {
    await open().put(KEY, { version: "2.0.0", name: "Ромашка" }, { ttlMs: 1000 });
    const [{ key, value }] = await raw() as [Raw];
    assert.deepEqual(key, ["onappupdate", "entry", "portal", "a223"]);
    const { writeId, ...rest } = fromBytes(value);
    assert.match(String(writeId), /^[0-9a-f-]{36}$/);
    assert.deepEqual(rest, {
      format: 1,
      key: ["portal", "a223"],
      value: { version: "2.0.0", name: "Ромашка" },
      expiresAt: now + 1000,
    });
  });

  it("uses only keys with its prefix", async () => {
    const one = open({ prefix: ["apps", "one"] });
    const other = open({ prefix: ["apps", "one", "entry"] });
    await kv.atomic().set(["apps", "one"], "theirs", {}).set(["apps", "one", "entries", "x"], "theirs", {}).commit();
    await one.put(["a"], 1);
    await other.put(["a"], 2);
    await other.put(["b"], LONG);
    assert.deepEqual((await Array.fromAsync(other.list([]))).map(({ key }) => key), [["a"], ["b"]]);
    assert.equal((await one.get(["a"]))?.value, 1);
    assert.equal((await Array.fromAsync(denoKvStorage(kv, { prefix: [] }).list([]))).length, 0);
  });

  it("does not close the handle, which belongs to the caller", async () => {
    const app = createApp({ storage: open() });
    await app.close();
    assert.equal((await open().put(KEY, 1)).ok, true);
  });

  it("rejects after the handle is closed", async () => {
    const closed = await openKv(":memory:");
    const storage = denoKvStorage(closed);
    closed.close();
    for (const { call } of METHODS) {
      await assert.rejects(call(storage, KEY), storageError(/^cannot .* Deno KV: [^\n]+$/));
    }
  });

  for (const timeoutMs of [0, -1, NaN, 2 ** 31, Infinity]) {
    it(`refuses a timeoutMs of ${timeoutMs}`, () => {
      assert.throws(() => open({ timeoutMs }), {
        name: "TypeError",
        message: `cannot use Deno KV with timeoutMs ${timeoutMs}, wanted a number from 1 to 2147483647`,
      });
    });
  }

  it("refuses a prefix that is not a well-formed string", () => {
    assert.throws(() => open({ prefix: ["\ud800"] }), { name: "TypeError", message: /wanted a well-formed string$/ });
  });

  it("accepts keys of 2046 bytes, and refuses longer ones without a request", async () => {
    const storage = open();
    // "onappupdate", "entry" and the end of each part take 22 bytes; a U+0000 takes two.
    for (const longest of ["x".repeat(2024), "\0".repeat(1012), "я".repeat(1012)]) {
      await storage.put([longest], 1);
      await storage.put([longest], 2, { ifVersion: (await storage.get([longest]))!.version });
      assert.deepEqual(await Array.fromAsync(storage.list([], { after: [longest] })), []);
      assert.deepEqual((await Array.fromAsync(storage.list([longest]))).map(({ value }) => value), [2]);
      assert.deepEqual(await storage.delete([longest]), { ok: true });

      requests = [];
      const longer: Key = [`${longest}x`];
      const message = /^cannot use \["[^"]{1,60}… in Deno KV: it has 2047 bytes there, wanted at most 2046$/;
      for (const { call } of METHODS) await assert.rejects(call(storage, longer), storageError(message));
      await assert.rejects(Array.fromAsync(storage.list([], { after: longer })), storageError(message));
      assert.deepEqual(requests, []);
    }
  });
});

describe("denoKvStorage() stores large values in chunks:", () => {
  /** Size of an entry without its value. */
  const HEAD_BYTES = `{"format":1,"writeId":"${crypto.randomUUID()}","key":["portal","a223"],"value":}`.length;
  const values: readonly { readonly what: string; readonly value: string; readonly chunks: number }[] = [
    { what: "the largest value in one entry", value: "x".repeat(65_534 - HEAD_BYTES), chunks: 0 },
    { what: "one byte more", value: "x".repeat(65_535 - HEAD_BYTES), chunks: 1 },
    { what: "one full chunk", value: "x".repeat(65_534), chunks: 1 },
    { what: "one full chunk and a byte", value: "x".repeat(65_535), chunks: 2 },
    { what: "characters that are split between two chunks", value: "\u{1F600}".repeat(50_000), chunks: 4 },
    { what: "the largest value", value: "x".repeat(786_430), chunks: 12 },
    { what: "the largest value, in characters of three bytes each", value: "\uffff".repeat(262_143), chunks: 12 },
  ];
  for (const { what, value, chunks } of values) {
    it(what, async () => {
      const storage = open();
      const longestKey: Key = ["\uffff".repeat(674)];
      for (const key of [KEY, longestKey]) {
        const { version } = await storage.put(key, value) as { version: string };
        if (key === KEY) assert.equal(await chunksLeft(), chunks);
        const entry = { key, value, version };
        // Not deepEqual, which would print the values.
        assert.equal(JSON.stringify(await storage.get(key)) === JSON.stringify(entry), true, "get");
        assert.equal(JSON.stringify(await Array.fromAsync(storage.list([]))) === JSON.stringify([entry]), true, "list");
        assert.deepEqual(await storage.delete(key, { ifVersion: version }), { ok: true });
        assert.equal((await raw()).length, 0);
      }
    });
  }

  it("a larger value is refused with its size and the limit, and nothing is written", async () => {
    const storage = open();
    for (const [value, bytes] of [["x".repeat(786_431), 786_433], ["я".repeat(500_000), 1_000_002]] as const) {
      await assert.rejects(
        storage.put(KEY, value),
        storageError(
          `cannot put ["portal","a223"] into Deno KV: the value has ${bytes} bytes, wanted at most 786432`,
        ),
      );
    }
    assert.deepEqual(requests, []);
  });

  const ends: readonly { readonly what: string; readonly end: (storage: Storage, version: string) => unknown }[] = [
    { what: "put with the version", end: (storage, ifVersion) => storage.put(KEY, 1, { ifVersion }) },
    { what: "delete with the version", end: (storage, ifVersion) => storage.delete(KEY, { ifVersion }) },
    {
      what: "put of a new entry, after the old one has expired",
      end: (storage) => {
        now += 60_000;
        return storage.put(KEY, 1, { ifVersion: null });
      },
    },
  ];
  for (const { what, end } of ends) {
    it(`${what} removes the old chunks`, async () => {
      const storage = open();
      const { version } = await storage.put(KEY, LONG, { ttlMs: 60_000 }) as { version: string };
      assert.equal(await chunksLeft(), 2);
      assert.deepEqual({ ok: true, ...await end(storage, version) as object }.ok, true);
      assert.equal(await chunksLeft(), 0);
      assert.equal(await markersLeft(), 0);
    });
  }

  for (const what of ["put", "delete"] as const) {
    it(`${what} without a version does not read the old value, and later writes remove its chunks`, async () => {
      const storage = open();
      await storage.put(KEY, LONG);
      await storage.put(["kept"], LONG);
      await storage[what](KEY, 1);
      assert.equal((await storage.get(KEY))?.value, what === "put" ? 1 : undefined);
      assert.equal(await chunksLeft(), 4);
      // Another storage on the database, such as that of another process, does it too.
      const other = open();
      for (let i = 0; i < 64; i++) await other.put(["others", String(i)], i);
      assert.equal(await chunksLeft(), 2);
      assert.equal(await markersLeft(), 1);
      assert.equal((await storage.get(["kept"]))?.value === LONG, true);
    });
  }

  it("a shorter value in chunks leaves none of the longer one before", async () => {
    const storage = open();
    for (const remove of [() => storage.delete(KEY), () => storage.put(KEY, 1)]) {
      await storage.put(KEY, "y".repeat(300_000));
      await remove();
      await storage.put(KEY, LONG);
      assert.equal(await chunksLeft(), 2);
      assert.equal(await markersLeft(), 1);
    }
  });

  it("the sweep goes through all large values, a page at a time", async () => {
    const storage = open();
    for (let i = 0; i < 130; i++) await storage.put(["large", String(i)], LONG);
    for (let i = 0; i < 130; i++) await storage.delete(["large", String(i)]);
    for (let i = 0; i < 192; i++) await storage.put(["a"], i);
    assert.equal(await chunksLeft(), 0);
    assert.equal(await markersLeft(), 0);
  });

  it("the sweep leaves a large value that is written while it runs", async () => {
    const storage = open();
    await storage.put(KEY, LONG);
    await storage.put(KEY, 1);
    for (let i = 0; i < 61; i++) await storage.put(["a"], i);
    let swept = false;
    faults.before = async (method) => {
      if (method !== "commit" || swept) return;
      swept = true;
      await denoKvStorage(kv, { clock: () => now }).put(KEY, LONG);
    };
    await storage.put(["a"], 62);
    assert.equal(swept, true);
    assert.equal((await storage.get(KEY))?.value === LONG, true);
  });

  it("a refused write does not change the chunks", async () => {
    const storage = open();
    await storage.put(KEY, LONG);
    await storage.put(KEY, "y".repeat(200_000), { ifVersion: null });
    assert.deepEqual(await storage.delete(KEY, { ifVersion: "none" }), { ok: false });
    assert.equal((await storage.get(KEY))?.value === LONG, true);
    assert.equal(await chunksLeft(), 2);
  });

  /** Calls `run` once between the next read of an entry and the read of its chunks. */
  function betweenReads(run: () => Promise<unknown>): void {
    faults.before = async (method) => {
      if (method !== "list") return;
      faults.before = undefined;
      await run();
    };
  }

  it("get() resolves to the new value if the entry is replaced during the read", async () => {
    const storage = open();
    for (const next of ["short", "y".repeat(200_000)]) {
      const { version } = await storage.put(KEY, LONG) as { version: string };
      betweenReads(() => denoKvStorage(kv).put(KEY, next, { ifVersion: version }));
      assert.equal((await storage.get(KEY))?.value === next, true);
    }
  });

  it("get() resolves to the old value if a short one replaces it without a version during the read", async () => {
    const storage = open();
    await storage.put(KEY, LONG);
    betweenReads(() => denoKvStorage(kv).put(KEY, "short"));
    assert.equal((await storage.get(KEY))?.value === LONG, true);
    assert.equal((await storage.get(KEY))?.value, "short");
  });

  it("get() resolves to null if the entry is deleted or expires during the read", async () => {
    const storage = open();
    const { version } = await storage.put(KEY, LONG) as { version: string };
    betweenReads(() => denoKvStorage(kv).delete(KEY, { ifVersion: version }));
    assert.equal(await storage.get(KEY), null);

    await storage.put(KEY, LONG, { ttlMs: 1000 });
    betweenReads(async () => {
      now += 1000;
      for (const { key } of await raw()) if (key[1] === "chunk") await kv.atomic().delete(key).commit();
    });
    assert.equal(await storage.get(KEY), null);
  });

  it("list() yields the value that an entry has when it is reached", async () => {
    const storage = open();
    for (const part of ["a", "b", "c", "d"]) await storage.put([part], LONG);
    const seen: unknown[] = [];
    for await (const { key, value } of storage.list<string>([])) {
      seen.push([key[0], value.length]);
      if (key[0] !== "a") continue;
      await storage.put(["b"], "b");
      await storage.delete(["c"]);
    }
    assert.deepEqual(seen, [["a", 100_000], ["b", 1], ["d", 100_000]]);
  });

  it("an entry with missing chunks is an error, not absent", async () => {
    const storage = open();
    await storage.put(KEY, LONG);
    const [chunk] = (await raw()).filter(({ key }) => key[1] === "chunk");
    await kv.atomic().delete(chunk!.key).commit();
    const missing = storageError(/^cannot (get|list) .* Deno KV: chunks of the stored value are missing$/);
    await assert.rejects(storage.get(KEY), missing);
    await assert.rejects(Array.fromAsync(storage.list([])), missing);
    assert.deepEqual(await storage.delete(KEY), { ok: true });
  });

  it("concurrent readers and writers see complete values, and only the last value's chunks remain", async () => {
    const storage = open();
    const texts = ["a", "b", "c"].map((letter, i) => letter.repeat(70_000 * i + 10_000));
    await storage.put(KEY, texts[0]);
    await Promise.all([
      ...texts.map(async (text) => {
        for (let i = 0; i < 10; i++) await storage.put(KEY, text);
      }),
      ...texts.map(async () => {
        for (let i = 0; i < 20; i++) assert.ok(texts.includes((await storage.get<string>(KEY))!.value), "a torn value");
      }),
    ]);
    const { length } = (await storage.get<string>(KEY))!.value;
    for (let i = 0; i < 64; i++) await storage.put(["others"], i);
    assert.equal(await chunksLeft(), length === 10_000 ? 0 : Math.ceil(length / 65_536));
  });
});

describe("denoKvStorage() expires entries", () => {
  it("at their expiry time, although the database still has them", async () => {
    const storage = open();
    const { version } = await storage.put(KEY, 1, { ttlMs: 1000 }) as { version: string };
    now += 1000;
    assert.equal((await raw()).length, 1);
    assert.equal(await storage.get(KEY), null);
    assert.deepEqual(await Array.fromAsync(storage.list([])), []);
    assert.deepEqual(await storage.put(KEY, 2, { ifVersion: version }), { ok: false });
    assert.deepEqual(await storage.delete(KEY, { ifVersion: version }), { ok: false });
    assert.equal((await storage.put(KEY, 2, { ifVersion: null })).ok, true);
    assert.deepEqual(await storage.put(KEY, 3, { ifVersion: version }), { ok: false });
  });

  it("not before their expiry time", async () => {
    const storage = open();
    const { version } = await storage.put(KEY, 1, { ttlMs: 1000 }) as { version: string };
    now += 999;
    assert.deepEqual(await storage.put(KEY, 2, { ifVersion: null }), { ok: false });
    assert.equal((await storage.put(KEY, 2, { ifVersion: version })).ok, true);
  });

  const times: readonly { readonly ttlMs: number | undefined; readonly expireIn: number | undefined }[] = [
    { ttlMs: undefined, expireIn: undefined },
    { ttlMs: 1000, expireIn: 61_000 },
    { ttlMs: 0.5, expireIn: 60_001 },
    { ttlMs: 0, expireIn: 60_000 },
    { ttlMs: -5000, expireIn: 60_000 },
    { ttlMs: 1e300, expireIn: 3_200_000_060_000 },
  ];
  for (const { ttlMs, expireIn } of times) {
    it(`with ttlMs ${ttlMs}: the database removes them after ${expireIn} ms`, async () => {
      const saw: unknown[] = [];
      const spying: KvLike = {
        get: (key) => kv.get(key),
        list: (range, options) => kv.list(range, options),
        atomic: () => {
          const operation = kv.atomic();
          const set = operation.set.bind(operation);
          return Object.assign(operation, {
            set: (...args: Parameters<typeof set>) => {
              saw.push(args[2].expireIn);
              return set(...args);
            },
          });
        },
      };
      const storage = denoKvStorage(spying, { clock: () => now });
      for (const [part, value] of [["a", 1], ["b", LONG]] as const) {
        await storage.put([part], value, ttlMs === undefined ? {} : { ttlMs });
      }
      assert.deepEqual(saw, Array(5).fill(expireIn), "the entry, then an entry with a marker and two chunks");
      assert.equal(await storage.get(["a"]) === null, ttlMs !== undefined && ttlMs <= 0);
    });
  }
});

describe("denoKvStorage() sends as few requests as possible:", () => {
  const entry = (storage: Storage): Promise<Entry<unknown> | null> => storage.get(KEY);
  const costs: readonly {
    readonly what: string;
    readonly stored?: unknown;
    readonly wanted: readonly string[];
    readonly run: (storage: Storage, version: string) => Promise<unknown>;
  }[] = [
    { what: "get of an absent entry", wanted: ["get"], run: entry },
    { what: "get of an entry", stored: 1, wanted: ["get"], run: entry },
    { what: "get of an entry in chunks", stored: LONG, wanted: ["get", "list"], run: entry },
    { what: "put without a version, of a new entry", wanted: ["commit"], run: (storage) => storage.put(KEY, 2) },
    {
      what: "put of a new entry",
      wanted: ["commit"],
      run: (storage) => storage.put(KEY, LONG, { ifVersion: null }),
    },
    {
      what: "put with the version, over an entry in chunks",
      stored: LONG,
      wanted: ["commit"],
      run: (storage, ifVersion) => storage.put(KEY, 2, { ifVersion }),
    },
    {
      what: "put without a version, over an entry in chunks",
      stored: LONG,
      wanted: ["commit"],
      run: (storage) => storage.put(KEY, 2),
    },
    {
      what: "refused put",
      stored: 1,
      wanted: ["commit", "get"],
      run: (storage) => storage.put(KEY, 2, { ifVersion: null }),
    },
    {
      what: "put with a version that no entry has had",
      stored: 1,
      wanted: [],
      run: (storage) => storage.put(KEY, 2, { ifVersion: "none" }),
    },
    { what: "delete of an absent entry", wanted: ["commit"], run: (storage) => storage.delete(KEY) },
    { what: "delete of an entry in chunks", stored: LONG, wanted: ["commit"], run: (storage) => storage.delete(KEY) },
    {
      what: "write",
      stored: LONG,
      wanted: ["commit"],
      run: (storage, ifVersion) =>
        storage.write!([
          { put: ["a"], value: 1 },
          { put: KEY, value: 2, ifVersion },
          { put: ["b"], value: LONG, ifVersion: null },
          { delete: ["c"] },
        ]),
    },
    {
      what: "refused write",
      stored: 1,
      wanted: ["commit", "get", "get"],
      run: (storage) =>
        storage.write!([{ put: ["a"], value: 1 }, { put: KEY, value: 2, ifVersion: null }, { delete: ["c"] }]),
    },
    {
      what: "delete with the version, of an entry in chunks",
      stored: LONG,
      wanted: ["commit"],
      run: (storage, ifVersion) => storage.delete(KEY, { ifVersion }),
    },
    { what: "list", stored: 1, wanted: ["list"], run: (storage) => Array.fromAsync(storage.list(["portal"])) },
    {
      what: "list of an entry in chunks",
      stored: LONG,
      wanted: ["list", "get", "list"],
      run: (storage) => Array.fromAsync(storage.list([])),
    },
    {
      what: "list up to the limit",
      stored: 1,
      wanted: ["list"],
      run: (storage) => Array.fromAsync(storage.list([], { limit: 1 })),
    },
  ];
  for (const { what, stored, wanted, run } of costs) {
    it(what, async () => {
      const storage = open();
      const version = stored === undefined ? "" : (await storage.put(KEY, stored) as { version: string }).version;
      requests = [];
      await run(storage, version);
      assert.deepEqual(requests, wanted);
    });
  }
});

describe("denoKvStorage() splits a write that Deno KV does not take at once:", () => {
  /** Size of an atomic operation. */
  interface Committed {
    checks: number;
    mutations: number;
    /** Bytes of the values. */
    bytes: number;
  }

  /** Returns a storage, and the atomic operations that it commits. */
  function watched(): { readonly storage: Storage; readonly commits: Committed[] } {
    const commits: Committed[] = [];
    const count = (operation: KvAtomicLike, size: Committed): KvAtomicLike => ({
      check: (check) => count(operation.check(check), { ...size, checks: size.checks + 1 }),
      set: (key, value, options) => {
        const bytes = size.bytes + (value as Uint8Array).length;
        return count(operation.set(key, value, options), { ...size, mutations: size.mutations + 1, bytes });
      },
      delete: (key) => count(operation.delete(key), { ...size, mutations: size.mutations + 1 }),
      commit: () => {
        commits.push(size);
        return operation.commit();
      },
    });
    const watching: KvLike = {
      get: (key) => kv.get(key),
      list: (range, options) => kv.list(range, options),
      atomic: () => count(kv.atomic(), { checks: 0, mutations: 0, bytes: 0 }),
    };
    return { storage: denoKvStorage(watching, { clock: () => now }), commits };
  }

  const puts = (count: number, value: unknown, condition: { readonly ifVersion?: null } = {}): WriteOperation[] =>
    Array.from({ length: count }, (_, i) => ({ put: ["n", String(i).padStart(4, "0")], value, ...condition }));

  it("at most 10 checks in an atomic operation", async () => {
    const { storage, commits } = watched();
    assert.equal((await storage.write!(puts(25, 1, { ifVersion: null }))).ok, true);
    assert.deepEqual(commits.map(({ checks }) => checks), [10, 10, 5]);
  });

  it("only conditions become checks", async () => {
    const { storage, commits } = watched();
    await storage.write!([...puts(30, 1), { put: KEY, value: 1, ifVersion: null }, { delete: ["none"] }]);
    assert.deepEqual(commits.map(({ checks }) => checks), [1]);
  });

  it("at most 1000 mutations", async () => {
    const { storage, commits } = watched();
    assert.equal((await storage.write!(puts(2500, 1))).ok, true);
    assert.deepEqual(commits.map(({ mutations }) => mutations), [1000, 1000, 500]);
    assert.equal((await Array.fromAsync(storage.list(["n"]))).length, 2500);
  });

  it("at most 800 KiB", async () => {
    const { storage, commits } = watched();
    assert.equal((await storage.write!(puts(5, "x".repeat(400_000)))).ok, true);
    assert.equal(commits.length, 3);
    assert.ok(commits.every(({ bytes }) => bytes <= 819_200));
    assert.equal((await Array.fromAsync(storage.list(["n"]))).length, 5);
  });

  it("at most 80 KiB of keys", async () => {
    const { storage } = watched();
    const keys = Array.from({ length: 60 }, (_, i): Key => ["я".repeat(1000), String(i)]);
    assert.equal((await storage.write!(keys.map((put) => ({ put, value: 1 })))).ok, true);
    assert.equal((await Array.fromAsync(storage.list([]))).length, 60);
  });

  it("in order: a condition that fails stops it, and the operations before are applied", async () => {
    const { storage, commits } = watched();
    await storage.put(["n", "0023"], "theirs");
    assert.deepEqual(await storage.write!(puts(45, 1, { ifVersion: null })), { ok: false, failedAt: 23 });
    assert.equal(commits.length, 1 + 3);
    const entries = await Array.fromAsync(storage.list<unknown>(["n"]));
    assert.deepEqual(entries.map(({ value }) => value), [...Array(20).fill(1), "theirs"]);
  });

  it("the versions of all parts are those of the entries", async () => {
    const { storage } = watched();
    const result = await storage.write!(puts(15, LONG, { ifVersion: null }));
    assert.ok(result.ok);
    assert.deepEqual(result.versions, (await Array.fromAsync(storage.list(["n"]))).map(({ version }) => version));
  });

  it("an expired entry with chunks is replaced as an absent one, in the same atomic operation", async () => {
    const { storage, commits } = watched();
    await storage.put(KEY, LONG, { ttlMs: 1000 });
    now += 1000;
    const result = await storage.write!([{ put: ["a"], value: 1 }, { put: KEY, value: 2, ifVersion: null }]);
    assert.ok(result.ok);
    assert.equal(result.versions[1], (await storage.get(KEY))?.version);
    assert.equal(commits.length, 1 + 2);
    assert.equal(await chunksLeft(), 0);
  });
});

describe("denoKvStorage() distinguishes a lost reply from a conflict:", () => {
  const lost = new Error("connection reset");

  /** Makes the next commit succeed and its reply get lost. */
  function loseReply(meanwhile?: () => Promise<unknown>): void {
    faults.after = async () => {
      faults.after = undefined;
      await meanwhile?.();
      throw lost;
    };
  }

  /** Returns the database with every commit sent twice, as by clients that repeat requests on their own. */
  function repeat(meanwhile?: () => Promise<unknown>): KvLike {
    return {
      get: (key) => kv.get(key),
      list: (range, options) => kv.list(range, options),
      atomic: () => {
        const operation = kv.atomic();
        const commit = operation.commit.bind(operation);
        return Object.assign(operation, {
          commit: async () => {
            await commit();
            await meanwhile?.();
            return await commit();
          },
        });
      },
    };
  }

  const puts: readonly { readonly what: string; readonly put: (storage: Storage, version: string) => unknown }[] = [
    { what: "put", put: (storage) => storage.put(["new"], 2) },
    { what: "put of a new entry", put: (storage) => storage.put(["new"], 2, { ifVersion: null }) },
    { what: "put with the version", put: (storage, ifVersion) => storage.put(KEY, 2, { ifVersion }) },
    { what: "put of a value in chunks", put: (storage, ifVersion) => storage.put(KEY, LONG, { ifVersion }) },
  ];
  for (const { what, put } of puts) {
    it(`${what} is ok if the write was committed`, async () => {
      for (const how of ["lost", "repeated"] as const) {
        const storage = open();
        await storage.delete(["new"]);
        const { version } = await storage.put(KEY, 1) as { version: string };
        if (how === "lost") loseReply();
        const result = await put(how === "lost" ? storage : denoKvStorage(repeat(), { clock: () => now }), version);
        const [entry] = (await Array.fromAsync(storage.list([]))).filter(({ value }) => value !== 1);
        assert.deepEqual(result, { ok: true, version: entry?.version }, how);
      }
    });

    it(`${what} rejects if a later write hides whether it was committed`, async () => {
      const storage = open();
      const { version } = await storage.put(KEY, 1) as { version: string };
      loseReply(async () => {
        await denoKvStorage(kv).put(KEY, "of another");
        await denoKvStorage(kv).put(["new"], "of another");
      });
      await assert.rejects(
        async () => await put(storage, version),
        storageError(/^cannot put \["[^\]]+"\] into Deno KV: connection reset$/, lost),
      );
    });

    it(`${what} rejects if the write was not committed`, async () => {
      const storage = open();
      const { version } = await storage.put(KEY, 1) as { version: string };
      const before = await raw();
      faults.before = (method) => {
        if (method === "commit") throw lost;
      };
      await assert.rejects(async () => await put(storage, version), storageError(/: connection reset$/, lost));
      assert.deepEqual(await raw(), before);
      assert.equal(requests.filter((method) => method === "commit").length, 2, "the first one, and one that failed");
    });
  }

  it("put rejects with the first error if the entry cannot be read back", async () => {
    const storage = open();
    faults.before = (method) => {
      throw method === "commit" ? lost : new Error("gone for good");
    };
    await assert.rejects(storage.put(KEY, 1), storageError(/: connection reset$/, lost));
  });

  it("delete rejects, because a deletion cannot be verified", async () => {
    const storage = open();
    for (const what of ["delete", "delete with the version"]) {
      const { version } = await storage.put(KEY, 1) as { version: string };
      loseReply();
      await assert.rejects(
        storage.delete(KEY, what === "delete" ? {} : { ifVersion: version }),
        storageError('cannot delete ["portal","a223"] from Deno KV: connection reset', lost),
      );
      assert.equal(await storage.get(KEY), null);
    }
  });

  it("put and delete without a version replace a concurrent write", async () => {
    for (const next of ["short", LONG]) {
      const runs = [
        () => open().put(KEY, 2),
        () => open().delete(KEY),
        () => open().write!([{ put: KEY, value: 2 }]),
        () => open().write!([{ delete: KEY }]),
      ];
      for (const [i, run] of runs.entries()) {
        faults.before = async () => {
          faults.before = undefined;
          await denoKvStorage(kv).put(KEY, next);
        };
        assert.equal((await run()).ok, true);
        assert.equal((await open().get(KEY))?.value, i % 2 === 0 ? 2 : undefined);
      }
    }
  });

  it("write is ok if it was committed, with the versions of all entries", async () => {
    for (const how of ["lost", "repeated"] as const) {
      const storage = open();
      const { version } = await storage.put(KEY, 1) as { version: string };
      await storage.delete(["new"]);
      if (how === "lost") loseReply();
      const repeating = denoKvStorage(repeat(), { clock: () => now });
      const result = await (how === "lost" ? storage : repeating).write!([
        { put: ["a"], value: 2 },
        { put: ["new"], value: LONG, ifVersion: null },
        { delete: KEY, ifVersion: version },
      ]);
      const versions = [(await storage.get(["a"]))?.version, (await storage.get(["new"]))?.version, undefined];
      assert.deepEqual(result, { ok: true, versions }, how);
    }
  });

  it("a conflict after another write is refused", async () => {
    const storage = open();
    const { version } = await storage.put(KEY, 1) as { version: string };
    await denoKvStorage(kv).put(KEY, 2);
    assert.deepEqual(await storage.put(KEY, 3, { ifVersion: version }), { ok: false });
    assert.deepEqual(await storage.put(KEY, 3, { ifVersion: null }), { ok: false });
    assert.deepEqual(await storage.delete(KEY, { ifVersion: version }), { ok: false });
  });
});

describe("denoKvStorage() on a database that", () => {
  const locked = new TypeError("database is locked");

  for (const { name, call } of METHODS) {
    it(`is locked for a moment: ${name} retries`, async () => {
      const storage = open();
      await storage.put(["portal", "other"], 1);
      let times = 3;
      faults.before = () => {
        if (times-- > 0) throw locked;
      };
      await call(storage, KEY);
      assert.ok(times <= 0);
    });

    it(`stays locked: ${name} rejects`, async () => {
      const storage = open({ timeoutMs: 300 });
      faults.before = () => {
        throw locked;
      };
      const message =
        /^cannot \w+ \["portal","a223"\] (into|from|in) Deno KV: the database was locked by other processes for 300 milliseconds$/;
      await assert.rejects(call(storage, KEY), (error: Error) => {
        assert.equal(error.cause, locked);
        return storageError(message)(error);
      });
      const { length } = requests;
      faults.before = undefined;
      await open({ timeoutMs: 60_000 }).get(KEY);
      assert.equal(requests.length, length + 1, "the rejected call continues");
    });

    it(`never answers: ${name} rejects`, async () => {
      const storage = open({ timeoutMs: 20 });
      faults.before = () => new Promise(() => {});
      await assert.rejects(
        call(storage, KEY),
        storageError(/^cannot \w+ \["portal","a223"\] (into|from|in) Deno KV: no reply for 20 milliseconds$/),
      );
      assert.equal(requests.length, 1);
    });

    it(`never answers: ${name} rejects with the reason of its signal`, async () => {
      const storage = open();
      const reason = new Error("aborted");
      const controller = new AbortController();
      faults.before = () => {
        controller.abort(reason);
        return new Promise(() => {});
      };
      await assert.rejects(call(storage, KEY, { signal: controller.signal }), (error) => error === reason);
      assert.equal(requests.length, 1);
    });

    it(`stays locked: ${name} rejects when its signal is aborted`, async () => {
      const storage = open();
      const controller = new AbortController();
      let times = 0;
      faults.before = () => {
        if (++times === 3) controller.abort(locked);
        throw locked;
      };
      await assert.rejects(call(storage, KEY, { signal: controller.signal }), (error) => error === locked);
      assert.equal(requests.length, 3);
    });

    it(`fails: ${name} rejects with the first line of the error`, async () => {
      const storage = open();
      const cause = new Error("disk I/O error\n\nStack backtrace:\n   0: <unknown>");
      faults.before = () => {
        throw cause;
      };
      const message = /^cannot \w+ \["portal","a223"\] (into|from|in) Deno KV: disk I\/O error$/;
      await assert.rejects(call(storage, KEY), storageError(message, cause));
    });

    // They replace whatever is there, without looking at it.
    if (name === "put" || name === "delete") continue;

    it(`has an entry of a newer format: ${name} rejects and does not change it`, async () => {
      const storage = open();
      const newer = toBytes('{"format":2,"value":{"of":"a later version"}}');
      const rawKey = ["onappupdate", "entry", ...KEY];
      await kv.atomic().set(rawKey, newer, {}).commit();
      await assert.rejects(call(storage, KEY), (error: Error) => {
        assert.ok(error instanceof FormatError, String(error));
        assert.match(error.message, /has format 2, wanted 1/);
        return true;
      });
      assert.deepEqual(fromBytes((await kv.get(rawKey)).value), fromBytes(newer));
    });

    it(`has foreign data under the key of an entry: ${name} rejects and does not change it`, async () => {
      const storage = open();
      const rawKey = ["onappupdate", "entry", ...KEY];
      for (const theirs of ["secret", null, 5n, { format: 1 }, ...["", "secret", "null", "[1]"].map(toBytes)]) {
        await kv.atomic().set(rawKey, theirs, {}).commit();
        const { versionstamp } = await kv.get(rawKey);
        // The message does not quote the data, which may be a token.
        await assert.rejects(call(storage, KEY), storageError(/: the stored data was not written by this storage$/));
        assert.equal((await kv.get(rawKey)).versionstamp, versionstamp);
      }
    });
  }

  it("answers: no listener is left, and no timer that keeps the process alive", async () => {
    const { setTimeout, clearTimeout } = globalThis;
    const timers = new Set<{ readonly hasRef: () => boolean }>();
    let listeners = 0;
    const { signal } = new AbortController();
    const { addEventListener, removeEventListener } = signal;
    Object.assign(signal, {
      addEventListener: (...args: Parameters<typeof addEventListener>) => {
        listeners++;
        addEventListener.apply(signal, args);
      },
      removeEventListener: (...args: Parameters<typeof removeEventListener>) => {
        listeners--;
        removeEventListener.apply(signal, args);
      },
    });
    Object.assign(globalThis, {
      setTimeout: (...args: Parameters<typeof setTimeout>) => {
        const timer = setTimeout(...args);
        timers.add(timer as unknown as { readonly hasRef: () => boolean });
        return timer;
      },
      clearTimeout: (timer: number) => {
        timers.delete(timer as unknown as { readonly hasRef: () => boolean });
        clearTimeout(timer);
      },
    });
    try {
      for (const { call } of METHODS) await call(open(), KEY, { signal });
      assert.equal([...timers].filter((timer) => timer.hasRef()).length, 0, "timers");
      assert.equal(listeners, 0, "listeners");
    } finally {
      Object.assign(globalThis, { setTimeout, clearTimeout });
    }
  });

  it("stops answering between two pages: list rejects", async () => {
    const timeoutMs = 1000 * deadlineFactor();
    const storage = open({ timeoutMs });
    const patient = open({ timeoutMs: 60_000 });
    for (let i = 0; i < 70; i++) await patient.put(["n", String(i)], i);
    let count = 0;
    await assert.rejects(async () => {
      for await (const _ of storage.list(["n"])) if (++count === 1) faults.before = () => new Promise(() => {});
    }, storageError(`cannot list ["n"] in Deno KV: no reply for ${timeoutMs} milliseconds`));
    assert.equal(count, 64);
  });

  it("has a chunk of another write: it is not mixed with the value", async () => {
    const storage = open();
    await storage.put(KEY, LONG);
    const [chunk] = (await raw()).filter(({ key }) => key[1] === "chunk");
    await kv.atomic().set(chunk!.key, chunk!.value, {}).commit();
    await assert.rejects(storage.get(KEY), storageError(/: chunks of the stored value are missing$/));
  });

  it("has damaged chunks: the error does not quote them", async () => {
    const storage = open();
    await storage.put(KEY, LONG);
    const [entry, first] = [
      (await raw()).find(({ key }) => key[1] === "entry")!,
      (await raw()).find(({ key }) => key[1] === "chunk")!,
    ];
    const [second] = (await raw()).filter(({ key }) => key[1] === "chunk").slice(1);
    await kv.atomic().set(entry.key, entry.value, {}).set(first.key, toBytes('"secret"'), {})
      .set(second!.key, second!.value, {}).commit();
    const damaged = storageError('cannot get ["portal","a223"] from Deno KV: the stored value is not JSON');
    await assert.rejects(storage.get(KEY), damaged);
    await assert.rejects(Array.fromAsync(storage.list([])), damaged);
  });
});

describe("denoKvStorage() in several processes", () => {
  let folder: string;
  let path: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "deno-kv-storage-"));
    path = join(folder, "app.db");
  });
  afterEach(() => {
    for (const { kill } of children.splice(0)) kill();
    rmSync(folder, { recursive: true });
  });

  it("reads complete values while two processes write one entry, and leaves no chunks of old ones", async () => {
    const file = await openKv(path);
    const storage = denoKvStorage(file, { timeoutMs: 60_000 });
    try {
      await storage.put(["shared"], "a");
      const writers = ["a", "b"].map((letter) => start(path, "replace", letter));
      const ended = Promise.all(writers.map(({ ended }) => ended));
      let running = true;
      ended.then(() => running = false);
      while (running) assert.match((await storage.get<string>(["shared"]))!.value, /^(a+|b+)$/);
      assert.deepEqual(await ended, [[0, null], [0, null]], writers.map(({ errors }) => errors()).join());

      const { value, key } = (await storage.get<string>(["shared"]))!;
      assert.deepEqual([key, value.length], [["shared"], 140_000]);
      const left = await Array.fromAsync(file.list({ start: [""], end: [true] }, { limit: 100, batchSize: 100 }));
      assert.equal(left.length, 1 + 1 + 3, "the entry, the marker and the chunks");
    } finally {
      file.close();
    }
  });

  it("loses no acknowledged write of a killed process, and has no value with missing chunks", async () => {
    let next = 0;
    for (const writes of [1, 7, 40, 80]) {
      const child = start(path, "write", String(next));
      const acknowledged: number[] = [];
      for await (const line of createInterface({ input: child.output })) {
        acknowledged.push(Number(line));
        if (acknowledged.length === writes) child.kill();
      }
      assert.deepEqual(await child.ended, [null, "SIGKILL"], child.errors());
      assert.ok(acknowledged.length >= writes);

      const file = await openKv(path);
      try {
        const storage = denoKvStorage(file);
        for (const n of acknowledged) {
          assert.equal((await storage.get<{ n: number }>(["written", String(n)]))?.value.n, n);
        }
        const last = (await storage.get<number>(["last"]))!.value;
        assert.ok(last >= acknowledged.at(-1)!, `the last is ${last}, acknowledged was ${acknowledged.at(-1)}`);
        next = last + 1;
      } finally {
        file.close();
      }
    }
  });
});

interface Child {
  readonly output: NodeJS.ReadableStream;
  readonly errors: () => string;
  readonly ended: Promise<unknown[]>;
  readonly kill: () => void;
}

/** Killed after each test, also a failed one. */
const children: Child[] = [];

function start(path: string, job: string, text: string): Child {
  const child = spawn(process.execPath, [...runArgs, WORKER, path, job, text], { stdio: ["ignore", "pipe", "pipe"] });
  let errors = "";
  child.stderr.on("data", (text) => errors += text);
  const started: Child = {
    output: child.stdout,
    errors: () => errors,
    ended: once(child, "close"),
    // Not `child.kill()`: on Deno, it loses the signal of the child.
    kill: () => void (child.exitCode ?? child.signalCode ?? process.kill(child.pid!, "SIGKILL")),
  };
  children.push(started);
  return started;
}
