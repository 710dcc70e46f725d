import assert from "node:assert/strict";
import { type App, createApp, memoryStorage, type Portal, type Storage } from "@b24/onappupdate";
import { fakeBitrix24 } from "@b24/onappupdate/testing";
import {
  appliedUpgrades,
  CLIENT_ID,
  MEMBER_ID,
  movableClock,
  post,
  recordingLogger,
  trustAll,
} from "../../support/app.ts";
import { describe, it } from "../../support/test.ts";
import { withoutWrite } from "../../support/without_write.ts";

interface Life {
  readonly portal: Portal;
  /** Ids of the upgrades that were applied to its last installation. */
  readonly applied: readonly string[];
  /** Effects of steps, with the generation of their handler. */
  readonly effects: readonly string[];
  /** Number of writes of the portal's record and its journals since the update. */
  readonly writes: number;
  readonly lines: readonly string[];
}

/**
 * Updates a portal from 2 to 4. Before the write number `moment` of its record or a journal, the app is removed, is installed again `on`
 * a version, and may be updated to 4.
 */
async function reinstalled(moment: number, on: number, isUpdated: boolean): Promise<Life> {
  const storage = memoryStorage();
  const { clock, later } = movableClock();
  const { logger, lines } = recordingLogger();
  const portal = fakeBitrix24({ clientId: CLIENT_ID }).portal({ memberId: MEMBER_ID });
  const works: Promise<unknown>[] = [];
  const host = { waitUntil: (work: Promise<unknown>): void => void works.push(work) };
  const send = async (app: App, body: string): Promise<void> => {
    const { status } = await app.fetch(post(body), host);
    assert.equal(status, 200);
  };
  const shared = { clock, logger, checks: false, tickEveryMs: false } as const;
  /** Another process, which accepts events while the first one processes the portal. */
  const other = createApp({ ...shared, storage, acknowledge: "stored" }).use(trustAll).upgrade("3", () => {})
    .upgrade("4", () => {});
  let writes = 0;
  let isCounting = false;
  const hooked: Storage = {
    ...withoutWrite(storage),
    put: async (key, value, options) => {
      if (isCounting && ["portal", "journal"].includes(key[0]) && writes++ === moment) {
        isCounting = false;
        await send(other, portal.uninstall());
        await send(other, portal.install(on));
        if (isUpdated) await send(other, portal.update(4));
        isCounting = true;
      }
      return await storage.put(key, value, options);
    },
  };
  const effects: string[] = [];
  const app = createApp({ ...shared, storage: hooked, acknowledge: "handled" }).use(trustAll);
  for (const version of ["3", "4"]) {
    app.upgrade(version, async ({ step, progress, portal: { generation } }) => {
      for (const name of ["first", "second"]) {
        await step(name, () => void effects.push(`${generation}: ${version} ${name}`));
      }
      await progress(1, 1);
    });
  }
  await send(app, portal.install(2));
  isCounting = true;
  await send(app, portal.update(4));
  await Promise.all(works);
  for (let i = 0; i < 5; i++) {
    later();
    await app.tick();
  }
  const applied = (await appliedUpgrades(app)).map(({ id }) => id);
  const life = { portal: (await app.portal(MEMBER_ID))!, applied, effects, writes, lines };
  await Promise.all([app.close(), other.close()]);
  return life;
}

describe("an app that is reinstalled while its upgrades run", () => {
  const cases = [
    { on: 4, isUpdated: false, version: "4.0.0", ran: [] },
    { on: 3, isUpdated: false, version: "3.0.0", ran: [] },
    { on: 3, isUpdated: true, version: "4.0.0", ran: ["4"] },
    { on: 1, isUpdated: true, version: "4.0.0", ran: ["3", "4"] },
  ];
  for (const { on, isUpdated, version, ran } of cases) {
    const then = isUpdated ? `on ${on}, and updated` : `on ${on}`;
    it(`${then}: the newer installation gets its own upgrades at any moment, and none of the older one`, async () => {
      const { writes } = await reinstalled(Infinity, on, isUpdated);
      assert(writes >= 10, `${writes} writes`);
      // Before the second write, the update itself counts as late for the old installation, and its version is applied to the new one.
      for (let moment = 2; moment < writes; moment++) {
        const where = `before write ${moment}`;
        const { portal, applied, effects, lines } = await reinstalled(moment, on, isUpdated);
        const { status, generation, failure } = portal;
        const { version: is, target } = portal;
        assert.deepEqual({ status, generation, is, target }, {
          status: "installed",
          generation: 2,
          is: version,
          target: version,
        }, where);
        assert.equal(failure, undefined, where);
        assert.deepEqual(applied, ran, where);
        const own = effects.filter((effect) => effect.startsWith("2:"));
        assert.deepEqual(own, ran.flatMap((id) => [`2: ${id} first`, `2: ${id} second`]), where);
        assert.deepEqual(lines.filter((line) => line.includes('"error"')), [], where);
      }
    });
  }
});

describe("an app that is removed by another process during a step", () => {
  it("starts no further step", async () => {
    const storage = memoryStorage();
    const shared = { storage, checks: false, tickEveryMs: false } as const;
    const { logger } = recordingLogger();
    const portal = fakeBitrix24({ clientId: CLIENT_ID }).portal({ memberId: MEMBER_ID });
    const other = createApp({ ...shared, logger, acknowledge: "stored" }).use(trustAll);
    const ran: string[] = [];
    const app = createApp({ ...shared, logger, acknowledge: "handled" }).use(trustAll)
      .upgrade("3", async ({ step, pages }) => {
        await pages("pages", 0, async (cursor) => {
          ran.push(`page ${cursor}`);
          if (cursor === 1) await other.fetch(post(portal.uninstall()));
          return { next: cursor < 5 ? cursor + 1 : null, done: 1 };
        });
        await step("step", () => void ran.push("step"));
      });
    await app.fetch(post(portal.install(2)));
    await app.fetch(post(portal.update(3)));
    assert.deepEqual(ran, ["page 0", "page 1"]);
    assert.equal((await app.portal(MEMBER_ID))?.status, "uninstalled");
    await Promise.all([app.close(), other.close()]);
  });
});
