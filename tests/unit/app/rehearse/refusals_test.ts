import assert from "node:assert/strict";
import { currentRehearsal, type Plugin, type PluginHost } from "@b24/onappupdate";
import { MEMBER_ID, OTHER_MEMBER_ID } from "../../../support/app.ts";
import { describe, it } from "../../../support/test.ts";
import { world } from "./_world.ts";

const REHEARSAL = { rehearsal: true } as const;

describe("app.rehearse() refusals", () => {
  it("names what is wrong with the portal, the target and the options", async () => {
    const { app, close } = await world((app) => app.upgrade("3", () => {}, REHEARSAL));
    await assert.rejects(app.rehearse(OTHER_MEMBER_ID), { name: "UnknownPortalError" });
    await assert.rejects(app.rehearse(""), { message: /^cannot rehearse with memberId ""/ });
    await assert.rejects(app.rehearse(MEMBER_ID, { target: "new" }), { name: "VersionError" });
    await assert.rejects(app.rehearse(MEMBER_ID, { target: "1" }), {
      code: "invalid_target",
      message: `cannot rehearse portal ${MEMBER_ID} up to 1.0.0: it is below its version 2.0.0`,
    });
    await assert.rejects(app.rehearse(MEMBER_ID, { version: "3" } as object), {
      message:
        /^cannot rehearse portal \w+ with the option version that does not exist, wanted target or recording or signal$/,
    });
    await assert.rejects(app.rehearse(MEMBER_ID, { signal: AbortSignal.abort(new Error("gone")), target: "3" }), {
      message: "gone",
    });
    await close();
    await assert.rejects(app.rehearse(MEMBER_ID), { name: "TypeError", message: /closed/ });
  });

  it("names what is wrong with a recording", async () => {
    const { app, close } = await world((app) => app.upgrade("3", () => {}, REHEARSAL));
    const { recording } = await app.rehearse(MEMBER_ID);
    assert.deepEqual([recording.format, recording.memberId, recording.reads], [1, MEMBER_ID, []]);
    const rehearse = (change: object) =>
      app.rehearse(MEMBER_ID, { recording: { ...recording, ...change } as typeof recording });
    await assert.rejects(rehearse({ format: 2 }), {
      name: "FormatError",
      message: "the recording has format 2, wanted 1; deploy the version of @b24/onappupdate that wrote it",
    });
    await assert.rejects(rehearse({ memberId: OTHER_MEMBER_ID }), {
      name: "TypeError",
      message: new RegExp(`cannot rehearse portal ${MEMBER_ID} with a recording of portal "${OTHER_MEMBER_ID}"`),
    });
    for (const change of [{ format: undefined }, { reads: [{}] }, { reads: "none" }]) {
      await assert.rejects(rehearse(change), { message: /with recording an object, wanted the recording of a report/ });
    }
    await close();
  });

  it("is busy while a worker is processing the portal, and tells if one began meanwhile", async () => {
    const [rehearsing, running, go] = Array.from({ length: 3 }, () => Promise.withResolvers<void>());
    const made = await world((app) =>
      app.upgrade("3", async ({ mode }) => {
        (mode === "rehearsal" ? rehearsing : running)!.resolve();
        await go!.promise;
      }, REHEARSAL)
    );
    const rehearsal = made.app.rehearse(MEMBER_ID, { target: "3" });
    await rehearsing!.promise;
    const sent = made.send(made.portal.update(3));
    await running!.promise;
    await assert.rejects(made.app.rehearse(MEMBER_ID), { code: "busy" });
    go!.resolve();
    assert.deepEqual((await rehearsal).notRehearsed, [
      { what: "the state of the portal", why: "a worker has processed the portal meanwhile" },
    ]);
    await sent;
    await made.close();
  });

  it("has an empty report for a portal that is on its target, or was removed", async () => {
    const made = await world((app) => app.upgrade("3", () => assert.fail("nothing is due"), REHEARSAL));
    const current = await made.app.rehearse(MEMBER_ID);
    assert.deepEqual([current.upgrades, current.obstacle, current.isComplete], [[], undefined, true]);
    assert.equal(current.text, `Rehearsal of portal ${MEMBER_ID} on 2.0.0: complete\nNo upgrade is due`);
    await made.send(made.portal.uninstall());
    const removed = await made.app.rehearse(MEMBER_ID, { target: "3" });
    assert.deepEqual([removed.upgrades, removed.obstacle], [[], "the app was removed from the portal"]);
    await made.close();
  });

  it("changes nothing by what plugins and handlers have of the app", async () => {
    const tried: string[] = [];
    let host: PluginHost | undefined;
    const careless: Plugin = {
      name: "careless",
      rehearsal: true,
      setup: (given) => {
        host = given;
      },
      around: async (_ctx, next) => {
        if (currentRehearsal() !== undefined) {
          const attribution = { by: "ada", reason: "test" };
          const attempts: Readonly<Record<string, () => Promise<unknown>>> = {
            "host.storage": () => host!.storage.put(["a"], 1),
            "host.storage.write": async () => await host!.storage.write?.([{ put: ["a"], value: 1 }]) ?? assert.fail(),
            "host.fetch": () => host!.fetch("https://vendor.example/"),
            "host.portalFetch": () => host!.portalFetch("https://vendor.example/", { method: "POST", body: "{}" }),
            "host.admin": () => host!.admin.pause(attribution),
            "app.admin": () => made.app.admin.setTarget(MEMBER_ID, "9", attribution),
          };
          for (const [name, attempt] of Object.entries(attempts)) {
            await attempt().then(() => assert.fail(name), (error) => tried.push(`${name}: ${error.name}`));
          }
        }
        await next();
      },
    };
    const made = await world((app) => app.use(careless).upgrade("3", () => {}, REHEARSAL));
    made.written();
    const { notRehearsed } = await made.app.rehearse(MEMBER_ID, { target: "3" });
    assert.deepEqual(tried.map((line) => line.split(": ")[0]), [
      ...["host.storage", "host.storage.write", "host.fetch", "host.portalFetch", "host.admin", "app.admin"],
    ]);
    assert.deepEqual(made.written(), []);
    assert.deepEqual(made.others, []);
    assert.deepEqual(notRehearsed.map(({ what }) => what), ["GET to vendor.example", "POST to vendor.example"]);
    assert.equal(await made.app.admin.paused(), undefined);
    await made.close();
  });

  it("reports a plugin that fails, and reaches no upgrade then", async () => {
    const failing: Plugin = {
      name: "failing",
      rehearsal: true,
      around: (_ctx, next) => currentRehearsal() === undefined ? next() : Promise.reject(new Error("no scope")),
    };
    const made = await world((app) => app.use(failing).upgrade("3", () => {}, REHEARSAL));
    const { upgrades } = await made.app.rehearse(MEMBER_ID, { target: "3" });
    assert.deepEqual(upgrades.map(({ outcome, why }) => [outcome, why]), [[
      "not_reached",
      "a plugin failed: no scope",
    ]]);
    await made.close();
  });
});
