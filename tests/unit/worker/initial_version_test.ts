import assert from "node:assert/strict";
import { type AppOptions, createApp, deployed, memoryStorage, type Plugin } from "@b24/onappupdate";
import { MEMBER_ID, type Rig, rig } from "../../support/app.ts";
import { describe, it } from "../../support/test.ts";
import { until } from "../../support/until.ts";

const BY = { by: "ada", reason: "as in the old database" };
const HOUR = 60 * 60 * 1000;

interface Made extends Rig {
  readonly ran: string[];
  /** The reports of observers about blocked portals. */
  readonly blocks: string[];
  now: number;
}

/** Returns an app with upgrades to 2.0.0 and 3.0.0. */
function setUp(options: Partial<AppOptions> = {}): Made {
  const clock = (): number => made.now;
  const [ran, blocks]: [string[], string[]] = [[], []];
  const observer: Plugin = {
    name: "observer",
    observe: { portalBlocked: ({ on, message }) => void blocks.push(`${on}: ${message}`) },
  };
  const made: Made = { ...rig({ clock, tickEveryMs: false, ...options }), ran, blocks, now: Date.now() };
  made.app.use(observer).on("ONAPPUPDATE", ({ event }) => void ran.push(`ONAPPUPDATE ${event.data.version}`));
  for (const version of ["2", "3"]) made.app.upgrade(version, ({ from }) => void ran.push(`${version} from ${from}`));
  return made;
}

/** Returns the ONAPPUPDATE of a portal that had version 2 of the app before, without PREVIOUS_VERSION. */
function firstUpdate({ portal }: Made): string {
  portal.install(2);
  return portal.update(3).replace(/&data%5BPREVIOUS_VERSION%5D=2/, "");
}

