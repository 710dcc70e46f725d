import assert from "node:assert/strict";
import { memoryStorage, type Storage } from "@b24/onappupdate";
import { StorageError } from "@b24/onappupdate/errors";
import type { IndexedAs } from "../../../src/portal/record.ts";
import { createTotals, noteIndexed, type Totals } from "../../../src/portal/totals.ts";
import { quietLogger, recordingLogger } from "../../support/app.ts";
import { describe, it } from "../../support/test.ts";
import { type VirtualTime, virtualTime } from "../../support/time.ts";

const CURRENT = { state: "current", version: "2.0.0" } as const;
const PARKED = { state: "parked", version: "2.0.0" } as const;

/** Another process on the storage: it has its own gathered changes. */
function processOn(inner: Storage, log = quietLogger): { storage: Storage; time: VirtualTime; totals: Totals } {
  const storage = { ...inner };
  const time = virtualTime();
  return { storage, time, totals: createTotals({ storage, time, log }) };
}

async function stored(storage: Storage): Promise<string[]> {
  const found: string[] = [];
  for await (const { key, value } of storage.list<{ counts: object }>(["total"])) {
    found.push(`${key[1]} ${JSON.stringify(value.counts)}`);
  }
  return found;
}

describe("totals", () => {
  it("are added once a second, by shard; this process counts its changes at once", async () => {
    const storage = memoryStorage();
    const [a, b] = [processOn(storage), processOn(storage)];
    noteIndexed(a.storage, "aa1", undefined, CURRENT);
    noteIndexed(a.storage, "aa2", undefined, CURRENT);
    noteIndexed(a.storage, "bb1", undefined, { state: "blocked", blocked: "scope" });
    noteIndexed(a.storage, "aa2", CURRENT, { ...CURRENT });
    const counts = [{ status: "blocked", count: 1 }, { status: "current", version: "2.0.0", count: 2 }];
    assert.deepEqual([await a.totals.counts(), await b.totals.counts()], [counts, []]);
    await a.time.elapse(999);
    assert.deepEqual(await stored(storage), []);
    await a.time.elapse(1);
    assert.deepEqual(await stored(storage), ['aa {"current 2.0.0":2}', 'bb {"blocked ":1,"!blocked scope ":1}']);
    assert.deepEqual([await a.totals.counts(), await b.totals.counts()], [counts, counts]);
    noteIndexed(b.storage, "aa2", CURRENT, PARKED);
    noteIndexed(b.storage, "aa1", CURRENT, PARKED);
    await b.totals.close();
    assert.deepEqual((await stored(storage))[0], 'aa {"parked 2.0.0":2,"!parked  ":2}');
    noteIndexed(a.storage, "bb1", { state: "blocked", blocked: "scope" }, PARKED);
    await a.totals.flush();
    assert.deepEqual(await a.totals.counts(), [{ status: "parked", version: "2.0.0", count: 3 }]);
  });

  it("are not added more often, however many changes come", async () => {
    const storage = memoryStorage();
    const { storage: own, time } = processOn(storage);
    const next = (id: string): void => noteIndexed(own, id, undefined, CURRENT);
    next("aa1");
    await time.elapse(500);
    next("aa2");
    await time.elapse(500);
    assert.deepEqual(await stored(storage), ['aa {"current 2.0.0":2}']);
    next("aa3");
    await time.elapse(999);
    assert.deepEqual(await stored(storage), ['aa {"current 2.0.0":2}']);
    await time.elapse(1);
    assert.deepEqual(await stored(storage), ['aa {"current 2.0.0":3}']);
  });

  it("count what stops portals, the most frequent cause first, and not those that go on", async () => {
    const storage = memoryStorage();
    const [a, b] = [processOn(storage), processOn(storage)];
    const parked = { ...PARKED, fingerprint: "f00d" };
    noteIndexed(a.storage, "aa1", undefined, parked);
    noteIndexed(a.storage, "bb2", undefined, { ...parked, version: "1.0.0" });
    noteIndexed(a.storage, "aa3", undefined, { state: "blocked", blocked: "payment", fingerprint: "f00d" });
    noteIndexed(a.storage, "aa4", undefined, { state: "upgrading", fingerprint: "beef" });
    noteIndexed(a.storage, "aa5", undefined, { state: "upgrading" });
    noteIndexed(a.storage, "aa6", undefined, { ...CURRENT, fingerprint: "f00d" });
    const causes = [
      { status: "parked", fingerprint: "f00d", count: 2 },
      { status: "blocked", blockedOn: "payment", fingerprint: "f00d", count: 1 },
      { status: "upgrading", fingerprint: "beef", count: 1 },
    ];
    assert.deepEqual(await a.totals.causes(), causes);
    await a.totals.flush();
    assert.deepEqual(await b.totals.causes(), causes);
    noteIndexed(b.storage, "aa1", parked, CURRENT);
    noteIndexed(b.storage, "bb2", { ...parked, version: "1.0.0" }, parked);
    await b.totals.flush();
    assert.deepEqual((await a.totals.causes()).map(({ status, count }) => [status, count]), [
      ...[["blocked", 1], ["parked", 1], ["upgrading", 1]],
    ]);
    assert.deepEqual((await stored(storage))[1], 'bb {"!parked  f00d":1,"parked 2.0.0":1}');
  });

  it("count at most 500 causes in a shard, and all portals", async () => {
    const storage = memoryStorage();
    const { storage: own, totals } = processOn(storage);
    const parked = (n: number): IndexedAs => ({ ...PARKED, fingerprint: String(n) });
    for (let n = 0; n < 600; n++) noteIndexed(own, `aa${n}`, undefined, parked(n));
    await totals.flush();
    assert.deepEqual([(await totals.causes()).length, (await totals.counts())[0]?.count], [500, 600]);
    for (let n = 0; n < 600; n++) noteIndexed(own, `aa${n}`, parked(n), CURRENT);
    await totals.flush();
    assert.deepEqual(await stored(storage), ['aa {"current 2.0.0":600}']);
  });

  it("write nothing for changes that cancel out, and nothing without changes", async () => {
    const inner = memoryStorage();
    const { storage, time } = processOn({ ...inner, put: () => Promise.reject(new Error("written")) });
    noteIndexed(storage, "aa1", CURRENT, PARKED);
    noteIndexed(storage, "aa1", PARKED, CURRENT);
    await time.elapse(5000);
    assert.deepEqual(await stored(inner), []);
  });

  it("keep what could not be added, also for close()", async () => {
    const inner = memoryStorage();
    const { logger, lines } = recordingLogger();
    let isDown = true;
    const put: Storage["put"] = (...args) => isDown ? Promise.reject(new StorageError("down")) : inner.put(...args);
    const { storage, time, totals } = processOn({ ...inner, put }, logger);
    noteIndexed(storage, "aa1", undefined, CURRENT);
    await time.elapse(1000);
    assert.match(lines.join(), /totals.add_failed/);
    noteIndexed(storage, "aa1", CURRENT, PARKED);
    const counts = [{ status: "parked", version: "2.0.0", count: 1 }];
    assert.deepEqual(await totals.counts(), counts);
    isDown = false;
    await totals.close();
    assert.deepEqual(await stored(inner), ['aa {"parked 2.0.0":1,"!parked  ":1}']);
    assert.deepEqual(await totals.counts(), counts);
  });

  it("of two processes that add at once are the sum", async () => {
    const storage = memoryStorage();
    const processes = Array.from({ length: 5 }, () => processOn(storage));
    for (const { storage } of processes) noteIndexed(storage, "aa1", undefined, CURRENT);
    await Promise.all(processes.map(({ totals }) => totals.flush()));
    assert.deepEqual(await stored(storage), ['aa {"current 2.0.0":5}']);
  });

  it("that newer code has written are neither read nor overwritten", async () => {
    const inner = memoryStorage();
    await inner.put(["total", "aa"], { format: 2 });
    const { storage, totals } = processOn(inner);
    noteIndexed(storage, "aa1", undefined, CURRENT);
    await totals.flush();
    await assert.rejects(totals.counts(), { code: "format" });
    assert.deepEqual((await inner.get(["total", "aa"]))?.value, { format: 2 });
  });
});
