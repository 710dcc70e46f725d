import assert from "node:assert/strict";
import { EventEmitter } from "node:events";
import { inspect } from "node:util";
import type { Storage } from "@b24/onappupdate";
import { StorageError } from "@b24/onappupdate/errors";
import type { Key } from "@b24/onappupdate/storage";
import {
  type IoredisClient,
  type NodeRedisClient,
  redisStorage,
  type RedisStorageOptions,
} from "@b24/onappupdate/redis-storage";
import { deadlineFactor } from "../../../../scripts/test_run.ts";
import type { Proxy } from "../../../support/proxy.ts";
import { connectRedis, type OpenClient, startRedis, startRedisProxy } from "../../../support/redis.ts";
import { after, afterEach, beforeEach, describe, it } from "../../../support/test.ts";
import { until } from "../../../support/until.ts";

const KEY: Key = ["portal", "a223"];
const LIBRARIES = ["node-redis", "ioredis"] as const;

const server = await startRedis();
after(() => server.remove());

let direct: OpenClient;
/** A storage of an undisturbed client. */
let other: Storage;
beforeEach(async () => {
  await server.command("FLUSHALL");
  direct = await connectRedis("node-redis", [server.port]);
  other = redisStorage(direct.client);
});
const closers: (() => unknown)[] = [];
afterEach(async () => {
  direct.close();
  for (const close of closers.splice(0)) await close();
});

/** Returns a check for `assert.rejects`. */
function storageError(reason: RegExp): (error: Error) => true {
  return (error) => {
    assert.ok(error instanceof StorageError, String(error));
    assert.match(error.message, reason);
    return true;
  };
}

/** Every method, for requirements that are the same for all. */
const METHODS: readonly { readonly name: string; readonly call: (storage: Storage) => Promise<unknown> }[] = [
  { name: "get", call: (storage) => storage.get(KEY) },
  { name: "put", call: (storage) => storage.put(KEY, "late") },
  { name: "put of a new entry", call: (storage) => storage.put(["new"], "late", { ifVersion: null }) },
  { name: "delete", call: (storage) => storage.delete(KEY) },
  { name: "list", call: (storage) => Array.fromAsync(storage.list([])) },
  { name: "write", call: (storage) => storage.write!([{ put: KEY, value: "late" }, { delete: ["new"] }]) },
];

/** Every kind of write of KEY, over an entry with the version `ifVersion`. */
const WRITES: readonly (readonly [
  string,
  (storage: Storage, ifVersion: string | null) => Promise<{ readonly ok: boolean }>,
])[] = [
  ["put", (storage) => storage.put(KEY, "mine")],
  ["create", (storage) => storage.put(KEY, "mine", { ifVersion: null })],
  ["compare-and-set", (storage, ifVersion) => storage.put(KEY, "mine", { ifVersion })],
  ["delete", (storage) => storage.delete(KEY)],
  ["compare-and-delete", (storage, ifVersion) => storage.delete(KEY, { ifVersion: ifVersion! })],
  ["write() with create", (storage) => storage.write!([{ put: KEY, value: "mine", ifVersion: null }])],
  ["write() with delete", (storage, ifVersion) => storage.write!([{ delete: KEY, ifVersion: ifVersion! }])],
];

