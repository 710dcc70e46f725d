import assert from "node:assert/strict";
import {
  createApp,
  memoryStorage,
  NonRetriableError,
  RetryAfterError,
  type Storage,
  type UpgradeContext,
} from "@b24/onappupdate";
import { MEMBER_ID, movableClock, post, recorder, recordingLogger, rig, trustAll } from "../../support/app.ts";
import { describe, it } from "../../support/test.ts";

/** A portal on 2 and an app whose upgrade to 3 is `handler`. */
async function portalOn2(
  handler: Parameters<ReturnType<typeof rig>["app"]["upgrade"]>[1],
  options: Parameters<ReturnType<typeof rig>["app"]["upgrade"]>[2] = {},
  appOptions: Parameters<typeof rig>[0] = {},
): Promise<ReturnType<typeof rig> & { readonly update: () => Promise<number>; readonly again: () => Promise<object> }> {
  const made = rig(appOptions);
  made.app.upgrade("3", handler, options);
  await made.send(made.portal.install(2));
  return {
    ...made,
    update: () => made.send(made.portal.update(3)),
    again: () => {
      made.later();
      return made.app.tick();
    },
  };
}

describe("step()", () => {
  it("is not run again once it is finished, and gives what it gave", async () => {
    const ran: string[] = [];
    const given: unknown[] = [];
    let broken = true;
    const { app, update, again } = await portalOn2(async ({ step }) => {
      given.push(
        await step("first", () => {
          ran.push("first");
          return { id: 7, list: [1, { two: null }] };
        }),
      );
      given.push(await step("nothing", () => void ran.push("nothing")));
      await step("second", () => {
        ran.push("second");
        if (broken) throw new Error("not yet");
      });
    });
    await update();
    broken = false;
    assert.deepEqual(await again(), { handled: 1, failed: 0 });
    assert.deepEqual(ran, ["first", "nothing", "second", "second"]);
    assert.deepEqual(given, [
      { id: 7, list: [1, { two: null }] },
      undefined,
      { id: 7, list: [1, { two: null }] },
      undefined,
    ]);
    const portal = (await app.portal(MEMBER_ID))!;
    assert.equal(portal.version, "3.0.0");
    assert.equal(portal.run, undefined);
    assert.equal(portal.failure, undefined);
  });

  it("gives large results again, which are not in the portal's record", async () => {
    const large = "x".repeat(100_000);
    const storage = memoryStorage();
    let attempts = 0;
    const { update, again, app } = await portalOn2(
      async ({ step }) => {
        assert.equal(await step("large", () => large), large);
        if (++attempts < 2) throw new Error("not yet");
      },
      {},
      { storage },
    );
    await update();
    const record = await storage.get(["portal", MEMBER_ID]);
    assert(JSON.stringify(record).length < 10_000);
    await again();
    assert.equal(attempts, 2);
    assert.equal((await app.portal(MEMBER_ID))?.version, "3.0.0");
  });

  it("gives the results of many steps again, which the portal's record does not grow by without end", async () => {
    const storage = memoryStorage();
    let attempts = 0;
    const resultOf = (i: number): string => String(i).repeat(2000);
    const { update, again, app } = await portalOn2(
      async ({ step }) => {
        attempts++;
        for (let i = 0; i < 60; i++) {
          assert.equal(await step(`step ${i}`, () => attempts === 1 && resultOf(i)), resultOf(i));
        }
        if (attempts === 1) throw new Error("not yet");
      },
      {},
      { storage },
    );
    await update();
    const record = JSON.stringify(await storage.get(["portal", MEMBER_ID]));
    assert(record.length > 60_000 && record.length < 80_000, `${record.length} characters`);
    await again();
    assert.deepEqual([attempts, (await app.portal(MEMBER_ID))?.version], [2, "3.0.0"]);
  });

  it("has one idempotency key for all attempts at it, another one for every step, portal and generation", async () => {
    const keys: string[] = [];
    const attempts: number[] = [];
    const { portal, send, update, again, bitrix24 } = await portalOn2(async ({ step }) => {
      await step("one", ({ idempotencyKey, attempt }) => {
        keys.push(idempotencyKey);
        attempts.push(attempt);
        if (attempt < 3) throw new Error("not yet");
      });
      await step("two", ({ idempotencyKey }) => void keys.push(idempotencyKey));
    });
    await update();
    await again();
    await again();
    assert.deepEqual(attempts, [1, 2, 3]);
    assert.equal(new Set(keys.slice(0, 3)).size, 1);
    const other = bitrix24.portal({ memberId: "b".repeat(32) });
    await send(other.install(2));
    await send(other.update(3));
    await again();
    await again();
    await send(portal.uninstall());
    await send(portal.install(2));
    await update();
    await again();
    await again();
    assert.equal(new Set(keys).size, 6, keys.join("\n"));
    for (const key of keys) assert.match(key, /^[0-9a-f]{64}$/);
  });

  it("refuses a name that is used twice and a step inside another one, and parks the run", async () => {
    const handlers: Record<string, Parameters<ReturnType<typeof rig>["app"]["upgrade"]>[1]> = {
      "used twice": async ({ step }) => {
        await step("a", () => {});
        await step("a", () => {});
      },
      "is still running": async ({ step }) => {
        await step("a", () => step("b", () => {}));
      },
    };
    for (const [message, handler] of Object.entries(handlers)) {
      const { app, update } = await portalOn2(handler);
      await update();
      const { failure } = (await app.portal(MEMBER_ID))!;
      assert.match(failure!.message, new RegExp(message));
      assert.equal(failure!.retryAt, undefined);
    }
  });

  it("may be reordered, added and removed by a deploy", async () => {
    const storage = memoryStorage();
    const ran: string[] = [];
    const first = await portalOn2(
      async ({ step }) => {
        for (const name of ["a", "gone", "b"]) await step(name, () => void ran.push(name));
        throw new Error("not yet");
      },
      {},
      { storage },
    );
    await first.update();
    first.later();
    const next = createApp({ storage, clock: first.clock, logger: recordingLogger().logger }).use(trustAll)
      .upgrade("3", async ({ step }) => {
        for (const name of ["b", "new", "a"]) await step(name, () => void ran.push(name));
      });
    await next.tick();
    assert.deepEqual(ran, ["a", "gone", "b", "new"]);
    assert.equal((await next.portal(MEMBER_ID))?.version, "3.0.0");
  });

  it("ends after timeoutMs, with its signal aborted, and is a failure of that step", async () => {
    let reason: unknown;
    const { app, update } = await portalOn2(async ({ step }) => {
      await step(
        "slow",
        ({ signal }) =>
          new Promise((resolve) =>
            signal.addEventListener("abort", () => {
              reason = signal.reason;
              resolve(undefined);
            })
          ),
        { timeoutMs: 5 },
      );
    });
    await update();
    assert.equal((reason as Error).name, "TimeoutError");
    const { failure } = (await app.portal(MEMBER_ID))!;
    assert.equal(failure?.step, "slow");
    assert.match(failure!.message, /longer than 5 ms/);
  });

  it("cannot begin once its attempt is over", async () => {
    let late: Promise<unknown> | undefined;
    let ran = false;
    const over = Promise.withResolvers<void>();
    const { update } = await portalOn2(async ({ step }) => {
      late = over.promise.then(() => step("late", () => void (ran = true)));
      late.catch(() => {});
      await Promise.resolve();
    });
    await update();
    over.resolve();
    await assert.rejects(late!, /this attempt has ended/);
    assert.equal(ran, false);
  });

  it("that the handler survives does not keep the upgrade from finishing", async () => {
    const { app, update } = await portalOn2(async ({ step }) => {
      await step("optional", () => Promise.reject(new Error("no"))).catch(() => {});
      await step("needed", () => {});
    });
    await update();
    assert.equal((await app.portal(MEMBER_ID))?.version, "3.0.0");
  });

  it("results whose names are keys of prototypes are results like others", async () => {
    let broken = true;
    const given: unknown[] = [];
    const { update, again } = await portalOn2(async ({ step }) => {
      for (const name of ["__proto__", "constructor", "toString"]) given.push(await step(name, () => name));
      if (broken) throw new Error("not yet");
    });
    await update();
    broken = false;
    await again();
    assert.deepEqual(given.slice(3), ["__proto__", "constructor", "toString"]);
    assert.equal(({} as Record<string, unknown>)["state"], undefined);
  });
});

