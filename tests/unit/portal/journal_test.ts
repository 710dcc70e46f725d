import assert from "node:assert/strict";
import { memoryStorage, type Storage } from "@b24/onappupdate";
import type { Entry } from "@b24/onappupdate/storage";
import {
  isDone,
  type Journal,
  JOURNAL_FORMAT,
  type JournalEntry,
  type JournalOptions,
  newJournal,
  openJournal,
  readJournals,
} from "../../../src/portal/journal.ts";
import { journalPrefix } from "../../../src/portal/keys.ts";
import { LeaseLostError } from "../../../src/portal/lease_lost.ts";
import type { PortalRecord } from "../../../src/portal/record.ts";
import { MEMBER_ID } from "../../support/app.ts";
import { describe, it } from "../../support/test.ts";

const ID = { memberId: MEMBER_ID, runId: "1", upgradeId: "3" };

function optionsOn(storage: Storage, reread: () => Promise<unknown> = () => Promise.resolve()): JournalOptions {
  return { storage, lease: { reread: reread as () => Promise<PortalRecord> } };
}

async function appendSteps(journal: Journal, from: number, to: number): Promise<void> {
  for (let i = from; i < to; i++) await journal.append([`${i}`, i, "step", i]);
}

/** Returns the number of entries in each chunk. */
async function chunkSizes(storage: Storage): Promise<number[]> {
  const chunks = storage.list<{ readonly entries: readonly unknown[] }>(journalPrefix(MEMBER_ID));
  return await Array.fromAsync(chunks, ({ value }) => value.entries.length);
}

async function entriesOf(storage: Storage): Promise<readonly JournalEntry[]> {
  return (await readJournals(storage, MEMBER_ID, "1")).get("3")!;
}

describe("a journal", () => {
  it("is written in chunks of 16, and is the same when it is opened again", async () => {
    const storage = memoryStorage();
    const journal = newJournal(optionsOn(storage), ID);
    await appendSteps(journal, 0, 40);
    assert.deepEqual(await chunkSizes(storage), [16, 16, 8]);
    assert.equal(journal.finished(), 40);
    const opened = await openJournal(optionsOn(storage), ID);
    assert.deepEqual(opened.entries(), journal.entries());
    assert.deepEqual(opened.get("39"), ["39", 39, "step", 39]);
    assert.deepEqual(await entriesOf(storage), journal.entries());
  });

  it("has smaller chunks if results are large", async () => {
    const storage = memoryStorage();
    const journal = newJournal(optionsOn(storage), ID);
    for (let i = 0; i < 40; i++) await journal.append([`${i}`, 1_785_300_000_000, "step", "x".repeat(254)]);
    for await (const { value } of storage.list(journalPrefix(MEMBER_ID))) {
      assert(JSON.stringify(value).length <= 4096);
    }
    assert.deepEqual(await chunkSizes(storage), [11, 11, 11, 7]);
  });

  it("keeps the last page of a step, and counts them all", async () => {
    const storage = memoryStorage();
    const journal = newJournal(optionsOn(storage), ID);
    await appendSteps(journal, 0, 14);
    for (let page = 1; page < 100; page++) await journal.append(["deals", page, "page", page, 50 * page, page]);
    assert.deepEqual([await chunkSizes(storage), journal.finished()], [[15], 14 + 99]);
    await journal.append(["deals", 100, "pages", 100, 5000]);
    await appendSteps(journal, 20, 21);
    assert.deepEqual([await chunkSizes(storage), journal.finished()], [[16], 14 + 100 + 1]);
    assert.deepEqual((await openJournal(optionsOn(storage), ID)).get("deals"), ["deals", 100, "pages", 100, 5000]);
  });

  it("writes a page to the next chunk if its chunk is full", async () => {
    const storage = memoryStorage();
    const journal = newJournal(optionsOn(storage), ID);
    await appendSteps(journal, 0, 15);
    for (let page = 1; page < 4; page++) await journal.append(["deals", page, "page", page, page, page]);
    assert.deepEqual(await chunkSizes(storage), [16, 1]);
    assert.deepEqual((await openJournal(optionsOn(storage), ID)).get("deals"), ["deals", 3, "page", 3, 3, 3]);
  });

  it("is separate for each upgrade and run", async () => {
    const storage = memoryStorage();
    for (const id of [ID, { ...ID, upgradeId: "4" }, { ...ID, runId: "2" }]) {
      await newJournal(optionsOn(storage), id).append([`${id.runId} ${id.upgradeId}`, 1, "step"]);
    }
    const journals = await readJournals(storage, MEMBER_ID, "1");
    assert.deepEqual([...journals].map(([upgradeId, [entry]]) => [upgradeId, entry?.[0]]), [["3", "1 3"], [
      "4",
      "1 4",
    ]]);
  });

  it("of newer code is not read", async () => {
    const storage = memoryStorage();
    await storage.put([...journalPrefix(MEMBER_ID), "1", "3", "00000000"], { format: JOURNAL_FORMAT + 1, entries: [] });
    await assert.rejects(openJournal(optionsOn(storage), ID), { code: "format" });
    await assert.rejects(readJournals(storage, MEMBER_ID, "1"), { code: "format" });
  });

  it("continues after a write of which it does not know whether it was applied", async () => {
    for (const isApplied of [true, false]) {
      const inner = memoryStorage();
      let isBroken = false;
      const storage: Storage = {
        ...inner,
        write: async (operations, options) => {
          if (isBroken && isApplied) await inner.write!(operations, options);
          if (isBroken) throw new Error("no reply");
          return await inner.write!(operations, options);
        },
      };
      const journal = newJournal(optionsOn(storage), ID);
      await appendSteps(journal, 0, 2);
      isBroken = true;
      await assert.rejects(appendSteps(journal, 2, 3), /no reply/);
      isBroken = false;
      await appendSteps(journal, 3, 4);
      const names = (await entriesOf(storage)).map(([name]) => name);
      assert.deepEqual(names, isApplied ? ["0", "1", "2", "3"] : ["0", "1", "3"]);
      assert.deepEqual(journal.entries(), await entriesOf(storage));
    }
  });
});

