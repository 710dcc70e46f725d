import assert from "node:assert/strict";
import { memoryStorage, type Storage } from "@b24/onappupdate";
import { listIndexed, portalState, updateIndex } from "../../../src/portal/state_index.ts";
import { PORTAL_FORMAT, type PortalRecord } from "../../../src/portal/record.ts";
import { describe, it } from "../../support/test.ts";

function record(memberId: string, more: Partial<PortalRecord> = {}): PortalRecord {
  return {
    ...{ format: PORTAL_FORMAT, memberId, domain: "x.bitrix24.de", status: "installed", generation: 1 },
    ...{ applied: [], installedTs: 1, latestTs: 1, version: "2.0.0", target: "2.0.0", ...more },
  };
}

async function all(storage: Storage, after?: string): Promise<string[]> {
  const found: string[] = [];
  for await (const { memberId, state, version } of listIndexed(storage, after)) {
    found.push(`${memberId} ${state} ${version}`);
  }
  return found;
}

const failure = { upgradeId: "3", to: "3.0.0", message: "no", attempts: 1, at: 1 };

const STATES: readonly (readonly [Partial<PortalRecord>, string])[] = [
  [{}, "current"],
  [{ target: "3.0.0" }, "upgrading"],
  [{ target: "3.0.0", failure: { ...failure, retryAt: 2 } }, "upgrading"],
  [{ target: "3.0.0", failure }, "parked"],
  [{ target: "4.0.0", failure }, "upgrading"],
  [{ target: "3.0.0", failure, status: "uninstalled" }, "uninstalled"],
];

describe("portalState()", () => {
  for (const [more, state] of STATES) {
    it(`${JSON.stringify(more)} is ${state}`, () => assert.equal(portalState(record("a", more)), state));
  }
});

describe("updateIndex() and listIndexed()", () => {
  const ids = ["00f", "0a1", "0a11", "0a2", "fff"].map((start) => start.padEnd(32, "0"));

  it("list each portal once, in order, with its latest state", async () => {
    const storage = memoryStorage();
    for (const id of ids.toReversed()) await updateIndex(storage, record(id));
    await updateIndex(storage, record(ids[1]!, { target: "3.0.0", fencingToken: 2 }));
    const states = ids.toSorted().map((id) => `${id} ${id === ids[1] ? "upgrading" : "current"} 2.0.0`);
    assert.deepEqual(await all(storage), states);
    for (const [i, id] of ids.toSorted().entries()) assert.deepEqual(await all(storage, id), states.slice(i + 1), id);
  });

  it("keep the entry that a later holder of the lease wrote", async () => {
    const storage = memoryStorage();
    await updateIndex(storage, record(ids[0]!, { fencingToken: 7, version: "3.0.0", target: "3.0.0" }));
    await updateIndex(storage, record(ids[0]!, { fencingToken: 6 }));
    assert.deepEqual(await all(storage), [`${ids[0]} current 3.0.0`]);
  });

  it("lose no entry of many concurrent updates", async () => {
    const storage = memoryStorage();
    const many = Array.from({ length: 200 }, (_, i) => `abc${i.toString(16).padStart(29, "0")}`);
    await Promise.all(many.map((id) => updateIndex(storage, record(id))));
    assert.equal((await all(storage)).length, 200);
  });

  it("store many portals under few keys", async () => {
    const storage = memoryStorage();
    const many = Array.from({ length: 200 }, (_, i) => `${(i % 4).toString().repeat(3)}${i}`.padEnd(32, "0"));
    for (const id of many) await updateIndex(storage, record(id));
    let chunks = 0;
    for await (const _ of storage.list(["index"])) chunks++;
    assert.equal(chunks, 4);
  });

  it("reject chunks that newer code wrote", async () => {
    const storage = memoryStorage();
    await storage.put(["index", "00f"], { format: 2, portals: {} });
    await assert.rejects(updateIndex(storage, record(ids[0]!)), { code: "format" });
    await assert.rejects(all(storage), { code: "format" });
  });
});