describe("pages()", () => {
  it("goes on at the cursor that was recorded last, with the progress so far", async () => {
    const pages: (readonly [number, number])[] = [];
    let broken = true;
    const { app, update, again } = await portalOn2(async ({ pages: run }) => {
      const all = await run("deals", 0, (cursor, { attempt }) => {
        pages.push([cursor, attempt]);
        if (cursor === 100 && broken) throw new Error("not yet");
        return { next: cursor < 150 ? cursor + 50 : null, done: 50, total: 200 };
      });
      assert.equal(all, 200);
    });
    await update();
    const { run, failure } = (await app.portal(MEMBER_ID))!;
    assert.deepEqual(run?.progress, { done: 100, total: 200 });
    assert.deepEqual([failure?.step, failure?.attempts], ["deals", 1]);
    broken = false;
    await again();
    assert.deepEqual(pages, [[0, 1], [50, 1], [100, 1], [100, 2], [150, 1]]);
    assert.equal((await app.portal(MEMBER_ID))?.version, "3.0.0");
  });

  it("gives each page an idempotency key of its own, the same at every attempt", async () => {
    const keys: string[] = [];
    let broken = true;
    const { update, again } = await portalOn2(async ({ pages }) => {
      await pages("deals", { at: 0 }, ({ at }, { idempotencyKey }) => {
        keys.push(idempotencyKey);
        if (at === 1 && broken) throw new Error("not yet");
        return { next: at < 2 ? { at: at + 1 } : null, done: 1 };
      });
    });
    await update();
    broken = false;
    await again();
    assert.equal(keys[1], keys[2]);
    assert.equal(new Set(keys).size, 3);
  });
});

