import assert from "node:assert/strict";
import { encrypted, memoryStorage, type Storage } from "@b24/onappupdate";
import { unverifiedKey } from "../../../src/portal/keys.ts";
import {
  keepIfDue,
  listUnverified,
  removeUnverified,
  removeUnverifiedBefore,
  type StoredUnverified,
  storeUnverified,
  unknownSize,
} from "../../../src/portal/unverified.ts";
import { DEFAULT_BOUNDS } from "../../../src/portal/unverified_bounds.ts";
import type { UnverifiedOptions } from "../../../src/portal/unverified_head.ts";
import { listUnverifiedDue, scheduleUnverified, type UnverifiedDue } from "../../../src/portal/unverified_schedule.ts";
import {
  keepUnverified,
  type OwnedEvents,
  postponeUnverified,
  releaseUnverified,
  takeUnverified,
} from "../../../src/portal/unverified_turn.ts";
import { withoutKeyOf } from "../../support/lost_key.ts";
import { describe, it } from "../../support/test.ts";
import { withoutWrite } from "../../support/without_write.ts";

const { maxEvents: MAX_EVENTS, maxCharacters: MAX_SIZE } = DEFAULT_BOUNDS;

const MEMBER = "a".repeat(32);

interface Setup {
  readonly state: { now: number };
  readonly storage: Storage;
  readonly options: UnverifiedOptions;
  readonly store: (
    digest: string,
    size?: number,
    isTrusted?: boolean,
  ) => Promise<Omit<StoredUnverified, "growth">>;
  /** Takes the first event that is due, for a minute. */
  readonly take: (id: string) => Promise<OwnedEvents | undefined>;
  readonly due: () => Promise<UnverifiedDue[]>;
  /** Returns the number of all stored entries. */
  readonly keys: () => Promise<number>;
}

function setup(): Setup {
  const state = { now: 1_000_000 };
  let count = 0;
  const storage = memoryStorage({ clock: () => state.now });
  const options = { storage, clock: () => state.now, random: () => `slot-${++count}` };
  const store = async (digest: string, size = 10, isTrusted = false) => {
    const { growth: _, ...stored } = await storeUnverified(options, MEMBER, {
      ...{ body: { kind: "form" as const, text: "x".repeat(size) }, receivedAt: state.now },
      ...{ digest, name: "ONAPPUPDATE", isKnown: true, isTrusted },
    });
    return stored;
  };
  const take = (id: string) => takeUnverified(options, MEMBER, { id, until: state.now + 60_000 });
  const due = async (): Promise<UnverifiedDue[]> => {
    const entries: UnverifiedDue[] = [];
    for await (const entry of listUnverifiedDue(storage, state.now)) entries.push(entry);
    return entries;
  };
  const keys = async (): Promise<number> => {
    let total = 0;
    for await (const _ of storage.list([])) total++;
    return total;
  };
  return { state, storage, options, store, take, due, keys };
}

