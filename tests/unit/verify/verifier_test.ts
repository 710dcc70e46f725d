import assert from "node:assert/strict";
import { CannotVerifyError } from "@b24/onappupdate";
import { removeUnverifiedBefore } from "../../../src/portal/unverified.ts";
import { DEFAULT_BOUNDS } from "../../../src/portal/unverified_bounds.ts";
import { describe, it } from "../../support/test.ts";
import { memberIdOf, verifierWorld } from "./_verifier.ts";

const { maxEvents: MAX_EVENTS, maxCharacters: MAX_SIZE } = DEFAULT_BOUNDS;

const [A, B] = ["a".repeat(32), "b".repeat(32)];
const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

describe("fairness", () => {
  it("portals with 32 events each delay no other: those that had no turn come first", async () => {
    const world = verifierWorld();
    world.latencyMs = 1000;
    world.answer = () => "forged";
    const process = world.process("p");
    for (let portal = 0; portal < 20; portal++) {
      for (let i = 0; i < MAX_EVENTS; i++) await process.post(memberIdOf(portal), { token: `forged-${i}` });
    }
    // All slots are taken, and each flooding portal has had a turn.
    await world.time.elapse(5000);
    const before = world.asked.length;
    for (let portal = 100; portal < 108; portal++) await process.post(memberIdOf(portal));
    await world.time.elapse(2000);
    const newcomers = world.asked.slice(before).map(({ memberId }) => parseInt(memberId, 16)).slice(0, 8);
    assert.deepEqual(newcomers, Array.from({ length: 8 }, (_, i) => 100 + i));
    await world.time.elapse(200_000);
    assert.equal(world.asked.length, 20 * MAX_EVENTS + 8, "every event had its turn");
    assert.equal(await world.entries(), 0);
  });

  it("one portal has one turn at a time", async () => {
    const world = verifierWorld();
    world.latencyMs = 1000;
    const process = world.process("p");
    for (let i = 0; i < 3; i++) await process.post(A, { token: `t${i}` });
    await world.time.elapse(10_000);
    const [first] = world.asked;
    assert.deepEqual(world.asked.map(({ at }) => at - first!.at), [0, 1000, 2000]);
  });
});

describe("the budget", () => {
  it("has half of its questions for known portals, and the rest wait for the next minute", async () => {
    const world = verifierWorld({ perMinute: 10, perPortal: 6 });
    const process = world.process("p");
    for (let i = 0; i < 20; i++) await process.post(memberIdOf(i));
    await world.time.elapse(1000);
    assert.equal(world.asked.length, 5);
    for (let i = 100; i < 108; i++) await process.post(memberIdOf(i), { isKnown: true });
    await world.time.elapse(1000);
    assert.deepEqual(world.asked.slice(5).map(({ memberId }) => parseInt(memberId, 16)), [100, 101, 102, 103, 104]);
    await world.elapse(4 * MINUTE_MS, [process]);
    assert.equal(world.accepted.length, 28);
  });

  it("is asked first: events that wait for it cost no storage operation", async () => {
    const world = verifierWorld({ perMinute: 10, perPortal: 6 });
    world.answer = () => "forged";
    const process = world.process("p");
    for (let i = 0; i < 500; i++) await process.post(memberIdOf(i), { token: `t${i}` });
    // The last minute in which the known half is left.
    await world.time.elapse(MINUTE_MS);
    let operations = 0;
    for (const name of ["get", "put", "delete"] as const) {
      const original = world.storage[name] as (...args: unknown[]) => Promise<unknown>;
      Object.assign(world.storage, { [name]: (...args: unknown[]) => (operations++, original(...args)) });
    }
    const before = world.asked.length;
    await world.time.elapse(MINUTE_MS);
    const questions = world.asked.length - before;
    assert.equal(questions, 5);
    assert(operations <= 20 * questions, `${operations} operations for ${questions} questions`);
    // Nor do they keep a known portal waiting.
    await process.post(A, { isKnown: true });
    await world.time.elapse(10);
    assert.equal(world.asked.at(-1)?.memberId, A);
  });

  it("is 6 questions a minute for one portal", async () => {
    const world = verifierWorld({ perMinute: 600, perPortal: 6 });
    world.answer = () => "forged";
    const process = world.process("p");
    for (let i = 0; i < 13; i++) await process.post(A, { token: `t${i}` });
    await world.time.elapse(1000);
    assert.equal(world.asked.length, 6);
    await world.time.elapse(MINUTE_MS);
    assert.equal(world.asked.length, 12);
    await world.time.elapse(MINUTE_MS);
    assert.equal(world.asked.length, 13);
  });

  it("ends the first attempt of an event that it does not suffice for, which is verified later", async () => {
    const world = verifierWorld({ perMinute: 600, perPortal: 1 });
    const process = world.process("p");
    await process.post(A, { token: "t1" });
    await world.time.elapse(10);
    const { firstAttempt } = await process.post(A, { token: "t2" });
    await world.time.elapse(10);
    assert.deepEqual(await firstAttempt, { state: "waiting" });
    await world.time.elapse(MINUTE_MS);
    assert.deepEqual(world.accepted, [`${A} t1`, `${A} t2`]);
  });

  it("pays for a refresh: an event whose refresh it does not suffice for keeps its pair", async () => {
    const world = verifierWorld({ perMinute: 600, perPortal: 1 });
    world.answer = ({ token }) => token === "access-0" ? "expired" : "authentic";
    const process = world.process("p");
    await process.post(A);
    await world.time.elapse(10);
    assert.deepEqual(world.refreshed, []);
    assert.equal((await world.entries()) > 0, true);
  });
});

