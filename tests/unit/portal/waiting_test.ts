import assert from "node:assert/strict";
import { memoryStorage, type Storage } from "@b24/onappupdate";
import { InboxFullError } from "@b24/onappupdate/errors";
import type { InboxItem, Overflow } from "../../../src/portal/delivery.ts";
import { PORTAL_FORMAT, type PortalRecord } from "../../../src/portal/record.ts";
import {
  assertRoom,
  countDelivery,
  deleteSurplus,
  MAX_OF_KIND,
  MAX_WAITING,
  MAX_WAITING_SIZE,
  surplusInRecord,
} from "../../../src/portal/waiting.ts";
import { MEMBER_ID } from "../../support/app.ts";
import { describe, it } from "../../support/test.ts";

const DIGEST = "0123456789abcdef".repeat(4);
const ORDINARY = `ONCRMDEALADD:${DIGEST}:1785300000`;
const UPDATE = "ONAPPUPDATE:3.0.0:1785300000";
const READY = "ONAPPUSERREADY:9:1785300000";
/** With a body of ten characters. */
const delivery = { body: { kind: "form", text: "0123456789" } } as const;

function recordWith(fields: Partial<PortalRecord>): PortalRecord {
  return {
    ...{ format: PORTAL_FORMAT, memberId: MEMBER_ID, domain: "", status: "installed", generation: 1, applied: [] },
    ...{ installedTs: 0, latestTs: 0, ...fields },
  };
}

function item(id: string): InboxItem {
  return { id, ...delivery, receivedAt: 1, verification: {}, attempts: 0 };
}

describe("countDelivery()", () => {
  it("counts ordinary events with their size, and life-cycle events by name", () => {
    let overflow: Overflow | undefined;
    for (const id of [ORDINARY, ORDINARY, READY, UPDATE]) overflow = countDelivery(overflow, id, delivery, 1);
    assert.deepEqual(overflow, { events: 2, size: 20, lifeCycle: { ONAPPUSERREADY: 1, ONAPPUPDATE: 1 } });
    for (const id of [ORDINARY, READY, UPDATE, ORDINARY]) overflow = countDelivery(overflow, id, delivery, -1);
    assert.equal(overflow, undefined);
  });

  it("never falls below 0: a crash may have kept a delivery from being counted", () => {
    assert.equal(countDelivery(undefined, ORDINARY, delivery, -1), undefined);
    const counted = countDelivery({ events: 1, size: 5, lifeCycle: {} }, READY, delivery, -1);
    assert.deepEqual(counted?.lifeCycle, { ONAPPUSERREADY: 0 });
  });

  it("takes an event for an ordinary one whose name begins like that of an update, or that had an equal before", () => {
    for (const id of [`ONAPPUPDATE:X:${DIGEST}:1785300000`, `${ORDINARY}~7`]) {
      assert.equal(countDelivery(undefined, id, delivery, 1)?.events, 1);
    }
  });
});

describe("assertRoom()", () => {
  const withOverflow = (events: number, size: number): PortalRecord =>
    recordWith({ overflow: { events, size, lifeCycle: {} } });

  it("refuses ordinary events beyond their number and their size", () => {
    assertRoom(recordWith({}), ORDINARY, delivery);
    assertRoom(withOverflow(MAX_WAITING - 1, MAX_WAITING_SIZE - 10), ORDINARY, delivery);
    for (const full of [withOverflow(MAX_WAITING, 0), withOverflow(1, MAX_WAITING_SIZE - 9)]) {
      assert.throws(() => assertRoom(full, ORDINARY, delivery), InboxFullError);
    }
    const inbox = [item(`${ORDINARY}~1`), item(UPDATE)];
    const record = withOverflow(MAX_WAITING - 1, 0);
    assert.throws(() => assertRoom({ ...record, inbox }, ORDINARY, delivery), InboxFullError);
  });

  it("refuses no life-cycle event", () => {
    for (const id of [UPDATE, READY]) assertRoom(withOverflow(MAX_WAITING, MAX_WAITING_SIZE), id, delivery);
  });
});

