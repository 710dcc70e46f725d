import assert from "node:assert/strict";
import type { PortalCount, StoredPortal } from "@b24/onappupdate";
import { createLive, type Live, type Watch } from "../../../../plugins/operator_console/live.ts";
import { MEMBER_ID, post } from "../../../support/app.ts";
import { describe, it } from "../../../support/test.ts";
import { consoleRig } from "./_console.ts";

const ada: Watch = { operator: { name: "ada", role: "read" }, isSignedIn: () => Promise.resolve(true) };

interface LiveRig extends Live {
  /** Lets the reader read once. */
  readonly turn: () => Promise<void>;
  readonly isReading: () => boolean;
  readonly reads: () => { counts: number; portals: number };
  readonly advance: (ms: number) => void;
  readonly errors: unknown[];
  counts: readonly PortalCount[];
  portal: Partial<StoredPortal>;
  error: Error | undefined;
  /** The `member_id` of a portal that cannot be read. */
  unreadable: string | undefined;
  /** The counts are read once it resolves. */
  slow: Promise<void> | undefined;
}

function liveRig(): LiveRig {
  let now = 0;
  let turn: (() => Promise<void>) | undefined;
  const [reads, errors] = [{ counts: 0, portals: 0 }, [] as unknown[]];
  const live = createLive({
    counts: async () => {
      reads.counts++;
      await rig.slow;
      if (rig.error !== undefined) throw rig.error;
      return rig.counts;
    },
    portal: (memberId) => {
      reads.portals++;
      if (memberId === rig.unreadable) return Promise.reject(new Error("newer code wrote it"));
      return Promise.resolve(rig.portal as StoredPortal);
    },
    onError: (error) => void errors.push(error),
    clock: () => now,
    every: (_, given) => {
      turn = given;
      return () => turn = undefined;
    },
  });
  const rig: LiveRig = {
    ...live,
    ...{ counts: [{ status: "parked", count: 1 }], portal: { state: "upgrading" }, errors },
    ...{ error: undefined, unreadable: undefined, slow: undefined },
    turn: async () => await turn?.(),
    isReading: () => turn !== undefined,
    reads: () => ({ ...reads }),
    advance: (ms) => void (now += ms),
  };
  return rig;
}

/** Returns a function that reads what a stream has sent since its last call. */
function reader(response: Response): () => Promise<string> {
  const stream = response.body!.getReader();
  const decoder = new TextDecoder();
  let [text, isOver] = ["", false];
  void (async () => {
    for (;;) {
      const { value, done } = await stream.read();
      if (done) break;
      text += decoder.decode(value);
    }
    isOver = true;
  })();
  return async () => {
    for (let i = 0; i < 5; i++) await new Promise((resolve) => setTimeout(resolve));
    const read = text;
    text = "";
    return isOver ? `${read}(over)` : read;
  };
}

