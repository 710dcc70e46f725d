import assert from "node:assert/strict";
import { Cluster, Redis } from "ioredis";
import { createClient, createClientPool, createCluster, createSentinel } from "redis";
import { createApp, type Storage } from "@b24/onappupdate";
import { FormatError, StorageError } from "@b24/onappupdate/errors";
import type { Key } from "@b24/onappupdate/storage";
import { type IoredisClient, type NodeRedisClient, redisStorage } from "@b24/onappupdate/redis-storage";
import { connectRedis, type OpenClient, startRedis } from "../../../support/redis.ts";
import { after, afterEach, beforeEach, describe, it } from "../../../support/test.ts";

const KEY: Key = ["portal", "a223"];
const RAW_KEY = "{onappupdate}:entry:portal\0a223\0";

const server = await startRedis();
after(() => server.remove());

let opened: OpenClient;
let storage: Storage;
beforeEach(async () => {
  await server.command("FLUSHALL");
  opened = await connectRedis("node-redis", [server.port]);
  storage = redisStorage(opened.client);
});
afterEach(() => opened.close());

/** Every method, for requirements that are the same for all. */
const METHODS: readonly { readonly name: string; readonly call: (storage: Storage) => Promise<unknown> }[] = [
  { name: "get", call: (storage) => storage.get(KEY) },
  { name: "put", call: (storage) => storage.put(KEY, 1) },
  { name: "put with a ttlMs", call: (storage) => storage.put(KEY, 1, { ttlMs: 1000 }) },
  { name: "put of a new entry", call: (storage) => storage.put(KEY, 1, { ifVersion: null }) },
  { name: "put over a version", call: (storage) => storage.put(KEY, 1, { ifVersion: "x" }) },
  { name: "delete", call: (storage) => storage.delete(KEY) },
  { name: "delete of a version", call: (storage) => storage.delete(KEY, { ifVersion: "x" }) },
  { name: "list", call: (storage) => Array.fromAsync(storage.list([])) },
  { name: "write", call: (storage) => storage.write!([{ delete: ["other"] }, { put: KEY, value: 1 }]) },
];

/** Returns the number of calls by command during `run`, without those that clients make on their own. */
async function commands(run: () => Promise<unknown>): Promise<Record<string, number>> {
  await server.command("CONFIG", "RESETSTAT");
  await run();
  const stats = await server.command("INFO", "commandstats");
  const calls = [...stats.matchAll(/cmdstat_([a-z|]+):calls=(\d+)/g)].map(([, name, count]) => [name, Number(count)]);
  return Object.fromEntries(
    calls.filter(([name]) => !/^(config|info|hello|client|auth|select|ping)/.test(String(name))),
  );
}

