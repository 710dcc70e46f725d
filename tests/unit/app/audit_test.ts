import assert from "node:assert/strict";
import { memoryStorage, type Storage } from "@b24/onappupdate";
import { StorageError, UnknownPortalError } from "@b24/onappupdate/errors";
import { MEMBER_ID, OTHER_MEMBER_ID, rig } from "../../support/app.ts";
import { OPERATOR } from "../../support/operator.ts";
import { describe, it } from "../../support/test.ts";

/** Calls of `app.admin` that change something, and what is wrong with `by` and `reason`. */
const BAD: readonly (readonly [unknown, RegExp])[] = [
  [undefined, /cannot retry with options undefined, wanted an object with by, reason/],
  [{ by: "", reason: "x" }, /with by "", wanted the operator: 1 to 100 characters/],
  [{ by: "x".repeat(101), reason: "x" }, /with by "x+…", wanted the operator: 1 to 100 characters/],
  [{ by: "ada\nbob", reason: "x" }, /with by "ada\\nbob", wanted the operator: 1 to 100 characters without control/],
  [{ by: "ada\u202ebob", reason: "x" }, /wanted the operator: 1 to 100 characters without control characters, also of/],
  [{ by: "ada\u061c", reason: "x" }, /wanted the operator/],
  [{ by: "ada\u200e", reason: "x" }, /wanted the operator/],
  [{ by: "ada", reason: "ticket \u2067 17" }, /wanted the reason/],
  [{ by: "ada", reason: "x".repeat(501) }, /with reason "x+…", wanted the reason: 1 to 500 characters/],
  [{ by: "ada" }, /with reason undefined, wanted the reason/],
  [{ by: "ada", reason: "x", why: "y" }, /with the option why that does not exist, wanted by/],
];

