import assert from "node:assert/strict";
import { memoryStorage } from "@b24/onappupdate";
import { FormatError } from "@b24/onappupdate/errors";
import { listFailedAttempts, stageFailedAttempt, withFailedAttempt } from "../../../src/portal/failed_attempts.ts";
import { attemptKey, attemptPrefix } from "../../../src/portal/keys.ts";
import { PORTAL_FORMAT, type PortalRecord } from "../../../src/portal/record.ts";
import { writeInOrder } from "../../../src/storage/write.ts";
import { MEMBER_ID } from "../../support/app.ts";
import { countingStorage } from "../../support/counting_storage.ts";
import { describe, it } from "../../support/test.ts";

const RECORD: PortalRecord = {
  ...{ format: PORTAL_FORMAT, memberId: MEMBER_ID, domain: "x.bitrix24.de", status: "installed", generation: 1 },
  ...{ applied: [], installedTs: 1, latestTs: 1, fencingToken: 7 },
};

function attempt(number: number): Parameters<typeof withFailedAttempt>[1] {
  return {
    upgradeId: "3",
    attempt: number,
    startedAt: number,
    failedAt: number + 1,
    message: `${number}`,
    fingerprint: "f",
  };
}

/** Records attempts one after the other, from `from` to `to`. */
async function record(
  storage: ReturnType<typeof memoryStorage>,
  from: number,
  to: number,
  start = RECORD,
): Promise<PortalRecord> {
  let record = start;
  for (let number = from; number <= to; number++) {
    let staged = { record } as ReturnType<typeof withFailedAttempt>;
    const lease = {
      record: () => record,
      stage: (change: (record: PortalRecord) => typeof staged): void => void (staged = change(record)),
    };
    await stageFailedAttempt(storage, lease, attempt(number));
    await writeInOrder(storage, staged.before!);
    record = staged.record;
  }
  return record;
}

describe("failed attempts", () => {
  it("are listed up to the last 50, the latest first, and not many more are stored", async () => {
    const storage = memoryStorage();
    const last = await record(storage, 1, 137);
    const listed = await listFailedAttempts(storage, last);
    assert.deepEqual(listed.map(({ attempt }) => attempt), Array.from({ length: 50 }, (_, i) => 137 - i));
    assert.deepEqual(listed[0], { generation: 1, ...attempt(137) });
    const stored = await Array.fromAsync(storage.list(attemptPrefix(MEMBER_ID)));
    assert(stored.length >= 50 && stored.length <= 60, String(stored.length));
  });

  it("are those that the record names: not those of a former holder of the lease, whose record was refused", async () => {
    const storage = memoryStorage();
    const first = await record(storage, 1, 3);
    const former = withFailedAttempt({ ...first, fencingToken: 6 }, attempt(100));
    await writeInOrder(storage, former.before!);
    assert.equal((await listFailedAttempts(storage, first)).length, 3);
    const next = await record(storage, 4, 5, first);
    await writeInOrder(storage, former.before!);
    assert.deepEqual((await listFailedAttempts(storage, next)).map(({ attempt }) => attempt), [5, 4, 3, 2, 1]);
    // It goes with the attempts of its time.
    await record(storage, 6, 70, next);
    assert.equal(await storage.get(attemptKey(MEMBER_ID, "00000004-6")), null);
  });

  it("need no operation but their own, except after every tenth one", async () => {
    const { storage, reads } = countingStorage(memoryStorage());
    const last = await record(storage, 1, 61);
    const before = reads();
    await record(storage, 62, 70, last);
    assert.equal(reads(), before);
  });

  it("have a message of at most 500 characters", () => {
    const { before } = withFailedAttempt(RECORD, { ...attempt(1), message: "x".repeat(10_000) });
    assert(JSON.stringify(before).length < 1000);
  });

  it("of newer code are an error", async () => {
    const storage = memoryStorage();
    const last = await record(storage, 1, 1);
    await storage.put(attemptKey(MEMBER_ID, "00000001-7"), { format: 2 });
    await assert.rejects(listFailedAttempts(storage, last), FormatError);
  });
});
