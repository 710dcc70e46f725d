import assert from "node:assert/strict";
import { memoryStorage, type Storage } from "@b24/onappupdate";
import { FormatError } from "@b24/onappupdate/errors";
import type { WriteOperation } from "@b24/onappupdate/storage";
import { knownCredentials, readCredentials, rememberCredentials } from "../../../src/portal/credentials_record.ts";
import { credentialsKey, deliveryKey, dueKey, portalKey } from "../../../src/portal/keys.ts";
import { PORTAL_FORMAT, type PortalRecord } from "../../../src/portal/record.ts";
import { changePortal, loadOpened, loadPortal, writeRecord } from "../../../src/portal/record_store.ts";
import { removed } from "../../../src/portal/removal.ts";
import { askableUntil, pendingTokensOf, type StoredCredentials } from "../../../src/portal/stored_credentials.ts";
import type { StoredTokens } from "../../../src/portal/tokens.ts";
import { withTokens } from "../../../src/portal/identity.ts";
import { MEMBER_ID } from "../../support/app.ts";
import { countingStorage } from "../../support/counting_storage.ts";
import { credentialsOf } from "../../support/credentials.ts";
import { describe, it } from "../../support/test.ts";
import { withoutWrite } from "../../support/without_write.ts";

const NOW = 1_785_300_000_000;
const PORTAL = portalKey(MEMBER_ID);
const CREDENTIALS = credentialsKey(MEMBER_ID);

const RECORD: PortalRecord = {
  ...{ format: PORTAL_FORMAT, memberId: MEMBER_ID, domain: "", status: "installed", generation: 1, applied: [] },
  ...{ installedTs: 1, latestTs: 1 },
};

/** Returns a pair of a user. `number`: a later one is newer. */
function pairOf(userId: number, number: number, more: Partial<StoredTokens> = {}): StoredTokens {
  return {
    ...{ owner: "user", userId, accessToken: `access ${number}`, refreshToken: `refresh ${number}` },
    ...{ expiresAt: NOW + number, scope: ["crm"], ts: NOW / 1000 + number, isVerified: true, isAdmin: true, ...more },
  };
}

const adding = (pair: StoredTokens) => (record: PortalRecord = RECORD): { readonly record: PortalRecord } => ({
  record: withTokens(record, pair, NOW),
});

/** The same storage in another process: credentials are known by storage object. */
function otherProcess(storage: Storage): Storage {
  return { ...storage };
}

/** A storage that has a portal with a pair of user 1, and the keys of each ordered write. */
async function stored(): Promise<{ readonly storage: Storage; readonly inner: Storage; readonly writes: string[][] }> {
  const inner = memoryStorage();
  const writes: string[][] = [];
  const nameOf = (one: WriteOperation): string => "put" in one ? `put ${one.put[0]}` : `delete ${one.delete[0]}`;
  const write: Storage["write"] = (operations, options) => {
    writes.push(operations.map(nameOf).filter((name) => !name.endsWith("index")));
    return inner.write!(operations, options);
  };
  const storage = { ...inner, write };
  await writeRecord(storage, MEMBER_ID, adding(pairOf(1, 1)));
  return { storage, inner, writes };
}

async function accessTokensOf(storage: Storage): Promise<string[] | undefined> {
  return (await loadOpened(otherProcess(storage), MEMBER_ID)).tokens?.map(({ accessToken }) => accessToken);
}