describe("createLive() should", () => {
  it("tell a page of changes, and of nothing else", async () => {
    const live = liveRig();
    const response = live.open({ ...ada, memberId: MEMBER_ID });
    assert.match(response.headers.get("content-type")!, /^text\/event-stream/);
    assert.equal(response.headers.get("cache-control"), "no-store, no-transform");
    const read = reader(response);
    assert.equal(await read(), "retry: 5000\n\n");
    await live.turn();
    assert.equal(await read(), 'event: totals\ndata: {"parked":1}\n\nevent: portal\ndata: {"state":"upgrading"}\n\n');
    await live.turn();
    assert.equal(await read(), "");
    live.counts = [{ version: "2.0.0", status: "parked", count: 1 }, { version: "3.0.0", status: "parked", count: 2 }];
    await live.turn();
    assert.equal(await read(), 'event: totals\ndata: {"parked":3}\n\n');
    live.portal = { state: "current", version: "3.0.0" };
    await live.turn();
    assert.equal(await read(), 'event: portal\ndata: {"state":"current","version":"3.0.0"}\n\n');
    live.advance(20_000);
    await live.turn();
    assert.equal(await read(), ":\n\n");
    live.close();
    assert.equal(await read(), "(over)");
    assert.throws(() => live.open(ada), { status: 503 });
  });

  it("read once for all pages of a process, and only while somebody watches", async () => {
    const live = liveRig();
    assert.equal(live.isReading(), false);
    const watches = ["ada", "bob", "eve"].flatMap((name) => [
      live.open({ ...ada, operator: { name, role: "read" } }),
      live.open({ ...ada, operator: { name, role: "read" }, memberId: MEMBER_ID }),
    ]);
    await live.turn();
    assert.deepEqual(live.reads(), { counts: 1, portals: 1 });
    assert.equal(live.size(), 6);
    for (const { body } of watches.slice(1)) await body!.cancel();
    assert.deepEqual([live.size(), live.isReading()], [1, true]);
    await live.turn();
    assert.deepEqual(live.reads(), { counts: 2, portals: 1 });
    await watches[0]!.body!.cancel();
    assert.deepEqual([live.size(), live.isReading()], [0, false]);
    live.open(ada);
    assert.equal(live.isReading(), true);
  });

  it("end with the session, and after ten minutes", async () => {
    const live = liveRig();
    let isSignedIn = true;
    let checks = 0;
    const read = reader(live.open({ ...ada, isSignedIn: () => Promise.resolve((checks++, isSignedIn)) }));
    await live.turn();
    live.advance(29_999);
    await live.turn();
    assert.equal(checks, 0);
    live.advance(1);
    await live.turn();
    assert.equal(checks, 1);
    isSignedIn = false;
    live.advance(30_000);
    await live.turn();
    assert.match(await read(), /\(over\)$/);
    assert.equal(live.isReading(), false);

    const long = reader(live.open(ada));
    live.advance(599_999);
    await live.turn();
    assert.doesNotMatch(await long(), /over/);
    live.advance(1);
    await live.turn();
    assert.match(await long(), /\(over\)$/);
  });

  it("end with the session, also after the clock was put back", async () => {
    const live = liveRig();
    live.advance(24 * 3_600_000);
    let isSignedIn = true;
    const read = reader(live.open({ ...ada, isSignedIn: () => Promise.resolve(isSignedIn) }));
    await live.turn();
    await read();
    isSignedIn = false;
    live.advance(-60_000);
    await live.turn();
    assert.deepEqual([await read(), live.size()], ["(over)", 0]);
  });

  it("go on for others while the sign-on of one viewer hangs, and tell that one nothing", async () => {
    const live = liveRig();
    const [hanging, other] = [
      reader(live.open({ operator: { name: "bob", role: "read" }, isSignedIn: () => new Promise(() => {}) })),
      reader(live.open(ada)),
    ];
    await live.turn();
    await Promise.all([hanging(), other()]);
    live.advance(30_000);
    live.counts = [{ status: "parked", count: 2 }];
    for (let i = 0; i < 2; i++) await live.turn();
    assert.doesNotMatch(await hanging(), /event/);
    assert.match(await other(), /"parked":2/);
    live.advance(10 * 60_000);
    await live.turn();
    assert.deepEqual([await hanging(), live.size()], ["(over)", 0]);
  });

  it("keep a stream while the storage is down, say so once, and go on", async () => {
    const live = liveRig();
    const failing = (): Promise<boolean> => Promise.reject(new Error("the storage is down"));
    const read = reader(live.open({ ...ada, isSignedIn: failing }));
    await live.turn();
    await read();
    live.error = new Error("the storage is down");
    live.advance(30_000);
    await live.turn();
    await live.turn();
    assert.equal(await read(), "event: outage\ndata: {}\n\n");
    assert.equal(live.errors.length, 2);
    live.error = undefined;
    live.counts = [{ status: "parked", count: 5 }];
    await live.turn();
    assert.match(await read(), /"parked":5/);
    live.error = new Error("again");
    await live.turn();
    assert.equal(await read(), "event: outage\ndata: {}\n\n");
    live.close();
  });

  it("tell a page after an outage to fetch its parts, even if nothing has changed meanwhile", async () => {
    const live = liveRig();
    const read = reader(live.open({ ...ada, memberId: MEMBER_ID }));
    await live.turn();
    await read();
    live.error = new Error("the storage is down");
    await live.turn();
    assert.equal(await read(), "event: outage\ndata: {}\n\n");
    live.error = undefined;
    await live.turn();
    assert.equal(await read(), 'event: totals\ndata: {"parked":1}\n\nevent: portal\ndata: {"state":"upgrading"}\n\n');
    await live.turn();
    assert.equal(await read(), "");
    live.close();
  });

  it("go on for others while a portal cannot be read, and show signs of life", async () => {
    const live = liveRig();
    live.unreadable = "f".repeat(32);
    const [unreadable, portal, all] = [
      reader(live.open({ ...ada, memberId: live.unreadable })),
      reader(live.open({ ...ada, memberId: MEMBER_ID })),
      reader(live.open(ada)),
    ];
    await live.turn();
    assert.match(await unreadable(), /event: outage/);
    assert.match(await portal(), /event: totals[^]*event: portal/);
    assert.match(await all(), /event: totals/);
    assert.equal(live.errors.length, 1);
    live.advance(20_000);
    await live.turn();
    assert.deepEqual([await unreadable(), await portal(), await all()], [":\n\n", ":\n\n", ":\n\n"]);
    live.unreadable = undefined;
    await live.turn();
    assert.match(await unreadable(), /event: totals[^]*event: portal/);
    live.close();
  });

  it("say nothing of an outage if a page is closed while the storage is read", async () => {
    const live = liveRig();
    const [closed, other] = [live.open(ada), live.open(ada)];
    const read = reader(other);
    const { promise, resolve } = Promise.withResolvers<void>();
    live.slow = promise;
    const turn = live.turn();
    await closed.body!.cancel();
    resolve();
    await turn;
    assert.equal(await read(), 'retry: 5000\n\nevent: totals\ndata: {"parked":1}\n\n');
    assert.deepEqual(live.errors, []);
    live.close();
  });

  it("show signs of life while the storage is down", async () => {
    const live = liveRig();
    const read = reader(live.open(ada));
    live.error = new Error("the storage is down");
    await live.turn();
    await read();
    live.advance(20_000);
    await live.turn();
    assert.equal(await read(), ":\n\n");
    live.close();
  });

  it("limit the streams of an operator, and those of a process", () => {
    const live = liveRig();
    for (let i = 0; i < 8; i++) live.open(ada);
    assert.throws(() => live.open(ada), { status: 429 });
    const by = (name: string): Watch => ({ ...ada, operator: { name, role: "read" } });
    for (let i = 0; i < 92; i++) live.open(by(`operator ${i}`));
    assert.equal(live.size(), 100);
    assert.throws(() => live.open(by("one more")), { status: 429 });
    live.close();
  });

  it("end the stream of a client that does not read", async () => {
    const live = liveRig();
    live.open(ada);
    for (let i = 0; i < 40; i++) {
      live.counts = [{ status: "parked", count: i }];
      await live.turn();
    }
    assert.equal(live.size(), 0);
  });
});

describe("the stream of the console should", () => {
  it("be for those who are signed in, and end when the app closes", async () => {
    const { app, portal, fetch, open } = consoleRig();
    await app.fetch(post(portal.install(2)));
    const response = await open("/live?portal=unknown.example");
    assert.equal(response.status, 404);
    const stream = await fetch(new Request(`https://ops.example/live?portal=${portal.domain}`));
    const chunks = stream.body!.getReader();
    let text = "";
    while (!text.includes("event: portal")) text += new TextDecoder().decode((await chunks.read()).value);
    assert.match(text, /event: totals\ndata: \{"current":1\}/);
    assert.match(text, /event: portal\ndata: \{"state":"current","version":"2.0.0"\}/);
    await app.close();
    while (!(await chunks.read()).done);

    const closed = consoleRig({}, { guard: () => undefined });
    assert.equal((await closed.open("/live")).status, 403);
  });
});
