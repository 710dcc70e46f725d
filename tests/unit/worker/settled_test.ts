import assert from "node:assert/strict";
import { setImmediate } from "node:timers/promises";
import { memoryStorage, NonRetriableError, RetryAfterError, type Storage } from "@b24/onappupdate";
import { MEMBER_ID, OTHER_MEMBER_ID, rig } from "../../support/app.ts";
import { crowd, memberIdOf } from "../../support/crowd.ts";
import { changed, scene, UNKNOWN_APPLICATION_TOKEN } from "../../support/scene.ts";
import { describe, it } from "../../support/test.ts";
import { OPERATOR } from "../../support/operator.ts";

const MINUTE = 60_000;

/** Returns whether a promise has resolved. */
function watched(promise: Promise<unknown>): { readonly isDone: () => boolean } {
  let isDone = false;
  void promise.then(() => isDone = true);
  return { isDone: () => isDone };
}

describe("app.settled()", () => {
  it("waits for the work that is running, of one portal or of all", async () => {
    const made = crowd({ tickEveryMs: false });
    made.app.upgrade("3", ({ memberId }) => made.takes(memberId === memberIdOf(0) ? 10 * MINUTE : MINUTE));
    await made.install(2);
    await made.update(0, 2);
    const [all, first, second] = [undefined, memberIdOf(0), memberIdOf(1)].map((id) => watched(made.app.settled(id)));
    const done = (): boolean[] => [all, first, second].map((settled) => settled!.isDone());
    await made.time.elapse(MINUTE - 1000);
    assert.deepEqual(done(), [false, false, false]);
    await made.time.elapse(2000);
    assert.deepEqual(done(), [false, false, true]);
    await made.time.elapse(10 * MINUTE);
    assert.deepEqual(done(), [true, true, true]);
    await made.close();
  });

  it("does what is due by the clock, and does not wait for what is planned for later", async () => {
    const made = rig({ acknowledge: "stored", tickEveryMs: false });
    let runs = 0;
    made.app.upgrade("3", async ({ sleep }) => {
      if (++runs === 1) throw new Error("not yet");
      await sleep("a while", MINUTE);
    });
    const versions: unknown[] = [];
    await made.send(made.portal.install(2));
    await made.send(made.portal.update(3));
    for (const _ of ["the retry", "the sleep", "nothing"]) {
      await made.app.settled();
      versions.push([runs, (await made.app.portal(MEMBER_ID))?.version]);
      made.later();
    }
    assert.deepEqual(versions, [[1, "2.0.0"], [2, "2.0.0"], [3, "3.0.0"]]);
    await made.app.close();
  });

  it("does not wait for a handler that wants to be retried at once, for ever", async () => {
    const made = rig({ acknowledge: "stored", tickEveryMs: false });
    let runs = 0;
    made.app.upgrade("3", () => {
      if (++runs < 20) throw new RetryAfterError(0);
    });
    await made.send(made.portal.install(2));
    await made.send(made.portal.update(3));
    await made.app.settled(MEMBER_ID);
    await made.app.settled();
    assert.equal(runs, 1);
    await made.app.close();
  });

  it("does what is due of one portal, and leaves the others", async () => {
    const made = rig({ tickEveryMs: false });
    const other = made.bitrix24.portal({ memberId: OTHER_MEMBER_ID, domain: "other.bitrix24.de" });
    let fails = true;
    made.app.upgrade("3", () => {
      if (fails) throw new Error("not yet");
    });
    for (const portal of [made.portal, other]) {
      await made.send(portal.install(2));
      await made.send(portal.update(3));
    }
    fails = false;
    made.later();
    await made.app.settled(MEMBER_ID);
    const versions = (): Promise<unknown[]> =>
      Promise.all([MEMBER_ID, OTHER_MEMBER_ID].map(async (id) => (await made.app.portal(id))?.version));
    assert.deepEqual(await versions(), ["3.0.0", "2.0.0"]);
    await made.app.settled();
    assert.deepEqual(await versions(), ["3.0.0", "3.0.0"]);
    await made.app.close();
  });

  it("waits for events that are being verified, and for their work", async () => {
    const made = scene({}, { acknowledge: "stored", tickEveryMs: false });
    made.app.upgrade("3", () => {});
    await made.send(made.portal.install(2));
    await made.send(changed(made.portal.update(3), UNKNOWN_APPLICATION_TOKEN));
    await made.app.settled(MEMBER_ID);
    assert.equal((await made.app.portal(MEMBER_ID))?.version, "3.0.0");
    await made.app.close();
  });

  it("does not wait for events while no OAuth host answers", async () => {
    const made = scene({}, { acknowledge: "stored", tickEveryMs: false });
    made.answer = () => Promise.reject(new TypeError("fetch failed"));
    await made.send(made.portal.install(2));
    await made.app.settled();
    assert.equal(await made.app.portal(MEMBER_ID), undefined);
    await made.app.close();
  });

  it("does not wait for a portal on which another process works", async () => {
    const storage = memoryStorage();
    const [one, other] = [rig({ storage, tickEveryMs: false, acknowledge: "stored" }), rig({ storage })];
    const begun = Promise.withResolvers<void>();
    const end = Promise.withResolvers<void>();
    one.app.upgrade("3", async () => {
      begun.resolve();
      await end.promise;
    });
    await one.send(one.portal.install(2));
    await one.app.settled();
    await one.send(one.portal.update(3));
    await begun.promise;
    await other.app.settled();
    await other.app.settled(MEMBER_ID);
    end.resolve();
    await one.app.settled();
    assert.equal((await other.app.portal(MEMBER_ID))?.version, "3.0.0");
    await one.app.close();
    await other.app.close();
  });

  it("starts the app, resolves for an unknown portal, and rejects once the app is closed", async () => {
    const made = rig();
    await made.app.settled();
    await made.app.settled("unknown");
    await made.app.close();
    await assert.rejects(made.app.settled(), /^TypeError: cannot wait until the work is settled: the app is closed$/);
  });
});