describe("admin.audit()", () => {
  it("shows who did what, the latest first, with the outcome", async () => {
    const { app, send, portal, clock } = rig();
    await send(portal.install(2));
    const before = clock();
    await app.admin.retry(MEMBER_ID, { by: "ada", reason: "ticket 17" });
    await assert.rejects(app.admin.skip(MEMBER_ID, "9", { by: "bob", reason: "why not" }));
    await assert.rejects(app.admin.retry(OTHER_MEMBER_ID, OPERATOR), UnknownPortalError);

    const { items, next } = await app.admin.audit();
    assert.equal(next, undefined);
    assert.deepEqual(items.map(({ action, by, memberId, outcome }) => [action, by, memberId, outcome]), [
      ["retry", "ada", OTHER_MEMBER_ID, "refused"],
      ["skip", "bob", MEMBER_ID, "refused"],
      ["retry", "ada", MEMBER_ID, "done"],
    ]);
    const [unknown, skipped, retried] = items;
    assert.equal(unknown!.error?.code, "unknown_portal");
    assert.deepEqual([skipped!.error?.code, skipped!.details], ["not_due", { upgradeId: "9" }]);
    assert.match(skipped!.error!.message, /cannot skip upgrade "9"/);
    assert.deepEqual([retried!.reason, retried!.error], ["ticket 17", undefined]);
    assert.ok(retried!.at >= before && retried!.finishedAt! >= retried!.at);
    await app.close();
  });

  it("shows what was noted, done or refused", async () => {
    const { app } = rig();
    const note = { ...OPERATOR, action: "export", details: { list: "portals" } } as const;
    await app.admin.noteAction(note);
    await app.admin.noteAction({ ...note, action: "pause", memberId: MEMBER_ID, refusal: "x".repeat(600) });
    const { items: [refused, done] } = await app.admin.audit();
    assert.deepEqual([done!.action, done!.outcome, done!.details, done!.error], [
      ...["export", "done", { list: "portals" }],
      undefined,
    ]);
    assert.deepEqual([refused!.action, refused!.memberId, refused!.outcome, refused!.error], [
      ...["pause", MEMBER_ID, "refused"],
      { message: "x".repeat(500) },
    ]);
    assert.equal(await app.admin.paused(), undefined);
    await assert.rejects(app.admin.noteAction({ ...note, action: "erase" as "forget" }), {
      message: /^cannot note an action with action "erase", wanted "retry" or/,
    });
    const details = { text: "x".repeat(4000) };
    await assert.rejects(
      app.admin.noteAction({ ...note, details }),
      /with details an object, wanted an object whose JSON/,
    );
    await app.close();
  });

  it("shows the outcome of an action that is done elsewhere, from its begin", async () => {
    const { app } = rig();
    const note = { ...OPERATOR, action: "check", memberId: MEMBER_ID } as const;
    const outcomes = async (): Promise<string[]> => (await app.admin.audit()).items.map(({ outcome }) => outcome);
    assert.equal(
      await app.admin.noteAction(note, async () => {
        assert.deepEqual(await outcomes(), ["pending"]);
        return 17;
      }),
      17,
    );
    assert.deepEqual(await outcomes(), ["done"]);
    const failure = new Error("no route to host");
    await assert.rejects(app.admin.noteAction(note, () => Promise.reject(failure)), (error) => error === failure);
    const { items: [failed] } = await app.admin.audit();
    assert.deepEqual([failed!.outcome, failed!.error], ["failed", { message: "no route to host" }]);
    await app.close();
  });

  it("shows a rollback as failed whose undo throws what arguments are refused with", async () => {
    const { app, send, portal } = rig();
    app.upgrade("3", async ({ step }) => {
      await step("one", () => 1, { undo: () => Promise.reject(new TypeError("a mistake in undo")) });
      await step("two", () => 2, { undo: () => {} });
    });
    await send(portal.install(2));
    await send(portal.update(3));
    await assert.rejects(app.admin.rollback(MEMBER_ID, OPERATOR), /a mistake in undo/);
    const { items: [entry] } = await app.admin.audit();
    assert.deepEqual([entry!.action, entry!.outcome], ["rollback", "failed"]);
    await app.close();
  });

  it("filters, and goes on after a page", async () => {
    const { app, send, portal } = rig();
    await send(portal.install(2));
    for (const by of ["ada", "bob", "ada", "bob", "ada"]) await app.admin.retry(MEMBER_ID, { by, reason: "x" });
    await app.admin.setTarget(MEMBER_ID, "2", { by: "bob", reason: "x" });
    const found = async (filter: object): Promise<number> => (await app.admin.audit(filter)).items.length;
    assert.deepEqual(
      [await found({ by: "bob" }), await found({ by: "bob", action: "retry" }), await found({ action: "pause" })],
      [3, 2, 0],
    );
    assert.deepEqual([await found({ memberId: MEMBER_ID }), await found({ memberId: OTHER_MEMBER_ID })], [6, 0]);
    const { id } = await app.admin.batches.start({
      ...{ action: "retry", match: { status: "current" }, expect: 1, ...OPERATOR },
    });
    await app.settled();
    const ofBatch = (await app.admin.audit({ batchId: id! })).items.map(({ action, memberId }) => [action, memberId]);
    assert.deepEqual(ofBatch.toSorted(), [["batch", undefined], ["retry", MEMBER_ID]]);
    assert.equal(await found({ batchId: "another" }), 0);
    const ids: string[] = [];
    let after: string | undefined;
    do {
      const page = await app.admin.audit({ limit: 2, ...(after !== undefined && { after }) });
      ids.push(...page.items.map(({ id }) => id));
      after = page.next;
    } while (after !== undefined);
    assert.deepEqual(ids, (await app.admin.audit()).items.map(({ id }) => id));
    await app.close();
  });

  it("shows an action whose process has ended as pending", async () => {
    const storage = memoryStorage();
    const { app, send, portal } = rig({ storage });
    await send(portal.install(2));
    let isEnded = false;
    const ending: Storage = {
      ...storage,
      put: async (key, value, options) => {
        if (isEnded) throw new StorageError("the process has ended");
        const put = await storage.put(key, value, options);
        isEnded = key[0] === "audit";
        return put;
      },
      write: () => Promise.reject(new StorageError("the process has ended")),
    };
    const second = rig({ storage: ending });
    await assert.rejects(second.app.admin.retry(MEMBER_ID, OPERATOR), StorageError);
    const { items } = await app.admin.audit();
    assert.deepEqual(items.map(({ action, outcome, finishedAt }) => [action, outcome, finishedAt]), [
      ["retry", "pending", undefined],
    ]);
    await app.close();
  });

  it("does nothing if it cannot be stored who acts", async () => {
    const storage = memoryStorage();
    const { app, send, portal } = rig({
      storage: {
        ...storage,
        put: (key, value, options) =>
          key[0] === "audit" ? Promise.reject(new StorageError("full")) : storage.put(key, value, options),
      },
    });
    await send(portal.install(2));
    await assert.rejects(app.admin.setTarget(MEMBER_ID, "3", OPERATOR), /full/);
    assert.equal((await app.portal(MEMBER_ID))?.target, "2.0.0");
    await app.close();
  });

  for (const [attribution, message] of BAD) {
    it(`refuses ${JSON.stringify(attribution)?.slice(0, 40)} of an operator`, async () => {
      const { app } = rig();
      await assert.rejects(app.admin.retry(MEMBER_ID, attribution as never), { name: "TypeError", message });
      assert.deepEqual((await app.admin.audit()).items, []);
    });
  }

  it("refuses filters that it does not know", async () => {
    const { app } = rig();
    await assert.rejects(app.admin.audit({ operator: "ada" } as never), /the option operator that does not exist/);
    await assert.rejects(app.admin.audit({ limit: 0 }), /with limit 0, wanted a whole number from 1/);
  });
});
