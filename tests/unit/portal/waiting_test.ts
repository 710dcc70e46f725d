import assert from "node:assert/strict";
import { memoryStorage, type Storage } from "@b24/onappupdate";
import { InboxFullError } from "@b24/onappupdate/errors";
import {
  assertRoom,
  countDelivery,
  type Counted,
  makeRoom,
  MAX_OF_KIND,
  MAX_WAITING,
  MAX_WAITING_SIZE,
  type Waiting,
} from "../../../src/portal/waiting.ts";
import { MEMBER_ID } from "../../support/app.ts";
import { describe, it } from "../../support/test.ts";

/** Returns a delivery with this id, and a body of `size` characters. */
function delivery(id: string, size = 10): Counted {
  return { key: ["inbox", MEMBER_ID, id], value: { body: { text: "x".repeat(size) } } };
}

const DIGEST = "0123456789abcdef".repeat(4);
const ordinary = delivery(`ONCRMDEALADD:${DIGEST}:1785300000`);
const update = delivery("ONAPPUPDATE:3.0.0:1785300000");
const ready = delivery("ONAPPUSERREADY:9:1785300000");

describe("countDelivery()", () => {
  it("counts ordinary events with their size, and life-cycle events by name", () => {
    let waiting: Waiting | undefined;
    for (const one of [ordinary, ordinary, ready, update]) waiting = countDelivery(waiting, one, 1);
    assert.deepEqual(waiting, { events: 2, size: 20, lifeCycle: { ONAPPUSERREADY: 1, ONAPPUPDATE: 1 } });
    for (const one of [ordinary, ready, update, ordinary]) waiting = countDelivery(waiting, one, -1);
    assert.equal(waiting, undefined);
  });

  it("never falls below 0: a crash may have kept a delivery from being counted", () => {
    assert.equal(countDelivery(undefined, ordinary, -1), undefined);
    assert.deepEqual(countDelivery({ events: 1, size: 5, lifeCycle: {} }, ready, -1)?.lifeCycle, { ONAPPUSERREADY: 0 });
  });

  it("takes an event for an ordinary one whose name begins like that of an update", () => {
    const counted = countDelivery(undefined, delivery(`ONAPPUPDATE:X:${DIGEST}:1785300000`), 1);
    assert.equal(counted?.events, 1);
  });
});

describe("assertRoom()", () => {
  const waiting = (events: number, size: number): Waiting => ({ events, size, lifeCycle: {} });

  it("refuses ordinary events beyond their number and their size", () => {
    assertRoom(MEMBER_ID, undefined, ordinary);
    assertRoom(MEMBER_ID, waiting(MAX_WAITING - 1, MAX_WAITING_SIZE - 10), ordinary);
    for (const full of [waiting(MAX_WAITING, 0), waiting(1, MAX_WAITING_SIZE - 9)]) {
      assert.throws(() => assertRoom(MEMBER_ID, full, ordinary), InboxFullError);
    }
  });

  it("refuses no life-cycle event", () => {
    for (const one of [update, ready]) assertRoom(MEMBER_ID, waiting(MAX_WAITING, MAX_WAITING_SIZE), one);
  });
});

describe("makeRoom()", () => {
  async function stored(count: number): Promise<Storage> {
    const storage = memoryStorage();
    for (let i = 0; i < count; i++) {
      // The order of the keys is not that of receipt.
      const value = { receivedAt: 1000 - i, verification: {}, attempts: 0 };
      await storage.put(["inbox", MEMBER_ID, `ONAPPUSERREADY:${String(i).padStart(3, "0")}:1785300000`], value);
    }
    await storage.put(["inbox", MEMBER_ID, "ONAPPUNINSTALL:keep:1785300000"], {});
    await storage.put(["inbox", MEMBER_ID, "ONAPPUSERREADY_:1:1785300000"], {});
    return storage;
  }
  const counted = (count: number): Waiting => ({ events: 0, size: 0, lifeCycle: { ONAPPUSERREADY: count } });

  it("deletes the oldest of a kind, and nothing else", async () => {
    const storage = await stored(MAX_OF_KIND + 2);
    const room = await makeRoom(storage, MEMBER_ID, counted(MAX_OF_KIND + 2), ready);
    assert.deepEqual(room, {
      dropped: ["ONAPPUSERREADY:015:1785300000", "ONAPPUSERREADY:016:1785300000", "ONAPPUSERREADY:017:1785300000"],
      counted: MAX_OF_KIND + 2,
      left: MAX_OF_KIND - 1,
    });
    const left: string[] = [];
    for await (const { key } of storage.list(["inbox", MEMBER_ID])) left.push(key[2]!);
    assert.equal(left.length, MAX_OF_KIND - 1 + 2);
  });

  it("deletes events first for which only the application_token speaks, unless their work has begun", async () => {
    const storage = memoryStorage();
    const store = (id: string, receivedAt: number, claims: boolean, others: object = {}) =>
      storage.put(["inbox", MEMBER_ID, `ONAPPUPDATE:${id}:1785300000`], {
        ...{ receivedAt, attempts: 0, verification: claims ? { claims: "always" } : {}, ...others },
      });
    await store("vouched", 1, false);
    await store("verified", 2, true, { verification: { claims: "always", tokens: { scope: [] } } });
    await store("begun", 3, true, { attempts: 1 });
    for (let i = 0; i < 20; i++) await store(`forged ${i}`, 100 + i, true);
    const waiting = { events: 0, size: 0, lifeCycle: { ONAPPUPDATE: 23 } };
    const room = await makeRoom(storage, MEMBER_ID, waiting, update);
    assert.deepEqual(room?.dropped.map((id) => id.split(":")[1]), [
      ...[7, 6, 5, 4, 3, 2, 1, 0].map((i) => `forged ${i}`),
    ]);
    assert.equal(room?.left, MAX_OF_KIND - 1);
  });

  it("reads nothing while the count is within the bound, and deletes nothing if the count is too high", async () => {
    const unread = { ...memoryStorage(), list: () => assert.fail("must not list") };
    assert.equal(await makeRoom(unread, MEMBER_ID, counted(MAX_OF_KIND - 1), ready), undefined);
    assert.equal(await makeRoom(unread, MEMBER_ID, undefined, ordinary), undefined);
    const room = await makeRoom(await stored(3), MEMBER_ID, counted(40), ready);
    assert.deepEqual(room, { dropped: [], counted: 40, left: 3 });
  });

  it("deletes nothing for a duplicate of an event that waits", async () => {
    const copy = delivery("ONAPPUSERREADY:003:1785300000");
    assert.equal(await makeRoom(await stored(MAX_OF_KIND), MEMBER_ID, counted(MAX_OF_KIND), copy), undefined);
  });
});
