import assert from "node:assert/strict";
import {
  createApp,
  memoryStorage,
  NonRetriableError,
  type Portal,
  RetryAfterError,
  type Storage,
  type UpgradeContext,
} from "@b24/onappupdate";
import { MEMBER_ID, movableClock, post, quietLogger, rig, trustAll } from "../../support/app.ts";
import { describe, it } from "../../support/test.ts";
import { portalOn2 } from "./_portal_on_2.ts";
import { withoutWrite } from "../../support/without_write.ts";

describe("a thrown value", () => {
  const circle = new Error("one");
  circle.cause = new Error("two", { cause: circle });
  const THROWN: Readonly<Record<string, unknown>> = {
    "an error with a circular cause": circle,
    "an object without a prototype": Object.create(null),
    "an error whose message throws": Object.defineProperty(new Error(), "message", {
      get: () => {
        throw new Error("no message");
      },
    }),
  };
  for (const [name, thrown] of Object.entries(THROWN)) {
    it(`is an ordinary failure if it is ${name}`, async () => {
      const { app, send, portal, lines } = rig();
      app.upgrade("3", ({ step }) =>
        step("one", () => {
          throw thrown;
        })).on("ONCRMDEALADD", () => {
          throw thrown;
        });
      await send(portal.install(2));
      await send(portal.update(3));
      const { failure } = (await app.portal(MEMBER_ID))!;
      assert.deepEqual([failure?.upgradeId, failure?.attempts], ["3", 1]);
      assert.equal(await send(portal.event("ONCRMDEALADD", { ID: "1" })), 200);
      // Both are retried, so neither needs an operator.
      const levels = lines.map((line) => JSON.parse(line)).filter(({ message }) => message.endsWith(" failed"))
        .map(({ level, message }) => `${level} ${message}`);
      assert.deepEqual([...new Set(levels)], ["warn upgrade failed", "warn event failed"]);
      assert.doesNotMatch(lines.join(), /"processing failed"/);
    });
  }
});

describe("a failure", () => {
  it("is retried after delays that double up to a limit, then parked", async () => {
    let now = Date.now();
    const { app, update, names } = await portalOn2(
      () => Promise.reject(new Error("never")),
      { retry: { maxAttempts: 6, initialDelayMs: 1000, maxDelayMs: 5000 } },
      { clock: () => now, random: () => "" },
    );
    await update();
    const waits: number[] = [];
    while (true) {
      const { failure } = (await app.portal(MEMBER_ID))!;
      if (failure?.retryAt === undefined) break;
      waits.push(failure.retryAt - failure.at);
      now = failure.retryAt - 1;
      assert.deepEqual(await app.tick(), { handled: 0, failed: 0 });
      now = failure.retryAt;
      assert.deepEqual(await app.tick(), { handled: 0, failed: 1 });
    }
    const ratio = waits[0]! / 1000;
    assert(ratio > 0.5 && ratio <= 1);
    assert.deepEqual(waits, [1000, 2000, 4000, 5000, 5000].map((ms) => Math.ceil(ms * ratio)));
    const { failure } = (await app.portal(MEMBER_ID))!;
    assert.deepEqual([failure!.upgradeId, failure!.attempts, failure!.message], ["3", 6, "never"]);
    assert.equal(names().filter((name) => name === "upgradeRetryScheduled").length, 5);
    assert.equal(names().filter((name) => name === "portalParked").length, 1);
    now += 10 ** 9;
    assert.deepEqual(await app.tick(), { handled: 0, failed: 0 });
  });

  it("with RetryAfterError is retried then and not counted; with NonRetriableError it is parked at once", async () => {
    let now = Date.now();
    let calls = 0;
    const { app, update } = await portalOn2(
      async ({ step }) => {
        await step("call", () => {
          if (++calls < 5) throw new RetryAfterError(7000, "busy");
          throw new NonRetriableError("broken data");
        });
      },
      { retry: { maxAttempts: 2 } },
      { clock: () => now },
    );
    await update();
    for (let tick = 1; tick < 5; tick++) {
      const { failure } = (await app.portal(MEMBER_ID))!;
      assert.deepEqual([failure!.message, failure!.retryAt! - failure!.at, failure!.attempts], ["busy", 7000, 0]);
      now += 7000;
      await app.tick();
    }
    const { failure } = (await app.portal(MEMBER_ID))!;
    assert.deepEqual([failure!.message, failure!.step, failure!.retryAt], ["broken data", "call", undefined]);
  });

  it("of a parked run is retried when the target changes", async () => {
    let broken = true;
    const { app, portal, send, update } = await portalOn2(() => {
      if (broken) throw new NonRetriableError("a bug in this version");
    });
    await update();
    assert.equal((await app.portal(MEMBER_ID))?.failure?.retryAt, undefined);
    broken = false;
    await send(portal.event("ONAPPTEST", {}));
    assert.equal((await app.portal(MEMBER_ID))?.version, "2.0.0");
    await send(portal.update(4));
    assert.equal((await app.portal(MEMBER_ID))?.version, "4.0.0");
  });

  it("of one portal does not delay another", async () => {
    const made = await portalOn2(({ memberId }) => {
      if (memberId === MEMBER_ID) throw new Error("broken");
    });
    await made.update();
    const other = made.bitrix24.portal({ memberId: "c".repeat(32) });
    await made.send(other.install(2));
    await made.send(other.update(3));
    assert.equal((await made.app.portal(other.memberId))?.version, "3.0.0");
  });

  it("notifies observers of steps, failures and retries, in order", async () => {
    let broken = true;
    const { names, update, retry } = await portalOn2(async ({ step }) => {
      await step("one", () => {});
      await step("two", () => {
        if (broken) throw new Error("not yet");
      });
    });
    await update();
    broken = false;
    await retry();
    assert.deepEqual(names().slice(2), [
      ...[
        "eventReceived",
        "runPlanned",
        "stepStarted",
        "stepFinished",
        "stepStarted",
        "stepFailed",
        "upgradeRetryScheduled",
      ],
      ...["runPlanned", "stepStarted", "stepFinished", "upgradeApplied", "portalUpgraded", "eventHandled"],
    ]);
  });
});