describe("an unknown portal's first ONAPPUPDATE without PREVIOUS_VERSION", () => {
  it("is kept, and the portal is blocked on `version` and visible, until an operator sets it", async () => {
    const made = setUp();
    const { app, send, ran, blocks } = made;
    assert.equal(await send(firstUpdate(made)), 200);
    await made.settled();
    const { items: [portal, ...others] } = await app.admin.portals({ blockedOn: "version" });
    assert.deepEqual([portal?.memberId, portal?.version, portal?.target, others], [MEMBER_ID, undefined, "3.0.0", []]);
    assert.match(portal!.blocked!.message, /admin\.setInitialVersion\(\).*initialVersion/);
    assert.deepEqual((await app.admin.portals({ status: "blocked" })).items.length, 1);
    assert.deepEqual([ran, blocks.length], [[], 1]);

    made.now += 2 * HOUR;
    await app.tick();
    // It is the same block.
    assert.deepEqual([ran, blocks.length], [[], 1]);

    await app.admin.setInitialVersion(MEMBER_ID, "1.4", BY);
    await until("the upgrades", () => ran.length === 3);
    assert.deepEqual(ran, ["2 from 1.4.0", "3 from 1.4.0", "ONAPPUPDATE 3"]);
    const { initialVersion, version, blocked } = (await app.portal(MEMBER_ID))!;
    assert.deepEqual([initialVersion, version, blocked], ["1.4.0", "3.0.0", undefined]);
    const line = made.lines.map((line) => JSON.parse(line)).find(({ event }) => event === "version.initial_set");
    assert.deepEqual([line.memberId, line.version], [MEMBER_ID, "1.4.0"]);
    const { items: [entry] } = await app.admin.audit();
    assert.deepEqual([entry?.action, entry?.by, entry?.reason], ["setInitialVersion", BY.by, BY.reason]);
    await app.close();
  });

  it("is answered at once by the option `initialVersion`, also for a version above the target", async () => {
    const expected = [
      ["1", ["2 from 1.0.0", "3 from 1.0.0", "ONAPPUPDATE 3"]],
      ["2", ["3 from 2.0.0", "ONAPPUPDATE 3"]],
      ["9", ["ONAPPUPDATE 3"]],
    ] as const;
    for (const [initialVersion, wanted] of expected) {
      const made = setUp({ initialVersion });
      assert.equal(await made.send(firstUpdate(made)), 200);
      assert.deepEqual([made.ran, made.blocks], [wanted, []]);
      await made.app.close();
    }
  });

  it("is blocked while the function returns nothing, and says why it fails", async () => {
    let answer: () => string | undefined = () => undefined;
    const made = setUp({ initialVersion: () => answer() });
    await made.send(firstUpdate(made));
    const failures = [
      () => "latest",
      () => {
        throw new Error("the old database is down");
      },
      () => Promise.reject(new Error("nobody awaits it")) as never,
      () => 2 as never,
    ];
    const messages: string[] = [];
    for (const failure of failures) {
      answer = failure;
      made.now += 2 * HOUR;
      await made.app.tick();
      messages.push((await made.app.portal(MEMBER_ID))!.blocked!.message);
    }
    assert.match(made.blocks[0]!, /^version: the version of the portal's data is not known/);
    assert.match(messages[0]!, /^initialVersion failed: cannot read version "latest"/);
    assert.equal(messages[1], "initialVersion failed: the old database is down");
    assert.match(messages[2]!, /it returned a promise, wanted a version as a string/);
    assert.match(messages[3]!, /it returned a value of type number/);
    assert.equal(made.blocks.length, 1);
    answer = () => "2.0.0";
    made.now += 2 * HOUR;
    await made.app.tick();
    assert.deepEqual(made.ran, ["3 from 2.0.0", "ONAPPUPDATE 3"]);
    await made.app.close();
  });
});

describe("deployed() with a portal that had the app before", () => {
  it("asks for its version, and does not take it to be on that of the code", async () => {
    const seen: unknown[] = [];
    const made = setUp({
      versions: deployed("2.0.0"),
      initialVersion: ({ name, auth, data }) => {
        seen.push([name, auth.memberId, auth.domain, data.version]);
        return "1.0.0";
      },
    });
    const { portal, app, send, ran } = made;
    portal.install(1);
    assert.equal(await send(portal.event("ONAPPTEST", {})), 200);
    assert.deepEqual(ran, []);
    // An ONAPPINSTALL might be on its way.
    made.now += 60_000;
    await app.tick();
    assert.deepEqual(ran, ["2 from 1.0.0", "ONAPPUPDATE 2.0.0"]);
    assert.deepEqual(seen, [["ONAPPUPDATE", MEMBER_ID, portal.domain, "2.0.0"]]);
    await app.close();
  });

  it("is blocked without the option; a new installation is not, also if another event overtakes it", async () => {
    for (const isNew of [true, false]) {
      const made = setUp({ versions: deployed("2.0.0") });
      const { portal, app, send, ran, blocks } = made;
      const install = portal.install(1);
      assert.equal(await send(portal.userReady()), 200);
      if (isNew) assert.equal(await send(install), 200);
      made.now += 60_000;
      await app.tick();
      assert.deepEqual([ran, blocks.length], [[], isNew ? 0 : 1]);
      assert.equal((await app.portal(MEMBER_ID))!.version, isNew ? "2.0.0" : undefined);
      await app.close();
    }
  });
});

describe("admin.setInitialVersion()", () => {
  it("is refused if the version is known, is above the target, or the app was removed", async () => {
    const made = setUp();
    const { app, send, portal } = made;
    await send(firstUpdate(made));
    const set = (version: string): Promise<void> => app.admin.setInitialVersion(MEMBER_ID, version, BY);
    const refusal = (message: RegExp) => ({ code: "invalid_version", message });
    await assert.rejects(set("4"), refusal(/to 4\.0\.0: it is above its target 3\.0\.0$/));
    await assert.rejects(set("latest"), { code: "version" });
    await assert.rejects(app.admin.setInitialVersion(MEMBER_ID, "1", { by: "", reason: "" }), TypeError);
    await assert.rejects(
      app.admin.setTarget(MEMBER_ID, "5", BY),
      { code: "invalid_target", message: /admin\.setInitialVersion\(\)/ },
    );
    await set("3");
    await assert.rejects(set("2"), refusal(/it is known, and is 3\.0\.0$/));
    await send(portal.uninstall());
    await assert.rejects(set("2"), refusal(/the app was removed from it$/));
    await assert.rejects(app.admin.setInitialVersion("f".repeat(32), "2", BY), { code: "unknown_portal" });
    await app.close();
  });
});

describe("the option initialVersion", () => {
  it("is a version or a function", () => {
    for (const initialVersion of ["latest", "", 2, null]) {
      assert.throws(
        () => createApp({ storage: memoryStorage(), initialVersion: initialVersion as never }),
        {
          name: "TypeError",
          message: /initialVersion.*wanted a version such as "1\.0\.0", or a function that returns one/,
        },
      );
    }
  });
});

describe("a portal that is blocked on its version", () => {
  it("does not start on the version of a forged ONAPPINSTALL, which any of its users can post", async () => {
    const made = setUp();
    const { app, portal, send, ran } = made;
    portal.install(2);
    portal.update(3);
    await send(portal.userReady());
    made.now += 2 * 60_000;
    await app.tick();
    assert.equal((await app.portal(MEMBER_ID))?.blocked?.on, "version");
    await send(portal.forge("ONAPPINSTALL", { VERSION: "3" }));
    await app.settled();
    const { version, blocked } = (await app.portal(MEMBER_ID))!;
    assert.deepEqual([version, blocked?.on, ran], [undefined, "version", []]);
    await app.close();
  });
});