for (const library of LIBRARIES) {
  const open = async (options: RedisStorageOptions = {}, port = server.port): Promise<Storage> => {
    const { client, close } = await connectRedis(library, [port]);
    closers.push(close);
    const storage = redisStorage(client, options);
    // Learns the server's clock and loads the scripts, which may take longer than a short timeoutMs on a busy host.
    await until("the server answers", () => storage.delete(["none"]).then(() => true, () => false));
    return storage;
  };
  const openBehind = async (options?: RedisStorageOptions): Promise<{ storage: Storage; proxy: Proxy }> => {
    const proxy = await startRedisProxy(server.port);
    closers.push(proxy.stop);
    return { storage: await open(options, proxy.port), proxy };
  };

  describe(`redisStorage() with ${library}, if the server`, () => {
    it("is stopped: every method rejects in time; after the restart: calls work, and no rejected write is done late", async () => {
      const storage = await open({ timeoutMs: 300 });
      await other.put(KEY, 1);
      await server.stop();
      try {
        for (const { call } of METHODS) {
          await assert.rejects(
            call(storage),
            storageError(
              /^cannot (\w+ \[.*\] (from|into|in)|write to) Redis: no (connection|reply) for 300 milliseconds$/,
            ),
          );
        }
      } finally {
        await server.start();
      }
      await until("the client is connected again", () => storage.get(KEY).then(() => true, () => false));
      // Queued writes would have been sent before this call.
      assert.deepEqual((await Array.fromAsync(other.list([]))).map(({ key, value }) => [key, value]), [[KEY, 1]]);
      await until("writes work again", () => storage.put(KEY, 2).then(({ ok }) => ok, () => false));
    });

    it("is back before the deadline: the call succeeds", async () => {
      const { storage, proxy } = await openBehind({ timeoutMs: 60_000 });
      await proxy.stop();
      const result = storage.put(KEY, 1, { ifVersion: null });
      setTimeout(proxy.start, 100);
      assert.equal((await result).ok, true);
    });

    it("hangs: every method rejects in time; after that: no rejected write is done", async () => {
      const storage = await open({ timeoutMs: 200 });
      await other.put(KEY, 1);
      server.pause();
      try {
        for (const { call } of METHODS) {
          await assert.rejects(call(storage), storageError(/ Redis: no reply for 200 milliseconds$/));
        }
      } finally {
        server.resume();
      }
      await until("the server answers again", () => storage.get(KEY).then(() => true, () => false));
      assert.deepEqual((await Array.fromAsync(other.list([]))).map(({ key, value }) => [key, value]), [[KEY, 1]]);
    });

    it("is killed: acknowledged writes are kept", async () => {
      const timeoutMs = 2000 * deadlineFactor();
      const storage = await open({ timeoutMs });
      const acknowledged: number[] = [];
      const writing = (async () => {
        for (let n = 0;; n++) {
          await storage.put(["written", String(n).padStart(6, "0")], n);
          acknowledged.push(n);
        }
      })();
      await Promise.race([until("some writes are acknowledged", () => acknowledged.length > 50), writing]);
      await server.stop("SIGKILL");
      const wanted = new RegExp(` Redis: no (connection|reply) for ${timeoutMs} milliseconds$`);
      await assert.rejects(writing, storageError(wanted));
      await server.start();
      await until("the client is connected again", () => storage.get(KEY).then(() => true, () => false));
      const there = (await Array.fromAsync(storage.list<number>(["written"]))).map(({ value }) => value);
      assert.deepEqual(there.slice(0, acknowledged.length), acknowledged);
    });

    for (const meanwhile of ["nothing", "another write", "a deletion"]) {
      it(`loses the reply to a write, with ${meanwhile} after it: the write is done once, and is never refused`, async () => {
        const { storage, proxy } = await openBehind();
        const after = async (): Promise<void> => {
          if (meanwhile === "another write") await other.put(KEY, "other");
          if (meanwhile === "a deletion") await other.delete(KEY);
        };
        for (const [what, call] of WRITES) {
          await other.delete(KEY);
          const before = /create/.test(what) ? undefined : await other.put(KEY, "before");
          const ifVersion = before?.ok ? before.version : null;
          proxy.loseReply(after);
          const result = call(storage, ifVersion);
          if (what === "compare-and-set" && meanwhile !== "nothing") {
            // It has no receipt, and its version is gone.
            await assert.rejects(result, storageError(/ Redis: the connection was lost, so the outcome is unknown$/));
          } else assert.equal((await result).ok, true, what);
          const mine = /delete/.test(what) ? undefined : "mine";
          const wanted = { "nothing": mine, "another write": "other", "a deletion": undefined }[meanwhile];
          assert.equal((await other.get(KEY))?.value, wanted, what);
        }
      });
    }

    it("loses the reply to a write(): it is recognized by one of its entries that is still there", async () => {
      const { storage, proxy } = await openBehind();
      const before = await other.put(KEY, "before");
      const ifVersion = before.ok ? before.version : null;
      proxy.loseReply(() => other.put(KEY, "other"));
      const result = await storage.write!([{ put: ["a"], value: 1 }, { put: KEY, value: "mine", ifVersion }]);
      assert.equal(result.ok, true);
      assert.equal(result.ok && result.versions[0], (await other.get(["a"]))?.version);
      assert.equal((await other.get(KEY))?.value, "other");
    });

    it("loses the connection before a compare-and-set: the call is repeated, and done", async () => {
      const { storage, proxy } = await openBehind({ timeoutMs: 60_000 });
      const before = await storage.put(KEY, "before");
      const ifVersion = before.ok ? before.version : null;
      const result = storage.put(KEY, "mine", { ifVersion });
      await proxy.stop();
      await proxy.start();
      assert.equal((await result).ok, true);
      assert.equal((await other.get(KEY))?.value, "mine");
    });

    it("has lost the scripts: they are sent again", async () => {
      const storage = await open();
      await storage.put(KEY, 1);
      for (const { name, call } of METHODS) {
        await server.command("SCRIPT", "FLUSH");
        await assert.doesNotReject(call(storage), name);
      }
    });

    it("is a replica: writes reject in time with that reason, and reads work", async () => {
      const storage = await open({ timeoutMs: 200 });
      await storage.put(KEY, 1);
      await server.command("REPLICAOF", "127.0.0.1", "1");
      try {
        const reason = "READONLY You can't write against a read only replica.* for 200 milliseconds$";
        await assert.rejects(storage.put(KEY, 2), storageError(new RegExp(`^cannot put .* into Redis: ${reason}`)));
        await assert.rejects(storage.delete(KEY), storageError(new RegExp(`^cannot delete .* from Redis: ${reason}`)));
        assert.equal((await storage.get(KEY))?.value, 1);
        assert.equal((await Array.fromAsync(storage.list([]))).length, 1);
      } finally {
        await server.command("REPLICAOF", "NO", "ONE");
      }
    });

    it("is a replica until a failover makes it the master: a write waits, and is done", async () => {
      const storage = await open({ timeoutMs: 60_000 });
      await server.command("REPLICAOF", "127.0.0.1", "1");
      const result = storage.put(KEY, 2, { ifVersion: null });
      setTimeout(() => void server.command("REPLICAOF", "NO", "ONE"), 100);
      assert.equal((await result).ok, true);
      assert.equal((await other.get(KEY))?.value, 2);
    });

    it("is out of memory: a put changes nothing, its error does not quote the value, and delete works", async () => {
      const storage = await open();
      await storage.put(KEY, 1, { ttlMs: 60_000 });
      const entries = async (): Promise<string[]> =>
        (await server.command<string[]>("KEYS", "*")).filter((key) => !key.includes(":receipt:")).sort();
      const before = await entries();
      await server.command("CONFIG", "SET", "maxmemory", "1mb");
      try {
        for (const key of [KEY, ["new"] as const]) {
          await assert.rejects(storage.put(key, "secret", { ttlMs: 1000 }), (error: Error) => {
            storageError(/^cannot put .* into Redis: OOM /)(error);
            assert.doesNotMatch(inspect(error, { depth: Infinity, showHidden: true }), /secret/);
            return true;
          });
        }
        assert.deepEqual(await entries(), before);
        assert.equal((await storage.delete(KEY)).ok, true);
        assert.equal(await storage.get(KEY), null);
      } finally {
        await server.command("CONFIG", "SET", "maxmemory", "0");
      }
    });

    it("is unreachable because the client is closed: every method rejects at once", async () => {
      const { client, close } = await connectRedis(library, [server.port]);
      const storage = redisStorage(client);
      close();
      for (const { call } of METHODS) {
        await assert.rejects(
          call(storage),
          storageError(/ Redis: the client is closed, wanted a connected one$/),
        );
      }
    });
  });
}