describe("a process that crashes during a step", () => {
  /** A storage whose operations never settle once it is killed, as if its process had crashed. */
  function mortal(inner: Storage): { readonly storage: Storage; readonly kill: () => void } {
    let dead = false;
    const guard = <A extends unknown[], R>(call: (...args: A) => Promise<R>) => (...args: A): Promise<R> =>
      dead ? new Promise<R>(() => {}) : call(...args);
    return {
      storage: {
        ...withoutWrite(inner),
        get: guard(inner.get) as Storage["get"],
        put: guard(inner.put) as Storage["put"],
        delete: guard(inner.delete),
      },
      kill: () => void (dead = true),
    };
  }

  it("is replaced by another one after its lease, with the same idempotency key", async () => {
    const inner = memoryStorage();
    const { clock, later } = movableClock();
    const keys: string[] = [];
    const { portal } = rig();
    const { storage, kill } = mortal(inner);
    const make = (storage: Storage, during: () => Promise<void>) =>
      createApp({ storage, clock, logger: quietLogger }).use(trustAll)
        .upgrade("3", async ({ step }) => {
          await step("one", () => void keys.push("one"));
          await step("two", async ({ idempotencyKey, attempt, fencingToken }) => {
            keys.push(`${idempotencyKey} #${attempt} ^${fencingToken}`);
            await during();
          });
        });
    let begun = (): void => {};
    const hanging = new Promise<void>((resolve) => begun = resolve);
    const first = make(storage, () => {
      begun();
      kill();
      return new Promise(() => {});
    });
    await first.fetch(post(portal.install(2)));
    await first.fetch(post(portal.update(3)));
    await hanging;
    const second = make(inner, () => Promise.resolve());
    assert.deepEqual(await second.tick(), { handled: 0, failed: 0 }, "the lease has not expired");
    later();
    assert.equal((await second.tick()).handled >= 1, true);
    assert.equal((await second.portal(MEMBER_ID))?.version, "3.0.0");
    assert.equal(keys.length, 3);
    const [, before, after] = keys.map((key) => /^(\w+)(?: #(\d+) \^(\d+))?$/.exec(key)!);
    assert.equal(before![1], after![1]);
    assert.deepEqual([before![2], after![2]], ["1", "2"]);
    assert(Number(after![3]) > Number(before![3]));
  });

  /** Updates a portal in several processes. Each crashes when the handler calls `crash`. */
  async function crashing(
    lives: number,
    handler: (ctx: UpgradeContext, crash: () => Promise<never>) => Promise<void>,
  ): Promise<Portal> {
    const inner = memoryStorage();
    const { clock, later } = movableClock();
    const { portal } = rig();
    for (let life = 0; life < lives; life++) {
      const { storage, kill } = mortal(inner);
      const ended = Promise.withResolvers<void>();
      const crash = (): Promise<never> => {
        kill();
        ended.resolve();
        return new Promise(() => {});
      };
      const app = createApp({ storage, clock, acknowledge: "handled", checks: false, logger: quietLogger })
        .use(trustAll).upgrade("3", (ctx) => handler(ctx, crash), { retry: { maxAttempts: 1 } });
      if (life === 0) {
        await app.fetch(post(portal.install(2)));
        app.fetch(post(portal.update(3)));
      } else {
        later();
        app.tick().then(() => ended.resolve());
      }
      await ended.promise;
    }
    const app = createApp({ storage: inner, logger: quietLogger }).use(trustAll);
    return (await app.portal(MEMBER_ID))!;
  }

  it("has its run parked if it crashes at three attempts while it is resumed alone", async () => {
    for (const before of [0, 1, 20]) {
      const attempts: number[] = [];
      const { failure } = await crashing(6, async ({ step }, crash) => {
        for (let i = 0; i < before; i++) await step(`${i}`, () => {});
        await step("deadly", ({ attempt }) => {
          attempts.push(attempt);
          return crash();
        });
      });
      assert.deepEqual(attempts, [1, 2, 3, 4], `${before} steps before`);
      assert.match(failure!.message, /its process ended 3 times while it was resumed alone/);
      assert.equal(failure!.retryAt, undefined);
    }
  });

  it("does not have its run parked if it crashes at another step or page each time", async () => {
    const attempts = new Map<string, number[]>();
    const { version, failure } = await crashing(21, async ({ step, pages }, crash) => {
      const work = async (name: string, attempt: number): Promise<void> => {
        attempts.set(name, [...attempts.get(name) ?? [], attempt]);
        if (attempts.get(name)!.length === 1) await crash();
      };
      for (let i = 0; i < 10; i++) await step(`step ${i}`, ({ attempt }) => work(`step ${i}`, attempt));
      await pages("pages", 0, async (cursor, { attempt }) => {
        await work(`page ${cursor}`, attempt);
        return { next: cursor < 9 ? cursor + 1 : null, done: 1 };
      });
    });
    assert.deepEqual([version, failure], ["3.0.0", undefined]);
    assert.equal(attempts.size, 20);
    for (const [name, numbers] of attempts) assert.deepEqual(numbers, [1, 2], name);
  });
});
