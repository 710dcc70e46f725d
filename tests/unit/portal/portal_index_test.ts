import assert from "node:assert/strict";
import { memoryStorage, type Storage } from "@b24/onappupdate";
import { encrypted } from "@b24/onappupdate/storage";
import { portalKey } from "../../../src/portal/keys.ts";
import { acquireLease, takeLease } from "../../../src/portal/lease.ts";
import { writeRecord } from "../../../src/portal/record_store.ts";
import { digest } from "../../../src/net/digest.ts";
import { crashingStorage } from "../../support/crashing.ts";
import { quietLogger } from "../../support/app.ts";
import { old } from "../../support/keys.ts";
import { virtualTime } from "../../support/time.ts";
import { PORTAL_FORMAT, type PortalRecord, portalState } from "../../../src/portal/record.ts";
import { describe, it } from "../../support/test.ts";

function record(memberId: string, more: Partial<PortalRecord> = {}): PortalRecord {
  return {
    ...{ format: PORTAL_FORMAT, memberId, domain: "x.bitrix24.de", status: "installed", generation: 1 },
    ...{ applied: [], installedTs: 1, latestTs: 1, version: "2.0.0", target: "2.0.0", ...more },
  };
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

const ID = "a".repeat(32);

/** Returns the index entries, each as `kind/value`. */
async function entriesOf(storage: Storage): Promise<string[]> {
  const found: string[] = [];
  for await (const { key } of storage.list(["index"])) {
    assert.equal(key[3], ID);
    found.push(`${key[1]}/${key[2]}`);
  }
  return found;
}

const put = (storage: Storage, change: (record: PortalRecord) => PortalRecord) =>
  writeRecord(storage, ID, (current = record(ID)) => ({ record: change(current) }));

const BLOCKED = { on: "payment", message: "no", since: 1, nextTryAt: 2 } as const;

describe("the index", () => {
  it("has an entry for each value of a portal, in the write of its record", async () => {
    const storage = memoryStorage();
    let writes = 0;
    const counted: Storage = { ...storage, write: (...args) => (writes++, storage.write!(...args)) };
    await put(counted, () => record(ID, { target: "3.0.0", blocked: BLOCKED, failure, domain: "X.bitrix24.de" }));
    const domain = `domain/${await digest("x.bitrix24.de")}`;
    assert.deepEqual(await entriesOf(storage), [
      ...["blocked/payment", domain, "failure/3", "state/blocked", "version/2.0.0"],
    ]);
    await put(counted, ({ blocked: _, failure: __, ...rest }) => ({ ...rest, version: "3.0.0" }));
    assert.deepEqual(await entriesOf(storage), [domain, "state/current", "version/3.0.0"]);
    await put(counted, ({ version: _, ...rest }) => ({ ...rest, status: "uninstalled", domain: "" }));
    assert.deepEqual(await entriesOf(storage), ["state/uninstalled"]);
    assert.equal(writes, 3);
  });

  it("has the last three former domains of a portal that is renamed, until it is purged", async () => {
    const storage = memoryStorage();
    const key = async (kind: string, name: string): Promise<string> => `${kind}/${await digest(`${name}.bitrix24.de`)}`;
    const domains = async (): Promise<string[]> =>
      (await entriesOf(storage)).filter((entry) => /^(domain|former)/.test(entry)).sort();
    const renamed = async (name: string, ...former: string[]): Promise<void> => {
      await put(storage, (current) => ({ ...current, domain: `${name}.bitrix24.de` }));
      const expected = await Promise.all([key("domain", name), ...former.map((other) => key("former", other))]);
      assert.deepEqual(await domains(), expected.sort(), name);
    };
    await renamed("a");
    await put(storage, (current) => ({ ...current, domain: "A.bitrix24.de" }));
    await renamed("b", "a");
    await renamed("c", "b", "a");
    await renamed("a", "c", "b");
    await renamed("d", "a", "c", "b");
    await renamed("e", "d", "a", "c");
    // The removal, a new installation and a move keep them.
    await put(storage, (current) => ({ ...current, status: "uninstalled" }));
    await put(storage, (current) => ({ ...current, status: "installed", generation: 2 }));
    await renamed("f", "e", "d", "a");
    await put(storage, (current) => ({ ...current, status: "uninstalled", domain: "" }));
    assert.deepEqual(await domains(), []);
  });

  it("shows no domain in its keys, and values that only the key of encrypted() opens", async () => {
    const inner = memoryStorage();
    await put(encrypted(inner, old), () => record(ID, { domain: "old.bitrix24.de" }));
    await put(encrypted(inner, old), () => record(ID));
    for await (const { key, value } of inner.list([])) assert(!JSON.stringify([key, value]).includes("bitrix24"));
    assert.equal((await entriesOf(inner)).length, 4);
  });

  it("keeps its entries while the portal is leased, but for a new portal, and changes them with the release", async () => {
    const storage = memoryStorage();
    await put(storage, () => takeLease({ storage, clock: () => 0, leaseMs: 1 }, record(ID), "me")!);
    assert.equal((await entriesOf(storage)).includes("state/current"), true);
    const options = {
      ...{ storage, clock: () => 10, time: virtualTime(), random: () => "owner", leaseMs: 30, log: quietLogger },
    };
    const lease = (await acquireLease(options, ID))!;
    await lease.update((record) => ({ ...record, target: "3.0.0" }));
    await put(storage, (record) => ({ ...record, failure }));
    assert.equal((await entriesOf(storage)).includes("state/current"), true);
    await lease.release((record) => ({ record }));
    assert.equal((await entriesOf(storage)).includes("state/current"), false);
    assert.deepEqual((await entriesOf(storage)).slice(1), ["failure/3", "state/parked", "version/2.0.0"]);
  });

  it("lacks no entry that the record names, wherever a crash stops a write on a storage without write", async () => {
    const changes: readonly ((record: PortalRecord) => PortalRecord)[] = [
      () => record(ID, { target: "3.0.0", failure }),
      ({ failure: _, ...rest }) => ({ ...rest, version: "3.0.0", domain: "y.bitrix24.de", blocked: BLOCKED }),
      ({ blocked: _, ...rest }) => ({ ...rest, status: "uninstalled" }),
    ];
    let isWhole = false;
    for (let crashAt = 0; !isWhole; crashAt++) {
      const storage = memoryStorage();
      const { storage: crashing } = crashingStorage(storage, crashAt);
      isWhole = await changes.reduce(
        (done, change) => done.then(() => put(crashing, change)),
        Promise.resolve<unknown>(0),
      )
        .then(() => true, () => false);
      const named = (await storage.get<PortalRecord>(portalKey(ID)))?.value.indexedAs;
      const entries = await entriesOf(storage);
      const values = Object.entries(named ?? {}).flatMap(([kind, value]) => [value].flat().map((one) => [kind, one]));
      for (const [kind, value] of values as [string, string][]) {
        const part = ["domain", "former"].includes(kind) ? await digest(value) : value;
        assert(entries.includes(`${kind}/${part}`), `${kind} ${value} is missing after ${crashAt} operations`);
      }
      if (isWhole) assert.equal(entries.length, values.length);
      assert(crashAt < 100);
    }
  });
});