describe("sleep()", () => {
  it("goes on after its time, in whichever process, and does not sleep again", async () => {
    const storage = memoryStorage();
    const ran: string[] = [];
    const { clock, later } = movableClock();
    const make = () =>
      createApp({ storage, clock, acknowledge: "handled", logger: recordingLogger().logger }).use(trustAll)
        .upgrade("3", async ({ step, sleep, attempt }) => {
          await step("before", () => void ran.push("before"));
          await sleep("an hour", 3_600_000);
          await step("after", () => void ran.push(`after, attempt ${attempt}`));
        });
    const { portal } = rig();
    const first = make();
    for (const body of [portal.install(2), portal.update(3)]) assert.equal((await first.fetch(post(body))).status, 200);
    assert.deepEqual(ran, ["before"]);
    const { run, failure } = (await first.portal(MEMBER_ID))!;
    assert(run!.wakeAt! > clock() + 3_000_000);
    assert.equal(failure, undefined, "to sleep is no failure");
    const second = make();
    assert.deepEqual(await second.tick(), { handled: 0, failed: 0 });
    later();
    assert.deepEqual(await second.tick(), { handled: 1, failed: 0 });
    assert.deepEqual(ran, ["before", "after, attempt 1"]);
    assert.equal((await second.portal(MEMBER_ID))?.version, "3.0.0");
  });

  it("holds although the handler catches what it throws", async () => {
    let ended = false;
    const { app, update, again } = await portalOn2(async ({ sleep }) => {
      try {
        await sleep("a while", 60_000);
        ended = true;
      } catch {
        // As a handler does that swallows everything.
      }
    });
    await update();
    assert.equal((await app.portal(MEMBER_ID))?.version, "2.0.0");
    await again();
    assert.equal(ended, true);
    assert.equal((await app.portal(MEMBER_ID))?.version, "3.0.0");
  });

  it("does not hold up other events of the portal", async () => {
    const { app, portal, send, update } = await portalOn2(({ sleep }) => sleep("a while", 60_000));
    await update();
    assert.equal(await send(portal.uninstall()), 200);
    assert.equal((await app.portal(MEMBER_ID))?.status, "uninstalled");
  });
});

describe("what steps and sleeps are told", () => {
  const MISTAKES: Readonly<Record<string, (ctx: UpgradeContext) => Promise<unknown>>> = {
    'cannot run step "one": timeoutMs is Infinity, wanted 1 to 2147483647': ({ step }) =>
      step("one", () => {}, { timeoutMs: Infinity }),
    'cannot run step "one": timeoutMs is 2592000000, wanted 1 to 2147483647': ({ pages }) =>
      pages("one", 0, () => Promise.resolve({ next: null, done: 1 }), { timeoutMs: 2_592_000_000 }),
    'cannot run step "one": cannot use maxAttempts 0 for it, wanted a whole number from 1': ({ step }) =>
      step("one", () => {}, { retry: { maxAttempts: 0 } }),
    'cannot sleep "a while" for NaN milliseconds, wanted a number from 0': ({ sleep }) => sleep("a while", NaN),
    'cannot sleep "a while" for Infinity milliseconds, wanted a number from 0': ({ sleep }) =>
      sleep("a while", Infinity),
  };
  for (const [message, handler] of Object.entries(MISTAKES)) {
    it(`is parked at once with what was wanted: ${message}`, async () => {
      const { app, update } = await portalOn2(async (ctx) => void await handler(ctx));
      await update();
      const { failure } = (await app.portal(MEMBER_ID))!;
      assert.deepEqual([failure?.message, failure?.attempts, failure?.retryAt], [message, 1, undefined]);
    });
  }
});