describe("a question without an answer", () => {
  it("is repeated after 30 seconds at first and 10 minutes at most, until there is one", async () => {
    const world = verifierWorld();
    world.answer = () => "unanswered";
    const process = world.process("p");
    await process.post(A);
    await world.elapse(HOUR_MS, [process]);
    const seconds = world.asked.map(({ at }) => at / 1000);
    const waits = seconds.slice(1).map((at, i) => at - seconds[i]!);
    assert.deepEqual(waits.slice(0, 7), [30, 60, 120, 240, 480, 600, 600]);
    world.answer = () => "authentic";
    await world.elapse(10 * MINUTE_MS, [process]);
    assert.deepEqual(world.accepted, [`${A} access-0`]);
    assert.equal(await world.entries(), 0);
  });

  it("drops its event after 24 hours", async () => {
    const world = verifierWorld();
    world.answer = () => "unanswered";
    const process = world.process("p");
    await process.post(A);
    await world.elapse(24 * HOUR_MS - MINUTE_MS, [process]);
    assert.deepEqual(process.reports, [`${A} eventPostponed`]);
    world.answer = () => "authentic";
    await world.time.elapse(2 * MINUTE_MS);
    await world.elapse(11 * MINUTE_MS, [process]);
    assert.deepEqual(process.reports, [`${A} eventPostponed`, `${A} eventsDropped expired`]);
    assert.deepEqual([world.accepted, await world.entries()], [[], 0]);
  });
});

