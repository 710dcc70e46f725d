import assert from "node:assert/strict";
import { PGlite } from "@electric-sql/pglite";
import type { Storage } from "@b24/onappupdate";
import { StorageError } from "@b24/onappupdate/errors";
import type { Key } from "@b24/onappupdate/storage";
import { postgresStorage } from "@b24/onappupdate/postgres-storage";
import {
  clientError,
  type ClientFaults,
  closeDatabase,
  type FaultyClient,
  faultyClient,
  isWrite,
} from "../../../support/postgres.ts";
import { after, before, beforeEach, describe, it } from "../../../support/test.ts";

const KEY: Key = ["portal", "a223"];
const LOST = clientError("Connection terminated unexpectedly");

let database: PGlite;
let other: Storage;
let faults: ClientFaults;
let client: FaultyClient;
let storage: Storage;
before(async () => {
  database = await PGlite.create();
  other = postgresStorage(database);
  await other.delete(KEY);
});
after(() => closeDatabase(database));
beforeEach(async () => {
  await database.exec("TRUNCATE onappupdate");
  faults = {};
  client = faultyClient(database, faults);
  storage = postgresStorage(client);
});

async function put(value: unknown): Promise<string> {
  const result = await other.put(KEY, value);
  assert(result.ok);
  return result.version;
}

/** Throws `error` once: for the first statement that writes, or the first of all. */
function once(when: "before" | "after", error: unknown, meanwhile: () => unknown = () => {}, writes = true): void {
  faults[when] = async (text) => {
    if (writes && !isWrite(text)) return;
    faults[when] = undefined;
    await meanwhile();
    throw error;
  };
}

type Write = (ifVersion: string) => Promise<{ readonly ok: boolean }>;

const REQUIRING: Readonly<Record<string, Write>> = {
  "put with a version": (ifVersion) => storage.put(KEY, 2, { ifVersion }),
  "write with a version": (ifVersion) => storage.write!([{ put: ["a"], value: 2 }, { put: KEY, value: 2, ifVersion }]),
};
const REQUIRING_DELETES: Readonly<Record<string, Write>> = {
  "delete with a version": (ifVersion) => storage.delete(KEY, { ifVersion }),
  "write that deletes a version": (ifVersion) => storage.write!([{ put: ["a"], value: 2 }, { delete: KEY, ifVersion }]),
};
const NEW: Key = ["new"];
const OTHERS: Readonly<Record<string, Write>> = {
  "put": () => storage.put(NEW, 2),
  "put of a new entry": () => storage.put(NEW, 2, { ifVersion: null }),
  "write": () => storage.write!([{ put: NEW, value: 2 }]),
  "write of a new entry": () => storage.write!([{ delete: ["a"] }, { put: NEW, value: 2, ifVersion: null }]),
};

const UNKNOWN = { name: "StorageError", message: /: the connection was lost, so the outcome is unknown$/ };

describe("postgresStorage(), if the reply to a write that was done is lost,", () => {
  for (
    const [name, write] of Object.entries({
      ...REQUIRING,
      ...OTHERS,
      "write that deletes a version": REQUIRING_DELETES["write that deletes a version"]!,
    })
  ) {
    it(`recognizes the ${name}`, async () => {
      const version = await put(1);
      once("after", LOST);
      assert.equal((await write(version)).ok, true);
      assert.equal(client.statements.filter(isWrite).length, 1);
    });
  }

  it("returns the stored versions", async () => {
    once("after", LOST);
    const result = await storage.write!([{ put: KEY, value: 1 }, { delete: ["a"] }, { put: NEW, value: 2 }]);
    assert(result.ok);
    assert.deepEqual(result.versions, [
      (await other.get(KEY))!.version,
      undefined,
      (await other.get(NEW))!.version,
    ]);
  });

  it("recognizes a write of which another process has replaced an entry", async () => {
    once("after", LOST, () => other.put(KEY, 3));
    assert.equal((await storage.write!([{ put: KEY, value: 2 }, { put: NEW, value: 2 }])).ok, true);
  });

  for (const [name, write] of Object.entries({ ...REQUIRING })) {
    it(`rejects the ${name} if another process has replaced what it wrote`, async () => {
      const version = await put(1);
      once("after", LOST, async () => {
        await put(3);
        await other.delete(["a"]);
      });
      await assert.rejects(write(version), UNKNOWN);
      assert.equal((await other.get(KEY))!.value, 3);
      assert.equal(await other.get(["a"]), null);
    });
  }

  for (const [name, write] of Object.entries(OTHERS)) {
    it(`rejects the ${name} if another process has deleted what it wrote, and does not repeat it`, async () => {
      once("after", LOST, () => other.delete(NEW));
      await assert.rejects(write(""), UNKNOWN);
      assert.equal(await other.get(NEW), null);
    });
  }

  it("rejects a delete", async () => {
    const ifVersion = await put(1);
    once("after", LOST);
    await assert.rejects(storage.delete(KEY, { ifVersion }), UNKNOWN);
    once("after", LOST);
    await assert.rejects(storage.delete(KEY), UNKNOWN);
  });
});

