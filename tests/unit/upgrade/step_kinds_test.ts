import assert from "node:assert/strict";
import { B24Error, memoryStorage, NonRetriableError, type Storage } from "@b24/onappupdate";
import { dueKey, portalKey } from "../../../src/portal/keys.ts";
import type { PortalRecord } from "../../../src/portal/record.ts";
import { entryId } from "../../../src/portal/schedule.ts";
import { MEMBER_ID, type Rig, rig } from "../../support/app.ts";
import { describe, it } from "../../support/test.ts";

const SECOND = 1000;

/** Returns an app whose clock a test moves. */
function clocked(): Rig & { readonly storage: Storage; readonly pass: (ms: number) => Promise<unknown> } {
  let now = Date.now();
  const storage = memoryStorage();
  const made = rig({ storage, clock: () => now, retry: { initialDelayMs: SECOND } });
  const pass = async (ms: number): Promise<unknown> => {
    now += ms;
    return await made.app.tick();
  };
  return { ...made, storage, pass };
}

async function update({ send, portal }: Rig): Promise<void> {
  await send(portal.install(2));
  await send(portal.update(3));
}

describe("step()", () => {
  it("is retried as often as its own policy says", async () => {
    const made = clocked();
    let runs = 0;
    made.app.upgrade("3", async ({ step }) => {
      await step("a", () => Promise.reject(new Error(`no ${++runs}`)), { retry: { maxAttempts: 2 } });
    });
    await update(made);
    for (let tick = 0; tick < 4; tick++) await made.pass(60 * 60 * SECOND);
    const { failure } = (await made.app.portal(MEMBER_ID))!;
    assert.deepEqual([runs, failure?.attempts, failure?.retryAt], [2, 2, undefined]);
    await made.app.close();
  });

  it("returns the same at the first time as after an interruption", async () => {
    const made = clocked();
    const seen: unknown[] = [];
    made.app.upgrade("3", async ({ step }) => {
      seen.push(await step("a", () => ({ at: new Date(0), none: undefined }) as unknown));
      if (seen.length === 1) throw new Error("no");
    });
    await update(made);
    await made.pass(60 * 60 * SECOND);
    const stored = { at: "1970-01-01T00:00:00.000Z" };
    assert.deepEqual(seen, [stored, stored]);
    await made.app.close();
  });
});

describe("sleep()", () => {
  it("ends at the same time if the run is resumed before", async () => {
    const made = clocked();
    let runs = 0;
    made.app.upgrade("3", async ({ sleep }) => {
      runs++;
      await sleep("a minute", 60 * SECOND);
    });
    await update(made);
    const wakeAt = async (): Promise<number | undefined> => (await made.app.portal(MEMBER_ID))?.run?.wakeAt;
    const planned = await wakeAt();
    // As if an operator had retried it half a minute later.
    const { storage } = made;
    const { value, version } = (await storage.get<PortalRecord>(portalKey(MEMBER_ID)))!;
    const { wakeAt: _, ...run } = value.run!;
    await storage.put(dueKey(entryId(1, "1"), MEMBER_ID), {});
    await storage.put(portalKey(MEMBER_ID), { ...value, run }, { ifVersion: version });
    await made.pass(30 * SECOND);
    assert.deepEqual([runs, await wakeAt()], [2, planned]);
    await made.app.close();
  });
});

describe("a block during an upgrade", () => {
  it("lasts since its begin, and keeps the last failure", async () => {
    const made = clocked();
    let runs = 0;
    made.app.upgrade("3", () => {
      if (++runs === 1) throw new Error("the first failure");
      if (runs > 3) throw new NonRetriableError("too often");
      throw new B24Error({ code: "PAYMENT_REQUIRED", description: "not paid", status: 402, method: "profile" });
    });
    await update(made);
    await made.pass(60 * 60 * SECOND);
    const { blocked, failure } = (await made.app.portal(MEMBER_ID))!;
    assert.deepEqual([runs, blocked?.on, failure?.message, failure?.attempts], [2, "payment", "the first failure", 1]);
    await made.pass(2 * 60 * 60 * SECOND);
    const later = (await made.app.portal(MEMBER_ID))!.blocked;
    assert.deepEqual([runs, later?.since], [3, blocked?.since]);
    assert(later!.nextTryAt! > blocked!.nextTryAt!);
    await made.app.close();
  });
});
