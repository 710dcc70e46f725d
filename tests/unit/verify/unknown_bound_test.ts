import assert from "node:assert/strict";
import { memoryStorage, type Storage } from "@b24/onappupdate";
import { listUnverified, removeUnverified, storeUnverified } from "../../../src/portal/unverified.ts";
import { createUnknownBound, type UnknownBound } from "../../../src/verify/unknown_bound.ts";
import { describe, it } from "../../support/test.ts";
import { memberIdOf } from "./_verifier.ts";

const SIZE = 256 * 1024;
const COUNT = 8;

function boundOf(options: Setup["options"]): UnknownBound {
  return createUnknownBound(options, () => COUNT * SIZE);
}

interface Setup {
  readonly state: { now: number };
  readonly options: { readonly storage: Storage; readonly clock: () => number; readonly random: () => string };
  /** Number of counts of what is stored. */
  readonly counts: () => number;
  /** Stores an event of an unknown portal. */
  readonly store: (number: number, isKnown?: boolean) => Promise<unknown>;
}

function setup(): Setup {
  const state = { now: 0 };
  const inner = memoryStorage({ clock: () => state.now });
  let counts = 0;
  let slots = 0;
  const storage: Storage = { ...inner, list: (...args) => (counts++, inner.list(...args)) };
  const options = { storage, clock: () => state.now, random: () => `${++slots}` };
  return {
    ...{ state, options, counts: () => counts },
    store: (number, isKnown = false) =>
      storeUnverified(options, memberIdOf(number), {
        ...{
          body: { kind: "form", text: "x".repeat(SIZE) },
          receivedAt: state.now,
          digest: "1",
          isKnown,
          name: "ONAPPUPDATE",
        },
      }),
  };
}

describe("createUnknownBound()", () => {
  it("admits as much as is set, and counts nothing that is stored before", async () => {
    const { options, counts } = setup();
    const { admit } = boundOf(options);
    for (let i = 0; i < COUNT; i++) assert.equal(await admit(SIZE), true);
    assert.equal(counts(), 0);
  });

  it("counts what is stored at the bound, once a minute: what was verified since makes room", async () => {
    const { state, options, counts, store } = setup();
    const { admit } = boundOf(options);
    for (let i = 0; i < COUNT; i++) {
      await admit(SIZE);
      await store(i);
    }
    await store(COUNT, true);
    assert.deepEqual([await admit(1), await admit(1), counts()], [false, false, 1]);
    const [first] = await Array.fromAsync(listUnverified(options));
    await removeUnverified(options, first!.memberId, first!.events[0]!.slot);
    const before = counts();
    state.now += 59_999;
    assert.deepEqual([await admit(SIZE), counts()], [false, before]);
    state.now += 1;
    assert.deepEqual(await Promise.all([admit(SIZE), admit(1), admit(1)]), [true, false, false]);
    assert.equal(counts(), before + 1);
  });

  it("counts again after a clock that was ahead was set back", async () => {
    const { state, options, store } = setup();
    const { admit } = boundOf(options);
    state.now = 3_600_000;
    for (let i = 0; i < COUNT; i++) {
      await admit(SIZE);
      await store(i);
    }
    assert.equal(await admit(1), false);
    for (const { memberId, events } of await Array.fromAsync(listUnverified(options))) {
      await removeUnverified(options, memberId, events[0]!.slot);
    }
    state.now = 0;
    assert.equal(await admit(1), true);
  });

  it("counts what other processes have stored", async () => {
    const { options, store } = setup();
    for (let i = 0; i < COUNT; i++) await store(i);
    const { admit } = boundOf(options);
    for (let i = 0; i < COUNT; i++) assert.equal(await admit(SIZE), true, "its own, until it reaches the bound");
    assert.equal(await admit(1), false);
  });

  it("has room again for what was not stored", async () => {
    const { admit, giveBack } = boundOf(setup().options);
    for (let i = 0; i < 2 * COUNT; i++) {
      assert.equal(await admit(SIZE), true);
      giveBack(SIZE);
    }
  });
});