describe("redisStorage() with a client that", () => {
  /** Returns a client that sends every command by `send`, and none without the options that the storage sets. */
  const client = (send: () => Promise<unknown>): NodeRedisClient => {
    const unset = (): Promise<never> => Promise.reject(new Error("sent with a timer of the client"));
    return {
      ...{ isOpen: true, isReady: true, get: unset, evalSha: unset, eval: unset },
      withCommandOptions: (options: { readonly timeout?: number }) => {
        assert.deepEqual(options, { timeout: undefined });
        return { get: send, evalSha: send, eval: send };
      },
    };
  };

  it("is never answered: at most about a hundred abandoned commands stay in it", async () => {
    let sent = 0;
    const storage = redisStorage(
      client(() => {
        sent++;
        return new Promise(() => {});
      }),
      { timeoutMs: 30 },
    );
    for (const wanted of [60, 120, 120]) {
      const calls = Array.from({ length: 60 }, () => storage.get(KEY));
      const settled = await Promise.allSettled(calls);
      assert.ok(settled.every(({ status }) => status === "rejected"));
      assert.equal(sent, wanted);
    }
  });

  const inScript = "ERR Error running script (call to f_a1): @user_script:37: @user_script: 37: -READONLY wait";
  for (
    const reply of [
      ...["LOADING", "BUSY", "CLUSTERDOWN", "TRYAGAIN", "MASTERDOWN", "READONLY"].map((code) => `${code} wait`),
      inScript,
    ]
  ) {
    it(`is answered ${reply}, which is temporary: the command is repeated`, async () => {
      let tries = 0;
      const storage = redisStorage(
        client(() => ++tries < 3 ? Promise.reject(new Error(reply)) : Promise.resolve(null)),
      );
      assert.equal(await storage.get(KEY), null);
      assert.equal(tries, 3);
    });

    it(`is answered ${reply} until the deadline: the error says so`, async () => {
      const storage = redisStorage(client(() => Promise.reject(new Error(reply))), { timeoutMs: 50 });
      await assert.rejects(storage.get(KEY), (error: Error) => {
        assert.equal(error.message, `cannot get ["portal","a223"] from Redis: ${reply} for 50 milliseconds`);
        return true;
      });
    });
  }

  it("is answered by another error: the command is not repeated, and the cause of the error does not contain it", async () => {
    let tries = 0;
    const refusal = Object.assign(new Error("NOPERM this user has no permissions"), { command: { args: ["secret"] } });
    const storage = redisStorage(client(() => {
      tries++;
      return Promise.reject(refusal);
    }));
    for (const { call } of METHODS) {
      tries = 0;
      await assert.rejects(call(storage), (error: Error) => {
        storageError(/^cannot .* Redis: NOPERM this user has no permissions$/)(error);
        assert.equal((error.cause as Error).message, refusal.message);
        assert.equal("command" in (error.cause as Error), false);
        return true;
      });
      assert.equal(tries, 1);
    }
  });

  for (const kind of ["Redis", "Cluster, with a node of the start", "Cluster, with a later node"]) {
    it(`is an ioredis ${kind} that loses a connection during a refused write: the outcome is unknown`, async () => {
      const nodes = ["first", "later"].map(() => new EventEmitter());
      const emitter = new EventEmitter();
      let interrupt = (): unknown => undefined;
      const send = (): Promise<unknown> => {
        interrupt();
        return Promise.resolve([4 * Date.now(), 0]);
      };
      const client: IoredisClient = {
        ...{ status: "ready", isCluster: kind !== "Redis", nodes: () => nodes.slice(0, 1) },
        on: (event, listener) => emitter.on(event, listener),
        ...{ get: send, evalsha: send, eval: send },
      };
      const storage = redisStorage(client);
      emitter.emit("+node", nodes[1]);
      assert.deepEqual(await storage.put(KEY, 1, { ifVersion: "1" }), { ok: false });
      const connection = { "Redis": emitter, "Cluster, with a later node": nodes[1] }[kind] ?? nodes[0]!;
      interrupt = () => connection.emit("close");
      const unknown = storageError(/^cannot put .* the connection was lost, so the outcome is unknown$/);
      await assert.rejects(storage.put(KEY, 1, { ifVersion: "1" }), unknown);
      assert.deepEqual(await storage.put(KEY, 1, { ifVersion: null }), { ok: false }, "it has a receipt");
      interrupt = () => undefined;
      assert.deepEqual(await storage.put(KEY, 1, { ifVersion: "1" }), { ok: false });
    });
  }
});
