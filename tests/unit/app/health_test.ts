import assert from "node:assert/strict";
import { type AppHealth, memoryStorage, NonRetriableError, type PluginHost } from "@b24/onappupdate";
import { MEMBER_ID, OTHER_MEMBER_ID } from "../../support/app.ts";
import { scene } from "../../support/scene.ts";
import { describe, it } from "../../support/test.ts";

const NOTHING: Omit<AppHealth, "isRunning" | "tickedAt"> = {
  due: { entries: 0, lagMs: 0 },
  unverified: { events: 0, portals: 0, oldestMs: 0 },
  outbox: { waiting: 0, dead: 0 },
};

describe("admin.health()", () => {
  it("shows whether the process runs, and when it last ticked", async () => {
    const made = scene();
    const { app } = made;
    assert.deepEqual(await app.admin.health(), { isRunning: false, ...NOTHING });
    await app.tick();
    const tickedAt = made.now;
    made.now += 5000;
    assert.deepEqual(await app.admin.health(), { isRunning: true, tickedAt, ...NOTHING });
    await app.close();
    assert.equal((await app.admin.health()).isRunning, false);
  });

  it("shows a tick that the app makes by itself, and none that has failed", async () => {
    const storage = memoryStorage();
    let isBroken = true;
    const list: typeof storage.list = (prefix, options) => {
      if (isBroken && prefix[0] === "due") throw new Error("down");
      return storage.list(prefix, options);
    };
    const made = scene({}, { storage: { ...storage, list } });
    const { app } = made;
    await assert.rejects(app.tick(), /down/);
    isBroken = false;
    assert.equal((await app.admin.health()).tickedAt, undefined);
    await app.settled();
    assert.equal((await app.admin.health()).tickedAt, made.now);
    await app.close();
  });

  it("counts the work that is due, and how late it is", async () => {
    const storage = memoryStorage();
    const made = scene({}, { storage });
    const { app, now } = made;
    const put = (at: number, memberId: string) =>
      storage.put(["due", `${String(at).padStart(14, "0")}-x`, memberId], {});
    await put(now - 90_000, MEMBER_ID);
    await put(now - 1000, OTHER_MEMBER_ID);
    await put(now + 1000, "f".repeat(32));
    assert.deepEqual((await app.admin.health()).due, { entries: 2, lagMs: 90_000 });
    await app.close();
  });

  it("counts events that wait for their verification, and the age of the oldest", async () => {
    const made = scene();
    const { app, portal, send } = made;
    await send(portal.install(2));
    made.answer = () => Response.json({ error: "INTERNAL_SERVER_ERROR" }, { status: 500 });
    await send(portal.update(3, { rotateToken: true }));
    made.now += 30_000;
    await send(made.bitrix24.portal({ memberId: OTHER_MEMBER_ID }).install(1));
    assert.deepEqual((await app.admin.health()).unverified, { events: 2, portals: 2, oldestMs: 30_000 });
    await app.close();
  });

  it("counts messages that wait, and dead letters", async () => {
    const made = scene();
    let host: PluginHost;
    made.app.use({
      name: "chat",
      setup: (given) => void (host = given),
      outbox: {
        deliver: () => {
          throw new NonRetriableError("gone");
        },
      },
    });
    await made.app.setUp();
    await host!.outbox.put("now");
    await host!.outbox.put("tomorrow", { notBefore: made.now + 86_400_000 });
    assert.deepEqual((await made.app.admin.health()).outbox, { waiting: 2, dead: 0 });
    await made.app.tick();
    assert.deepEqual((await made.app.admin.health()).outbox, { waiting: 1, dead: 1 });
    await made.app.close();
  });

  it("counts up to 1,000 of a kind", async () => {
    const storage = memoryStorage();
    const { app } = scene({}, { storage });
    for (let i = 0; i < 1001; i++) {
      await storage.put(["due", `00000000000001-${i}`, MEMBER_ID], {});
      await storage.put(["outbox", "dead", "chat", `${i}`], {});
    }
    const { due, outbox } = await app.admin.health();
    assert.deepEqual([due.entries, outbox.dead], [1000, 1000]);
    await app.close();
  });
});