describe("surplusInRecord()", () => {
  it("is the oldest of the kind, once 16 of it wait, those with keys of their own included", () => {
    const inbox = [item(UPDATE), item("ONAPPUSERREADY:1:1"), item("ONAPPUSERREADY:2:1")];
    const overflow = (count: number): Overflow => ({ events: 0, size: 0, lifeCycle: { ONAPPUSERREADY: count } });
    const record = recordWith({ inbox, overflow: overflow(MAX_OF_KIND - 2) });
    assert.equal(surplusInRecord(record, READY), "ONAPPUSERREADY:1:1");
    assert.equal(surplusInRecord({ ...record, overflow: overflow(MAX_OF_KIND - 3) }, READY), undefined);
    for (const id of [UPDATE, ORDINARY]) assert.equal(surplusInRecord(record, id), undefined);
  });

  it("is one first for which only the application_token speaks, unless its work has begun", () => {
    const claimed = { verification: { claims: "always" } } as const;
    const inbox = [
      { ...item("ONAPPUPDATE:vouched:1"), receivedAt: 1 },
      { ...item("ONAPPUPDATE:begun:1"), ...claimed, attempts: 1, receivedAt: 2 },
      { ...item("ONAPPUPDATE:forged:1"), ...claimed, receivedAt: 9 },
    ];
    const record = recordWith({ inbox, overflow: { events: 0, size: 0, lifeCycle: { ONAPPUPDATE: 13 } } });
    assert.equal(surplusInRecord(record, UPDATE), "ONAPPUPDATE:forged:1");
    assert.equal(surplusInRecord({ ...record, inbox: inbox.slice(0, 2) }, UPDATE), undefined);
    const others = {
      ...record,
      inbox: inbox.slice(0, 2),
      overflow: { events: 0, size: 0, lifeCycle: { ONAPPUPDATE: 14 } },
    };
    assert.equal(surplusInRecord(others, UPDATE), "ONAPPUPDATE:vouched:1");
  });
});

describe("deleteSurplus()", () => {
  async function stored(count: number): Promise<Storage> {
    const storage = memoryStorage();
    for (let i = 0; i < count; i++) {
      // The order of the keys is not that of receipt.
      const value = { receivedAt: 1000 - i, verification: {}, attempts: 0 };
      await storage.put(["delivery", MEMBER_ID, `ONAPPUSERREADY:${String(i).padStart(3, "0")}:1785300000`], value);
    }
    await storage.put(["delivery", MEMBER_ID, "ONAPPUNINSTALL:keep:1785300000"], {});
    await storage.put(["delivery", MEMBER_ID, "ONAPPUSERREADY_:1:1785300000"], {});
    return storage;
  }
  const counted = (count: number): PortalRecord =>
    recordWith({ overflow: { events: 0, size: 0, lifeCycle: { ONAPPUSERREADY: count } } });

  it("deletes the oldest of a kind, and nothing else", async () => {
    const storage = await stored(MAX_OF_KIND + 2);
    assert.deepEqual(await deleteSurplus(storage, counted(MAX_OF_KIND + 2), READY), {
      dropped: ["ONAPPUSERREADY:015:1785300000", "ONAPPUSERREADY:016:1785300000", "ONAPPUSERREADY:017:1785300000"],
      left: MAX_OF_KIND - 1,
    });
    const left: string[] = [];
    for await (const { key } of storage.list(["delivery", MEMBER_ID])) left.push(key[2]!);
    assert.equal(left.length, MAX_OF_KIND - 1 + 2);
  });

  it("deletes events first for which only the application_token speaks, unless their work has begun", async () => {
    const storage = memoryStorage();
    const store = (id: string, receivedAt: number, claims: boolean, others: object = {}) =>
      storage.put(["delivery", MEMBER_ID, `ONAPPUPDATE:${id}:1785300000`], {
        ...{ receivedAt, attempts: 0, verification: claims ? { claims: "always" } : {}, ...others },
      });
    await store("vouched", 1, false);
    await store("verified", 2, true, { verification: { claims: "always", tokens: { scope: [] } } });
    await store("begun", 3, true, { attempts: 1 });
    for (let i = 0; i < 20; i++) await store(`forged ${i}`, 100 + i, true);
    const record = recordWith({ overflow: { events: 0, size: 0, lifeCycle: { ONAPPUPDATE: 23 } } });
    const room = await deleteSurplus(storage, record, UPDATE);
    assert.deepEqual(room?.dropped.map((id) => id.split(":")[1]), [
      ...[7, 6, 5, 4, 3, 2, 1, 0].map((i) => `forged ${i}`),
    ]);
    assert.equal(room?.left, MAX_OF_KIND - 1);
  });

  it("reads nothing while the count is within the bound, and deletes nothing if the count is too high", async () => {
    const unread = { ...memoryStorage(), list: () => assert.fail("must not list") };
    assert.equal(await deleteSurplus(unread, counted(MAX_OF_KIND - 1), READY), undefined);
    assert.equal(await deleteSurplus(unread, recordWith({}), ORDINARY), undefined);
    assert.deepEqual(await deleteSurplus(await stored(3), counted(40), READY), { dropped: [], left: 3 });
  });

  it("deletes nothing for a duplicate of an event that waits", async () => {
    const copy = "ONAPPUSERREADY:003:1785300000";
    assert.equal(await deleteSurplus(await stored(MAX_OF_KIND), counted(MAX_OF_KIND), copy), undefined);
  });
});
