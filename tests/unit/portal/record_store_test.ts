import assert from "node:assert/strict";
import { memoryStorage, type Storage } from "@b24/onappupdate";
import type { Key, WriteOperation } from "@b24/onappupdate/storage";
import { portalKey } from "../../../src/portal/keys.ts";
import { PORTAL_FORMAT, type PortalRecord } from "../../../src/portal/record.ts";
import { type ChangeRecord, ConditionError, type RecordChange, writeRecord } from "../../../src/portal/record_store.ts";
import { MEMBER_ID } from "../../support/app.ts";
import { describe, it } from "../../support/test.ts";
import { withoutWrite } from "../../support/without_write.ts";

const RECORD: PortalRecord = {
  ...{ format: PORTAL_FORMAT, memberId: MEMBER_ID, domain: "", status: "installed", generation: 0, applied: [] },
  ...{ installedTs: 0, latestTs: 0 },
};

/** Returns the change that adds `by` to the generation, with what is written around it. */
function adding(by: number, { before, after }: Omit<RecordChange, "record"> = {}): ChangeRecord {
  return (record = RECORD) => ({
    record: { ...record, generation: record.generation + by },
    ...(before === undefined ? {} : { before }),
    ...(after === undefined ? {} : { after }),
  });
}

function around(before: WriteOperation[], after: WriteOperation[]): Omit<RecordChange, "record"> {
  return { before, after };
}

/** A storage that records its ordered writes, and calls `during` while one is under way. */
function recording(during: () => Promise<unknown> | void = () => {}): {
  readonly storage: Storage;
  readonly writes: string[][];
} {
  const storage = memoryStorage();
  const writes: string[][] = [];
  const write: Storage["write"] = async (operations, options) => {
    writes.push(operations.map((one) => "put" in one ? `put ${one.put[0]}` : `delete ${one.delete[0]}`));
    await during();
    return await storage.write!(operations, options);
  };
  return { storage: { ...storage, write }, writes };
}