describe("what is thrown", () => {
  const circle = new Error("one");
  circle.cause = new Error("two", { cause: circle });
  const THROWN: Readonly<Record<string, unknown>> = {
    "an error that is a cause of itself": circle,
    "what is no text": Object.create(null),
    "an error whose message throws": Object.defineProperty(new Error(), "message", {
      get: () => {
        throw new Error("no message");
      },
    }),
  };
  for (const [name, thrown] of Object.entries(THROWN)) {
    it(`is a failure as any other: ${name}`, async () => {
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
      assert.match(lines.join(), /"event failed"/);
      assert.doesNotMatch(lines.join(), /"processing failed"/);
    });
  }
});

describe("a failure", () => {
  it("is tried again after waits that double, up to a limit, and is parked at the end", async () => {
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

  it("RetryAfterError says when, and is not counted; Fatal parks at once", async () => {
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

  it("of a parked run is tried anew when the portal gets another target", async () => {
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

  it("of one portal does not hold up another one", async () => {
    const made = await portalOn2(({ memberId }) => {
      if (memberId === MEMBER_ID) throw new Error("broken");
    });
    await made.update();
    const other = made.bitrix24.portal({ memberId: "c".repeat(32) });
    await made.send(other.install(2));
    await made.send(other.update(3));
    assert.equal((await made.app.portal(other.memberId))?.version, "3.0.0");
  });

  it("reports steps, failures and what follows from them", async () => {
    let broken = true;
    const { names, update, again } = await portalOn2(async ({ step }) => {
      await step("one", () => {});
      await step("two", () => {
        if (broken) throw new Error("not yet");
      });
    });
    await update();
    broken = false;
    await again();
    assert.deepEqual(names().slice(2), [
      ...[
        "eventReceived",
        "runPlanned",
        "stepStarted",
        "stepFinished",
        "stepStarted",
        "stepFailed",
        "upgradeRetryScheduled",
        "eventFailed",
      ],
      ...["runPlanned", "stepStarted", "stepFinished", "upgradeApplied", "portalUpgraded", "eventHandled"],
    ]);
  });
});

describe("a process that ends during a step", () => {
  /** A storage that can be taken from its app, as the end of a process does. */
  function mortal(inner: Storage): { readonly storage: Storage; readonly kill: () => void } {
    let dead = false;
    const guard = <A extends unknown[], R>(call: (...args: A) => Promise<R>) => (...args: A): Promise<R> =>
      dead ? new Promise<R>(() => {}) : call(...args);
    return {
      storage: {
        ...inner,
        get: guard(inner.get) as Storage["get"],
        put: guard(inner.put) as Storage["put"],
        delete: guard(inner.delete),
      },
      kill: () => void (dead = true),
    };
  }

  it("has its work taken up by another one, after its lease, with the same idempotency key", async () => {
    const inner = memoryStorage();
    const { clock, later } = movableClock();
    const keys: string[] = [];
    const { portal } = rig();
    const { storage, kill } = mortal(inner);
    const make = (storage: Storage, during: () => Promise<void>) =>
      createApp({ storage, clock, logger: recordingLogger().logger }).use(trustAll)
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
    assert.deepEqual(await second.tick(), { handled: 0, failed: 0 }, "the lease is not over");
    later();
    assert.equal((await second.tick()).handled >= 1, true);
    assert.equal((await second.portal(MEMBER_ID))?.version, "3.0.0");
    assert.equal(keys.length, 3);
    const [, before, after] = keys.map((key) => /^(\w+)(?: #(\d+) \^(\d+))?$/.exec(key)!);
    assert.equal(before![1], after![1]);
    assert.deepEqual([before![2], after![2]], ["1", "2"]);
    assert(Number(after![3]) > Number(before![3]));
  });

  it("parks a step that takes its process with it again and again", async () => {
    const inner = memoryStorage();
    const { clock, later } = movableClock();
    const { portal } = rig();
    let runs = 0;
    for (let life = 0; life < 5; life++) {
      const { storage, kill } = mortal(inner);
      let begun = (): void => {};
      const hanging = new Promise<void>((resolve) => begun = resolve);
      const { plugin } = recorder();
      const app = createApp({ storage, clock, acknowledge: "handled", logger: recordingLogger().logger })
        .use(trustAll).use(plugin).upgrade("3", async ({ step }) => {
          await step("deadly", () => {
            runs++;
            kill();
            begun();
            return new Promise(() => {});
          });
        }, { retry: { maxAttempts: 3 } });
      if (life === 0) {
        await app.fetch(post(portal.install(2)));
        app.fetch(post(portal.update(3)));
      } else {
        later();
        app.tick().then(begun);
      }
      await hanging;
    }
    assert.equal(runs, 3);
    const app = createApp({ storage: inner, logger: recordingLogger().logger }).use(trustAll);
    const { failure } = (await app.portal(MEMBER_ID))!;
    assert.match(failure!.message, /its process ended each time/);
    assert.equal(failure!.retryAt, undefined);
  });
});