describe("postgresStorage(), if the connection is lost before a write is done,", () => {
  for (const [name, write] of Object.entries({ ...REQUIRING, ...REQUIRING_DELETES })) {
    it(`repeats the ${name}`, async () => {
      const version = await put(1);
      once("before", LOST);
      assert.equal((await write(version)).ok, true);
      assert.notEqual((await other.get(KEY))?.version, version);
    });

    it(`rejects the ${name} if another process has written`, async () => {
      const version = await put(1);
      once("before", LOST, () => put(3));
      await assert.rejects(write(version), UNKNOWN);
      assert.equal((await other.get(KEY))!.value, 3);
    });
  }

  for (const [name, write] of Object.entries(OTHERS)) {
    it(`rejects the ${name}`, async () => {
      once("before", LOST);
      await assert.rejects(write(""), UNKNOWN);
      assert.equal(await other.get(NEW), null);
    });
  }

  it("repeats reads", async () => {
    await put(1);
    once("after", LOST, undefined, false);
    assert.equal((await storage.get(KEY))?.value, 1);
    once("before", clientError("terminating connection due to administrator command", "57P01"), undefined, false);
    for await (const { value } of storage.list([])) assert.equal(value, 1);
  });
});

describe("postgresStorage() repeats a write that was not done, because", () => {
  const REASONS: readonly (readonly [string, Error])[] = [
    ["of a serialization failure", clientError("could not serialize access", "40001")],
    ["of a deadlock", clientError("deadlock detected", "40P01")],
    ["of lock_timeout", clientError("canceling statement due to lock timeout", "55P03")],
    ["the server is a replica", clientError("cannot execute INSERT in a read-only transaction", "25006")],
    ["the server has too many connections", clientError("sorry, too many clients already", "53300")],
    ["the server is starting", clientError("the database system is starting up", "57P03")],
    ["the connection was refused", clientError("connect ECONNREFUSED ::1:5432", "ECONNREFUSED")],
    ["the name was not found", Object.assign(new Error("getaddrinfo EAI_AGAIN db"), { syscall: "getaddrinfo" })],
    [
      "the host was unreachable",
      Object.assign(new Error("connect ETIMEDOUT"), { syscall: "connect", code: "ETIMEDOUT" }),
    ],
    ["Postgres.js could not connect in time", clientError("write CONNECT_TIMEOUT db:5432", "CONNECT_TIMEOUT")],
    ["the pool of pg had no connection in time", clientError("timeout exceeded when trying to connect")],
    [
      "no address of the host could be connected to",
      Object.assign(new AggregateError([new Error("connect ECONNREFUSED ::1:5432")]), { code: "ECONNREFUSED" }),
    ],
    [
      "no address of the host was reachable",
      Object.assign(
        new AggregateError(
          ["::1", "127.0.0.1"].map((address) =>
            Object.assign(new Error(`connect ETIMEDOUT ${address}:5432`), { syscall: "connect", code: "ETIMEDOUT" })
          ),
        ),
        { code: "ETIMEDOUT" },
      ),
    ],
  ];
  for (const [reason, error] of REASONS) {
    it(reason, async () => {
      for (const [name, write] of Object.entries({ ...REQUIRING, ...OTHERS })) {
        await database.exec("TRUNCATE onappupdate");
        const version = await put(1);
        once("before", error);
        assert.equal((await write(version)).ok, true, name);
      }
    });
  }
});

