import assert from "node:assert/strict";
import { coerced, memoryStorage, type Storage } from "@b24/onappupdate";
import { parseStored } from "../../../src/bitrix24/parse.ts";
import { applyEvent } from "../../../src/portal/apply_event.ts";
import { factsOf, type StoredVerification } from "../../../src/portal/event_facts.ts";
import { withInstaller } from "../../../src/portal/installer.ts";
import type { PortalRecord } from "../../../src/portal/record.ts";
import { MEMBER_ID, rig } from "../../support/app.ts";
import { describe, it } from "../../support/test.ts";
import { withoutWrite } from "../../support/without_write.ts";

const { portal: FAKE } = rig();
const INSTALL = FAKE.install(2);
const READY = FAKE.userReady();
const INSTALL_3 = FAKE.update(3, { as: "ONAPPINSTALL" });
const NOW = Date.UTC(2027, 0, 1);

/** Returns the record after an event, which has the delivery id "it". */
function after(
  record: PortalRecord | undefined,
  text: string,
  verification: StoredVerification = {},
  receivedAt = NOW,
): PortalRecord {
  const { event } = parseStored({ kind: "form", text }, receivedAt);
  const facts = factsOf({ versions: coerced(), canRefresh: false }, verification, receivedAt);
  return withInstaller(record, applyEvent(record, event, facts), event, "it", facts);
}

describe("the installer", () => {
  const known = after(undefined, READY, { installedVersion: "2" });
  const { unknownOrigin: _, ...current } = { ...known, version: known.target! };
  const claimed = (receivedAt: number): PortalRecord => after(current, INSTALL, { claims: "always" }, receivedAt);
  const ROWS: readonly (readonly [string, PortalRecord, PortalRecord["installer"]])[] = [
    ["is the ONAPPINSTALL of a new portal", after(undefined, INSTALL), { id: "it" }],
    ["is no other event", known, undefined],
    ["is the first ONAPPINSTALL of a known portal", after(known, INSTALL), { id: "it" }],
    ["is not an ONAPPINSTALL that updates a known portal", after(known, INSTALL_3), "done"],
    ["is not an ONAPPINSTALL after that", after(after(known, INSTALL_3), INSTALL_3), "done"],
    ["is not an ONAPPINSTALL whose version is only claimed", after(known, INSTALL_3, { claims: "always" }), undefined],
    ["is not one that anybody can post, long after the installation", claimed(NOW), undefined],
    ["is one of which only the application_token matches, soon after it", claimed(known.installedTs * 1000), {
      id: "it",
    }],
    ["stays the first one", after({ ...known, installer: { id: "first" } }, INSTALL), { id: "first" }],
  ];
  for (const [name, record, installer] of ROWS) {
    it(name, () => assert.deepEqual([record.installer, record.target !== undefined], [installer, true]));
  }

  it("is an ONAPPINSTALL whose record was refused after its delivery had been put", async () => {
    const inner = withoutWrite(memoryStorage());
    let isDue = false;
    const put: Storage["put"] = async (key, value, options) => {
      if (isDue && key[0] === "portal") {
        isDue = false;
        // Another process has written the record meanwhile.
        await inner.put(key, (await inner.get(key))!.value);
      }
      return await inner.put(key, value, options);
    };
    const { app, portal, send } = rig({ storage: { ...inner, put } });
    const upgraded: string[] = [];
    let isBroken = false;
    app.on("ONAPPINSTALL", () => isBroken ? Promise.reject(new Error("the CRM is down")) : undefined)
      .upgrade("3", () => void upgraded.push("3"));
    await send(portal.install(1));
    await send(portal.uninstall());
    isDue = isBroken = true;
    await send(`${portal.install(2)}&data[MORE]=${"x".repeat(10_000)}`);
    await send(portal.update(3));
    await app.settled();
    assert.deepEqual([isDue, upgraded], [false, []]);
    await app.close();
  });

  it("holds up nothing if its delivery is gone", async () => {
    const storage = memoryStorage();
    const { app, portal, send } = rig({ storage });
    app.on("ONAPPINSTALL", () => Promise.reject(new Error("the CRM is down"))).upgrade("3", () => {});
    await send(`${portal.install(2)}&data[MORE]=${"x".repeat(10_000)}`);
    const keys = await Array.fromAsync(storage.list(["delivery", MEMBER_ID]), ({ key }) => key);
    assert.equal(keys.length, 1);
    // As a crash leaves it after the delivery was deleted to make room for others.
    for (const key of keys) await storage.delete(key);
    await send(portal.update(3));
    assert.equal((await app.portal(MEMBER_ID))?.version, "3.0.0");
    await app.close();
  });
});
