import assert from "node:assert/strict";
import { memoryStorage } from "@b24/onappupdate";
import type { StoredDelivery } from "../../../src/portal/delivery.ts";
import { dueKey } from "../../../src/portal/keys.ts";
import { entryId } from "../../../src/portal/schedule.ts";
import type { Entry } from "../../../src/storage/storage.ts";
import { MEMBER_ID, rig } from "../../support/app.ts";
import { changed } from "../../support/scene.ts";
import { describe, it } from "../../support/test.ts";

describe("processDelivery()", () => {
  it("runs no handlers of a delivery that a crash has kept from being deleted", async () => {
    const memory = memoryStorage();
    let left: Entry<StoredDelivery> | undefined;
    const storage = {
      ...memory,
      write: async (operations: Parameters<NonNullable<typeof memory.write>>[0]) => {
        const result = await memory.write!(operations);
        for await (const entry of memory.list<StoredDelivery>(["delivery"])) left = entry;
        return result;
      },
    };
    const made = rig({ storage });
    let runs = 0;
    made.app.on("ONAPPUPDATE", () => void runs++);
    await made.send(made.portal.install(2));
    assert.equal(await made.send(changed(made.portal.update(3), { "data[EXTRA]": "x".repeat(5000) })), 200);
    assert.deepEqual([runs, left?.key[0]], [1, "delivery"]);
    await memory.put(left!.key, left!.value);
    await memory.put(dueKey(entryId(1, "1"), MEMBER_ID), {});
    await made.app.tick();
    assert.equal(runs, 1);
    assert.deepEqual(await Array.fromAsync(memory.list(["delivery"])), []);
    await made.app.close();
  });
});
