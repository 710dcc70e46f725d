import assert from "node:assert/strict";
import {
  B24Error,
  createApp,
  memoryStorage,
  NonRetriableError,
  OnAppUpdateError,
  type Plugin,
  RetryAfterError,
} from "@b24/onappupdate";
import { MEMBER_ID, rig } from "../support/app.ts";
import { countsAsAttempt, nextRetryDelay, unitHash } from "../../src/retry.ts";
import { describe, it } from "../support/test.ts";

const broken = new Error("broken");

describe("nextRetryDelay()", () => {
  it("doubles from initialDelayMs to maxDelayMs, and parks at the last attempt", () => {
    const policy = { maxAttempts: 5, initialDelayMs: 100, maxDelayMs: 350 };
    assert.deepEqual([1, 2, 3, 4, 5, 6].map((n) => nextRetryDelay(broken, n, policy, 0)), [
      ...[100, 200, 350, 350],
      ...[undefined, undefined],
    ]);
  });

  it("takes off up to half of the delay as jitter", () => {
    const waits = [0, 0.25, 0.5, 1].map((jitter) => nextRetryDelay(broken, 1, { initialDelayMs: 1000 }, jitter));
    assert.deepEqual(waits, [1000, 875, 750, 500]);
  });

  it("has defaults of 10 attempts, and of delays from 30 seconds to an hour", () => {
    const waits = Array.from({ length: 10 }, (_, i) => nextRetryDelay(broken, i + 1, {}, 0));
    assert.deepEqual(waits.map((ms) => ms && ms / 1000), [30, 60, 120, 240, 480, 960, 1920, 3600, 3600, undefined]);
  });

  it("uses the default of a member that is undefined", () => {
    assert.equal(nextRetryDelay(broken, 10, { maxAttempts: undefined } as object, 0), undefined);
  });

  it("returns the delay of RetryAfterError after any attempt, and undefined for NonRetriableError after the first", () => {
    assert.equal(nextRetryDelay(new RetryAfterError(7000), 99, { maxAttempts: 1 }, 0.5), 7000);
    // It does not count, so nothing else ends a loop.
    assert.equal(nextRetryDelay(new RetryAfterError(0), 99, { maxAttempts: 1 }, 0.5), 1000);
    for (const ms of [Number.MAX_SAFE_INTEGER, Number.MAX_VALUE]) {
      const delay = nextRetryDelay(new RetryAfterError(ms), 1, {}, 0)!;
      assert.match(new Date(Date.now() + delay).toISOString(), /^\+/, "pages show the time");
    }
    assert.equal(nextRetryDelay(new NonRetriableError("no"), 1, {}, 0), undefined);
  });
});

describe("limits of Bitrix24", () => {
  it("determine the delay and do not count as attempts: ten minutes for the operating time of a method", () => {
    const limits = { OPERATION_TIME_LIMIT: 600_000, QUERY_LIMIT_EXCEEDED: 10_000 };
    for (const [code, waitMs] of Object.entries(limits)) {
      const error = new B24Error({ code, description: "", status: 429, method: "crm.deal.update" });
      for (const thrown of [error, new Error("while moving deals", { cause: error })]) {
        assert.deepEqual([countsAsAttempt(thrown), nextRetryDelay(thrown, 99, { maxAttempts: 3 }, 0)], [false, waitMs]);
      }
    }
  });
});

describe("unitHash()", () => {
  it("is deterministic, from 0 up to 1, and evenly distributed", () => {
    const hashes = Array.from({ length: 1000 }, (_, i) => unitHash(`text ${i}`));
    assert.deepEqual(hashes, Array.from({ length: 1000 }, (_, i) => unitHash(`text ${i}`)));
    assert(hashes.every((hash) => hash >= 0 && hash < 1));
    for (let tenth = 0; tenth < 10; tenth++) {
      const share = hashes.filter((hash) => Math.floor(hash * 10) === tenth).length;
      assert(share > 50 && share < 200, `${share} of 1000 in tenth ${tenth}`);
    }
  });
});

describe("RetryAfterError and NonRetriableError", () => {
  it("are errors of this package with codes, and keep their cause", () => {
    const cause = new Error("503");
    const later = new RetryAfterError(10, "busy", { cause });
    assert(later instanceof OnAppUpdateError);
    assert.deepEqual([later.code, later.afterMs, later.message, later.cause], ["retry_after", 10, "busy", cause]);
    assert.deepEqual([new NonRetriableError("no").code, new NonRetriableError("no").name], [
      "non_retriable",
      "NonRetriableError",
    ]);
    for (const ms of [-1, NaN, Infinity]) assert.throws(() => new RetryAfterError(ms), TypeError);
  });
});

describe("RetryAfterError outside of upgrades", () => {
  const THROWN = ["a handler of ONAPPTEST", "a handler of ONAPPUPDATE", "a plugin around ONAPPUPDATE"];
  for (const where of THROWN) {
    it(`does not count as an attempt if ${where} throws it`, async () => {
      const { app, portal, send, later } = rig({ retry: { maxAttempts: 1 } });
      let calls = 0;
      const busy = (): void => {
        if (++calls < 4) throw new RetryAfterError(7000, "busy");
      };
      const around: Plugin["around"] = async ({ event }, next) => {
        if (where.startsWith("a plugin") && event.name === "ONAPPUPDATE") busy();
        await next();
      };
      app.use({ name: "busy", around }).upgrade("3", () => {});
      if (where.startsWith("a handler")) app.on(where.split(" ").at(-1)!, busy);
      await send(portal.install(2));
      await send(portal.update(3));
      if (where.endsWith("ONAPPTEST")) await send(portal.event("ONAPPTEST", {}));
      for (let i = 0; i < 3; i++) {
        if (where.startsWith("a plugin")) assert.equal((await app.portal(MEMBER_ID))!.failure!.attempts, 0);
        later();
        await app.tick();
      }
      const { version, failure } = (await app.portal(MEMBER_ID))!;
      assert.deepEqual([calls, version, failure], [4, "3.0.0", undefined]);
      await app.close();
    });
  }
});

describe("assertRetryPolicy()", () => {
  const bad = [{ maxAttempts: 0 }, { maxAttempts: 1.5 }, { initialDelayMs: -1 }, { maxDelayMs: NaN }];
  for (const retry of bad) {
    it(`refuses ${JSON.stringify(retry)} and names the value`, () => {
      const [name, value] = Object.entries(retry)[0]!;
      const message = new RegExp(`${name} ${value}`);
      assert.throws(() => createApp({ storage: memoryStorage(), retry }), { name: "TypeError", message });
      const app = createApp({ storage: memoryStorage() });
      assert.throws(() => app.upgrade("2", () => {}, { retry }), { name: "TypeError", message });
    });
  }
});