describe("writeRecord()", () => {
  for (const kind of ["with", "without"]) {
    it(`writes a change with what belongs to it, on a storage ${kind} write()`, async () => {
      const inner = memoryStorage();
      const storage = kind === "with" ? inner : withoutWrite(inner);
      await storage.put(["old"], 1);
      const written = await writeRecord(
        storage,
        MEMBER_ID,
        adding(2, around([{ put: ["new"], value: 1 }], [{ delete: ["old"] }])),
      );
      assert.deepEqual(written, await storage.get(portalKey(MEMBER_ID)));
      assert.equal(written?.value.generation, 2);
      assert.deepEqual([(await storage.get(["new"]))?.value, await storage.get(["old"])], [1, null]);
    });
  }

  it("writes 1,000 concurrent changes of a portal by a few writes, each with what belongs to it", async () => {
    const { storage, writes } = recording();
    const changes = Array.from(
      { length: 1000 },
      (_, i) => writeRecord(storage, MEMBER_ID, adding(1, around([{ put: ["item", String(i)], value: i }], []))),
    );
    assert.equal((await Promise.all(changes)).at(-1)?.value.generation, 1000);
    assert((await Array.fromAsync(storage.list(["item"]))).length === 1000);
    assert(writes.length < 20, `${writes.length} writes`);
  });

  it("lets a later change of the same write decide about a key", async () => {
    const { storage, writes } = recording();
    await Promise.all([
      writeRecord(storage, MEMBER_ID, adding(1)),
      writeRecord(storage, MEMBER_ID, adding(1, around([{ put: ["a"], value: 1 }], [{ delete: ["b"] }]))),
      writeRecord(storage, MEMBER_ID, adding(1, around([{ put: ["b"], value: 1 }], [{ delete: ["a"] }]))),
    ]);
    assert.deepEqual(writes, [["put index", "put portal"], ["put b", "put portal", "delete a"]]);
    assert.deepEqual([await storage.get(["a"]), (await storage.get(["b"]))?.value], [null, 1]);
  });

  it("applies a change again after another process has written", async () => {
    let isOvertaken = false;
    const made = recording(async () => {
      if (isOvertaken) return;
      isOvertaken = true;
      await made.storage.put(portalKey(MEMBER_ID), { ...RECORD, generation: 10 });
    });
    assert.equal((await writeRecord(made.storage, MEMBER_ID, adding(1)))?.value.generation, 11);
  });

  it("rejects only the change whose own condition does not hold, or that throws", async () => {
    const storage = memoryStorage();
    await storage.put(["taken"], 1);
    const results = await Promise.allSettled([
      writeRecord(storage, MEMBER_ID, adding(1)),
      writeRecord(storage, MEMBER_ID, adding(10, around([{ put: ["taken"], value: 2, ifVersion: null }], []))),
      writeRecord(storage, MEMBER_ID, () => {
        throw new TypeError("wrong");
      }),
      writeRecord(storage, MEMBER_ID, adding(100)),
    ]);
    assert.deepEqual(results.map(({ status }) => status), ["fulfilled", "rejected", "rejected", "fulfilled"]);
    const [, refused, thrown] = results as PromiseRejectedResult[];
    assert(refused!.reason instanceof ConditionError);
    assert(thrown!.reason instanceof TypeError);
    assert.equal((await storage.get<PortalRecord>(portalKey(MEMBER_ID)))?.value.generation, 101);
    assert.equal((await storage.get(["taken"]))?.value, 1);
  });

  it("leaves of a refused change what comes before the refused operation, on a storage without transactions", async () => {
    const storage = withoutWrite(memoryStorage());
    await storage.put(["taken"], 1);
    await storage.put(["old"], 1);
    const before: WriteOperation[] = [{ put: ["first"], value: 1 }, { put: ["taken"], value: 2, ifVersion: null }];
    const change = adding(1, around([...before, { put: ["last"], value: 1 }], [{ delete: ["old"] }]));
    await assert.rejects(writeRecord(storage, MEMBER_ID, change), ConditionError);
    const stored: Key[] = [["first"], ["taken"], ["last"], ["old"], portalKey(MEMBER_ID)];
    const entries = await Promise.all(stored.map((key) => storage.get(key)));
    assert.deepEqual(entries.map((entry) => entry?.value), [1, 1, undefined, 1, undefined]);
  });

  it("refuses a change whose own operation was applied before the record was refused", async () => {
    const inner = withoutWrite(memoryStorage());
    const put: Storage["put"] = async (key, value, options) => {
      if (key[0] === "own") await inner.put(portalKey(MEMBER_ID), { ...RECORD, generation: 10 });
      return await inner.put(key, value, options);
    };
    const change = adding(1, around([{ put: ["own"], value: 1, ifVersion: null }], []));
    await assert.rejects(writeRecord({ ...inner, put }, MEMBER_ID, change), ConditionError);
    assert.equal((await inner.get<PortalRecord>(portalKey(MEMBER_ID)))?.value.generation, 10);
    assert.equal((await inner.get(["own"]))?.value, 1);
  });

  it("writes nothing if nothing changes", async () => {
    const { storage, writes } = recording();
    const first = await writeRecord(storage, MEMBER_ID, adding(1));
    assert.deepEqual(await writeRecord(storage, MEMBER_ID, (record) => record && { record }), first);
    assert.deepEqual(await writeRecord(storage, MEMBER_ID, () => undefined), first);
    assert.equal(writes.length, 1);
  });

  for (const first of ["writes nothing", "throws"]) {
    it(`does not pass on a stale record that its caller has read, if the change ${first}`, async () => {
      const { storage } = recording();
      const known = await writeRecord(storage, MEMBER_ID, adding(1));
      await storage.put(portalKey(MEMBER_ID), { ...known!.value, generation: 10 });
      const seen: (number | undefined)[] = [];
      const see = (record: PortalRecord | undefined): undefined => void seen.push(record?.generation);
      const fail = (record: PortalRecord | undefined): never => {
        see(record);
        throw new Error("first");
      };
      const stale = writeRecord(storage, MEMBER_ID, first === "throws" ? fail : see, known);
      const [, next] = await Promise.allSettled([stale, writeRecord(storage, MEMBER_ID, see)]);
      assert.deepEqual(seen, [1, 10]);
      assert(next.status === "fulfilled");
      assert.equal(next.value?.value.generation, 10);
    });
  }

  it("rejects all changes of a write that fails, and serves those that come after it", async () => {
    let isDown = true;
    const { storage } = recording(() => isDown ? Promise.reject(new Error("down")) : undefined);
    const first = writeRecord(storage, MEMBER_ID, adding(1));
    await assert.rejects(first, /down/);
    isDown = false;
    assert.equal((await writeRecord(storage, MEMBER_ID, adding(1)))?.value.generation, 1);
  });
});