describe("an expired token pair", () => {
  it("is refreshed, and the new pair is stored before it is used", async () => {
    const world = verifierWorld();
    const stored: boolean[] = [];
    world.answer = async ({ token }) => {
      if (token === "access-0") return "expired";
      stored.push(JSON.stringify(await Array.fromAsync(world.storage.list([]))).includes(token));
      return "authentic";
    };
    const process = world.process("p");
    await process.post(A);
    await world.time.elapse(10);
    assert.deepEqual([world.refreshed, world.accepted, stored], [["refresh-0"], [`${A} access-1`], [true]]);
  });

  it("is not lost if its process crashes once the new pair is stored", async () => {
    const world = verifierWorld();
    const [first, second] = [world.process("first"), world.process("second")];
    world.answer = ({ process, token }) => {
      if (token === "access-0") return "expired";
      if (process === "first") first.crash();
      return "authentic";
    };
    await first.post(A);
    await world.time.elapse(10);
    assert.deepEqual(world.accepted, []);
    await world.elapse(2 * MINUTE_MS, [second]);
    assert.deepEqual([world.refreshed, world.accepted], [["refresh-0"], [`${A} access-1`]], "it is refreshed once");
  });

  it("is refreshed again by its new refresh token if the new pair has expired too", async () => {
    const world = verifierWorld();
    world.answer = ({ token }) => token === "access-0" ? "expired" : "unanswered";
    const process = world.process("p");
    await process.post(A);
    await world.elapse(MINUTE_MS, [process]);
    assert.deepEqual(world.refreshed, ["refresh-0"]);
    await world.time.elapse(2 * HOUR_MS);
    world.answer = ({ token }) => token === "access-2" ? "authentic" : "expired";
    await world.elapse(MINUTE_MS, [process]);
    assert.deepEqual([world.refreshed, world.accepted], [["refresh-0", "refresh-1"], [`${A} access-2`]]);
  });

  it("is refreshed by one process, also if another one was paused before its refresh", async () => {
    const world = verifierWorld();
    const [first, second] = [world.process("first"), world.process("second")];
    const paused = Promise.withResolvers<void>();
    world.answer = async ({ process, token }) => {
      if (process === "first") await paused.promise;
      return token === "access-0" ? "expired" : "authentic";
    };
    await first.post(A);
    await world.time.elapse(10);
    await world.elapse(2 * MINUTE_MS, [second]);
    assert.deepEqual(world.accepted, [`${A} access-1`]);
    paused.resolve();
    await world.elapse(2 * MINUTE_MS, [first, second]);
    assert.deepEqual([world.refreshed, world.accepted], [["refresh-0"], [`${A} access-1`]]);
    assert.deepEqual([first.reports, second.reports], [[`${A} eventPostponed`], [`${A} eventReceived`]]);
    assert.equal(await world.entries(), 0);
  });
});

describe("tick()", () => {
  it("does not skip an event whose turn is just ending", async () => {
    const world = verifierWorld();
    world.answer = () => "unanswered";
    const process = world.process("p");
    const { firstAttempt } = await process.post(A);
    // The storage takes its time to release the event.
    const { put } = world.storage;
    const released = Promise.withResolvers<void>();
    await world.time.elapse(0);
    await firstAttempt;
    await world.time.elapse(MINUTE_MS);
    world.answer = () => {
      Object.assign(world.storage, {
        put: async (...args: Parameters<typeof put>) => (await released.promise, await put(...args)),
      });
      return "unanswered";
    };
    await process.verifier.tick();
    await world.time.elapse(0);
    assert.equal(world.asked.length, 2);
    await world.time.elapse(MINUTE_MS);
    world.answer = () => "authentic";
    await process.verifier.tick();
    released.resolve();
    await world.time.elapse(0);
    await process.verifier.settled();
    assert.deepEqual(world.accepted, [`${A} access-0`]);
  });
});

describe("several processes", () => {
  it("verify an event once, although all of them know that it is due", async () => {
    const world = verifierWorld();
    world.latencyMs = 20_000;
    const processes = ["p", "q", "r"].map((name) => world.process(name));
    await processes[0]!.post(A);
    await Promise.all(processes.map(({ verifier }) => verifier.tick()));
    await world.elapse(2 * MINUTE_MS, processes);
    assert.deepEqual([world.asked.length, world.accepted.length], [1, 1]);
  });

  it("take over from one that has crashed, once its turn is over", async () => {
    const world = verifierWorld();
    const [first, second] = [world.process("first", { turnMs: 100_000 }), world.process("second")];
    world.answer = ({ process }) => {
      if (process === "first") first.crash();
      return "authentic";
    };
    await first.post(A);
    await world.elapse(90_000, [second]);
    assert.equal(world.asked.length, 1);
    await world.elapse(20_000, [second]);
    assert.deepEqual(world.accepted, [`${A} access-0`]);
  });
});

