import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type Entry, memoryStorage, type Storage } from "@b24/onappupdate";
import { PORTAL_FORMAT, portalKey, type PortalRecord } from "../../src/portal/record.ts";
import { arrived, listDue, planVisit, schedule, unschedule, writeDue } from "../../src/portal/schedule.ts";

const MEMBER_ID = "a".repeat(32);
const KEY = portalKey(MEMBER_ID);
const AT = 1000;
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

async function scheduled(storage: Storage): Promise<number[]> {
  const times: number[] = [];
  for await (const { at } of listDue(storage, Infinity)) times.push(at);
  return times;
}

/** What a delivery at `AT` leaves, and what the schedule had whenever a record was written. */
async function deliver(
  before: number | undefined,
  meanwhile: (storage: Storage) => Promise<unknown> = () => Promise.resolve(),
): Promise<{ readonly due: number | undefined; readonly schedule: number[]; readonly isAlwaysKnown: boolean }> {
  const storage = memoryStorage();
  const record: PortalRecord = before === undefined ? RECORD : { ...RECORD, due: before };
  await storage.put(KEY, record);
  if (before !== undefined) await schedule(storage, before, MEMBER_ID);
  const known = await storage.get<PortalRecord>(KEY) as Entry<PortalRecord>;
  let isAlwaysKnown = true;
  const watched: Storage = {
    ...storage,
    put: async (key, value, options) => {
      const times = await scheduled(storage);
      const result = await storage.put(key, value, options);
      if (key[0] === "portal" && result.ok && !times.includes((value as PortalRecord).due!)) isAlwaysKnown = false;
      return result;
    },
  };
  const isPlanned = await planVisit(watched, MEMBER_ID, AT, known.value);
  await meanwhile(storage);
  const core = { storage: watched, clock: () => 1 };
  const written = await writeDue(core, MEMBER_ID, { at: AT, isPlanned }, (now) => arrived(now!, AT), known);
  return { due: written?.value.due, schedule: await scheduled(storage), isAlwaysKnown };
}

describe("writeDue()", () => {
  it("schedules a portal that had no work, or has work later", async () => {
    for (const before of [undefined, 2000]) {
      const { due, schedule, isAlwaysKnown } = await deliver(before);
      assert.equal(due, AT);
      assert(schedule.includes(AT));
      assert(isAlwaysKnown);
    }
  });

  it("leaves the schedule alone where the portal is due earlier", async () => {
    assert.deepEqual(await deliver(500), { due: 500, schedule: [500], isAlwaysKnown: true });
  });

  it("takes back its entry when the portal has become due earlier meanwhile", async () => {
    const outcome = await deliver(undefined, async (storage) => {
      await schedule(storage, 700, MEMBER_ID);
      await storage.put(KEY, { ...RECORD, due: 700 });
    });
    assert.deepEqual(outcome, { due: 700, schedule: [700], isAlwaysKnown: true });
  });

  it("never leaves a record due at a time that the schedule does not have, when another worker has just left", async () => {
    const outcome = await deliver(500, async (storage) => {
      await storage.put(KEY, RECORD);
      await unschedule(storage, 500, MEMBER_ID);
    });
    assert.deepEqual(outcome, { due: AT, schedule: [AT], isAlwaysKnown: true });
  });
});
