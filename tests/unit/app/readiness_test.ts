import assert from "node:assert/strict";
import { type App, createApp, memoryStorage, type Storage } from "@b24/onappupdate";
import { recordingLogger, trustAll } from "../../support/app.ts";
import { describe, it } from "../../support/test.ts";
import { simulated, type VirtualTime, virtualTime } from "../../support/time.ts";

type Get = Storage["get"];

interface Made {
  readonly app: App;
  readonly time: VirtualTime;
  readonly memory: Storage;
  /** The storage of the app reads as `get` says. */
  readonly made: { get: Get; readonly reads: Parameters<Get>[] };
  readonly writes: string[];
  readonly lines: string[];
  readonly start: () => Promise<void>;
}

function make(): Made {
  const time = virtualTime();
  const memory = memoryStorage({ clock: time.now });
  const made: Made["made"] = { get: memory.get, reads: [] };
  const writes: string[] = [];
  const storage: Storage = {
    ...memory,
    get: (...args) => {
      made.reads.push(args);
      return made.get(...args);
    },
    put: (key, ...args) => {
      writes.push(key.join("/"));
      return memory.put(key, ...args);
    },
  };
  const { logger, lines } = recordingLogger();
  const app = createApp({ storage, logger, tickEveryMs: false, ...simulated(time) }).use(trustAll);
  const start = async (): Promise<void> => {
    await app.start();
    made.reads.length = 0;
    writes.length = 0;
  };
  return { app, time, memory, made, writes, lines, start };
}

const STORAGE = { isReady: false, reason: "storage" };
const hang = () => new Promise<never>(() => {});
const fail = () => Promise.reject(new Error("refused, access_token=0123456789abcdef0123456789abcdef"));

describe("app.readiness()", () => {
  it("is false before the start and from the close on, without a look at the storage", async () => {
    const { app, made, start } = make();
    assert.deepEqual(await app.readiness(), { isReady: false, reason: "not_started" });
    await app.setUp();
    assert.deepEqual(await app.readiness(), { isReady: false, reason: "not_started" });
    assert.equal(made.reads.length, 0);
    await start();
    assert.deepEqual(await app.readiness(), { isReady: true });
    made.reads.length = 0;
    const closing = app.close();
    assert.deepEqual(await app.readiness(), { isReady: false, reason: "closing" });
    await closing;
    assert.deepEqual(await app.readiness(), { isReady: false, reason: "closing" });
    assert.equal(made.reads.length, 0);
  });

  it("reads one entry, at most once in 5 seconds, and writes nothing", async () => {
    const { app, time, made, writes, start } = make();
    await start();
    for (let i = 0; i < 10; i++) assert.deepEqual(await app.readiness(), { isReady: true });
    assert.deepEqual(made.reads.map(([key]) => key), [["app"]]);
    await time.elapse(4999);
    await app.readiness();
    assert.equal(made.reads.length, 1);
    await time.elapse(1);
    await app.readiness();
    assert.equal(made.reads.length, 2);
    assert.deepEqual(writes, []);
    await app.close();
  });

  it("shares one read among all who ask while it runs", async () => {
    const { app, made, start } = make();
    await start();
    const answer = Promise.withResolvers<null>();
    made.get = () => answer.promise;
    const asked = Array.from({ length: 20 }, () => app.readiness());
    await Promise.resolve();
    assert.equal(made.reads.length, 1);
    answer.resolve(null);
    assert.deepEqual(new Set((await Promise.all(asked)).map(({ isReady }) => isReady)), new Set([true]));
    await app.close();
  });

  it("is false 2 seconds after a storage hangs, whose read is aborted, and true once it answers again", async () => {
    const { app, time, memory, made, lines, start } = make();
    await start();
    made.get = hang;
    const asked = app.readiness();
    await time.elapse(2000);
    assert.deepEqual(await asked, STORAGE);
    assert.equal(made.reads[0]?.[1]?.signal?.aborted, true);
    // For 5 seconds it is not asked again.
    made.get = memory.get;
    await time.elapse(4999);
    assert.deepEqual(await app.readiness(), STORAGE);
    assert.equal(made.reads.length, 1);
    await time.elapse(1);
    assert.deepEqual(await app.readiness(), { isReady: true });
    const logged = lines.map((line) => JSON.parse(line)).filter(({ event }) => /^storage\.(un)?reachable$/.test(event));
    assert.deepEqual(logged.map(({ level, event }) => `${level} ${event}`), [
      "warn storage.unreachable",
      "info storage.reachable",
    ]);
    await app.close();
  });

  it("is false while the storage fails, and logs that once, without tokens", async () => {
    const { app, time, made, lines, start } = make();
    await start();
    made.get = fail;
    for (let i = 0; i < 3; i++) {
      assert.deepEqual(await app.readiness(), STORAGE);
      await time.elapse(5000);
    }
    const logged = lines.filter((line) => line.includes("storage.unreachable"));
    assert.equal(logged.length, 1);
    assert.match(logged[0]!, /refused/);
    assert.ok(!lines.join().includes("0123456789abcdef"), lines.join("\n"));
    await app.close();
  });

  it("says that the app is closing if it closes while the storage hangs", async () => {
    const { app, time, made, start } = make();
    await start();
    made.get = hang;
    const asked = app.readiness();
    const closing = app.close();
    await time.elapse(60_000);
    assert.deepEqual(await asked, { isReady: false, reason: "closing" });
    await closing;
  });

  it("is true whatever waits or is parked", async () => {
    const { app, memory, start } = make();
    await start();
    await memory.put(["due", "00000000000001-a", "a".repeat(32)], {});
    await app.admin.pause({ by: "ada", reason: "wrong prices" });
    assert.deepEqual(await app.readiness(), { isReady: true });
    await app.close();
  });
});
