import assert from "node:assert/strict";
import { createApp, memoryStorage, type UpgradeContext } from "@b24/onappupdate";
import { MEMBER_ID, movableClock, post, quietLogger, rig, trustAll } from "../../support/app.ts";
import { describe, it } from "../../support/test.ts";
import { portalOn2 } from "./_portal_on_2.ts";

describe("step()", () => {
  it("runs once and returns its recorded result afterwards", async () => {
    const ran: string[] = [];
    const given: unknown[] = [];
    let broken = true;
    const { app, update, retry } = await portalOn2(async ({ step }) => {
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
    assert.deepEqual(await retry(), { handled: 1, failed: 0 });
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

  it("gives large results retry, which are not in the portal's record", async () => {
    const large = "x".repeat(100_000);
    const storage = memoryStorage();
    let attempts = 0;
    const { update, retry, app } = await portalOn2(
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
    await retry();
    assert.equal(attempts, 2);
    assert.equal((await app.portal(MEMBER_ID))?.version, "3.0.0");
  });

  it("gives the results of many steps retry, which are not in the portal's record either", async () => {
    const storage = memoryStorage();
    let attempts = 0;
    const resultOf = (i: number): string => String(i).repeat(100);
    const { update, retry, app } = await portalOn2(
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
    assert(record.length < 4000, `${record.length} characters`);
    await retry();
    assert.deepEqual([attempts, (await app.portal(MEMBER_ID))?.version], [2, "3.0.0"]);
  });

  it("has one idempotency key for all its attempts, and another for each step, portal and generation", async () => {
    const keys: string[] = [];
    const attempts: number[] = [];
    const { portal, send, update, retry, bitrix24 } = await portalOn2(async ({ step }) => {
      await step("one", ({ idempotencyKey, attempt }) => {
        keys.push(idempotencyKey);
        attempts.push(attempt);
        if (attempt < 3) throw new Error("not yet");
      });
      await step("two", ({ idempotencyKey }) => void keys.push(idempotencyKey));
    });
    await update();
    await retry();
    await retry();
    assert.deepEqual(attempts, [1, 2, 3]);
    assert.equal(new Set(keys.slice(0, 3)).size, 1);
    const other = bitrix24.portal({ memberId: "b".repeat(32) });
    await send(other.install(2));
    await send(other.update(3));
    await retry();
    await retry();
    await send(portal.uninstall());
    await send(portal.install(2));
    await update();
    await retry();
    await retry();
    assert.equal(new Set(keys).size, 6, keys.join("\n"));
    for (const key of keys) assert.match(key, /^[0-9a-f]{64}$/);
  });

  it("parks the run if a name is used twice or steps are nested", async () => {
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
    const next = createApp({ storage, clock: first.clock, logger: quietLogger }).use(trustAll)
      .upgrade("3", async ({ step }) => {
        for (const name of ["b", "new", "a"]) await step(name, () => void ran.push(name));
      });
    await next.tick();
    assert.deepEqual(ran, ["a", "gone", "b", "new"]);
    assert.equal((await next.portal(MEMBER_ID))?.version, "3.0.0");
  });

  it("fails after timeoutMs, with its signal aborted", async () => {
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

  it("cannot start after its attempt has ended", async () => {
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

  it("may fail if the handler catches its error", async () => {
    const { app, update } = await portalOn2(async ({ step }) => {
      await step("optional", () => Promise.reject(new Error("no"))).catch(() => {});
      await step("needed", () => {});
    });
    await update();
    assert.equal((await app.portal(MEMBER_ID))?.version, "3.0.0");
  });

  it("may have the name of a property of Object.prototype", async () => {
    let broken = true;
    const given: unknown[] = [];
    const { update, retry } = await portalOn2(async ({ step }) => {
      for (const name of ["__proto__", "constructor", "toString"]) given.push(await step(name, () => name));
      if (broken) throw new Error("not yet");
    });
    await update();
    broken = false;
    await retry();
    assert.deepEqual(given.slice(3), ["__proto__", "constructor", "toString"]);
    assert.equal(({} as Record<string, unknown>)["state"], undefined);
  });
});

describe("pages()", () => {
  it("resumes at the last recorded cursor, with its progress", async () => {
    const pages: (readonly [number, number])[] = [];
    let broken = true;
    const { app, update, retry } = await portalOn2(async ({ pages: run }) => {
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
    await retry();
    assert.deepEqual(pages, [[0, 1], [50, 1], [100, 1], [100, 2], [150, 1]]);
    assert.equal((await app.portal(MEMBER_ID))?.version, "3.0.0");
  });

  it("has one idempotency key for all attempts at a page, and another for each page", async () => {
    const keys: string[] = [];
    let broken = true;
    const { update, retry } = await portalOn2(async ({ pages }) => {
      await pages("deals", { at: 0 }, ({ at }, { idempotencyKey }) => {
        keys.push(idempotencyKey);
        if (at === 1 && broken) throw new Error("not yet");
        return { next: at < 2 ? { at: at + 1 } : null, done: 1 };
      });
    });
    await update();
    broken = false;
    await retry();
    assert.equal(keys[1], keys[2]);
    assert.equal(new Set(keys).size, 3);
  });
});

describe("sleep()", () => {
  it("resumes after its time in any process, and does not sleep again", async () => {
    const storage = memoryStorage();
    const ran: string[] = [];
    const { clock, later } = movableClock();
    const make = () =>
      createApp({ storage, clock, acknowledge: "handled", logger: quietLogger }).use(trustAll)
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
    assert.equal(failure, undefined, "sleeping is not a failure");
    const second = make();
    assert.deepEqual(await second.tick(), { handled: 0, failed: 0 });
    later();
    assert.deepEqual(await second.tick(), { handled: 1, failed: 0 });
    assert.deepEqual(ran, ["before", "after, attempt 1"]);
    assert.equal((await second.portal(MEMBER_ID))?.version, "3.0.0");
  });

  it("suspends the run even if the handler catches its error", async () => {
    let ended = false;
    const { app, update, retry } = await portalOn2(async ({ sleep }) => {
      try {
        await sleep("a while", 60_000);
        ended = true;
      } catch {
        // A handler that swallows all errors.
      }
    });
    await update();
    assert.equal((await app.portal(MEMBER_ID))?.version, "2.0.0");
    await retry();
    assert.equal(ended, true);
    assert.equal((await app.portal(MEMBER_ID))?.version, "3.0.0");
  });

  it("does not delay other events of the portal", async () => {
    const { app, portal, send, update } = await portalOn2(({ sleep }) => sleep("a while", 60_000));
    await update();
    assert.equal(await send(portal.uninstall()), 200);
    assert.equal((await app.portal(MEMBER_ID))?.status, "uninstalled");
  });
});

describe("an invalid option of a step or sleep", () => {
  const MISTAKES: Readonly<Record<string, (ctx: UpgradeContext) => Promise<unknown>>> = {
    'cannot run step "one" with timeoutMs Infinity, wanted a number from 1 to 2147483647': ({ step }) =>
      step("one", () => {}, { timeoutMs: Infinity }),
    'cannot run step "one" with timeoutMs 2592000000, wanted a number from 1 to 2147483647': ({ pages }) =>
      pages("one", 0, () => Promise.resolve({ next: null, done: 1 }), { timeoutMs: 2_592_000_000 }),
    'cannot run step "one" with retry.maxAttempts 0, wanted a whole number from 1': ({ step }) =>
      step("one", () => {}, { retry: { maxAttempts: 0 } }),
    'cannot run step "one" with the option timeout that does not exist, wanted timeoutMs': ({ step }) =>
      step("one", () => {}, { timeout: 5 } as never),
    'cannot run step "one" with undo "back", wanted a function': ({ step }) =>
      step("one", () => {}, { undo: "back" as never }),
    'cannot run step "one" with the option undo that does not exist, wanted retry or timeoutMs': ({ pages }) =>
      pages("one", 0, () => Promise.resolve({ next: null, done: 1 }), { undo: () => {} } as never),
    'cannot run step "one" with options null, wanted an object with retry, timeoutMs, undo': ({ step }) =>
      step("one", () => {}, null as never),
    'cannot sleep "a while" for NaN milliseconds, wanted a number from 0': ({ sleep }) => sleep("a while", NaN),
    'cannot sleep "a while" for Infinity milliseconds, wanted a number from 0': ({ sleep }) =>
      sleep("a while", Infinity),
  };
  for (const [message, handler] of Object.entries(MISTAKES)) {
    it(`parks the run at once: ${message}`, async () => {
      const { app, update } = await portalOn2(async (ctx) => void await handler(ctx));
      await update();
      const { failure } = (await app.portal(MEMBER_ID))!;
      assert.deepEqual([failure?.message, failure?.attempts, failure?.retryAt], [message, 1, undefined]);
    });
  }
});
