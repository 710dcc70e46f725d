import assert from "node:assert/strict";
import { B24Error, createApp, type Observers } from "@b24/onappupdate";
import { crashEverywhere, fakeBitrix24, type FakePortal } from "@b24/onappupdate/testing";
import { CLIENT_ID, MEMBER_ID, movableClock, type Rig, rig, trustAll } from "../../support/app.ts";
import { describe, it } from "../../support/test.ts";
import { until } from "../../support/until.ts";
import { OPERATOR } from "../../support/operator.ts";

interface Installing extends Rig {
  /** Number of times that the handler of ONAPPINSTALL fails from now on. */
  failures: number;
  /** The handlers that ran, in order. */
  readonly ran: string[];
  readonly blocks: Parameters<Observers["portalBlocked"]>[0][];
}

/** Returns an app with an upgrade to 3, whose handler of ONAPPINSTALL fails at first. */
function installing(failures: number, options: Parameters<typeof rig>[0] = {}): Installing {
  const ran: string[] = [];
  const blocks: Installing["blocks"] = [];
  const made: Installing = { ...rig({ retry: { maxAttempts: 11 }, ...options }), ran, blocks, failures };
  made.app.use({ name: "blocks", observe: { portalBlocked: (report) => void blocks.push(report) } })
    .on("ONAPPINSTALL", ({ event }) => {
      ran.push(`install ${event.data.version}`);
      if (made.failures-- > 0) throw new Error("the CRM is down");
    })
    .on("ONAPPUPDATE", ({ event }) => void ran.push(`update ${event.data.version}`))
    .upgrade("3", ({ step }) => step("one", () => void ran.push("upgrade 3")));
  return made;
}

async function versionOf({ app }: Rig): Promise<string | undefined> {
  return (await app.portal(MEMBER_ID))?.version;
}

/** Ticks until nothing more happens. */
async function retryAll({ app, later }: Rig): Promise<void> {
  let result: Awaited<ReturnType<typeof app.tick>>;
  do {
    later();
    result = await app.tick();
  } while (result.handled + result.failed > 0);
}

describe("upgrades wait for the portal's installer", () => {
  for (const failures of [0, 1, 10]) {
    it(`that fails ${failures} times`, async () => {
      const made = installing(failures);
      await made.send(made.portal.install(2));
      await made.send(made.portal.update(3));
      await retryAll(made);
      assert.deepEqual(made.ran, [
        ...Array<string>(failures + 1).fill("install 2"),
        ...["upgrade 3", "update 3"],
      ]);
      assert.equal(await versionOf(made), "3.0.0");
      assert.deepEqual(made.blocks, []);
      await made.app.close();
    });
  }

  it("that fails for ever: then the portal is blocked on installation, until admin.retry()", async () => {
    const made = installing(Infinity);
    await made.send(made.portal.install(2));
    await made.send(made.portal.update(3));
    const block = async () => (await made.app.portal(MEMBER_ID))?.blocked;
    assert.equal(await block(), undefined, "it is retried");
    await retryAll(made);
    const { blocked, failure, version, target } = (await made.app.portal(MEMBER_ID))!;
    assert.deepEqual([version, target, failure], ["2.0.0", "3.0.0", undefined]);
    assert.deepEqual(blocked, {
      on: "installation",
      message: "ONAPPINSTALL: the CRM is down",
      since: blocked?.since,
    });
    const { memberId, on, message } = made.blocks[0]!;
    assert.deepEqual([memberId, on, message], [MEMBER_ID, "installation", "ONAPPINSTALL: the CRM is down"]);
    assert.equal(made.blocks.length, 1);
    const { items: found } = await made.app.admin.portals({ status: "blocked", blockedOn: "installation" });
    assert.deepEqual(found.map(({ memberId }) => memberId), [MEMBER_ID]);
    assert.equal(made.ran.filter((one) => one === "install 2").length, 11);
    assert(!made.ran.includes("upgrade 3"));
    // Neither a later update nor time changes that.
    await made.send(made.portal.update(4));
    await retryAll(made);
    assert.deepEqual([await versionOf(made), (await block())?.on], ["2.0.0", "installation"]);
    made.failures = 0;
    await made.app.admin.retry(MEMBER_ID, OPERATOR);
    await until("the portal is upgraded", async () => await versionOf(made) === "4.0.0");
    assert.equal(await block(), undefined);
    assert.deepEqual(await made.app.admin.portals({ blockedOn: "installation" }), { items: [] });
    await made.app.close();
  });

  for (const bytes of [0, 10_000]) {
    it(`until admin.skip(), also if its event has ${bytes} bytes more`, async () => {
      const made = installing(1, { retry: { maxAttempts: 1 } });
      await made.send(`${made.portal.install(2)}&data[MORE]=${"x".repeat(bytes)}`);
      await made.send(made.portal.update(3));
      assert.equal((await made.app.portal(MEMBER_ID))?.blocked?.on, "installation");
      await made.app.admin.skip(MEMBER_ID, "ONAPPINSTALL", OPERATOR);
      await until("the portal is upgraded", async () => await versionOf(made) === "3.0.0");
      await retryAll(made);
      assert.deepEqual(made.ran, ["install 2", "upgrade 3", "update 3"]);
      await assert.rejects(made.app.admin.skip(MEMBER_ID, "ONAPPINSTALL", OPERATOR), { code: "not_due" });
      await made.app.close();
    });
  }

  it("if another event has introduced the portal", async () => {
    // An ONAPPINSTALL that comes late says no more on which version the portal starts.
    const { clock, later } = movableClock();
    const made = { ...installing(1, { clock }), later };
    const install = made.portal.install(2);
    await made.send(made.portal.userReady());
    await made.send(install);
    await made.send(made.portal.update(3));
    await retryAll(made);
    assert.deepEqual(made.ran, ["install 2", "install 2", "upgrade 3", "update 3"]);
    await made.app.close();
  });

  it("that is blocked, until an event ends the block", async () => {
    const made = installing(0);
    let isGranted = false;
    made.app.on("ONAPPINSTALL", () => {
      const code = "insufficient_scope";
      if (!isGranted) throw new B24Error({ code, description: "", status: 403, method: "crm.deal.list" });
    });
    await made.send(made.portal.install(2));
    assert.equal((await made.app.portal(MEMBER_ID))?.blocked?.on, "scope");
    isGranted = true;
    await made.send(made.portal.update(3));
    assert.deepEqual(made.ran, ["install 2", "install 2", "upgrade 3", "update 3"]);
    await made.app.close();
  });

  it("of each installation", async () => {
    const made = installing(0);
    for (const failures of [0, 1]) {
      made.failures = failures;
      made.ran.length = 0;
      await made.send(made.portal.install(2));
      await made.send(made.portal.update(3));
      await retryAll(made);
      assert.deepEqual(made.ran, [...Array<string>(failures + 1).fill("install 2"), "upgrade 3", "update 3"]);
      await made.send(made.portal.uninstall());
    }
    await made.app.close();
  });

  it("and no longer for one that is removed while it fails", async () => {
    const made = installing(Infinity, { retry: { maxAttempts: 1 } });
    await made.send(made.portal.install(2));
    await made.send(made.portal.uninstall());
    made.failures = 0;
    await made.send(made.portal.install(3));
    assert.deepEqual([await versionOf(made), made.ran], ["3.0.0", ["install 2", "install 3"]]);
    await made.app.close();
  });
});

