import assert from "node:assert/strict";
import { memoryStorage, type Storage, type UpgradeContext } from "@b24/onappupdate";
import type { Key } from "@b24/onappupdate/storage";
import { MEMBER_ID, rig } from "../../support/app.ts";
import { describe, it } from "../../support/test.ts";
import { portalOn2 } from "./_portal_on_2.ts";

/** One call of the storage that writes. */
interface Write {
  /** First parts of the keys that are put. */
  readonly kinds: readonly string[];
  /** Length of the JSON of all values. */
  readonly bytes: number;
  /** The same without the results of steps. */
  readonly bytesWithoutResults: number;
}

/** Returns a storage that counts what it is given to write. */
function counting(): { readonly storage: Storage; readonly writes: Write[] } {
  const inner = memoryStorage();
  const writes: Write[] = [];
  const count = (puts: readonly (readonly [Key, unknown])[]): void => {
    const sizes = puts.map(([key, value]) => ({ kind: key[0], bytes: JSON.stringify(value).length }));
    const sum = (counted: typeof sizes): number => counted.reduce((all, { bytes }) => all + bytes, 0);
    writes.push({
      kinds: sizes.map(({ kind }) => kind),
      bytes: sum(sizes),
      bytesWithoutResults: sum(sizes.filter(({ kind }) => kind !== "result")),
    });
  };
  const storage: Storage = {
    ...inner,
    put: (key, value, options) => {
      count([[key, value]]);
      return inner.put(key, value, options);
    },
    write: (operations, options) => {
      count(operations.flatMap((one) => "put" in one ? [[one.put, one.value] as const] : []));
      return inner.write!(operations, options);
    },
  };
  return { storage, writes };
}

type Handler = (ctx: UpgradeContext) => Promise<void>;

/** Returns the writes from the event of an update to its end, after an update that has applied `before` other upgrades. */
async function writesOf(handler: Handler, before = 0): Promise<readonly Write[]> {
  const { storage, writes } = counting();
  const { app, portal, send } = rig({ storage });
  for (let i = 0; i < before; i++) app.upgrade(`${i + 3}`, ({ step }) => step("one", () => {}));
  const last = before + 3;
  app.upgrade(`${last}`, handler);
  await send(portal.install(2));
  if (before > 0) await send(portal.update(last - 1));
  writes.length = 0;
  await send(portal.update(last));
  assert.equal((await app.portal(MEMBER_ID))?.version, `${last}.0.0`);
  const counted = [...writes];
  await app.close();
  return counted;
}

function steps(count: number, result?: unknown): Handler {
  return async ({ step }) => {
    for (let i = 0; i < count; i++) await step(`create deal ${i}`, () => result);
  };
}

function total(writes: readonly Write[]): number {
  return writes.reduce((sum, { bytes }) => sum + bytes, 0);
}

function ofJournal(writes: readonly Write[]): readonly Write[] {
  return writes.filter(({ kinds }) => kinds.includes("journal"));
}

const LARGE = "x".repeat(1000);

/** The total of bytes is in `tests/unit/costs_test.ts`. */
describe("an upgrade writes", () => {
  for (const [name, result] of [["no", undefined], ["medium", "x".repeat(254)], ["large", LARGE]] as const) {
    it(`once for each step with ${name} result, at most 4 KiB besides the result, and the record a few times`, async () => {
      const writes = await writesOf(steps(100, result));
      const journal = ofJournal(writes);
      assert.equal(journal.length, 100);
      for (const { kinds, bytesWithoutResults } of journal) {
        assert.deepEqual(kinds, name === "large" ? ["result", "journal"] : ["journal"]);
        assert(bytesWithoutResults <= 4096, `${bytesWithoutResults} bytes`);
      }
      assert(writes.length - journal.length <= 10, `${writes.length - journal.length} other writes`);
    });
  }

  it("once for each page, and progress about once a second", async () => {
    const writes = await writesOf(async ({ pages }) => {
      await pages("deals", 0, (cursor) => ({ next: cursor < 199 ? cursor + 1 : null, done: 50 }));
    });
    const journal = ofJournal(writes);
    assert.equal(journal.length, 200);
    for (const { bytes } of journal) assert(bytes < 200, `${bytes} bytes`);
    assert(writes.length - journal.length <= 11, `${writes.length - journal.length} other writes`);
  });

  it("as much after 200 applied upgrades as after one", async () => {
    const [few, many] = [total(await writesOf(steps(20), 1)), total(await writesOf(steps(20), 200))];
    assert(Math.abs(many - few) < 200, `${few} and ${many} bytes`);
  });

  it("as much for each of 10,000 steps, which are as many as an upgrade may have, in a run that resumes too", async () => {
    const { storage, writes } = counting();
    const { app, update, retry } = await portalOn2(
      async ({ step, attempt }) => {
        for (let i = 0; i < 10_000; i++) await step(`create deal ${i}`, () => assert.equal(attempt, i < 5000 ? 1 : 2));
        await step("one too many", () => assert.fail("must not run"));
      },
      {},
      { storage },
    );
    await update();
    assert.equal((await app.portal(MEMBER_ID))?.failure?.step, "create deal 5000");
    await retry();
    const journal = ofJournal(writes);
    // One write excludes former holders.
    assert.equal(journal.length, 10_001);
    for (const { bytes } of journal) assert(bytes <= 4096, `${bytes} bytes`);
    // Two are the snapshot of the counts for this hour and this day.
    assert(writes.length - journal.length <= 22, `${writes.length - journal.length} other writes`);
    const { failure } = (await app.portal(MEMBER_ID))!;
    const problem = "the upgrade has 10000 steps already; use pages() for long lists";
    assert.equal(failure?.message, `cannot start step "one too many" of upgrade "3": ${problem}`);
    assert.equal(failure?.retryAt, undefined);
    await app.close();
  });
});
