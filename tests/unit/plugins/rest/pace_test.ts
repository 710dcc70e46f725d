import assert from "node:assert/strict";
import { MEMBER_ID, OTHER_MEMBER_ID } from "../../../support/app.ts";
import { describe, it } from "../../../support/test.ts";
import { counter, failure, ok, refusal } from "./_rest.ts";

describe("rest({ rate })", () => {
  const RATES = [
    [{}, 45, 500],
    [{ rate: { burst: 250, perSecond: 5 } }, 250, 200],
    [{ rate: { burst: 1, perSecond: 10 } }, 1, 100],
  ] as const;
  for (const [options, burst, gapMs] of RATES) {
    it(`sends ${burst} requests at once, and then one each ${gapMs} ms`, async () => {
      const made = counter(options);
      for (let i = 0; i < burst; i++) await made.b24.call("profile");
      assert.deepEqual(made.waits, []);
      for (let i = 0; i < 3; i++) await made.b24.call("profile");
      assert.deepEqual(made.waits.map(Math.round), [gapMs, gapMs, gapMs]);
      await made.timer.sleep(gapMs * 4, new AbortController().signal);
      made.waits.length = 0;
      const room = Math.min(4, burst);
      for (let i = 0; i <= room; i++) await made.b24.call("profile");
      assert.deepEqual(made.waits.map(Math.round), [gapMs]);
    });
  }

  it("may differ by portal", async () => {
    const made = counter({
      rate: (memberId) => memberId === MEMBER_ID ? { burst: 1, perSecond: 2 } : { burst: 9, perSecond: 5 },
    });
    const other = made.plugin.portal(OTHER_MEMBER_ID);
    for (let i = 0; i < 9; i++) await other.call("profile");
    assert.deepEqual(made.waits, []);
    for (let i = 0; i < 2; i++) await made.b24.call("profile");
    assert.equal(made.waits.length, 1);
  });

  it("refuses an invalid rate of a portal", async () => {
    const made = counter({ rate: () => ({ burst: NaN, perSecond: 2 }) });
    await failure(made, made.b24.call("profile"), { name: "TypeError" });
    assert.equal(made.sent.length, 0);
  });

  it("sends one request at a time to a portal, in the order of the calls, also after failures", async () => {
    const made = counter();
    let underWay = 0;
    let most = 0;
    made.answer = async ({ method }) => {
      most = Math.max(most, ++underWay);
      await new Promise((resolve) => setTimeout(resolve));
      underWay--;
      return method === "m.m3" ? refusal(400, "ERROR_CORE") : ok(method);
    };
    const names = Array.from({ length: 20 }, (_, i) => `m.m${i}`);
    const done = await Promise.allSettled(names.map((name) => made.b24.call(name)));
    assert.equal(most, 1);
    assert.deepEqual(made.sent.map(({ method }) => method), names);
    assert.deepEqual(done.flatMap(({ status }, i) => status === "rejected" ? [i] : []), [3]);
  });

  it("gets the token when the call leaves the queue, not before", async () => {
    const made = counter();
    const slow = Promise.withResolvers<Response>();
    made.answer = ({ method }) => method === "slow.get" ? slow.promise : ok(method);
    const calls = ["slow.get", "next.get"].map((method) => made.b24.call(method));
    while (made.sent.length === 0) await new Promise((resolve) => setTimeout(resolve));
    assert.deepEqual(made.asked, ["get"]);
    slow.resolve(ok("slow.get"));
    assert.deepEqual(await Promise.all(calls), ["slow.get", "next.get"]);
    assert.deepEqual(made.asked, ["get", "get"]);
  });

  it("has a queue for each portal", async () => {
    const made = counter();
    const slow = Promise.withResolvers<Response>();
    made.answer = ({ method }) => method === "slow.get" ? slow.promise : ok("at once");
    const waiting = made.b24.call("slow.get");
    const other = made.plugin.portal(OTHER_MEMBER_ID);
    assert.equal(await other.call("profile"), "at once");
    slow.resolve(ok("late"));
    assert.equal(await waiting, "late");
  });

  it("removes the queues of idle portals only", async () => {
    // A removed queue would start with an empty bucket, so a portal that must wait was not removed.
    const made = counter({ rate: { burst: 2, perSecond: 1 } });
    const call = async (memberId: string): Promise<unknown> => await made.plugin.portal(memberId).call("profile");
    for (let i = 0; i < 2; i++) await call(MEMBER_ID);
    for (let i = 0; i < 200; i++) await call(`other ${i}`);
    await call(MEMBER_ID);
    assert.deepEqual(made.waits, [1000]);
  });

  it("keeps a queue in memory only while its bucket is in use", async () => {
    const made = counter({ rate: { burst: 50, perSecond: 1000 } });
    const { set } = Map.prototype;
    let most = 0;
    Map.prototype.set = function (this: Map<unknown, unknown>, key: unknown, value: unknown): Map<unknown, unknown> {
      if (/^portal \d+$/.test(String(key))) most = Math.max(most, this.size + 1);
      return set.call(this, key, value);
    };
    try {
      for (let i = 0; i < 300; i++) {
        await made.plugin.portal(`portal ${i}`).call("profile");
        if (i % 10 === 0) await made.timer.sleep(1, new AbortController().signal);
      }
    } finally {
      Map.prototype.set = set;
    }
    assert(most > 0 && most < 25, `${most}`);
  });
});