describe("events that wait for verification", () => {
  it("are at most 32 a portal: a further one replaces another", async () => {
    const { store, keys, take } = setup();
    for (let i = 0; i < MAX_EVENTS; i++) assert.deepEqual(await store(`${i}`), { state: "stored", replaced: 0 });
    for (let i = 0; i < 100; i++) assert.equal((await store(`flood ${i}`)).replaced, 1);
    const owned = await take("p");
    assert.equal(owned?.due.length, MAX_EVENTS);
    assert.ok(owned.due.some(({ digest }) => digest === "flood 99"), "the new one is kept");
    // Bodies, the head and one schedule entry.
    assert.equal(await keys(), MAX_EVENTS + 2);
  });

  it("take at most 256 KiB a portal", async () => {
    const { store, take } = setup();
    for (let i = 0; i < 12; i++) await store(`${i}`, 60_000);
    const { due: events } = (await take("p"))!;
    assert.ok(events.reduce((sum, { size }) => sum + size, 0) <= MAX_SIZE);
    assert.equal(events.length, 4);
    assert.ok(events.some(({ digest }) => digest === "11"), "the new one is kept");
  });

  it("give way to smaller ones, never to larger ones", async () => {
    const { store, keys, take } = setup();
    for (let i = 0; i < MAX_EVENTS / 2; i++) await store(`life-cycle ${i}`, 8 * 1024);
    assert.deepEqual(await store("large", 60_000), { state: "stored", replaced: 0 });
    assert.deepEqual(await store("equally large", 60_000), { state: "stored", replaced: 0 });
    assert.deepEqual(await store("larger", 60_001), { state: "no_room", replaced: 0 });
    assert.deepEqual(await store("above the bound", MAX_SIZE + 1), { state: "no_room", replaced: 0 });
    assert.deepEqual(await store("smaller", 59_999), { state: "stored", replaced: 1 });
    for (let i = MAX_EVENTS / 2; i < 30; i++) await store(`life-cycle ${i}`, 8 * 1024);
    const { due: events } = (await take("p"))!;
    assert.equal(events.filter(({ digest }) => digest.startsWith("life-cycle")).length, 30);
    assert.ok(events.reduce((sum, { size }) => sum + size, 0) <= MAX_SIZE);
    // Bodies, the head and one schedule entry.
    assert.equal(await keys(), events.length + 2);
  });

  it("from trusted addresses displace the others, and are not displaced by them", async () => {
    const { options, store, take, due } = setup();
    for (let i = 0; i < MAX_EVENTS; i++) await store(`before ${i}`);
    assert.deepEqual(await store("authentic", 10, true), { state: "stored", replaced: 1 });
    for (let i = 0; i < 200; i++) assert.deepEqual(await store(`after ${i}`), { state: "stored", replaced: 1 });
    for (let i = 0; i < 20; i++) await store(`large ${i}`, MAX_SIZE - 100);
    const [entry] = await due();
    assert.deepEqual(await keepIfDue(options, entry!), { isKnown: true, isTrusted: true });
    assert.equal((await take("p"))?.due[0]?.digest, "authentic", "it is verified first");
  });

  it("from trusted addresses displace larger ones of others, and each other as all do", async () => {
    const { options, store } = setup();
    await store("small", 1000);
    await store("large", MAX_SIZE / 2);
    assert.deepEqual(await store("trusted", MAX_SIZE - 500, true), { state: "stored", replaced: 2 });
    assert.deepEqual(await store("untrusted", 501), { state: "no_room", replaced: 0 });
    assert.deepEqual(await store("untrusted and small", 500), { state: "stored", replaced: 0 });
    assert.deepEqual(await store("larger", MAX_SIZE - 499, true), { state: "no_room", replaced: 0 });
    assert.deepEqual(await store("smaller", 400, true), { state: "stored", replaced: 1 });
    const [portal] = await Array.fromAsync(listUnverified(options));
    assert.deepEqual(portal!.events.map(({ digest }) => digest), ["trusted", "smaller"]);
    for (let i = 0; i < MAX_EVENTS + 5; i++) await store(`flood ${i}`, 10, true);
    assert.deepEqual(await store("untrusted"), { state: "no_room", replaced: 0 });
  });

  it("are trusted once a copy comes from a trusted address", async () => {
    const { store, take } = setup();
    for (const digest of ["1", "2"]) await store(digest);
    assert.deepEqual(await store("2", 10, true), { state: "duplicate", replaced: 0 });
    assert.deepEqual(await store("2"), { state: "duplicate", replaced: 0 });
    assert.deepEqual((await take("p"))?.due.map(({ digest }) => digest), ["2", "1"]);
  });

  it("may be as large as all together, if no other waits", async () => {
    const { store } = setup();
    assert.deepEqual(await store("alone", MAX_SIZE), { state: "stored", replaced: 0 });
  });

  it("expire, whatever was done with them", async () => {
    const HOUR = 3_600_000;
    for (const change of ["none", "owned", "postponed", "removed", "released"] as const) {
      const { state, options, store, keys, take } = setup();
      await store("1");
      await store("2");
      const owned = change === "none" ? undefined : await take("p");
      const slot = owned?.due[0]?.slot ?? "";
      if (change === "postponed") {
        await postponeUnverified(options, MEMBER, "p", { nextAt: state.now + 30_000, error: "down" });
      }
      if (change === "removed") await removeUnverified(options, MEMBER, slot);
      if (change === "released") await releaseUnverified(options, MEMBER, "p");
      state.now += 24 * HOUR;
      assert.ok(await keys() > 0, change);
      state.now += HOUR + 1;
      assert.equal(await keys(), 0, change);
    }
  });

  it("of unknown portals are counted together", async () => {
    const { options, store } = setup();
    await store("known", 1000);
    for (const [member, size] of [["b", 20], ["c", 30]] as const) {
      const body = { kind: "form" as const, text: "x".repeat(size) };
      await storeUnverified(options, member.repeat(32), {
        body,
        receivedAt: 0,
        digest: "1",
        name: "ONAPPUPDATE",
        isKnown: false,
      });
    }
    assert.equal(await unknownSize(options), 50);
  });

  it("are listed and counted without those that newer code wrote or whose encryption key is gone", async () => {
    const { storage: inner, options } = setup();
    const ids = ["a", "b", "c"].map((letter) => letter.repeat(32));
    for (const id of ids) {
      const body = { kind: "form" as const, text: "x".repeat(20) };
      await storeUnverified(options, id, { body, receivedAt: 0, digest: "1", name: "ONAPPUPDATE", isKnown: false });
    }
    await inner.put(unverifiedKey(ids[0]!), { format: 1000 });
    const storage = await withoutKeyOf(inner, [unverifiedKey(ids[1]!)]);
    const listed = await Array.fromAsync(listUnverified({ storage }), ({ memberId }) => memberId);
    assert.deepEqual([listed, await unknownSize({ storage })], [[ids[2]], 20]);
  });

  it("report by how much they have grown", async () => {
    const { options, state } = setup();
    const growth = async (digest: string, size: number): Promise<number> => {
      const body = { kind: "form" as const, text: "x".repeat(size) };
      const event = { body, receivedAt: state.now, digest, name: "ONAPPUPDATE", isKnown: false };
      const { growth } = await storeUnverified(options, MEMBER, event);
      assert.ok(await unknownSize(options) <= MAX_SIZE);
      return growth;
    };
    assert.deepEqual([await growth("1", MAX_SIZE), await growth("1", MAX_SIZE)], [MAX_SIZE, 0]);
    assert.equal(await growth("2", MAX_SIZE - 10), -10);
    assert.deepEqual([await growth("3", 10), await growth("4", MAX_SIZE + 1)], [10, 0]);
  });

  it("wait once if they are equal", async () => {
    const { store, keys, take } = setup();
    await store("same");
    assert.deepEqual(await store("same"), { state: "duplicate", replaced: 0 });
    assert.equal((await take("p"))?.due.length, 1);
    assert.equal(await keys(), 3);
  });

  it("belong to one process at a time, to another one after a minute", async () => {
    const { state, options, store, take } = setup();
    await store("1");
    assert.ok(await take("p"));
    assert.equal(await take("q"), undefined);
    state.now += 60_000;
    assert.ok(await take("q"));
    await releaseUnverified(options, MEMBER, "p");
    assert.equal(await take("p"), undefined, "only its owner releases it");
  });

  it("are due when the earliest of them is", async () => {
    const { state, options, store, due, take } = setup();
    await store("1");
    await take("p");
    await postponeUnverified(options, MEMBER, "p", { nextAt: state.now + 30_000, error: "down" });
    await releaseUnverified(options, MEMBER, "p");
    assert.deepEqual(await due(), []);
    state.now += 30_000;
    const [entry, ...others] = await due();
    assert.deepEqual([entry?.memberId, others], [MEMBER, []]);
    assert.deepEqual(await keepIfDue(options, entry!), { isKnown: true, isTrusted: false });
  });

  it("leave nothing when the last one is removed, or the portal is", async () => {
    for (const all of [false, true]) {
      const { options, store, keys, take } = setup();
      await store("1");
      const owned = (await take("p"))!;
      await removeUnverifiedBefore(options, MEMBER, 1_000_000);
      assert.equal((await take("p"))?.due.length, 1, "it came with the removal");
      if (all) await removeUnverifiedBefore(options, MEMBER, 1_000_001);
      else await removeUnverified(options, MEMBER, owned.due[0]!.slot);
      await releaseUnverified(options, MEMBER, "p");
      assert.equal(await keys(), 0);
    }
  });

  it("survive a crash after each write: what is stored is found or is deleted as stale", async () => {
    for (let writes = 0; writes <= 3; writes++) {
      const { state, storage, options, due } = setup();
      let left = writes;
      const crashing = {
        ...withoutWrite(storage),
        put: ((...args: Parameters<typeof storage.put>) =>
          left-- > 0 ? storage.put(...args) : Promise.reject(new Error("crash"))) as typeof storage.put,
      };
      const stored = await storeUnverified({ ...options, storage: crashing }, MEMBER, {
        ...{ body: { kind: "form", text: "x" }, receivedAt: 0, digest: "1", name: "ONAPPUPDATE", isKnown: false },
      }).then(() =>
        true, () => false);
      assert.equal(stored, writes === 3);
      state.now += 61_000;
      for (const entry of await due()) assert.equal(await keepIfDue(options, entry) !== undefined, stored);
      assert.equal((await due()).length, stored ? 1 : 0);
    }
  });

  it("are not replaced while they are verified, and count again when they wait again", async () => {
    const { state, options, store, take } = setup();
    await store("verified", MAX_SIZE);
    await take("p");
    for (let i = 0; i < 100; i++) await store(`${i}`);
    assert.deepEqual(await store("verified"), { state: "duplicate", replaced: 0 });
    const events = async () => (await Array.fromAsync(listUnverified(options)))[0]!.events;
    assert.deepEqual([(await events()).length, (await events())[0]!.digest], [MAX_EVENTS + 1, "verified"]);
    assert.equal(await postponeUnverified(options, MEMBER, "p", { nextAt: state.now + 30_000, error: "down" }), true);
    assert.equal((await events()).at(-1)?.attempts, 1);
    assert.ok((await store("further")).replaced >= 2);
    assert.ok((await events()).length <= MAX_EVENTS && !(await events()).some(({ digest }) => digest === "verified"));
  });

  it("are removed with their portal also while they are verified, which is for the verifying process to report", async () => {
    const { state, options, store, take, keys } = setup();
    await store("verified");
    await store("waiting");
    await take("p");
    assert.equal(await removeUnverifiedBefore(options, MEMBER, state.now + 1), 1);
    assert.equal(
      await postponeUnverified(options, MEMBER, "q", { nextAt: 0, error: "down" }),
      true,
      "another process has nothing to report",
    );
    assert.equal(await postponeUnverified(options, MEMBER, "p", { nextAt: 0, error: "down" }), false);
    assert.equal(await releaseUnverified(options, MEMBER, "p"), false);
    assert.equal(await keys(), 0);
  });

  it("are kept by their process only while no other has taken them", async () => {
    const { state, options, store, take } = setup();
    await store("1");
    await take("p");
    state.now += 50_000;
    assert.equal(await keepUnverified(options, MEMBER, { id: "p", until: state.now + 60_000 }), true);
    state.now += 50_000;
    assert.equal(await take("q"), undefined);
    state.now += 10_000;
    assert.deepEqual(
      (await take("q"))?.due.map(({ digest }) => digest),
      ["1"],
      "with the event that was being verified",
    );
    assert.equal(await keepUnverified(options, MEMBER, { id: "p", until: state.now + 60_000 }), false);
    await postponeUnverified(options, MEMBER, "p", { nextAt: state.now + 60_000, error: "down" });
    assert.equal(await keepUnverified(options, MEMBER, { id: "q", until: state.now + 60_000 }), true);
  });
});

describe("listUnverifiedDue()", () => {
  it("lists entries that cannot be decrypted, and those after them", async () => {
    const inner = memoryStorage();
    const [now, gone] = ["now", "gone"].map((id) =>
      encrypted(inner, { keys: { [id]: btoa(id.repeat(32).slice(0, 32)) }, current: id })
    ) as [Storage, Storage];
    for (const [i, storage] of [now, gone, now].entries()) await scheduleUnverified(storage, `${i}`, i, 60_000);
    const members = await Array.fromAsync(listUnverifiedDue(now, 10), ({ memberId }) => memberId);
    assert.deepEqual(members, ["0", "1", "2"]);
  });
});