describe("postgresStorage() rejects at once if", () => {
  const REASONS: readonly (readonly [string, Error])[] = [
    ["the disk is full", clientError("could not extend file: No space left on device", "53100")],
    [
      "the statement takes too long for the server",
      clientError("canceling statement due to statement timeout", "57014"),
    ],
    ["the password is wrong", clientError('password authentication failed for user "app"', "28P01")],
    ["the pool of pg is closed", clientError("Cannot use a pool after calling end on the pool")],
    [
      "the client of pg has lost its connection",
      clientError("Client has encountered a connection error and is not queryable"),
    ],
    ["the client of Postgres.js is closed", clientError("write CONNECTION_ENDED db:5432", "CONNECTION_ENDED")],
    ["PGlite is closed", clientError("PGlite is closed")],
    ["PGlite is closing", clientError("PGlite is closing")],
  ];
  for (const [reason, error] of REASONS) {
    it(reason, async () => {
      faults.before = () => {
        throw error;
      };
      for (
        const call of [
          () => storage.get(KEY),
          () => storage.put(KEY, 1),
          () => storage.write!([{ put: KEY, value: 1 }]),
        ]
      ) {
        client.statements.length = 0;
        await assert.rejects(call(), (rejected: Error) => {
          assert(rejected instanceof StorageError);
          assert.equal(rejected.message.endsWith(`PostgreSQL: ${error.message}`), true, rejected.message);
          return true;
        });
        assert.equal(client.statements.length, 1);
      }
    });
  }
});

describe("postgresStorage(), if there is no reply,", () => {
  it("rejects after its time limit, with the state of the call", async () => {
    const hung = postgresStorage({ query: () => new Promise(() => {}) }, { timeoutMs: 5 });
    await assert.rejects(hung.get(KEY), {
      name: "StorageError",
      message: 'cannot get ["portal","a223"] from PostgreSQL: no reply for 5 milliseconds',
    });
  });

  it("leaves timers their turn if a client fails at once with an unknown error", async () => {
    let calls = 0;
    const broken = postgresStorage({
      query: () => {
        // Without a pause, no timer runs: this ends the test.
        if (++calls > 1000) throw clientError("called without a pause", "XX000");
        return Promise.reject(clientError("the pool was destroyed"));
      },
    }, { timeoutMs: 50 });
    for (const call of [() => broken.get(KEY), () => broken.put(KEY, 1, { ifVersion: "1" })]) {
      await assert.rejects(call(), /: the pool was destroyed for 50 milliseconds$/);
    }
  });

  it("repeats nothing after its time limit or an abort", async () => {
    faults.before = () => {
      throw clientError("connect ECONNREFUSED", "ECONNREFUSED");
    };
    const impatient = postgresStorage(client, { timeoutMs: 30 });
    await assert.rejects(impatient.put(KEY, 1), /connect ECONNREFUSED for 30 milliseconds$/);
    const reason = new Error("given up");
    const controller = new AbortController();
    const aborted = storage.put(KEY, 1, { signal: controller.signal });
    controller.abort(reason);
    await assert.rejects(aborted, reason);
    // The repetitions of both would be due by now.
    await new Promise((resolve) => setTimeout(resolve, 60));
    const count = client.statements.length;
    await new Promise((resolve) => setTimeout(resolve, 60));
    assert.equal(client.statements.length, count);
  });

  it("sends nothing more while 100 statements whose calls have ended have no reply", async () => {
    let replies: (() => void)[] = [];
    let sent = 0;
    const hung = postgresStorage({
      query: () => {
        sent++;
        return new Promise((resolve) => replies.push(() => resolve({ rows: [] })));
      },
    }, { timeoutMs: 20 });
    await Promise.all(Array.from({ length: 100 }, () => assert.rejects(hung.get(KEY), StorageError)));
    await Promise.all(Array.from({ length: 10 }, () => assert.rejects(hung.put(KEY, "x"), StorageError)));
    assert.equal(sent, 100);
    for (const reply of replies) reply();
    replies = [];
    await new Promise((resolve) => setTimeout(resolve, 0));
    const call = hung.get(KEY);
    await new Promise((resolve) => setTimeout(resolve, 0));
    for (const reply of replies) reply();
    assert.equal(await call, null);
  });
});
