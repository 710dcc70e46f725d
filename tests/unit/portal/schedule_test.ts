import assert from "node:assert/strict";
import { encrypted, memoryStorage, type Storage } from "@b24/onappupdate";
import type { Entry } from "@b24/onappupdate/storage";
import { PORTAL_FORMAT, type PortalRecord } from "../../../src/portal/record.ts";
import { portalKey } from "../../../src/portal/keys.ts";
import {
  addEntry,
  commitEntry,
  deleteEntry,
  entryId,
  entryTime,
  listDue,
  reserveEntry,
  withNextDelivery,
} from "../../../src/portal/schedule.ts";
import { quietLogger } from "../../support/app.ts";
import { describe, it } from "../../support/test.ts";

const MEMBER_ID = "a".repeat(32);
const KEY = portalKey(MEMBER_ID);
const AT = entryId(1000, "1");
/** A second entry for the same time. */
const AGAIN = entryId(1000, "2");
const EARLY = entryId(500, "early");
const RECORD: PortalRecord = {
  format: PORTAL_FORMAT,
  memberId: MEMBER_ID,
  domain: "x.bitrix24.de",
  status: "installed",
  generation: 1,
  applied: [],
  installedTs: 1,
  latestTs: 1,
};

async function scheduled(storage: Storage): Promise<string[]> {
  return await Array.fromAsync(listDue(storage, Infinity), ({ due }) => due);
}

/**
 * Schedules a delivery for `AT`, with `meanwhile` between the two writes. Returns the schedule entry in the record, the
 * schedule, and whether the schedule contained the entry of every record that was written.
 */
async function deliver(
  before: string | undefined,
  meanwhile: (storage: Storage) => Promise<unknown> = () => Promise.resolve(),
): Promise<{ readonly due: string | undefined; readonly schedule: string[]; readonly isAlwaysScheduled: boolean }> {
  const storage = memoryStorage();
  const record: PortalRecord = before === undefined ? RECORD : { ...RECORD, due: before };
  await storage.put(KEY, record);
  if (before !== undefined) await addEntry(storage, before, MEMBER_ID);
  const entry = await storage.get<PortalRecord>(KEY) as Entry<PortalRecord>;
  let isAlwaysScheduled = true;
  const watched: Storage = {
    ...storage,
    put: async (key, value, options) => {
      const entries = await scheduled(storage);
      const result = await storage.put(key, value, options);
      if (key[0] === "portal" && result.ok && !entries.includes((value as PortalRecord).due!)) {
        isAlwaysScheduled = false;
      }
      return result;
    },
  };
  const options = optionsOn(watched);
  const reservation = await reserveEntry(options, MEMBER_ID, 1000, entry);
  await meanwhile(storage);
  const written = await commitEntry(options, reservation, (current, due) => withNextDelivery(current!, due));
  return { due: written?.value.due, schedule: await scheduled(storage), isAlwaysScheduled };
}

/** Its random strings are "1", "2" and so on. */
function optionsOn(storage: Storage, now = 1): Parameters<typeof reserveEntry>[0] {
  let strings = 0;
  return { storage, clock: () => now, random: () => String(++strings), log: quietLogger };
}

describe("commitEntry()", () => {
  it("schedules a portal that had no entry, or a later one", async () => {
    for (const before of [undefined, entryId(2000, "later")]) {
      const { due, schedule, isAlwaysScheduled } = await deliver(before);
      assert.equal(due, AT);
      assert(schedule.includes(AT));
      assert(isAlwaysScheduled);
    }
  });

  it("does not change the schedule of a portal with an earlier entry", async () => {
    assert.deepEqual(await deliver(EARLY), { due: EARLY, schedule: [EARLY], isAlwaysScheduled: true });
  });

  it("deletes its entry if the portal received an earlier one meanwhile", async () => {
    const outcome = await deliver(undefined, async (storage) => {
      await addEntry(storage, EARLY, MEMBER_ID);
      await storage.put(KEY, { ...RECORD, due: EARLY });
    });
    assert.deepEqual(outcome, { due: EARLY, schedule: [EARLY], isAlwaysScheduled: true });
  });

  it("never writes a record whose entry is not in the schedule, if a worker released the portal meanwhile", async () => {
    const outcome = await deliver(EARLY, async (storage) => {
      await storage.put(KEY, RECORD);
      await deleteEntry(storage, EARLY, MEMBER_ID);
    });
    assert.deepEqual(outcome, { due: AGAIN, schedule: [AGAIN], isAlwaysScheduled: true });
  });

  it("adds another entry if the record was written meanwhile, because that writer may have deleted the first", async () => {
    const outcome = await deliver(undefined, (storage) => storage.put(KEY, RECORD));
    assert.deepEqual(outcome, { due: AGAIN, schedule: [AGAIN], isAlwaysScheduled: true });
  });

  it("adds the entry of a new portal again if so much time passed that it may be deleted", async () => {
    for (const [now, expected] of [[999, []], [1000, [AT]]] as const) {
      const storage = memoryStorage();
      const reservation = await reserveEntry(optionsOn(storage), MEMBER_ID, 1000, null);
      await deleteEntry(storage, AT, MEMBER_ID);
      const written = await commitEntry(
        optionsOn(storage, now),
        reservation,
        (_, due) => withNextDelivery(RECORD, due),
      );
      assert.equal(written?.value.due, AT);
      assert.deepEqual(await scheduled(storage), expected);
    }
  });

  it("keeps its entry if another worker deletes one for the same time", async () => {
    const other = entryId(1000, "another");
    const outcome = await deliver(undefined, async (storage) => {
      await addEntry(storage, other, MEMBER_ID);
      await deleteEntry(storage, other, MEMBER_ID);
    });
    assert.deepEqual(outcome, { due: AT, schedule: [AT], isAlwaysScheduled: true });
  });
});

describe("entryId()", () => {
  it("returns ids that sort by time and contain it", () => {
    const times = [0, 1, 999, 1000, 1_785_400_000_000, 9_999_999_999_999];
    const ids = times.map((at, i) => entryId(at + 0.5, i % 2 === 0 ? "z" : "a"));
    assert.deepEqual(ids.toSorted(), ids);
    assert.deepEqual(ids.map(entryTime), times);
    assert.equal(entryTime(entryId(-5, "x")), 0);
  });
});

describe("listDue()", () => {
  it("lists entries that cannot be decrypted, and those after them", async () => {
    const inner = memoryStorage();
    const keys = (id: string): { keys: Record<string, string>; current: string } => ({
      keys: { [id]: btoa(id.repeat(32).slice(0, 32)) },
      current: id,
    });
    const [now, gone] = [encrypted(inner, keys("now")), encrypted(inner, keys("gone"))];
    for (const [i, storage] of [now, gone, gone, now].entries()) await addEntry(storage, entryId(i, "x"), String(i));
    const members: string[] = [];
    for await (const { memberId } of listDue(now, 10)) members.push(memberId);
    assert.deepEqual(members, ["0", "1", "2", "3"]);
    for await (const { memberId } of listDue(now, 1)) members.push(memberId);
    assert.deepEqual(members.slice(4), ["0", "1"]);
  });
});
