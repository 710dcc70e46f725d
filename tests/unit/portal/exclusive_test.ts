import assert from "node:assert/strict";
import { memoryStorage, type Storage } from "@b24/onappupdate";
import { isLeasedHere, type PortalLeaseOptions, whenReleased, withPortalLease } from "../../../src/portal/exclusive.ts";
import { portalKey } from "../../../src/portal/keys.ts";
import { PORTAL_FORMAT, type PortalRecord } from "../../../src/portal/record.ts";
import { writeRecord } from "../../../src/portal/record_store.ts";
import { entryId } from "../../../src/portal/schedule.ts";
import { quietLogger } from "../../support/app.ts";
import { describe, it } from "../../support/test.ts";
import { type VirtualTime, virtualTime } from "../../support/time.ts";

const LEASE_MS = 30_000;
const RECORD: PortalRecord = {
  ...{ format: PORTAL_FORMAT, memberId: "a", domain: "a.bitrix24.de", status: "installed", generation: 1 },
  ...{ applied: [], installedTs: 1, latestTs: 1, inboxSequence: 7 },
};

interface Setup {
  readonly time: VirtualTime;
  readonly storage: Storage;
  readonly options: PortalLeaseOptions;
  /** The portals that the worker was woken for. */
  readonly woken: readonly string[];
  /** Changes the record, as another process does. */
  readonly change: (changed: Partial<PortalRecord>) => Promise<void>;
  readonly record: () => Promise<PortalRecord>;
}

/** Returns a portal under whose lease work can run. */
async function setUp(more: Partial<PortalRecord> = {}): Promise<Setup> {
  const time = virtualTime();
  const storage = memoryStorage({ clock: time.now });
  const woken: string[] = [];
  await storage.put(portalKey("a"), { ...RECORD, ...more });
  const options = {
    ...{ storage, clock: time.now, time, random: () => crypto.randomUUID(), leaseMs: LEASE_MS, log: quietLogger },
    wake: (memberId: string) => void woken.push(memberId),
  };
  const change = async (changed: Partial<PortalRecord>): Promise<void> => {
    await writeRecord(storage, "a", (record) => ({ record: { ...record!, ...changed } }));
  };
  const record = async (): Promise<PortalRecord> => (await storage.get<PortalRecord>(portalKey("a")))!.value;
  return { time, storage, options, woken, change, record };
}

describe("withPortalLease()", () => {
  it("returns the result, releases the lease, and wakes nobody if nothing has come", async () => {
    const { time, options, woken, record } = await setUp();
    assert.deepEqual(await withPortalLease(options, "a", () => Promise.resolve(1)), { result: 1 });
    assert.deepEqual([(await record()).lease, woken], [undefined, []]);
    const later = await setUp({ due: entryId(time.now() + LEASE_MS + 1, "later") });
    await withPortalLease(later.options, "a", () => Promise.resolve());
    assert.deepEqual(later.woken, []);
  });

  it("wakes the worker if a delivery has come meanwhile", async () => {
    const { options, woken, change } = await setUp();
    await withPortalLease(options, "a", () => change({ inboxSequence: 8 }));
    assert.deepEqual(woken, ["a"]);
  });

  it("wakes the worker if the portal is due: a worker may have wanted to process it meanwhile", async () => {
    const { time, options, woken } = await setUp({ due: entryId(virtualTime().now() + LEASE_MS, "soon") });
    await time.elapse(0);
    await withPortalLease(options, "a", () => Promise.resolve());
    assert.deepEqual(woken, ["a"]);
  });

  it("releases the lease after a failure, and wakes the worker", async () => {
    const { options, woken, change, record } = await setUp();
    const work = withPortalLease(options, "a", async () => {
      await change({ inboxSequence: 8 });
      throw new Error("no");
    });
    await assert.rejects(work, { message: "no" });
    assert.deepEqual([(await record()).lease, woken], [undefined, ["a"]]);
  });

  it("runs nothing on an unknown portal, or one that another process has", async () => {
    const { options } = await setUp({ lease: { owner: "another", until: virtualTime().now() + LEASE_MS } });
    for (const memberId of ["a", "b"]) {
      assert.equal(await withPortalLease(options, memberId, () => assert.fail("runs")), undefined);
    }
  });

  it("lets one call of a process run after the other, and its worker wait for all", async () => {
    const { storage, options } = await setUp();
    const order: number[] = [];
    const [first, second] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const runs = [first, second].map(({ promise }, i) =>
      withPortalLease(options, "a", async () => {
        order.push(i);
        await promise;
      })
    );
    assert.equal(isLeasedHere(storage, "a"), true);
    first.resolve();
    await runs[0];
    assert.equal(isLeasedHere(storage, "a"), true, "the second one");
    second.resolve();
    await whenReleased(storage, "a");
    await runs[1];
    assert.deepEqual(order, [0, 1]);
    assert.equal(isLeasedHere(storage, "a"), false);
  });
});