describe("admin.retry()", () => {
  /** An app on version 2 whose upgrade to 3 has parked it, and works by now. */
  async function parked(storage: Storage = memoryStorage()): Promise<ReturnType<typeof rig> & { runs: number }> {
    const made = Object.assign(rig({ storage, tickEveryMs: false }), { runs: 0 });
    made.app.upgrade("3", () => {
      if (++made.runs === 1) throw new NonRetriableError("no");
    });
    await made.send(made.portal.install(2));
    await made.send(made.portal.update(3));
    assert.equal(made.runs, 1);
    return made;
  }

  it("resolves when the portal has been taken up, and settled() waits for it", async () => {
    const storage = memoryStorage();
    const made = await parked(storage);
    await made.app.admin.retry(MEMBER_ID, OPERATOR);
    const { lease, version } = (await storage.get<{ lease?: object; version?: string }>(["portal", MEMBER_ID]))!.value;
    assert(lease !== undefined || version === "3.0.0", "done or under way");
    await made.app.tick();
    await made.app.settled();
    assert.deepEqual([made.runs, (await made.app.portal(MEMBER_ID))?.version], [2, "3.0.0"]);
    await made.app.close();
  });

  it("resolves once it is stored on an app that is not started, and a tick does the work", async () => {
    const storage = memoryStorage();
    const first = await parked(storage);
    await first.app.close();
    const made = rig({ storage, tickEveryMs: false });
    let runs = 0;
    made.app.upgrade("3", () => void runs++);
    await made.app.admin.retry(MEMBER_ID, OPERATOR);
    assert.equal(runs, 0);
    await made.app.tick();
    assert.equal(runs, 1);
    await made.app.close();
  });

  it("is not lost if it comes just when the portal is released", async () => {
    const inner = memoryStorage();
    let [checked, retried]: Promise<unknown>[] = [];
    const turns = async (): Promise<void> => {
      for (let turn = 0; turn < 5; turn++) await setImmediate();
    };
    const storage: Storage = {
      ...inner,
      write: async (operations, options) => {
        const written = operations.find((operation) => "put" in operation && operation.put[0] === "portal");
        const { failure } = (written as { value?: { failure?: object } } | undefined)?.value ?? {};
        if (failure !== undefined && checked === undefined) {
          checked = made.app.check(MEMBER_ID);
          await turns();
        } else if (written !== undefined && checked !== undefined && retried === undefined) {
          // That of the check. The release waits for it, and is then written together with the retry.
          await turns();
          retried = made.app.admin.retry(MEMBER_ID, OPERATOR);
          await turns();
        }
        return await inner.write!(operations, options);
      },
    };
    const made = rig({ storage, tickEveryMs: false });
    let runs = 0;
    made.app.upgrade("3", () => {
      if (++runs === 1) throw new NonRetriableError("no");
    });
    await made.send(made.portal.install(2));
    await made.send(made.portal.update(3));
    await made.settled();
    await Promise.all([checked, retried]);
    // Waits for what is under way, and looks for nothing else.
    await made.app.close();
    const record = (await inner.get<{ readonly version: string }>(["portal", MEMBER_ID]))!.value;
    assert.deepEqual([runs, record.version], [2, "3.0.0"]);
  });

  it("can be called by a handler, for its own portal and for one that waits for the only slot", async () => {
    const made = rig({ concurrency: 1, tickEveryMs: false });
    const other = made.bitrix24.portal({ memberId: OTHER_MEMBER_ID, domain: "other.bitrix24.de" });
    const runs: string[] = [];
    made.app.on("ONAPPTEST", async ({ portal: { memberId } }) => {
      await made.app.admin.retry(MEMBER_ID, OPERATOR);
      await made.app.admin.retry(OTHER_MEMBER_ID, OPERATOR);
      runs.push(memberId);
    });
    for (const portal of [made.portal, other]) await made.send(portal.install(2));
    await made.send(made.portal.event("ONAPPTEST", {}));
    await made.app.settled();
    assert.deepEqual(runs, [MEMBER_ID]);
    await made.app.close();
  });

  it("is refused during a rollback of its portal, and setTarget() does not wait for that", async () => {
    const made = rig({ tickEveryMs: false });
    const { admin } = made.app;
    const undo = async (): Promise<void> => {
      await assert.rejects(admin.retry(MEMBER_ID, OPERATOR), { code: "rollback_unfinished" });
      await admin.setTarget(MEMBER_ID, "3", OPERATOR);
    };
    made.app.upgrade("3", ({ step }) => step("one", () => {}, { undo }));
    await made.send(made.portal.install(2));
    await made.send(made.portal.update(3));
    await admin.rollback(MEMBER_ID, OPERATOR);
    const { items } = await admin.audit();
    assert.deepEqual(items.map(({ action, outcome }) => [action, outcome]).toSorted(), [
      ["retry", "refused"],
      ["rollback", "done"],
      ["setTarget", "done"],
    ]);
    await made.app.settled();
    await made.app.close();
  });
});
