/** Token pairs that nobody uses: what a crash has left of a portal that has removed the app, or that was never stored. */
import assert from "node:assert/strict";
import { memoryStorage } from "@b24/onappupdate";
import { credentialsKey, dueKey, portalKey } from "../../../src/portal/keys.ts";
import { entryId } from "../../../src/portal/schedule.ts";
import type { StoredCredentials } from "../../../src/portal/stored_credentials.ts";
import { MEMBER_ID, OTHER_MEMBER_ID, rig } from "../../support/app.ts";
import { describe, it } from "../../support/test.ts";

const CREDENTIALS = credentialsKey(MEMBER_ID);

describe("tick() deletes token pairs", () => {
  it("without a record, with the schedule entry of an event that a crash has kept from the record", async () => {
    const storage = memoryStorage();
    const { app, portal, send, clock } = rig({ storage });
    await send(portal.install(2));
    const { value } = (await storage.get<StoredCredentials>(CREDENTIALS))!;
    const due = entryId(clock() - 2 * 3_600_000, "crashed");
    await storage.put(dueKey(due, OTHER_MEMBER_ID), {});
    await storage.put(credentialsKey(OTHER_MEMBER_ID), value);
    await app.tick();
    assert.deepEqual(
      [await storage.get(credentialsKey(OTHER_MEMBER_ID)), await storage.get(dueKey(due, OTHER_MEMBER_ID))],
      [null, null],
    );
    assert((await storage.get(CREDENTIALS)) !== null);
    await app.close();
  });

  for (const how of ["the purge", "the recount"] as const) {
    it(`of a removed portal, by ${how}`, async () => {
      const storage = memoryStorage();
      const retentionMs = 86_400_000 * (how === "the purge" ? 1 : 100);
      let now = Date.UTC(2026, 6, 1);
      const { app, portal, send } = rig({ storage, limits: { retentionMs }, clock: () => now });
      await send(portal.install(2));
      const { value } = (await storage.get<StoredCredentials>(CREDENTIALS))!;
      await send(portal.uninstall());
      await app.settled();
      assert.deepEqual([await storage.get(CREDENTIALS), (await app.portal(MEMBER_ID))?.status], [null, "uninstalled"]);
      // A round of the recount ends, so that the next tick does not look at portals.
      for (let tick = 0; tick < 4; tick++) await app.tick();
      await storage.put(CREDENTIALS, value);
      now += 86_400_000 + 3_600_000;
      await app.tick();
      const left = await storage.get(CREDENTIALS);
      if (how === "the purge") assert.deepEqual([left, (await app.portal(MEMBER_ID))?.domain], [null, ""]);
      for (let tick = 0; tick < 3; tick++) await app.tick();
      assert.equal(await storage.get(CREDENTIALS), null);
      assert((await storage.get(portalKey(MEMBER_ID))) !== null);
      await app.close();
    });
  }
});