describe("an event from a trusted address", () => {
  const TRUSTED = "192.0.2.7";
  const policy = { trustedAddresses: ["192.0.2.0/24"] };

  it("is verified before the flood that names its portal, and all others", async () => {
    const world = verifierWorld(undefined, policy);
    world.latencyMs = 1000;
    world.answer = ({ token }) => token === "authentic" ? "authentic" : "forged";
    const process = world.process("p");
    for (let portal = 0; portal < 50; portal++) {
      await process.post(memberIdOf(portal), { clientAddress: "198.51.100.1" });
    }
    for (let i = 0; i < 100; i++) await process.post(A, { token: `t${i}` });
    await process.post(A, { token: "authentic", clientAddress: TRUSTED });
    for (let i = 100; i < 200; i++) await process.post(A, { token: `t${i}` });
    await world.time.elapse(2500);
    assert.deepEqual(world.accepted, [`${A} authentic`]);
  });

  it("is followed by the next one of its portal before portals of other addresses", async () => {
    const world = verifierWorld(undefined, policy);
    world.latencyMs = 1000;
    const process = world.process("p");
    for (let i = 0; i < 60; i++) await process.post(memberIdOf(i));
    for (const token of ["1", "2"]) await process.post(A, { token, clientAddress: TRUSTED });
    await world.time.elapse(4500);
    assert.deepEqual(world.accepted.filter((accepted) => accepted.startsWith(A)), [`${A} 1`, `${A} 2`]);
  });

  it("is verified like all others: an address proves nothing", async () => {
    const world = verifierWorld(undefined, policy);
    world.answer = () => "forged";
    const { firstAttempt } = await world.process("p").post(A, { clientAddress: TRUSTED });
    await world.time.elapse(1000);
    assert.deepEqual([(await firstAttempt).state, world.accepted], ["refused", []]);
  });

  it("is verified first also by the next process", async () => {
    const world = verifierWorld(undefined, policy);
    const [crashing, next] = [world.process("p"), world.process("q")];
    for (let i = 0; i < 40; i++) await crashing.post(memberIdOf(i));
    await crashing.post(A, { clientAddress: TRUSTED });
    crashing.crash();
    await world.time.elapse(1000);
    world.latencyMs = 1000;
    await next.verifier.tick();
    await world.time.elapse(1500);
    const asked = world.asked.filter(({ process }) => process === "q").map(({ memberId }) => memberId);
    assert.ok(asked.indexOf(A) >= 0 && asked.indexOf(A) <= 8, asked.join(" "));
  });
});

describe("the bounds of a policy", () => {
  it("replace the defaults", async () => {
    const bounds = { maxEvents: 2, maxCharacters: 2000, maxUnknownCharacters: 3000 };
    const world = verifierWorld(undefined, { bounds });
    world.answer = () => "unanswered";
    const process = world.process("p");
    for (let i = 0; i < 3; i++) await process.post(A, { token: `t${i}`, isKnown: true });
    assert.deepEqual(world.replaced, [A]);
    await assert.rejects(
      process.post(A, { isKnown: true, padding: 2000 }),
      /at most 2 events of 2000 characters together/,
    );
    const unknown = await Promise.allSettled(
      Array.from({ length: 20 }, (_, i) => process.post(memberIdOf(i), { padding: 100 })),
    );
    const refused = unknown.filter(({ status }) => status === "rejected");
    assert.ok(refused.length > 10 && refused.length < 20, `${refused.length}`);
  });
});

describe("an event that is lost", () => {
  it("causes a check of its portal if that is stored, and is reported", async () => {
    const world = verifierWorld();
    world.answer = () => "unanswered";
    const process = world.process("p");
    for (const [memberId, isKnown] of [[A, true], [B, false]] as const) {
      for (let i = 0; i < MAX_EVENTS; i++) await process.post(memberId, { token: `t${i}`, isKnown });
      await world.time.elapse(1000);
      assert.deepEqual(world.replaced, isKnown ? [] : [A]);
      await process.post(memberId, { token: "one too many", isKnown });
    }
    assert.deepEqual(world.replaced, [A]);
    const dropped = process.reports.filter((report) => report.includes("eventsDropped"));
    assert.deepEqual(dropped, [`${A} eventsDropped replaced`, `${B} eventsDropped replaced`]);
  });

  it("is refused if it is too large to wait, which causes a check too", async () => {
    const world = verifierWorld();
    const process = world.process("p");
    const tooLarge = process.post(A, { isKnown: true, padding: MAX_SIZE });
    await assert.rejects(
      tooLarge,
      (error) => error instanceof CannotVerifyError && /no room for an event/.test(error.message),
    );
    assert.deepEqual([world.replaced, process.reports, await world.entries()], [[A], [], 0]);
  });
});

