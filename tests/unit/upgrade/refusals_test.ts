import assert from "node:assert/strict";
import { memoryStorage, NonRetriableError, type Portal, type Storage, type UpgradeContext } from "@b24/onappupdate";
import { crowd, memberIdOf } from "../../support/crowd.ts";
import { MEMBER_ID } from "../../support/app.ts";
import { describe, it } from "../../support/test.ts";
import { until } from "../../support/until.ts";
import { portalOn2 } from "./_portal_on_2.ts";
import { OPERATOR } from "../../support/operator.ts";

type Handler = (ctx: UpgradeContext) => void | Promise<void>;

/** Updates a portal to version 3 by `handler`, and asserts that it is parked. Returns its failure. */
async function parked(handler: Handler, storage: Storage = memoryStorage()): Promise<NonNullable<Portal["failure"]>> {
  const { app, update } = await portalOn2(handler, {}, { storage });
  await update();
  const { version, failure } = (await app.portal(MEMBER_ID))!;
  assert.equal(version, "2.0.0");
  assert.equal(failure?.retryAt, undefined);
  // A rejection that nothing handles would fail the test.
  await turns();
  await app.close();
  return failure!;
}

/** Takes a few turns of the event loop. */
async function turns(): Promise<void> {
  for (let i = 0; i < 3; i++) await new Promise((resolve) => setTimeout(resolve));
}

describe("a step that the handler does not await", () => {
  const HANDLERS: Readonly<Record<string, Handler>> = {
    "a step": ({ step }) => void step("one", turns),
    "a step that fails": ({ step }) => void step("one", () => turns().then(() => Promise.reject(new Error("no")))),
    "pages": ({ pages }) =>
      void pages("one", 0, async (cursor) => {
        await turns();
        return { next: cursor < 5 ? cursor + 1 : null, done: 1 };
      }),
    "a sleep": ({ sleep }) => void sleep("one", 60_000),
    "a step in a race": ({ step }) => Promise.race([step("one", turns), Promise.resolve()]),
    "the first of several steps": ({ step }) =>
      void (async () => {
        await step("one", turns);
        await step("two", () => {});
      })().catch(() => {}),
  };
  for (const [name, handler] of Object.entries(HANDLERS)) {
    it(`parks the run, with an error that names it and the missing await: ${name}`, async () => {
      const { step, message } = await parked(handler);
      const problem = 'its handler returned while step "one" was still running; add the missing "await"';
      assert.deepEqual([step, message], ["one", `upgrade "3" is not done: ${problem}`]);
    });
  }

  it("is aborted and waited for, so that nothing overlaps with it", async () => {
    const log: string[] = [];
    const { app, update } = await portalOn2(async ({ step }) => {
      const { promise: started, resolve: start } = Promise.withResolvers<void>();
      void step("one", async ({ signal }) => {
        start();
        await turns();
        log.push(signal.aborted ? "aborted" : "not aborted");
      });
      await started;
    });
    await update();
    log.push((await app.portal(MEMBER_ID))!.failure!.step!);
    assert.deepEqual(log, ["aborted", "one"]);
  });

  it("is charged to its handler if it fails while that runs, and to nobody when the app has closed", async () => {
    const made = crowd({ limits: { closeMs: 1000 } });
    made.app.upgrade("3", async ({ step, signal }) => {
      void step(
        "one",
        ({ signal }) =>
          new Promise((_, reject) => signal.addEventListener("abort", () => reject(new Error("cut off")))),
      );
      await made.takes(60_000, signal);
    });
    await made.install(1);
    await made.update(0, 1);
    await made.time.elapse(5000);
    const closed = made.app.close();
    await made.time.elapse(5000);
    await closed;
    await turns();
    assert.equal((await made.app.portal(memberIdOf(0)))?.failure, undefined);
  });

  it("is over before another attempt if the handler fails", async () => {
    const log: string[] = [];
    const { update } = await portalOn2(async ({ step }) => {
      const { promise: started, resolve: start } = Promise.withResolvers<void>();
      void step("one", async () => {
        start();
        await turns();
        log.push("step ended");
      });
      await started;
      throw new Error("not yet");
    });
    await update();
    log.push("attempt ended");
    assert.deepEqual(log, ["step ended", "attempt ended"]);
  });
});

describe("a refused step", () => {
  const HANDLERS: Readonly<Record<string, Handler>> = {
    "Promise.allSettled": ({ step }) => void Promise.allSettled([step("one", turns), step("two", turns)]),
    "Promise.any": async ({ step }) => void await Promise.any([step("one", turns), step("two", turns)]),
    "Promise.race": async ({ step }) => void await Promise.race([step("one", () => {}), step("two", turns)]),
    "a caught step in a step": async ({ step }) => {
      await step("one", () => step("two", () => {}).catch(() => {}));
    },
    "a name that is used twice, in a try": async ({ step }) => {
      await step("two", () => {});
      await step("two", () => {}).catch(() => {});
    },
    "an option that is wrong, in a try": async ({ step }) => {
      await step("two", () => {}, { timeoutMs: 0 }).catch(() => {});
    },
    "a result that cannot be stored, in a try": async ({ step }) => {
      await step("two", () => 10n).catch(() => {});
    },
    "a name that is too long, in a try": async ({ step }) => {
      await step("two".padEnd(501), () => {}).catch(() => {});
    },
  };
  for (const [name, handler] of Object.entries(HANDLERS)) {
    it(`parks the run, whatever the handler catches: ${name}`, async () => {
      const { step, message, attempts } = await parked(async (ctx) => {
        await handler(ctx);
        await ctx.step("later", () => assert.fail("must not run")).catch(() => {});
      });
      assert.match(step!, /^two/);
      assert.match(message, /^cannot (start|run|store the result of) step "two/);
      assert.equal(attempts, 1);
    });
  }

  it("does not let a step in which it was caught count as done", async () => {
    let isFixed = false;
    const ran: string[] = [];
    const { app, update } = await portalOn2(async ({ step }) => {
      const inner = () => step("two", () => void ran.push("two"));
      await step("one", async () => {
        ran.push("one");
        if (!isFixed) await inner().catch(() => {});
      });
      if (isFixed) await inner();
    });
    await update();
    isFixed = true;
    await app.admin.retry(MEMBER_ID, OPERATOR);
    await until("the portal is upgraded", async () => (await app.portal(MEMBER_ID))?.version === "3.0.0");
    assert.deepEqual(ran, ["one", "one", "two"]);
  });

  it("is not the end of a handler that throws NonRetriableError in a step and catches it", async () => {
    const { app, update } = await portalOn2(async ({ step }) => {
      await step("one", () => Promise.reject(new NonRetriableError("no"))).catch(() => {});
    });
    await update();
    assert.equal((await app.portal(MEMBER_ID))?.version, "3.0.0");
  });
});
