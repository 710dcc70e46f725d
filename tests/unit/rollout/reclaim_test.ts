import assert from "node:assert/strict";
import { memoryStorage, type Storage } from "@b24/onappupdate";
import { StorageError } from "@b24/onappupdate/errors";
import { portalKey } from "../../../src/portal/keys.ts";
import { PORTAL_FORMAT, type PortalRecord } from "../../../src/portal/record.ts";
import type { Slot } from "../../../src/rollout/breaker.ts";
import { type Breakers, createBreakers } from "../../../src/rollout/breakers.ts";
import { reclaimSlots } from "../../../src/rollout/reclaim.ts";
import { quietLogger } from "../../support/app.ts";
import { describe, it } from "../../support/test.ts";
import { virtualTime } from "../../support/time.ts";

const LEASE_MS = 30_000;
const MINUTE = 60_000;
const UPGRADE = "to 2";
const record: PortalRecord = {
  ...{ format: PORTAL_FORMAT, memberId: "a", domain: "a.bitrix24.de", status: "installed", generation: 1 },
  ...{ version: "1.0.0", target: "2.0.0", applied: [], installedTs: 1, latestTs: 1 },
};

interface Setup {
  readonly storage: Storage;
  /** Takes the slot of a portal: others may look after it in so many milliseconds. */
  readonly take: (memberId: string, ms: number) => Promise<void>;
  readonly reclaim: (on?: Storage) => Promise<void>;
  /** Returns the milliseconds until others may look after the slots, by portal. */
  readonly left: () => Promise<Readonly<Record<string, number>>>;
}

/** Returns a breaker with slots of portals. */
async function setUp(slots: Readonly<Record<string, number>>): Promise<Setup> {
  const time = virtualTime();
  const storage = memoryStorage({ clock: time.now });
  const breakersOf = (storage: Storage): Breakers =>
    createBreakers({ storage, clock: time.now, random: () => "id", log: quietLogger }, {
      ...{ onTripped: () => {}, onFreed: () => {}, isObserved: () => false },
    });
  const take = async (memberId: string, ms: number): Promise<void> => {
    const slot: Slot = { owner: "another", until: time.now() + ms, to: "2.0.0" };
    const limits = { failed: 100, percent: 0, concurrency: 100 };
    await breakersOf(storage).take(UPGRADE, [{ memberId, slot, limits, isForced: false }]);
  };
  for (const [memberId, ms] of Object.entries(slots)) await take(memberId, ms);
  return {
    ...{ storage, take },
    reclaim: (on: Storage = storage) =>
      reclaimSlots({ storage: on, clock: time.now, leaseMs: LEASE_MS }, breakersOf(on)),
    left: async () => {
      const { slots } = (await breakersOf(storage).read(UPGRADE))!;
      return Object.fromEntries(Object.entries(slots).map(([id, { until }]) => [id, until - time.now()]));
    },
  };
}

describe("reclaimSlots()", () => {
  it("frees the slots whose time is over, or farther ahead than any process sets it", async () => {
    const { reclaim, left } = await setUp({ over: 0, ahead: 1, late: 2 * MINUTE, wrong: 2 * MINUTE + 1 });
    await reclaim();
    assert.deepEqual(await left(), { ahead: 1, late: 2 * MINUTE });
  });

  it("renews the slot of a portal that is still at work", async () => {
    const { storage, reclaim, left } = await setUp({ a: 0, gone: 0 });
    await storage.put(portalKey("a"), record);
    await reclaim();
    assert.deepEqual(await left(), { a: MINUTE });
  });

  it("leaves the slot of a portal alone whose encryption key is gone, and frees the others", async () => {
    const { storage, reclaim, left } = await setUp({ lost: 0, other: 0 });
    const get: Storage["get"] = (key) => {
      if (key[1] === "lost") throw new StorageError("cannot decrypt", { unreadableKey: key });
      return storage.get(key);
    };
    await reclaim({ ...storage, get });
    assert.deepEqual(await left(), { lost: 0 });
  });

  it("leaves the slot of a portal alone that newer code wrote, and frees the others", async () => {
    const { storage, reclaim, left } = await setUp({ newer: 0, other: 0 });
    await storage.put(portalKey("newer"), { format: 1000 });
    await reclaim();
    assert.deepEqual(await left(), { newer: 0 });
  });

  it("leaves a slot alone that another process takes meanwhile", async () => {
    const { storage, take, reclaim, left } = await setUp({ a: 0 });
    await reclaim({
      ...storage,
      get: async (key, options) => {
        const entry = await storage.get(key, options);
        if (key[0] === "portal") await take("a", LEASE_MS);
        return entry as never;
      },
    });
    assert.deepEqual(await left(), { a: LEASE_MS });
  });
});
