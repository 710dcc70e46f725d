import assert from "node:assert/strict";
import { memoryStorage } from "@b24/onappupdate";
import type { InboxItem } from "../../../src/portal/delivery.ts";
import { listInbox } from "../../../src/portal/inbox_list.ts";
import { deliveryKey } from "../../../src/portal/keys.ts";
import { MEMBER_ID } from "../../support/app.ts";
import { describe, it } from "../../support/test.ts";

const item = (id: string, receivedAt: number): InboxItem => ({ id, receivedAt, verification: {}, attempts: 0 });

describe("listInbox()", () => {
  it("lists deliveries that run upgrades first, then the others, each in the order of their receipt", async () => {
    const storage = memoryStorage();
    const inbox = [item("ONCRMDEALADD:a:1", 1), item("ONAPPPAYMENT:b:2", 2), item("ONAPPUPDATE:4:5", 5)];
    for (
      const { id, ...delivery } of [
        item("ONAPPUPDATE:3:4", 4),
        item("ONAPPINSTALL:2:3", 3),
        item("ONCRMDEALADD:c:0", 0),
      ]
    ) {
      await storage.put(deliveryKey(MEMBER_ID, id), { format: 1, ...delivery });
    }
    const ids = async (isWhole: boolean): Promise<string[]> =>
      await Array.fromAsync(listInbox(storage, { memberId: MEMBER_ID, inbox }, isWhole), ({ id }) => id);
    assert.deepEqual(await ids(false), ["ONAPPUPDATE:4:5", "ONCRMDEALADD:a:1", "ONAPPPAYMENT:b:2"]);
    assert.deepEqual(await ids(true), [
      ...["ONAPPINSTALL:2:3", "ONAPPUPDATE:3:4", "ONAPPUPDATE:4:5"],
      ...["ONCRMDEALADD:c:0", "ONCRMDEALADD:a:1", "ONAPPPAYMENT:b:2"],
    ]);
  });
});