describe("redisStorage()", () => {
  it("has capabilities that depend on the option durable", () => {
    const { client } = opened;
    assert.equal(storage.name, "redis");
    assert.deepEqual(storage.capabilities, { durable: false, scope: "network" });
    assert.deepEqual(redisStorage(client, { durable: true }).capabilities, { durable: true, scope: "network" });
  });

  it("accepts every client of both libraries", () => {
    // They are not connected. The test is that they compile.
    const node = { host: "127.0.0.1", port: server.port };
    const clients = [
      createClient(),
      createCluster({ rootNodes: [{ socket: node }] }),
      createSentinel({ name: "main", sentinelRootNodes: [node] }),
      new Redis({ lazyConnect: true }),
      new Cluster([node], { lazyConnect: true }),
    ] satisfies (NodeRedisClient | IoredisClient)[];
    for (const client of clients) assert.equal(redisStorage(client).name, "redis");
  });

  it("refuses a pool of node-redis, which does not tell whether it is connected", () => {
    const pool: unknown = createClientPool();
    assert.throws(() => redisStorage(pool as NodeRedisClient), {
      name: "TypeError",
      message: /^cannot use Redis with client .*, wanted a client of redis \(node-redis\) 5 or later, but no pool/,
    });
  });

  for (const prefix of ["", "{a}", "a}", "\ud800"]) {
    it(`refuses the prefix ${JSON.stringify(prefix)}`, () => {
      assert.throws(() => redisStorage(opened.client, { prefix }), {
        name: "TypeError",
        message: /^cannot use .*, wanted /,
      });
    });
  }

  for (const timeoutMs of [0, -1, NaN, 2 ** 31, Infinity]) {
    it(`refuses a timeoutMs of ${timeoutMs}`, () => {
      assert.throws(() => redisStorage(opened.client, { timeoutMs }), {
        name: "TypeError",
        message: `cannot use Redis with timeoutMs ${timeoutMs}, wanted a number from 1 to 2147483647`,
      });
    });
  }

  it("stores an entry as text, and its key in the sorted sets of keys and of expiry times", async () => {
    const value = { version: "2.0.0", name: "Ромашка" };
    const { version } = await storage.put(KEY, value) as { readonly version: string };
    assert.equal(await server.command("GET", RAW_KEY), `1 ${version} - ${JSON.stringify(value)}`);
    assert.deepEqual(await server.command("ZRANGE", "{onappupdate}:keys", "0", "-1"), ["portal\0a223\0"]);
    assert.deepEqual(await server.command("ZRANGE", "{onappupdate}:expiry", "0", "-1"), []);

    await storage.put(KEY, value, { ttlMs: 60_000 });
    const { expiresAt } = (await storage.get(KEY))!;
    assert.match(await server.command("GET", RAW_KEY), new RegExp(`^1 \\S{36} ${expiresAt} \\{`));
    assert.equal(Number(await server.command("ZSCORE", "{onappupdate}:expiry", "portal\0a223\0")), expiresAt);
    assert.ok(await server.command<number>("PTTL", RAW_KEY) > 0);

    await storage.put(KEY, value);
    assert.equal(await server.command<number>("PTTL", RAW_KEY), -1);
    assert.deepEqual(await server.command("ZRANGE", "{onappupdate}:expiry", "0", "-1"), []);
  });

  it("leaves nothing of a deleted entry, and the receipt of a write no longer than the write can be repeated", async () => {
    await storage.put(KEY, 1, { ttlMs: 60_000 });
    await storage.delete(KEY);
    for (const key of await server.command<string[]>("KEYS", "*")) {
      assert.match(key, /^\{onappupdate\}:receipt:/);
      const ms = await server.command<number>("PTTL", key);
      assert.ok(ms > 0 && ms <= 6000, `${key} expires in ${ms} milliseconds`);
    }
  });

  it("uses only keys with its prefix", async () => {
    const [one, other] = ["a", "a:entry"].map((prefix) => redisStorage(opened.client, { prefix })) as [
      Storage,
      Storage,
    ];
    await server.command("SET", "a", "theirs");
    await one.put(["x"], 1);
    await other.put(["x"], 2);
    await other.put(["y"], 3);
    assert.deepEqual((await Array.fromAsync(other.list([]))).map(({ key }) => key), [["x"], ["y"]]);
    assert.equal((await one.get(["x"]))?.value, 1);
    assert.equal((await Array.fromAsync(storage.list([]))).length, 0);
  });

  it("does not close the client, which belongs to the caller", async () => {
    const app = createApp({ storage });
    await app.close();
    assert.equal((await storage.put(KEY, 1)).ok, true);
  });

  it("sends one command for each call after the first write, and never scans the database", async () => {
    for (let i = 0; i < 200; i++) await storage.put(["many", String(i)], i);
    await Array.fromAsync(storage.list(["none"]));
    const sent = async (run: () => Promise<unknown>): Promise<Record<string, number>> => {
      const { evalsha = 0, eval: whole = 0, scan = 0, keys = 0, get = 0 } = await commands(run);
      assert.deepEqual({ whole, scan, keys }, { whole: 0, scan: 0, keys: 0 });
      return evalsha === 0 ? { get } : { evalsha };
    };
    assert.deepEqual(await sent(() => storage.get(KEY)), { get: 1 }, "get");
    assert.deepEqual(await sent(() => storage.put(KEY, 1)), { evalsha: 1 }, "put");
    assert.deepEqual(await sent(() => storage.put(KEY, 1, { ifVersion: null })), { evalsha: 1 }, "refused put");
    assert.deepEqual(await sent(() => storage.delete(KEY)), { evalsha: 1 }, "delete");
    const operations = Array.from({ length: 20 }, (_, i) => ({ put: [...KEY, String(i)] as Key, value: 1 }));
    assert.deepEqual(await sent(() => storage.write!([...operations, { delete: KEY }])), { evalsha: 1 }, "write");
    assert.deepEqual(
      await sent(() => Array.fromAsync(storage.list(["many"], { limit: 64 }))),
      { evalsha: 1 },
      "list of 64",
    );
    assert.deepEqual(await sent(() => Array.fromAsync(storage.list(["many"]))), { evalsha: 4 }, "list of 200");
  });

  it("runs few commands in the script of a write", async () => {
    const { version } = await storage.put(KEY, 1) as { readonly version: string };
    assert.deepEqual(await commands(() => storage.put(KEY, 2, { ifVersion: version })), {
      ...{ evalsha: 1, time: 1, getrange: 1, set: 1 },
    });
    const entry = await storage.get(KEY);
    const run = async (): Promise<void> => {
      await storage.write!([
        { put: ["due", "2"], value: 1 },
        { put: KEY, value: 3, ifVersion: entry!.version },
        { delete: ["due", "1"] },
      ]);
    };
    await storage.put(["due", "1"], 1);
    assert.deepEqual(await commands(run), { evalsha: 1, time: 1, getrange: 3, zadd: 1, set: 2, del: 1, zrem: 1 });
  });

  it("leaves no receipt of a write that requires a version", async () => {
    const receipts = async (): Promise<number> => (await server.command<string[]>("KEYS", "*:receipt:*")).length;
    const { version } = await storage.put(KEY, 1) as { readonly version: string };
    assert.equal(await receipts(), 1, "without a condition");
    await server.command("FLUSHALL");
    await storage.put(KEY, 1, { ifVersion: null });
    assert.equal(await receipts(), 1, "create");
    await storage.put(KEY, 2, { ifVersion: version });
    await storage.put(KEY, 2, { ifVersion: (await storage.get(KEY))!.version });
    const { version: last } = (await storage.get(KEY))!;
    await storage.write!([{ put: ["a"], value: 1 }, { delete: ["b"] }, { put: KEY, value: 3, ifVersion: last }]);
    assert.equal((await storage.get(KEY))?.value, 3);
    assert.equal(await receipts(), 1);
  });

  it("leaves a receipt of every write, and reads by a script, through a Sentinel client, which repeats commands", async () => {
    const client = opened.client as NodeRedisClient;
    const sentinel = {
      ...{ isOpen: true, isReady: true, getSentinelNode: () => {} },
      get: client.get.bind(client),
      evalSha: client.evalSha.bind(client),
      eval: client.eval.bind(client),
      withCommandOptions: client.withCommandOptions.bind(client),
    };
    const storage = redisStorage(sentinel);
    const { version } = await storage.put(KEY, 1) as { readonly version: string };
    await server.command("DEL", ...await server.command<string[]>("KEYS", "*:receipt:*"));
    await storage.put(KEY, 2, { ifVersion: version });
    assert.equal((await server.command<string[]>("KEYS", "*:receipt:*")).length, 1);
    const { evalsha } = await commands(() => storage.get(KEY));
    assert.equal(evalsha, 1);
  });

  it("starts no timer of the client for a command", async () => {
    const { timeout } = AbortSignal;
    let timers = 0;
    AbortSignal.timeout = (ms) => {
      timers++;
      return timeout.call(AbortSignal, ms);
    };
    try {
      await opened.client.get("a");
      assert.equal(timers, 1, "the client's own command");
      for (const { call } of METHODS) await call(storage);
      assert.equal(timers, 1);
    } finally {
      AbortSignal.timeout = timeout;
    }
  });

  it("removes what an expired entry has left, when it writes or deletes the entry", async () => {
    for (const write of [() => storage.put(KEY, 2), () => storage.delete(KEY)]) {
      await storage.put(KEY, 1, { ttlMs: 60_000 });
      await server.command("DEL", RAW_KEY); // as Redis does when the entry expires
      await write();
      assert.equal(await server.command("ZCARD", "{onappupdate}:expiry"), 0);
      assert.equal(await server.command("ZCARD", "{onappupdate}:keys"), await storage.get(KEY) === null ? 0 : 1);
      await storage.delete(KEY);
    }
  });

  it("lists past many expired entries, and removes them", async () => {
    let now = 1_785_300_000_000;
    const storage = redisStorage(opened.client, { clock: () => now });
    const puts = Array.from({ length: 3000 }, (_, i) => storage.put(["many", String(i)], i, { ttlMs: 1000 }));
    await Promise.all([...puts, storage.put(["many", "last"], "there")]);
    now += 1000;
    const listed = async (): Promise<unknown[]> =>
      (await Array.fromAsync(storage.list(["many"]))).map(({ value }) => value);
    const first = await commands(async () => assert.deepEqual(await listed(), ["there"]));
    assert.ok(first["evalsha"]! <= 4, `sent ${first["evalsha"]} commands`);
    const second = await commands(async () => assert.deepEqual(await listed(), ["there"]));
    assert.equal(second["evalsha"], 1);
    const left = (await server.command<string[]>("KEYS", "*")).filter((key) => !key.includes(":receipt:"));
    assert.deepEqual(left.sort(), ["{onappupdate}:entry:many\0last\0", "{onappupdate}:keys"]);
  });

  it("removes some expired entries with each write that has a ttlMs", async () => {
    let now = 1_785_300_000_000;
    const storage = redisStorage(opened.client, { clock: () => now });
    for (let i = 0; i < 10; i++) await storage.put(["old", String(i)], i, { ttlMs: 1000 });
    now += 1000;
    for (let i = 0; i < 5; i++) await storage.put(["new", String(i)], i, { ttlMs: 1000 });
    assert.equal(await server.command("ZCARD", "{onappupdate}:keys"), 5);
    assert.equal(await server.command("ZCARD", "{onappupdate}:expiry"), 5);
  });

  it("repairs the set of keys when it lists a key without an entry", async () => {
    await storage.put(KEY, 1);
    await server.command("DEL", RAW_KEY);
    assert.deepEqual(await Array.fromAsync(storage.list([])), []);
    assert.equal(await server.command("ZCARD", "{onappupdate}:keys"), 0);
  });

  it("works for a Redis user with only the documented rights", async () => {
    const rights = ["EVAL", "EVALSHA", "TIME", "EXISTS", "GET", "GETRANGE", "SET", "DEL", "ZADD", "ZREM", "ZSCORE"];
    rights.push("ZRANGEBYLEX", "ZRANGEBYSCORE");
    const user = ["SETUSER", "few", "on", ">secret", "~{onappupdate}:*", "-@all", "+@connection"];
    await server.command("ACL", ...user, ...rights.map((name) => `+${name.toLowerCase()}`));
    const client = createClient({ socket: { port: server.port }, username: "few", password: "secret" });
    client.on("error", () => {});
    await client.connect();
    try {
      const few = redisStorage(client);
      for (const { call } of METHODS) await call(few);
      await few.put(["expires"], 1, { ttlMs: 1 });
      await new Promise((resolve) => setTimeout(resolve, 5));
      await Array.fromAsync(few.list([]));
      await few.put(["expires"], 1, { ttlMs: 1000 });
      await few.put(["expires"], 1);
      await assert.rejects(redisStorage(client, { prefix: "theirs" }).put(KEY, 1), (error: Error) => {
        assert.ok(error instanceof StorageError);
        assert.match(error.message, /^cannot put \["portal","a223"\] into Redis: .*(NOPERM|permission)/);
        return true;
      });
    } finally {
      client.destroy();
    }
  });
});

