import assert from "node:assert/strict";
import type { Admin, Attribution } from "@b24/onappupdate";
import { MEMBER_ID, rig } from "../../support/app.ts";
import { describe, it } from "../../support/test.ts";

/** Calls of each function that changes something. */
const ACTIONS: Readonly<Record<string, (admin: Admin, attribution: Attribution) => Promise<unknown>>> = {
  retry: (admin, attribution) => admin.retry(MEMBER_ID, attribution),
  skip: (admin, attribution) => admin.skip(MEMBER_ID, "3", attribution),
  rollback: (admin, attribution) => admin.rollback(MEMBER_ID, attribution),
  setInitialVersion: (admin, attribution) => admin.setInitialVersion(MEMBER_ID, "1", attribution),
  setTarget: (admin, attribution) => admin.setTarget(MEMBER_ID, "1", attribution),
  adopt: (admin, attribution) => admin.adopt([], attribution),
  forget: (admin, attribution) => admin.forget(MEMBER_ID, attribution),
  pause: (admin, attribution) => admin.pause(attribution),
  resume: (admin, attribution) => admin.resume(attribution),
  "outbox.retry": (admin, attribution) => admin.outbox.retry({ plugin: "telegram" }, attribution),
  recount: (admin, attribution) => admin.recount(attribution),
  "rollout.set": (admin, attribution) => admin.rollout.set("2.0.0", {}, attribution),
  "rollout.pause": (admin, attribution) => admin.rollout.pause("2.0.0", attribution),
  "rollout.resume": (admin, attribution) => admin.rollout.resume("2.0.0", attribution),
  "rollout.promote": (admin, attribution) => admin.rollout.promote("2.0.0", attribution),
  "rollout.abort": (admin, attribution) => admin.rollout.abort("2.0.0", attribution),
  check: (admin, attribution) => admin.noteAction({ action: "check", ...attribution }, () => Promise.resolve()),
  rehearse: (admin, attribution) => admin.noteAction({ action: "rehearse", ...attribution }),
  "silence.add": (admin, attribution) =>
    admin.silences.add({ target: "2.0.0", until: Date.now() + 60_000, ...attribution }),
  "silence.remove": (admin, attribution) => admin.silences.remove("1", attribution),
  export: (admin, attribution) => admin.noteAction({ action: "export", ...attribution }),
  batch: (admin, attribution) =>
    admin.batches.start({ action: "retry", match: { status: "parked" }, expect: 0, ...attribution }),
};

describe("PluginHost.admin", () => {
  it("names the plugin as the one who acts, whatever it says", async () => {
    const { app } = rig();
    let admin: Admin | undefined;
    app.use({ name: "telegram", setup: (host) => void (admin = host.admin) });
    await app.start();
    for (const [action, act] of Object.entries(ACTIONS)) {
      await act(admin!, { by: "ada", reason: `ada asked for ${action}` }).catch(() => {});
      const { items: [entry] } = await app.admin.audit({ limit: 1 });
      const seen = [entry?.action, entry?.by, entry?.reason];
      assert.deepEqual(seen, [action, "plugin:telegram", `ada asked for ${action}`]);
    }
    const names = [...Object.keys(app.admin), ...Object.keys(app.admin.rollout).map((name) => `rollout.${name}`)];
    const changing = names.filter((name) =>
      !/^(portals|runs|history|counts|health|diagnose|stuck|snapshots|unverified|audit|upgrades|paused|outbox|silences|batches|noteAction|rollout(\.status)?)$/
        .test(name)
    );
    assert.deepEqual(changing.filter((name) => !(name in ACTIONS)), [], "all of them are tried");
    await app.close();
  });

  it("does not retry the same failure of a portal again within an hour", async () => {
    const { app, send, portal, later } = rig({ retry: { maxAttempts: 1 } });
    let admin: Admin | undefined;
    let attempts = 0;
    const refusals: unknown[] = [];
    app.use({
      name: "impatient",
      setup: (host) => void (admin = host.admin),
      observe: {
        portalParked: async ({ memberId }) => {
          await admin!.retry(memberId, { by: "x", reason: "at once" }).catch((error) => refusals.push(error.code));
        },
      },
    }).upgrade("3", () => {
      attempts++;
      throw new Error("no");
    });
    await send(portal.install(2));
    await send(portal.update(3));
    await app.settled();
    assert.deepEqual([attempts, refusals], [2, ["retry_loop"]]);
    later();
    await admin!.retry(MEMBER_ID, { by: "x", reason: "two hours later" });
    await app.settled();
    assert.deepEqual([attempts, refusals.length], [3, 2]);
    await app.close();
  });
});
