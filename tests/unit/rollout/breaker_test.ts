import assert from "node:assert/strict";
import {
  type Breaker,
  breakerOf,
  draftOf,
  endSlot,
  failures,
  newBreaker,
  resumed,
  room,
  type SlotOutcome,
  type TakeResult,
  takeSlot,
  tripsAt,
} from "../../../src/rollout/breaker.ts";
import { describe, it } from "../../support/test.ts";

const LIMITS = { failed: 3, percent: 5, concurrency: 500 };

/** A breaker that changes, with the answers to requests. */
interface Changing {
  readonly state: () => Breaker;
  readonly take: (memberId: string, isForced?: boolean) => TakeResult;
  readonly end: (memberId: string, outcome: SlotOutcome) => void;
  readonly resume: () => void;
}

function breaker(limits = LIMITS): Changing {
  let state = newBreaker("3", limits);
  return {
    state: (): Breaker => state,
    take: (memberId, isForced = false) => {
      const slot = { owner: "one", until: 1000, to: "3.0.0" };
      const draft = draftOf(state);
      const result = takeSlot(draft, { memberId, slot, limits, isForced });
      state = breakerOf(draft);
      return result;
    },
    end: (memberId, outcome) => {
      const draft = draftOf(state);
      endSlot(draft, memberId, outcome, 7);
      state = breakerOf(draft);
    },
    resume: (): void => void (state = resumed(state, 8)),
  };
}

describe("breaker", () => {
  it("lets no more portals be in flight than may fail", () => {
    const { take, end, state } = breaker();
    assert.deepEqual(["a", "b", "c", "d"].map((id) => take(id)), ["taken", "taken", "taken", "full"]);
    end("a", "parked");
    assert.deepEqual([take("d"), failures(state()), room(state())], ["full", 1, 0]);
    end("b", "succeeded");
    assert.equal(take("d"), "taken");
  });

  it("trips when as many have failed as may, and lets nobody begin", () => {
    const { take, end, state } = breaker();
    for (const id of ["a", "b", "c"]) take(id);
    for (const id of ["a", "b"]) end(id, "parked");
    assert.equal(state().trippedAt, undefined);
    end("c", "failing");
    assert.equal(state().trippedAt, 7);
    // A portal that waits for a retry waits, too.
    assert.deepEqual([take("d"), take("c")], ["tripped", "tripped"]);
    end("c", "succeeded");
    assert.deepEqual([take("d"), take("d", true)], ["tripped", "taken"]);
  });

  it("counts a portal that recovers no longer", () => {
    const { take, end, state } = breaker();
    take("a");
    end("a", "failing");
    assert.equal(failures(state()), 1);
    end("a", "running");
    assert.equal(failures(state()), 0);
    end("a", "succeeded");
    assert.deepEqual([failures(state()), state().finished], [0, 1]);
  });

  it("lets more be in flight, and fail, as more succeed", () => {
    const { take, end, state } = breaker();
    for (let i = 0; i < 200; i++) {
      assert.equal(take(String(i)), "taken");
      end(String(i), "succeeded");
    }
    assert.deepEqual([tripsAt(state()), room(state())], [10, 10]);
    for (let i = 0; i < 9; i++) {
      take(`failing ${i}`);
      end(`failing ${i}`, "parked");
    }
    assert.equal(state().trippedAt, undefined);
    take("last");
    end("last", "parked");
    assert.equal(state().trippedAt, 7);
  });

  it("frees the slot of a portal that sleeps or is blocked, which counts neither way", () => {
    const { take, end, state } = breaker();
    take("a");
    end("a", "freed");
    assert.deepEqual([state().finished, failures(state()), room(state())], [0, 0, 3]);
  });

  it("counts the outcome of a portal once", () => {
    const { take, end, state } = breaker();
    take("a");
    end("a", "parked");
    end("a", "parked");
    end("never", "succeeded");
    assert.deepEqual([state().parked, state().finished], [1, 1]);
  });

  it("keeps a portal's slot when it is asked for again, and that it fails", () => {
    const { take, end, state } = breaker();
    take("a");
    end("a", "failing");
    assert.equal(take("a"), "taken");
    assert.deepEqual([Object.keys(state().slots), failures(state())], [["a"], 1]);
  });

  it("never has more in flight than concurrency", () => {
    const { take } = breaker({ failed: 30, percent: 0, concurrency: 2 });
    assert.deepEqual(["a", "b", "c"].map((id) => take(id)), ["taken", "taken", "full"]);
  });

  it("counts from zero after a resume; what is in flight stays so", () => {
    const { take, end, state, resume } = breaker();
    for (const id of ["a", "b", "c"]) take(id);
    for (const id of ["a", "b"]) end(id, "parked");
    end("c", "failing");
    resume();
    assert.deepEqual([state().trippedAt, failures(state()), state().finished], [undefined, 0, 0]);
    assert.deepEqual([Object.keys(state().slots), room(state()), state().resumedAt], [["c"], 2, 8]);
  });
});
