import assert from "node:assert/strict";
import { memoryStorage, type Storage } from "@b24/onappupdate";
import { UnknownPortalError } from "@b24/onappupdate/errors";
import { portalKey } from "../../../src/portal/keys.ts";
import { acquireLease, type PortalLease } from "../../../src/portal/lease.ts";
import { PORTAL_FORMAT, type PortalRecord } from "../../../src/portal/record.ts";
import { leasedRecord, storedRecord } from "../../../src/portal/record_access.ts";
import { changePortal, loadPortal } from "../../../src/portal/record_store.ts";
import { MEMBER_ID, quietLogger } from "../../support/app.ts";
import { countingStorage } from "../../support/counting_storage.ts";
import { describe, it } from "../../support/test.ts";
import { virtualTime } from "../../support/time.ts";

const RECORD: PortalRecord = {
  ...{ format: PORTAL_FORMAT, memberId: MEMBER_ID, domain: "x.bitrix24.de", status: "installed", generation: 1 },
  ...{ applied: [], installedTs: 1, latestTs: 1 },
};

const withTarget = (target: string) => (record: PortalRecord): { readonly record: PortalRecord } => ({
  record: { ...record, target },
});

interface Setup {
  readonly storage: Storage;
  readonly lease: PortalLease;
  /** Number of storage operations in sequence since the lease was acquired. */
  readonly operations: () => number;
}

async function setUp(): Promise<Setup> {
  const { storage, inSequence, reset } = countingStorage(memoryStorage());
  await storage.put(portalKey(MEMBER_ID), RECORD);
  const time = virtualTime();
  const options = { storage, clock: time.now, time, random: () => crypto.randomUUID(), leaseMs: 30_000 };
  const lease = (await acquireLease({ ...options, log: quietLogger }, MEMBER_ID))!;
  reset();
  return { storage, lease, operations: inSequence };
}

describe("leasedRecord()", () => {
  it("reads nothing, and leaves its changes to the next write of the lease", async () => {
    const { storage, lease, operations } = await setUp();
    const access = leasedRecord(lease);
    const stored: string[] = [];
    await access.change(withTarget("3.0.0"), () => stored.push("3.0.0"));
    assert.deepEqual([(await access.load()).target, operations(), stored], ["3.0.0", 0, []]);
    await lease.flush();
    assert.deepEqual([(await loadPortal(storage, MEMBER_ID)).target, stored], ["3.0.0", ["3.0.0"]]);
    lease.stop();
  });

  it("applies its changes to what others have stored meanwhile", async () => {
    const { storage, lease } = await setUp();
    await leasedRecord(lease).change(withTarget("3.0.0"));
    await changePortal(storage, MEMBER_ID, (record) => ({ ...record, domain: "y.bitrix24.de" }));
    await lease.flush();
    const { target, domain } = await loadPortal(storage, MEMBER_ID);
    assert.deepEqual([target, domain], ["3.0.0", "y.bitrix24.de"]);
    lease.stop();
  });

  it("runs work on the stored record with its changes, and then has those of the work", async () => {
    const { storage, lease } = await setUp();
    const access = leasedRecord(lease);
    await access.change(withTarget("3.0.0"));
    const seen = await access.runOnStored(async () => {
      const { target } = await loadPortal(storage, MEMBER_ID);
      await changePortal(storage, MEMBER_ID, (record) => ({ ...record, domain: "y.bitrix24.de" }));
      return target;
    });
    assert.deepEqual([seen, (await access.load()).domain], ["3.0.0", "y.bitrix24.de"]);
    await assert.rejects(
      access.runOnStored(async () => {
        await changePortal(storage, MEMBER_ID, (record) => ({ ...record, domain: "z.bitrix24.de" }));
        throw new Error("refused");
      }),
      /^Error: refused$/,
    );
    assert.equal((await access.load()).domain, "z.bitrix24.de");
    lease.stop();
  });
});

describe("storedRecord()", () => {
  it("stores a change at once", async () => {
    const { storage, lease } = await setUp();
    const access = storedRecord(storage, MEMBER_ID);
    const stored: string[] = [];
    await access.change(withTarget("3.0.0"), () => stored.push("3.0.0"));
    assert.deepEqual([(await loadPortal(storage, MEMBER_ID)).target, stored], ["3.0.0", ["3.0.0"]]);
    assert.equal(await access.runOnStored(() => Promise.resolve(1)), 1);
    lease.stop();
  });

  it("rejects if the portal is not stored", async () => {
    const access = storedRecord(memoryStorage(), MEMBER_ID);
    await assert.rejects(access.load(), UnknownPortalError);
    await assert.rejects(access.change(withTarget("3.0.0")), UnknownPortalError);
  });
});