describe("an event whose portal removes the app while the event is verified", () => {
  for (
    const [answer, report] of [
      ["unanswered", "eventsDropped removed"],
      ["expired", "eventsDropped removed"],
      ["authentic", "eventReceived"],
      ["forged", "eventRejected"],
    ] as const
  ) {
    it(`ends once if its question is answered by "${answer}"`, async () => {
      const world = verifierWorld({ perMinute: 600, perPortal: 1 });
      world.latencyMs = 1000;
      world.answer = () => answer;
      const process = world.process("p");
      await process.post(A);
      await world.time.elapse(500);
      const options = { storage: world.storage, clock: world.time.now, random: () => "" };
      assert.equal(await removeUnverifiedBefore(options, A, world.time.now()), 0);
      await world.elapse(2 * MINUTE_MS, [process]);
      assert.deepEqual(process.reports, [`${A} eventPostponed`, `${A} ${report}`]);
      assert.deepEqual([world.refreshed, await world.entries()], [[], 0]);
    });
  }
});

describe("the room for unknown portals", () => {
  it("is not used up by copies, replaced events and events that are too large", async () => {
    const world = verifierWorld();
    world.answer = () => "unanswered";
    const process = world.process("p");
    const padding = MAX_SIZE - 1000;
    for (let i = 0; i < 300; i++) {
      await process.post(A, { padding });
      await process.post(B, { padding, token: String(1000 + i) });
      await assert.rejects(process.post(A, { padding: 4 * MAX_SIZE }), /no room for an event/);
    }
    assert.ok(await process.post("c".repeat(32)), "300 times 256 KiB would be above 64 MiB");
  });
});

describe("idle()", () => {
  it("finishes the event that is under way and leaves the others to the next process", async () => {
    const world = verifierWorld();
    world.latencyMs = 5000;
    const process = world.process("p");
    await process.post(A, { token: "t1" });
    const { firstAttempt } = await process.post(A, { token: "t2" });
    await world.time.elapse(1000);
    let isIdle = false;
    const idle = process.verifier.idle().then(() => isIdle = true);
    await world.time.elapse(1000);
    assert.equal(isIdle, false, "an event is under way");
    await world.time.elapse(5000);
    await idle;
    assert.deepEqual([world.accepted, await firstAttempt], [[`${A} t1`], { state: "waiting" }]);
    const late = await process.post(B);
    assert.deepEqual(await late.firstAttempt, { state: "waiting" });
    await world.elapse(MINUTE_MS, [process]);
    assert.equal(world.accepted.length, 1);
    await world.elapse(20_000, [world.process("next")]);
    assert.deepEqual(world.accepted.toSorted(), [`${A} t1`, `${A} t2`, `${B} access-0`]);
  });
});

describe("copies of an event", () => {
  it("are duplicates while it waits, and share its first attempt", async () => {
    const world = verifierWorld();
    world.latencyMs = 1000;
    const process = world.process("p");
    const posted = await Promise.all(Array.from({ length: 3 }, () => process.post(A)));
    await world.time.elapse(5000);
    const outcomes = await Promise.all(posted.map(({ firstAttempt }) => firstAttempt));
    assert.deepEqual(outcomes.map(({ state }) => state), ["accepted", "accepted", "accepted"]);
    assert.equal(world.asked.length, 1);
    assert.deepEqual(process.reports.toSorted(), [
      `${A} duplicateReceived`,
      `${A} duplicateReceived`,
      `${A} eventPostponed`,
      `${A} eventReceived`,
    ]);
  });

  it("of a refused one, with its token in another event, are rejected without a question", async () => {
    const world = verifierWorld();
    world.latencyMs = 1000;
    world.answer = () => "forged";
    const process = world.process("p");
    await process.post(A, { token: "forged" });
    const other = await process.post(A, { token: "forged", padding: 1 });
    await world.time.elapse(5000);
    assert.equal((await other.firstAttempt).state, "refused");
    assert.equal(world.asked.length, 1);
    assert.deepEqual(process.reports.filter((report) => report.includes("eventRejected")).length, 2, "each ends once");
    await assert.rejects(process.post(A, { token: "forged", padding: 2 }), /refused its access token before/);
  });
});
