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
import { describe, it } from "../../support/test.ts";

const MEMBER_ID = "a".repeat(32);
const KEY = portalKey(MEMBER_ID);
const AT = entryId(1000, "1");
/** Planned anew. */
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
  const times: string[] = [];
  for await (const { due } of listDue(storage, Infinity)) times.push(due);
  return times;
}

/** What a delivery leaves that is to be looked at `AT`, and what the schedule had whenever a record was written. */
async function deliver(
  before: string | undefined,
  meanwhile: (storage: Storage) => Promise<unknown> = () => Promise.resolve(),
): Promise<{ readonly due: string | undefined; readonly schedule: string[]; readonly isAlwaysKnown: boolean }> {
  const storage = memoryStorage();
  const record: PortalRecord = before === undefined ? RECORD : { ...RECORD, due: before };
  await storage.put(KEY, record);
  if (before !== undefined) await addEntry(storage, before, MEMBER_ID);
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
  const at = planner(watched);
  const plan = await reserveEntry(at, MEMBER_ID, 1000, known);
  await meanwhile(storage);
  const written = await commitEntry(at, plan, (now, due) => withNextDelivery(now!, due));
  return { due: written?.value.due, schedule: await scheduled(storage), isAlwaysKnown };
}

/** Its clock says `now`, and its first text is "1". */
function planner(storage: Storage, now = 1): Parameters<typeof reserveEntry>[0] {
  let texts = 0;
  return { storage, clock: () => now, random: () => String(++texts) };
}

describe("writeDue()", () => {
  it("schedules a portal that had no work, or has work later", async () => {
    for (const before of [undefined, entryId(2000, "later")]) {
      const { due, schedule, isAlwaysKnown } = await deliver(before);
      assert.equal(due, AT);
      assert(schedule.includes(AT));
      assert(isAlwaysKnown);
    }
  });

  it("leaves the schedule alone where the portal is due earlier", async () => {
    assert.deepEqual(await deliver(EARLY), { due: EARLY, schedule: [EARLY], isAlwaysKnown: true });
  });

  it("takes back its entry when the portal has become due earlier meanwhile", async () => {
    const outcome = await deliver(undefined, async (storage) => {
      await addEntry(storage, EARLY, MEMBER_ID);
      await storage.put(KEY, { ...RECORD, due: EARLY });
    });
    assert.deepEqual(outcome, { due: EARLY, schedule: [EARLY], isAlwaysKnown: true });
  });

  it("never leaves a record due at a time that the schedule does not have, when another worker has just left", async () => {
    const outcome = await deliver(EARLY, async (storage) => {
      await storage.put(KEY, RECORD);
      await deleteEntry(storage, EARLY, MEMBER_ID);
    });
    assert.deepEqual(outcome, { due: AGAIN, schedule: [AGAIN], isAlwaysKnown: true });
  });

  it("plans anew when somebody has written the record since, who may remove what he found", async () => {
    const outcome = await deliver(undefined, (storage) => storage.put(KEY, RECORD));
    assert.deepEqual(outcome, { due: AGAIN, schedule: [AGAIN], isAlwaysKnown: true });
  });

  it("schedules a new portal once more when it took so long that its entry may be gone", async () => {
    for (const [now, expected] of [[999, []], [1000, [AT]]] as const) {
      const storage = memoryStorage();
      const plan = await reserveEntry(planner(storage), MEMBER_ID, 1000, null);
      await deleteEntry(storage, AT, MEMBER_ID);
      const written = await commitEntry(planner(storage, now), plan, (_, due) => withNextDelivery(RECORD, due));
      assert.equal(written?.value.due, AT);
      assert.deepEqual(await scheduled(storage), expected);
    }
  });

  it("keeps its entry when a worker that was scheduled for the same time takes its own away", async () => {
    const other = entryId(1000, "another");
    const outcome = await deliver(undefined, async (storage) => {
      await addEntry(storage, other, MEMBER_ID);
      await deleteEntry(storage, other, MEMBER_ID);
    });
    assert.deepEqual(outcome, { due: AT, schedule: [AT], isAlwaysKnown: true });
  });
});

describe("dueAt()", () => {
  it("sorts by time, whatever makes it unique, and gives the time back", () => {
    const times = [0, 1, 999, 1000, 1_785_400_000_000, 9_999_999_999_999];
    const texts = times.map((at, i) => entryId(at + 0.5, i % 2 === 0 ? "z" : "a"));
    assert.deepEqual(texts.toSorted(), texts);
    assert.deepEqual(texts.map(entryTime), times);
    assert.equal(entryTime(entryId(-5, "x")), 0);
  });
});

describe("listDue()", () => {
  it("gives also portals whose entry cannot be decrypted, and goes on after them", async () => {
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
