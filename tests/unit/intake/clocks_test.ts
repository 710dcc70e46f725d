/** Processes whose clocks differ from each other's, and from that of Bitrix24. */
import assert from "node:assert/strict";
import { type App, createApp, memoryStorage } from "@b24/onappupdate";
import { applicationToken } from "@b24/onappupdate/application-token";
import { type FakeBitrix24, fakeBitrix24, type FakePortal } from "@b24/onappupdate/testing";
import { portalKey } from "../../../src/portal/keys.ts";
import type { PortalRecord } from "../../../src/portal/record.ts";
import { CLIENT_ID, MEMBER_ID, post, quietLogger } from "../../support/app.ts";
import { changed } from "../../support/scene.ts";
import { OPERATOR } from "../../support/operator.ts";
import { describe, it } from "../../support/test.ts";

const SECOND = 1000;

/** One process: an app whose clock is `error` milliseconds off. */
interface Clocked {
  readonly app: App;
  readonly send: (body: string) => Promise<number>;
}

interface World {
  readonly portal: FakePortal;
  readonly bitrix24: FakeBitrix24;
  readonly start: (error: number) => Clocked;
  readonly record: () => Promise<PortalRecord>;
  readonly pass: (ms: number) => void;
  /** Names of the events whose handlers ran, in order. */
  readonly ran: string[];
  /** Handlers of ONAPPUNINSTALL throw. */
  failRemovals: boolean;
  readonly close: () => Promise<void>;
}

function world(): World {
  let now = Date.UTC(2027, 0, 1);
  const clock = (): number => now;
  const bitrix24 = fakeBitrix24({ clientId: CLIENT_ID, clock });
  const storage = memoryStorage({ clock });
  const apps: App[] = [];
  const made: World = {
    portal: bitrix24.portal({ memberId: MEMBER_ID }),
    bitrix24,
    start: (error) => {
      const app = createApp({
        ...{ storage: { ...storage, close: () => Promise.resolve() }, clock: () => now + error, clientId: CLIENT_ID },
        ...{ fetch: bitrix24.fetch, acknowledge: "handled", logger: quietLogger, checks: false, tickEveryMs: false },
      }).use(applicationToken()).on(["ONAPPINSTALL", "ONAPPUPDATE", "ONAPPUNINSTALL"], ({ event: { name } }) => {
        if (name === "ONAPPUNINSTALL" && made.failRemovals) throw new Error("not yet");
        made.ran.push(name);
      });
      apps.push(app);
      const send = async (body: string): Promise<number> => {
        const response = await app.fetch(post(body));
        await response.body?.cancel();
        return response.status;
      };
      return { app, send };
    },
    record: async () => (await storage.get<PortalRecord>(portalKey(MEMBER_ID)))!.value,
    pass: (ms) => void (now += ms),
    ran: [],
    failRemovals: false,
    close: async () => {
      for (const app of apps) await app.close();
    },
  };
  return made;
}

describe("a process whose clock is behind", () => {
  it("installs an app again that was removed 3 seconds ago", async () => {
    const { portal, start, pass, record, ran, close } = world();
    const [right, behind] = [start(0), start(-5 * SECOND)];
    await right.send(portal.install(2));
    pass(60 * SECOND);
    const removal = portal.uninstall();
    assert.equal(await right.send(removal), 200);
    pass(3 * SECOND);
    assert.equal(await behind.send(portal.install(4)), 200);
    const { status, generation, version, uninstalledTs, installedTs } = await record();
    assert.deepEqual([status, generation, version], ["installed", 2, "4.0.0"]);
    assert.deepEqual(ran, ["ONAPPINSTALL", "ONAPPUNINSTALL", "ONAPPINSTALL"]);
    // A copy of the removal is late.
    assert(installedTs > uninstalledTs!);
    await close();
  });

  it("removes an app that was installed 3 seconds ago", async () => {
    const { portal, start, pass, record, close } = world();
    const [right, behind] = [start(0), start(-5 * SECOND)];
    await right.send(portal.install(2));
    pass(3 * SECOND);
    assert.equal(await behind.send(portal.uninstall()), 200);
    // Bitrix24 is asked once the clock has caught up.
    pass(5 * SECOND);
    await behind.app.tick();
    assert.equal((await record()).status, "uninstalled");
    await close();
  });

  it("keeps the event of a reinstallation that waits for its verification while the removal is retried", async () => {
    const made = world();
    const { portal, bitrix24, start, pass, record, close } = made;
    const [right, behind] = [start(0), start(-5 * SECOND)];
    await right.send(portal.install(2));
    pass(60 * SECOND);
    made.failRemovals = true;
    await right.send(portal.uninstall());
    pass(3 * SECOND);
    bitrix24.outage("down");
    await behind.send(portal.install(4));
    made.failRemovals = false;
    await right.app.admin.retry(MEMBER_ID, OPERATOR);
    await right.app.tick();
    bitrix24.outage();
    pass(60 * SECOND);
    await behind.app.tick();
    assert.deepEqual([(await record()).status, (await record()).version], ["installed", "4.0.0"]);
    await close();
  });

  it("raises a target that an operator has set 3 seconds ago", async () => {
    const { portal, start, pass, record, close } = world();
    const [right, behind] = [start(0), start(-5 * SECOND)];
    await right.send(portal.install(2));
    pass(60 * SECOND);
    await right.app.admin.setTarget(MEMBER_ID, "2", { by: "an operator", reason: "a test" });
    pass(3 * SECOND);
    await behind.send(portal.update(3));
    pass(5 * SECOND);
    await behind.app.tick();
    assert.equal((await record()).target, "3.0.0");
    await close();
  });
});

describe("an installation whose ts is before that of the removal", () => {
  it("is no late one if it is verified and has an application_token of its own", async () => {
    const { portal, start, pass, record, ran, close } = world();
    const { send } = start(0);
    await send(portal.install(2));
    pass(60 * SECOND);
    assert.equal(await send(portal.uninstall()), 200);
    pass(3 * SECOND);
    // The clock of the server that sends it was set back.
    assert.equal(await send(changed(portal.install(4), { ts: String((await record()).uninstalledTs! - 30) })), 200);
    const { status, generation, version } = await record();
    assert.deepEqual([status, generation, version], ["installed", 2, "4.0.0"]);
    assert.deepEqual(ran, ["ONAPPINSTALL", "ONAPPUNINSTALL", "ONAPPINSTALL"]);
    await close();
  });
});

describe("a process whose clock is ahead", () => {
  it("counts no removal as late that follows an opening", async () => {
    const { portal, start, pass, record, close } = world();
    const [right, ahead] = [start(0), start(8 * SECOND)];
    // Its event is lost.
    portal.install(2);
    pass(60 * SECOND);
    await ahead.app.open(portal.open());
    pass(3 * SECOND);
    assert.equal(await right.send(portal.uninstall()), 200);
    assert.equal((await record()).status, "uninstalled");
    await close();
  });
});
