import assert from "node:assert/strict";
import { MEMBER_ID, OTHER_MEMBER_ID } from "../../../support/app.ts";
import { describe, it } from "../../../support/test.ts";
import { type Answer, type Counter, counter, failure, ok, refusal } from "./_rest.ts";

/** A portal that takes 500 ms for each answer. `log` has the beginnings and ends of requests. */
function slow(answer: Answer = ({ method }) => ok(method)): {
  readonly made: Counter;
  readonly most: () => number;
  readonly log: string[];
} {
  const made = counter();
  const log: string[] = [];
  let inFlight = 0;
  let most = 0;
  made.answer = async (sent, count) => {
    log.push(`+${sent.method}`);
    most = Math.max(most, ++inFlight);
    await made.takes(500);
    inFlight--;
    log.push(`-${sent.method}`);
    return await answer(sent, count);
  };
  return { made, most: () => most, log };
}

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

  it("takes 1 s for 8 calls of 500 ms: up to 4 are in flight", async () => {
    const { made, most } = slow();
    await Promise.all(Array.from({ length: 8 }, (_, i) => made.b24.call(`m${i}.get`)));
    assert.deepEqual([made.timer.now(), most()], [1000, 4]);
    assert.deepEqual(made.sent.map(({ method }) => method), Array.from({ length: 8 }, (_, i) => `m${i}.get`));
  });

  it("keeps 2 calls a second with an empty bucket", async () => {
    const { made } = slow();
    await Promise.all(Array.from({ length: 50 }, () => made.b24.call("m.get")));
    const full = made.timer.now();
    // The bucket leaks meanwhile, so some more calls are free.
    await Promise.all(Array.from({ length: Math.floor(full / 500) }, () => made.b24.call("m.get")));
    const from = made.timer.now();
    made.sent.length = 0;
    await Promise.all(Array.from({ length: 20 }, () => made.b24.call("m.get")));
    const seconds = (made.timer.now() - from) / 1000;
    assert(seconds >= 8.5 && seconds <= 10.5, `${seconds}`);
  });

  it("starts calls in their order, and runs one that may write alone", async () => {
    const { made, most, log } = slow();
    const names = ["a.get", "b.get", "c.add", "d.add", "e.get", "f.list", "g.update"];
    await Promise.all(names.map((name) => made.b24.call(name)));
    assert.deepEqual(log, [
      ...["+a.get", "+b.get", "-a.get", "-b.get"],
      ...["+c.add", "-c.add", "+d.add", "-d.add"],
      ...["+e.get", "+f.list", "-e.get", "-f.list", "+g.update", "-g.update"],
    ]);
    assert.deepEqual([made.timer.now(), most()], [2500, 2]);
  });

  it("runs batches that only read side by side", async () => {
    const { made, most } = slow(() => ok({ result: { a: 1 }, result_error: [] }));
    await Promise.all(["a.get", "a.get", "a.add", "a.add"].map((method) => made.b24.batch({ a: [method] })));
    assert.deepEqual([made.timer.now(), most()], [1500, 2]);
  });

  it("goes on with what may start when a call that others wait for is aborted", async () => {
    const { made } = slow();
    const work = new AbortController();
    const first = made.b24.call("a.get");
    const write = made.b24.call("b.add", {}, { signal: work.signal });
    const last = made.b24.call("c.get");
    const aborted = failure(made, write, { message: "no longer needed" });
    work.abort(new Error("no longer needed"));
    await Promise.all([first, last, aborted]);
    assert.deepEqual([made.timer.now(), made.sent.length], [500, 2]);
  });

  it("sends nothing for a while after QUERY_LIMIT_EXCEEDED, whoever calls", async () => {
    const { made } = slow((_sent, count) => count === 1 ? refusal(503, "QUERY_LIMIT_EXCEEDED") : ok(count));
    const calls = ["a.get", "b.get", "c.get", "d.get", "e.get", "f.get"].map((name) => made.b24.call(name));
    await Promise.all(calls);
    assert.deepEqual(made.sent.map(({ method }) => method.slice(0, 1)).join(""), "abcdaef");
    // Four were in flight; the next one waits for half a second to a second, and each further one for the full bucket.
    const total = made.timer.now();
    assert(total >= 500 + 500 + 2 * 500 + 500 && total <= 500 + 1000 + 2 * 500 + 500, `${total}`);
  });

  it("goes on in the order of the calls after failures", async () => {
    const { made } = slow(({ method }) => method === "m.m3" ? refusal(400, "ERROR_CORE") : ok(method));
    const names = Array.from({ length: 20 }, (_, i) => `m.m${i}`);
    const done = await Promise.allSettled(names.map((name) => made.b24.call(name)));
    assert.deepEqual(made.sent.map(({ method }) => method), names);
    assert.deepEqual(done.flatMap(({ status }, i) => status === "rejected" ? [i] : []), [3]);
  });

  it("gets the token when the call leaves the queue, not before", async () => {
    const { made } = slow();
    const calls = ["slow.add", "next.get"].map((method) => made.b24.call(method));
    while (made.sent.length === 0) await new Promise((resolve) => setTimeout(resolve));
    assert.deepEqual(made.asked, ["get"]);
    await Promise.all(calls);
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