describe("redisStorage() on a database with", () => {
  const theirs: readonly { readonly what: string; readonly set: readonly [string, ...string[]] }[] = [
    { what: "a list", set: ["RPUSH", RAW_KEY, "secret"] },
    { what: "a hash", set: ["HSET", RAW_KEY, "of", "secret"] },
    { what: "text", set: ["SET", RAW_KEY, "secret"] },
    { what: "long text", set: ["SET", RAW_KEY, "secret ".repeat(20)] },
    { what: "text that begins with a number", set: ["SET", RAW_KEY, "0 secrets"] },
    { what: "text that begins like an entry", set: ["SET", RAW_KEY, '1 {"secret":1}'] },
  ];
  for (const { what, set } of theirs) {
    it(`${what} of another program under the key of an entry: every method rejects, and does not quote or change it`, async () => {
      await server.command("ZADD", "{onappupdate}:keys", "0", "portal\0a223\0");
      await server.command(...set);
      const before = await server.command("DUMP", RAW_KEY);
      for (const { name, call } of METHODS) {
        await assert.rejects(call(storage), (error: Error) => {
          assert.ok(error instanceof StorageError, `${name}: ${error}`);
          assert.match(error.message, /: (WRONGTYPE|the stored data was not written by this storage)/, name);
          assert.doesNotMatch(error.message, /secret/);
          return true;
        }, name);
        assert.equal(await server.command("DUMP", RAW_KEY), before, name);
      }
    });
  }

  for (const name of ["keys", "expiry"]) {
    it(`data of another program in the place of the ${name} set: a put rejects and writes nothing`, async () => {
      await server.command("SET", `{onappupdate}:${name}`, "theirs");
      await assert.rejects(storage.put(KEY, 1, { ttlMs: 1000 }), StorageError);
      assert.equal(await server.command("GET", `{onappupdate}:${name}`), "theirs");
      assert.equal(await storage.get(KEY), null);
    });
  }

  it("an entry of a newer format: every method rejects and does not change it", async () => {
    const newer = `2 ${crypto.randomUUID()} - {"of":"a later version"}`;
    await server.command("ZADD", "{onappupdate}:keys", "0", "portal\0a223\0");
    await server.command("SET", RAW_KEY, newer);
    for (const { name, call } of METHODS) {
      await assert.rejects(call(storage), (error: Error) => {
        assert.ok(error instanceof FormatError, `${name}: ${error}`);
        assert.match(error.message, /has format 2, wanted 1/);
        return true;
      }, name);
      assert.equal(await server.command("GET", RAW_KEY), newer, name);
    }
  });

  it("an entry of a newer format with another shape: it is recognized by its first characters", async () => {
    await server.command("SET", RAW_KEY, "10 some other way ");
    for (const { name, call } of METHODS.filter(({ name }) => name !== "list")) {
      await assert.rejects(call(storage), FormatError, name);
    }
    assert.equal(await server.command("GET", RAW_KEY), "10 some other way ");
  });

  it("damaged JSON: the error does not quote it", async () => {
    await storage.put(KEY, "secret");
    const text = await server.command("GET", RAW_KEY);
    await server.command("SET", RAW_KEY, text.slice(0, -1));
    for (const call of [() => storage.get(KEY), () => Array.fromAsync(storage.list([]))]) {
      await assert.rejects(call(), {
        name: "StorageError",
        message: 'cannot get ["portal","a223"] from Redis: the stored value is not JSON',
      });
    }
  });
});