describe("openJournal()", () => {
  for (const before of [0, 1, 15, 16, 17, 31, 32, 33]) {
    it(`stops a former holder after ${before} entries, and itself continues`, async () => {
      const storage = memoryStorage();
      let isLost = false;
      const reread = (): Promise<unknown> =>
        isLost ? Promise.reject(new LeaseLostError(MEMBER_ID, "test")) : Promise.resolve();
      const former = newJournal(optionsOn(storage, reread), ID);
      await appendSteps(former, 0, before);
      const journal = await openJournal(optionsOn(storage), ID);
      isLost = true;
      await assert.rejects(former.append(["late", 1, "step"]), LeaseLostError);
      await appendSteps(journal, before, before + 20);
      await assert.rejects(former.append(["later", 1, "step"]), LeaseLostError);
      const names = (await entriesOf(storage)).map(([name]) => name);
      assert.deepEqual(names, Array.from({ length: before + 20 }, (_, i) => `${i}`));
    });
  }

  it("lets a former holder that opens the journal write nothing either, and its holder continues", async () => {
    const storage = memoryStorage();
    const holder = await openJournal(optionsOn(storage), ID);
    await appendSteps(holder, 0, 3);
    const lost = (): Promise<unknown> => Promise.reject(new LeaseLostError(MEMBER_ID, "test"));
    await assert.rejects(openJournal(optionsOn(storage, lost), ID), LeaseLostError);
    await appendSteps(holder, 3, 6);
    assert.deepEqual((await entriesOf(storage)).map(([name]) => name), ["0", "1", "2", "3", "4", "5"]);
  });

  it("reads again what a former holder writes while it reads", async () => {
    for (const before of [0, 5, 15, 16, 31]) {
      for (const late of [1, 2, 20]) {
        const inner = memoryStorage();
        const former = newJournal(optionsOn(inner), ID);
        await appendSteps(former, 0, before);
        let isFirst = true;
        const storage: Storage = {
          ...inner,
          /** A listing that begins before the former holder writes, and ends afterwards. */
          list: async function* <T>(prefix: readonly string[]): AsyncGenerator<Entry<T>> {
            if (!isFirst) return yield* inner.list<T>(prefix);
            isFirst = false;
            const [entry] = await Array.fromAsync(inner.list<T>(prefix, { limit: 1 }));
            if (entry !== undefined) yield entry;
            await appendSteps(former, before, before + late);
            yield* inner.list<T>(prefix, entry === undefined ? {} : { after: entry.key });
          },
        };
        const { entries } = await openJournal(optionsOn(storage), ID);
        assert.equal(entries().length, before + late, `${late} after ${before}`);
      }
    }
  });
});

describe("append()", () => {
  it("rejects once the portal's record says that the app was removed, although the step is recorded", async () => {
    const storage = memoryStorage();
    const journal = newJournal(optionsOn(storage, () => Promise.reject(new Error("removed"))), ID);
    await assert.rejects(appendSteps(journal, 0, 1), /removed/);
    assert.equal((await entriesOf(storage)).length, 1);
  });
});

describe("isDone()", () => {
  it("is true for finished steps and pages, and for a sleep once it is over", () => {
    const entries: readonly (readonly [JournalEntry, boolean])[] = [
      [["a", 1, "step"], true],
      [["a", 1, "large", "1"], true],
      [["a", 1, "page", 1, 1, 1], false],
      [["a", 1, "pages", 1, 1], true],
      [["a", 1, "sleep", 10], true],
      [["a", 1, "sleep", 11], false],
      [["a", 1, "undone"], false],
    ];
    for (const [entry, isIt] of entries) assert.equal(isDone(entry, 10), isIt, entry.join());
  });
});
