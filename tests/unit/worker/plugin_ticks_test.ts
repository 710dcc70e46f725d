import assert from "node:assert/strict";
import { createApp, memoryStorage, type PluginHost, RetryAfterError } from "@b24/onappupdate";
import { StorageError } from "@b24/onappupdate/errors";
import { recordingLogger, trustAll } from "../../support/app.ts";
import { crowd } from "../../support/crowd.ts";
import { describe, it } from "../../support/test.ts";
import { simulated, virtualTime } from "../../support/time.ts";

const SECOND = 1000;
const MINUTE = 60 * SECOND;

describe("the tick of a plugin", () => {
  it("is called at the start and every tickEveryMs, and not while it runs", async () => {
    const time = virtualTime();
    const calls: number[] = [];
    const gate = Promise.withResolvers<void>();
    const app = createApp({ storage: memoryStorage(), tickEveryMs: 10 * SECOND, ...simulated(time) }).use(trustAll)
      .use({
        name: "ticks",
        tick: async () => {
          calls.push(time.monotonic());
          if (calls.length === 2) await gate.promise;
        },
      });
    await app.start();
    await time.elapse(35 * SECOND);
    assert.deepEqual(calls, [0, 10 * SECOND]);
    gate.resolve();
    await time.elapse(10 * SECOND);
    assert.deepEqual(calls, [0, 10 * SECOND, 40 * SECOND]);
    await app.close();
    await time.elapse(MINUTE);
    assert.equal(calls.length, 3);
  });

  it("is waited for by app.tick(), also if the storage fails", async () => {
    const storage = memoryStorage();
    const time = virtualTime();
    let isDown = false;
    const failing = {
      ...storage,
      list: <T>(...args: Parameters<typeof storage.list>) => {
        if (isDown) throw new StorageError("down");
        return storage.list<T>(...args);
      },
    };
    let ticks = 0;
    const app = createApp({
      storage: failing,
      tickEveryMs: false,
      ...simulated(time),
      logger: recordingLogger().logger,
    })
      .use(trustAll).use({ name: "ticks", tick: () => void ticks++ });
    await app.tick();
    assert.equal(ticks, 1);
    isDown = true;
    await app.tick().catch(() => {});
    assert.equal(ticks, 2);
    await app.close();
  });

  it("fails after a minute, is logged, and is called again", async () => {
    const time = virtualTime();
    const { logger, lines } = recordingLogger();
    const signals: AbortSignal[] = [];
    const app = createApp({ storage: memoryStorage(), tickEveryMs: 30 * SECOND, logger, ...simulated(time) }).use(
      trustAll,
    )
      .use({
        name: "hangs",
        tick: ({ signal }) => {
          signals.push(signal);
          return new Promise(() => {});
        },
      });
    await app.start();
    await time.elapse(90 * SECOND);
    assert.deepEqual(signals.map(({ aborted }) => aborted), [true, false]);

    const failures = lines.map((line) => JSON.parse(line)).filter(({ event }) => event === "plugin.tick_failed");
    assert.deepEqual(failures.map(({ plugin, err }) => [plugin, err.name]), [["hangs", "TimeoutError"]]);
    const closed = app.close();
    await time.elapse(MINUTE);
    await closed;
    assert.equal(signals[1]!.aborted, true);
  });

  it("goes on, and messages are delivered again, while portals that are due find no free slot", async () => {
    const made = crowd({ concurrency: 1 });
    let ticks = 0;
    let attempts = 0;
    let host: PluginHost;
    made.app.use({
      name: "ticks",
      setup: (given) => void (host = given),
      tick: () => void ticks++,
      outbox: {
        deliver: () => {
          if (++attempts === 1) throw new RetryAfterError(MINUTE);
        },
      },
    });
    let isBroken = true;
    const gate = Promise.withResolvers<void>();
    made.app.upgrade("3", async () => {
      if (isBroken) throw new RetryAfterError(1);
      await gate.promise;
    });
    await made.install(5);
    await made.update(0, 5);
    await made.time.elapse(SECOND);
    isBroken = false;
    await made.time.elapse(MINUTE);
    const before = ticks;
    await host!.outbox.put("a message");
    await made.time.elapse(3 * MINUTE);
    assert(ticks >= before + 6, `${ticks - before} ticks`);
    assert.equal(attempts, 2);
    gate.resolve();
    await made.time.elapse(SECOND);
    await made.close();
  });
});