describe("the token pairs of a portal", () => {
  it("are stored before its record, which has none, after its schedule and deliveries", async () => {
    const { storage, writes } = await stored();
    await writeRecord(storage, MEMBER_ID, (record) => ({
      ...adding(pairOf(2, 2))(record),
      before: [
        { put: ["run", MEMBER_ID, "1"], value: 1 },
        { put: dueKey("1", MEMBER_ID), value: 1 },
        { put: deliveryKey(MEMBER_ID, "1"), value: 1 },
      ],
    }));
    assert.deepEqual(writes, [
      ["put credentials", "put portal"],
      ["put run", "put due", "put delivery", "put credentials", "put portal"],
    ]);
    const { tokens, credentials, generation } = await loadPortal(storage, MEMBER_ID);
    assert.equal(tokens, undefined);
    assert.deepEqual([credentials?.generation, credentials?.sequence, generation], [1, 2, 1]);
    const { tokens: pairs = [], ...value } = (await credentialsOf(storage, MEMBER_ID))!;
    assert.deepEqual(value, { format: 1, generation: 1, sequence: 2 });
    assert.deepEqual(pairs.map(({ accessToken }) => accessToken), ["access 1", "access 2"]);
    assert(!JSON.stringify((await storage.get(PORTAL))!.value).includes("access"));
  });

  it("are written alone if nothing else changes", async () => {
    const { storage, inner, writes } = await stored();
    const before = await inner.get(PORTAL);
    await changePortal(storage, MEMBER_ID, (record) => withTokens(record, pairOf(1, 5), NOW));
    assert.deepEqual([writes.at(-1), await inner.get(PORTAL)], [["put credentials"], before]);
    assert.deepEqual(await accessTokensOf(inner), ["access 5"]);
    await changePortal(storage, MEMBER_ID, (record) => record);
    await changePortal(storage, MEMBER_ID, (record) => ({ ...record }));
    assert.deepEqual(writes.slice(2), [["put portal"]]);
  });

  it("stay in the record until a process has the others in memory, and nothing is read for them", async () => {
    const { inner } = await stored();
    const cold = countingStorage(otherProcess(inner));
    await writeRecord(cold.storage, MEMBER_ID, adding(pairOf(2, 2)));
    assert.deepEqual([cold.reads(), cold.operations()], [1, 2]);
    assert.deepEqual((await loadPortal(inner, MEMBER_ID)).tokens?.length, 1);
    assert.deepEqual(await accessTokensOf(inner), ["access 1", "access 2"]);
    // A refreshed pair of user 1 meanwhile, and an event that brings the old one again.
    await changePortal(otherProcess(inner), MEMBER_ID, (record) => withTokens(record, pairOf(1, 9), NOW));
    await writeRecord(cold.storage, MEMBER_ID, adding(pairOf(1, 1, { isVerified: true })));
    assert.deepEqual(await accessTokensOf(inner), ["access 2", "access 9"]);
    await changePortal(cold.storage, MEMBER_ID, (record) => ({ ...record, domain: "x" }));
    assert.equal((await loadPortal(inner, MEMBER_ID)).tokens, undefined);
    assert.deepEqual(await accessTokensOf(inner), ["access 2", "access 9"]);
  });

  it("stay in the record, at most those of four people, until the next write that opens it", async () => {
    const { storage, inner, writes } = await stored();
    const add = (pair: StoredTokens): Promise<unknown> =>
      writeRecord(storage, MEMBER_ID, adding(pair), undefined, "unopened");
    for (let n = 2; n < 12; n++) await add(pairOf(1, n));
    const [first, ...later] = writes;
    assert.deepEqual([first, new Set(later.flat())], [["put credentials", "put portal"], new Set(["put portal"])]);
    const inRecord = async (): Promise<string[] | undefined> =>
      (await loadPortal(inner, MEMBER_ID)).tokens?.map(({ accessToken }) => accessToken);
    assert.deepEqual([await inRecord(), await accessTokensOf(inner)], [["access 11"], ["access 11"]]);
    for (let userId = 2; userId < 12; userId++) await add(pairOf(userId, 20 + userId));
    const newest = ["access 28", "access 29", "access 30", "access 31"];
    assert.deepEqual([await inRecord(), await accessTokensOf(inner)], [newest, newest]);
    // Together with a change that opens the record, it is opened.
    await Promise.all([
      add(pairOf(8, 40)),
      add(pairOf(9, 41)),
      changePortal(storage, MEMBER_ID, (record) => ({ ...record, domain: "x" })),
    ]);
    assert.deepEqual(writes.slice(-2), [["put portal"], ["put credentials", "put portal"]]);
    const pairs = (await credentialsOf(inner, MEMBER_ID))?.tokens.map(({ accessToken }) => accessToken);
    assert.deepEqual([await inRecord(), pairs], [undefined, ["access 30", "access 31", "access 40", "access 41"]]);
  });

  it("are stored under their key by the first write and deleted by a removal, also if it leaves the record unopened", async () => {
    const inner = memoryStorage();
    await writeRecord(inner, MEMBER_ID, adding(pairOf(1, 1)), undefined, "unopened");
    assert.equal((await credentialsOf(inner, MEMBER_ID))?.tokens.length, 1);
    const remove = (record?: PortalRecord): { readonly record: PortalRecord } => ({
      record: removed(record!, { ts: 2 }),
    });
    await writeRecord(inner, MEMBER_ID, remove, undefined, "unopened");
    assert.deepEqual([await inner.get(CREDENTIALS), await accessTokensOf(inner)], [null, undefined]);
  });

  it("that an event brings again change nothing, although they are not in memory", async () => {
    const { inner, writes } = await stored();
    const { isVerified: _v, isAdmin: _a, ...again } = pairOf(1, 1);
    await writeRecord(otherProcess(inner), MEMBER_ID, adding(again));
    assert.equal(writes.length, 1);
    assert.equal((await loadPortal(inner, MEMBER_ID)).tokens, undefined);
  });

  it("that another process has refreshed are not overwritten", async () => {
    const { storage, inner } = await stored();
    await changePortal(otherProcess(inner), MEMBER_ID, (record) => withTokens(record, pairOf(1, 9), NOW));
    // This process has the old pair in memory.
    await writeRecord(storage, MEMBER_ID, adding(pairOf(2, 2)));
    assert.deepEqual(await accessTokensOf(inner), ["access 9", "access 2"]);
  });

  it("of an installation that is over are never used, and the next pairs replace them", async () => {
    const { inner } = await stored();
    const old = await inner.get<StoredCredentials>(CREDENTIALS);
    await changePortal(otherProcess(inner), MEMBER_ID, (record) => removed(record, { ts: 2 }));
    assert.equal(await inner.get(CREDENTIALS), null);
    // As a process leaves them that was paused before it put them.
    await inner.put(CREDENTIALS, old!.value);
    assert.equal(await accessTokensOf(inner), undefined);
    const again = (record?: PortalRecord): PortalRecord => ({ ...record!, status: "installed", generation: 2 });
    await writeRecord(otherProcess(inner), MEMBER_ID, (record) => adding(pairOf(1, 3))(again(record)));
    assert.deepEqual(await accessTokensOf(inner), ["access 3"]);
    assert.equal((await credentialsOf(inner, MEMBER_ID))?.generation, 2);
    await inner.put(CREDENTIALS, { ...old!.value, sequence: 100 });
    assert.equal(await accessTokensOf(inner), undefined);
  });

  it("that the record does not name are replaced together with the record, which others may be writing", async () => {
    const { inner } = await stored();
    const entry = await inner.get<StoredCredentials>(CREDENTIALS);
    await inner.put(CREDENTIALS, { ...entry!.value, generation: 2 });
    const { version } = (await inner.get(PORTAL))!;
    await changePortal(otherProcess(inner), MEMBER_ID, (record) => withTokens(record, pairOf(1, 3), NOW));
    assert.notEqual((await inner.get(PORTAL))?.version, version);
    assert.deepEqual(await accessTokensOf(inner), ["access 3"]);
  });

  it("are deleted with the last one, and in the write that removes the app", async () => {
    for (const isRead of [true, false]) {
      const { storage, inner, writes } = await stored();
      const process = isRead ? storage : { ...otherProcess(storage) };
      await writeRecord(process, MEMBER_ID, (record) => ({ record: removed(record!, { ts: 2 }) }));
      assert.deepEqual(writes.at(-1), ["put portal", "delete credentials"]);
      assert.equal(await inner.get(CREDENTIALS), null);
    }
    const { storage, inner, writes } = await stored();
    await changePortal(storage, MEMBER_ID, ({ tokens: _, ...record }) => record);
    assert.deepEqual([writes.at(-1), await inner.get(CREDENTIALS)], [["put portal", "delete credentials"], null]);
    assert.equal((await loadPortal(inner, MEMBER_ID)).credentials, undefined);
  });

  it("that a write left on a removed portal are deleted by its next attempt", async () => {
    const inner = memoryStorage();
    await inner.put(PORTAL, RECORD);
    let isPaused = true;
    const paused: Storage = {
      ...withoutWrite(inner),
      put: async (key, value, options) => {
        if (isPaused && key[0] === "credentials") {
          isPaused = false;
          await changePortal(otherProcess(inner), MEMBER_ID, (record) => removed(record, { ts: 2 }));
        }
        return await inner.put(key, value, options);
      },
    };
    await writeRecord(
      paused,
      MEMBER_ID,
      (record) => record!.status === "installed" ? adding(pairOf(1, 1))(record) : undefined,
    );
    assert.deepEqual([isPaused, await inner.get(CREDENTIALS)], [false, null]);
    assert.equal((await loadPortal(inner, MEMBER_ID)).status, "uninstalled");
  });

  it("cannot be read if newer code wrote them", async () => {
    const { inner } = await stored();
    await inner.put(CREDENTIALS, { format: 2 });
    await assert.rejects(loadOpened(inner, MEMBER_ID), FormatError);
  });

  it("are remembered for 10,000 portals", async () => {
    const { inner } = await stored();
    const entry = (await inner.get<StoredCredentials>(CREDENTIALS))!;
    const record = await loadPortal(inner, MEMBER_ID);
    const storage = memoryStorage();
    for (let i = 0; i <= 10_000; i++) rememberCredentials(storage, `portal ${i}`, entry);
    const isKnown = (i: number): boolean => knownCredentials(storage, { ...record, memberId: `portal ${i}` }) === entry;
    assert.deepEqual([0, 1, 10_000].map(isKnown), [false, true, true]);
  });
});

