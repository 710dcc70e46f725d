import assert from "node:assert/strict";
import { memoryStorage } from "@b24/onappupdate";
import { adopted, assertNoTokens, briefly, entriesOf, oldProgram } from "../../support/adoption.ts";
import { OPERATOR } from "../../support/operator.ts";
import { describe, it } from "../../support/test.ts";

describe("admin.adopt() and the tokens of the old program", () => {
  it("leaves all of them alive in a dry run, which stores nothing but the audit entry, and without refresh", async () => {
    const old = oldProgram();
    const expired = [old.add(1), old.add(2)];
    old.now += 2 * 60 * 60 * 1000;
    const fresh = [old.add(1), old.add(2)];
    const rows = [...expired, ...fresh].map(({ row }) => row);
    const storage = memoryStorage();
    const app = old.app({ storage });
    const outcomes = [["not_adopted", "expired"], ["not_adopted", "expired"], ["adopted", undefined], [
      "adopted",
      undefined,
    ]];
    assert.deepEqual(briefly(await adopted(app, rows, { dryRun: true, refresh: true })), outcomes);
    assert.deepEqual(await entriesOf(storage, ["audit"]), []);
    assert.deepEqual(briefly(await adopted(app, rows)), outcomes);
    assert.equal(old.bitrix24.refreshes(), 0);
    const works = await old.working([...expired, ...fresh]);
    assert.deepEqual(works, [[false, true], [false, true], [true, true], [true, true]]);
    await app.close();
  });

  it("cannot be used up by an app without clientSecret, whatever it does later", async () => {
    const old = oldProgram();
    const { portal, tokens, row } = old.add(2);
    const app = old.app({ clientSecret: undefined, checks: { afterContactMs: 0 } } as object);
    await adopted(app, [row]);
    for (let day = 0; day < 9; day++) {
      old.now += 24 * 60 * 60 * 1000;
      await app.tick();
      await app.check(portal.memberId).catch(() => {});
    }
    assert.equal(old.bitrix24.refreshes(), 0);
    assert.deepEqual(await old.working([{ portal, tokens, row }]), [[false, true]]);
    await app.close();
  });

  it("refreshes those that have expired with refresh: true, once each, and the portal can be called", async () => {
    const old = oldProgram();
    const expired = old.add(1);
    old.now += 2 * 60 * 60 * 1000;
    const fresh = old.add(2);
    const app = old.app();
    const rows = [expired.row, fresh.row];
    assert.deepEqual(briefly(await adopted(app, rows, { refresh: true })), [["adopted", undefined], [
      "adopted",
      undefined,
    ]]);
    assert.equal(old.bitrix24.refreshes(), 1);
    assert.equal((await app.credentials.get(expired.portal.memberId)).userId, 1);
    assert.deepEqual(briefly(await adopted(app, rows, { refresh: true })), [["unchanged", undefined], [
      "unchanged",
      undefined,
    ]]);
    assert.equal(old.bitrix24.refreshes(), 1);
    await app.close();
  });

  it("keeps a refreshed pair whose portal cannot be adopted yet, for a further call", async () => {
    const old = oldProgram();
    const { portal, row } = old.add(2);
    old.now += 2 * 60 * 60 * 1000;
    const storage = memoryStorage();
    const app = old.app({ storage });
    const above = { ...row, version: "9" };
    assert.deepEqual(briefly(await adopted(app, [above], { refresh: true })), [["not_adopted", "version"]]);
    assert.equal(await app.portal(portal.memberId), undefined);
    assert.deepEqual(briefly(await adopted(app, [row])), [["adopted", undefined]]);
    assert.equal(old.bitrix24.refreshes(), 1);
    assert.deepEqual(await entriesOf(storage, ["audit", "credentials", "portal", "index", "total"]), []);
    old.now += 2 * 60 * 60 * 1000;
    assert.equal((await app.credentials.get(portal.memberId)).userId, 1);
    await app.close();
  });

  it("keeps a pair that a wrong line has refreshed for the portal that owns it, known or not", async () => {
    const old = oldProgram();
    const [first, owner, known] = [old.add(2), old.add(2), old.add(2)];
    const storage = memoryStorage();
    const app = old.app({ storage });
    await adopted(app, [known.row]);
    old.now += 2 * 60 * 60 * 1000;
    const lines = await adopted(app, [
      { ...owner.row, memberId: first.row.memberId },
      owner.row,
      { ...known.row, memberId: old.add(2).row.memberId },
    ], { refresh: true });
    assert.equal(lines[0]!.message, `its tokens belong to portal ${owner.portal.memberId}`);
    assert.deepEqual(briefly(lines), [["not_adopted", "other_portal"], ["adopted", undefined], [
      "not_adopted",
      "other_portal",
    ]]);
    for (const { portal } of [owner, known]) {
      assert.equal((await app.credentials.get(portal.memberId)).userId, 1, portal.domain);
    }
    assert.equal(await app.portal(first.portal.memberId), undefined);
    await app.close();
  });

  it("reports dead refresh tokens, and goes on", async () => {
    const old = oldProgram();
    const [dead, alive] = [old.add(2), old.add(2)];
    dead.portal.expireTokens({ refresh: true });
    old.now += 2 * 60 * 60 * 1000;
    const app = old.app();
    const { refreshToken: _, ...without } = old.add(1).row;
    old.now += 2 * 60 * 60 * 1000;
    const lines = await adopted(app, [dead.row, alive.row, without], { refresh: true });
    assert.deepEqual(briefly(lines), [["not_adopted", "refused"], ["adopted", undefined], ["not_adopted", "expired"]]);
    assert.match(lines[0]!.message!, /Bitrix24 answered invalid_grant/);
    assert.match(lines[2]!.message!, /it has no refresh token/);
    assertNoTokens([lines, old.lines]);
    await app.close();
  });

  it("ends if Bitrix24 refuses the app's keys: it would refuse those of every line", async () => {
    const old = oldProgram();
    const portals = Array.from({ length: 20 }, () => old.add(2));
    old.now += 2 * 60 * 60 * 1000;
    const app = old.app({ clientSecret: "another-secret-0123456789" });
    await assert.rejects(
      app.admin.adopt(portals.map(({ row }) => row), { ...OPERATOR, refresh: true, perMinute: 1_000_000 }),
      { b24Code: "invalid_client" },
    );
    assert.ok(old.bitrix24.requests() <= 8 + 2, String(old.bitrix24.requests()));
    assert.equal((await app.admin.audit()).items[0]?.outcome, "failed");
    await app.close();
  });

  it("are not quoted if an OAuth host answers with them as the member_id, nor part of a key", async () => {
    const old = oldProgram();
    const { row } = old.add(2);
    const fetch: typeof globalThis.fetch = async (input, init) => {
      const request = new Request(input, init);
      const sent = new URLSearchParams(await request.clone().text());
      const token = sent.get("auth") ?? sent.get("refresh_token") ?? "";
      const answer = await (await old.bitrix24.fetch(request)).text();
      return new Response(answer.replace(/"member_id":"\w+"/, `"member_id":"${token}"`));
    };
    const storage = memoryStorage();
    const app = old.app({ storage, fetch });
    const lines = [...await adopted(app, [row])];
    old.now += 2 * 60 * 60 * 1000;
    lines.push(...await adopted(app, [row], { refresh: true }));
    assert.deepEqual(briefly(lines), [["not_adopted", "other_portal"], ["not_adopted", "other_portal"]]);
    assertNoTokens([lines, await app.admin.audit(), old.lines]);
    for await (const { key } of storage.list([])) assertNoTokens(key);
    await app.close();
  });
});