describe("a later ONAPPINSTALL", () => {
  it("is an update: upgrades do not wait for its handlers, which run after them", async () => {
    const made = installing(0);
    await made.send(made.portal.install(2));
    made.failures = 1;
    await made.send(made.portal.update(3, { as: "ONAPPINSTALL" }));
    assert.deepEqual([await versionOf(made), made.ran], ["3.0.0", ["install 2", "upgrade 3", "install 3"]]);
    await retryAll(made);
    assert.deepEqual(made.ran.slice(3), ["install 3"]);
    await made.app.close();
  });

  it("waits for the installer, too", async () => {
    const made = installing(1);
    await made.send(made.portal.install(2));
    await made.send(made.portal.update(3, { as: "ONAPPINSTALL" }));
    await retryAll(made);
    assert.deepEqual(made.ran, ["install 2", "install 2", "upgrade 3", "install 3"]);
    await made.app.close();
  });
});

describe("an installer that fails once, with a crash at any operation,", () => {
  it("is followed by the upgrades", async () => {
    let portal: FakePortal;
    const ran: string[] = [];
    let hasFailed = false;
    const report = await crashEverywhere({
      pairs: 20,
      reset: () => {
        portal = fakeBitrix24({ clientId: CLIENT_ID }).portal({ memberId: MEMBER_ID });
        ran.length = 0;
        hasFailed = false;
      },
      app: (environment) =>
        createApp({ ...environment, acknowledge: "stored" }).use(trustAll)
          .on("ONAPPINSTALL", () => {
            ran.push(hasFailed ? "installed" : "failed");
            if (hasFailed) return;
            hasFailed = true;
            throw new Error("the CRM is down");
          })
          .upgrade("3", () => void ran.push("upgrade 3")),
      events: [() => portal.install(2), () => portal.update(3)],
      check: async (app) => {
        assert.equal((await app.portal(MEMBER_ID))?.version, "3.0.0");
        assert(ran.indexOf("installed") > -1 && ran.indexOf("installed") < ran.indexOf("upgrade 3"), ran.join());
      },
    });
    assert(report.executions > 30, JSON.stringify(report));
  });
});