describe("a crash between the token pairs and the record", () => {
  it("loses no application_token that an administrator has proved", async () => {
    const { inner } = await stored();
    const pending = { applicationToken: { digest: "proved", ts: 7 } };
    const unknown = pairOf(2, 2, { pending });
    const { isAdmin: _, ...waiting } = unknown;
    await changePortal(otherProcess(inner), MEMBER_ID, (record) => withTokens(record, waiting, NOW));
    assert.deepEqual(pendingTokensOf(await loadPortal(inner, MEMBER_ID)), ["proved"]);
    const crashing: Storage = {
      ...withoutWrite(inner),
      put: (key, value, options) =>
        key[0] === "portal" ? Promise.reject(new Error("crash")) : inner.put(key, value, options),
    };
    const proving = (record: PortalRecord): PortalRecord => withTokens(record, { ...waiting, isAdmin: true }, NOW);
    await assert.rejects(changePortal(crashing, MEMBER_ID, proving), /crash/);
    assert.equal((await loadPortal(inner, MEMBER_ID)).applicationToken, undefined);
    const { applicationToken, applicationTokenTs } = await loadOpened(otherProcess(inner), MEMBER_ID);
    assert.deepEqual([applicationToken, applicationTokenTs], [{ current: "proved" }, 7]);
    // The next write stores it.
    await changePortal(otherProcess(inner), MEMBER_ID, (record) => withTokens(record, pairOf(1, 9), NOW));
    assert.deepEqual((await loadPortal(inner, MEMBER_ID)).applicationToken, { current: "proved" });
  });

  it("leaves pairs of a new portal that nobody believes, and the next event stores its own", async () => {
    const inner = memoryStorage();
    let isBroken = true;
    const crashing: Storage = {
      ...withoutWrite(inner),
      put: (key, value, options) =>
        isBroken && key[0] === "portal" ? Promise.reject(new Error("crash")) : inner.put(key, value, options),
    };
    await assert.rejects(writeRecord(crashing, MEMBER_ID, adding(pairOf(1, 1))), /crash/);
    isBroken = false;
    await writeRecord(otherProcess(inner), MEMBER_ID, adding(pairOf(2, 2)));
    assert.deepEqual(await accessTokensOf(inner), ["access 2"]);
  });
});

describe("the summary in a record", () => {
  it("says until when Bitrix24 can be asked, as an opened record does", async () => {
    const { inner } = await stored();
    for (const record of [await loadPortal(inner, MEMBER_ID), await loadOpened(inner, MEMBER_ID)]) {
      assert.deepEqual([askableUntil(record, true), askableUntil(record, false)], [Infinity, NOW + 1]);
    }
    assert.equal(askableUntil(RECORD, true), -Infinity);
  });

  it("is corrected by the next write after the storage has lost the credentials", async () => {
    const { inner } = await stored();
    await inner.delete(CREDENTIALS);
    const process = otherProcess(inner);
    assert.equal(await readCredentials(process, MEMBER_ID), null);
    assert.equal((await loadOpened(process, MEMBER_ID)).tokens, undefined);
    await changePortal(process, MEMBER_ID, (record) => ({ ...record, domain: "x" }));
    assert.equal((await loadPortal(inner, MEMBER_ID)).credentials, undefined);
  });
});
