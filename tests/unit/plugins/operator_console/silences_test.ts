import assert from "node:assert/strict";
import { memoryStorage } from "@b24/onappupdate";
import { OPERATOR_KINDS } from "../../../../plugins/notifications/kinds.ts";
import { SILENCED_KINDS } from "../../../../plugins/operator_console/silences.ts";
import { MEMBER_ID, post } from "../../../support/app.ts";
import { describe, it } from "../../../support/test.ts";
import { type ConsoleRig, consoleRig, cookiesOf } from "./_console.ts";

const NOW = Date.UTC(2026, 10, 30, 9);
const HOUR_MS = 60 * 60 * 1000;

function silencesRig(ofConsole: Parameters<typeof consoleRig>[1] = {}): ConsoleRig {
  const clock = (): number => NOW;
  return consoleRig({ retry: { maxAttempts: 1 }, storage: memoryStorage(), clock }, { clock, ...ofConsole });
}

/** Returns the names of the boxes that are ticked. */
function tickedIn(text: string): readonly string[] {
  return [...text.matchAll(/name="(kinds\.[^"]+)" value="true"\s+checked/g)].map(([, name]) => name!);
}

describe("silences in the console", () => {
  it("are added by a form, listed with who and why, and removed; the audit log has it all", async () => {
    const { app, open, send } = silencesRig();
    const empty = await open("/silences");
    assert.match(empty.text, /No silence holds/);
    assert.match(empty.text, /href="\/act\/addSilence\?back=%2Fsilences"/);

    const form = await open("/act/addSilence?back=%2Fsilences");
    assert.equal(form.status, 200);
    assert.deepEqual(tickedIn(form.text), []);
    for (const kind of SILENCED_KINDS) assert.ok(form.text.includes(`name="kinds.${kind}"`), kind);

    const added = await send("/act/addSilence", {
      ...{ "kinds.portal_parked": "true", "kinds.rollout_paused": "true", upgradeId: "3", fingerprint: "", target: "" },
      ...{ lasts: "8h", reason: "ticket 17", back: "/silences" },
    });
    assert.deepEqual([added.status, added.headers.get("location")], [303, "/silences"]);
    const [silence] = await app.admin.silences.list();
    assert.deepEqual(silence, {
      ...{ id: silence!.id, kinds: ["portal_parked", "rollout_paused"], upgradeId: "3" },
      ...{ by: "ada", reason: "ticket 17", since: NOW, until: NOW + 8 * HOUR_MS },
    });

    const page = await open("/silences", { cookie: cookiesOf(added) });
    assert.match(page.text, /<p>The silence holds\.<\/p>/);
    assert.match(page.text, /Portals are parked; A rollout has paused · upgrade 3/);
    assert.match(page.text, /<b>ada<\/b><br><span class="soft words">ticket 17/);
    assert.match(page.text, /in 8 hr/);
    assert.ok(page.text.includes(`/act/removeSilence?id=${silence!.id}&amp;back=%2Fsilences`));

    const removed = await send("/act/removeSilence", { id: silence!.id, reason: "deployed", back: "/silences" });
    assert.equal(removed.status, 303);
    assert.deepEqual(await app.admin.silences.list(), []);
    assert.equal((await send("/act/removeSilence", { id: silence!.id, reason: "again" })).status, 404);
    const entries = (await app.admin.audit()).items.map(({ action, by, reason, outcome }) => [
      ...[action, by, reason, outcome],
    ]);
    assert.deepEqual(entries, [
      ["silence.remove", "ada", "again", "refused"],
      ["silence.remove", "ada", "deployed", "done"],
      ["silence.add", "ada", "ticket 17", "done"],
    ]);
    await app.close();
  });

  it("are offered for a failure, with its upgrade and fingerprint, on the overview and on the page of the portal", async () => {
    const { app, portal, open, send } = silencesRig();
    app.upgrade("3", async ({ step }) => void await step("convert", () => Promise.reject(new Error("no list"))));
    await app.fetch(post(portal.install(2)));
    await app.fetch(post(portal.update(3)));
    const { upgradeId, fingerprint } = (await app.portal(MEMBER_ID))!.failure!;
    assert.ok(upgradeId !== undefined && fingerprint !== undefined);
    const query = `upgradeId=${upgradeId}&amp;fingerprint=${fingerprint}`;
    for (const path of ["/", `/portals/${MEMBER_ID}`]) {
      const { text } = await open(path);
      const back = encodeURIComponent(path);
      assert.ok(text.includes(`href="/act/addSilence?${query}&amp;back=${back}">Silence</a>`), path);
    }
    const form = await open(`/act/addSilence?${query.replace("&amp;", "&")}&back=%2F`);
    assert.match(form.text, new RegExp(`name="fingerprint"[^>]*value="${fingerprint}"`));
    assert.match(form.text, new RegExp(`name="upgradeId"[^>]*value="${upgradeId}"`));
    assert.equal(
      (await send("/act/addSilence", { upgradeId, fingerprint, lasts: "2h", reason: "x", back: "/" })).status,
      303,
    );
    const [silence] = await app.admin.silences.list();
    assert.deepEqual([silence?.upgradeId, silence?.fingerprint, silence?.kinds], [upgradeId, fingerprint, undefined]);
    const list = await open("/silences");
    assert.match(list.text, new RegExp(`All kinds · upgrade 3 · <a href="/portals\\?fingerprint=${fingerprint}">`));
    await app.close();
  });

  it("are refused with what was filled in: without anything to match, for no time, and for what is no kind", async () => {
    const { app, send } = silencesRig();
    const cases: readonly (readonly [Record<string, string>, RegExp])[] = [
      [{ lasts: "2h" }, /cannot add a silence of all notifications/],
      [{ "kinds.portal_parked": "true" }, /until: saw nothing/],
      [{ "kinds.portal_parked": "true", lasts: "toString" }, /until: saw nothing/],
      [{ "kinds.no kind": "true", lasts: "2h" }, /kinds/],
      [{ "kinds.portal_parked": "yes", lasts: "2h" }, /kinds\.portal_parked: saw a field that does not exist/],
      [{ "__proto__.x": "true", upgradeId: "3", lasts: "2h" }, /__proto__\.x: saw a field that does not exist/],
      [{ upgradeId: "3", until: "1", lasts: "2h" }, /until: saw a field that does not exist/],
      [{ upgradeId: "3", memberId: MEMBER_ID, lasts: "2h" }, /memberId: saw a field that does not exist/],
    ];
    for (const [form, problem] of cases) {
      const { status, text } = await send("/act/addSilence", { ...form, reason: "ticket 17" });
      assert.equal(status, 400, JSON.stringify(form));
      assert.match(text, problem);
    }
    const again = await send("/act/addSilence", {
      ...{ "kinds.portal_parked": "true", "kinds.channel_failing": "true", target: "3.0.0", lasts: "3d", reason: " " },
    });
    assert.equal(again.status, 400);
    assert.deepEqual(tickedIn(again.text), ["kinds.portal_parked", "kinds.channel_failing"]);
    assert.match(again.text, /name="target"[^>]*value="3\.0\.0"/);
    assert.match(again.text, /<option value="3d" selected>/);
    assert.deepEqual(await app.admin.silences.list(), []);
    await app.close();
  });

  it("are seen and not changed by who may only read", async () => {
    const { app, open, send } = silencesRig({ guard: () => ({ name: "bob", role: "read" }) });
    const { id } = await app.admin.silences.add({
      ...{ kinds: ["a_kind_of_another_plugin"], target: "3.0.0", until: NOW + HOUR_MS, by: "ada", reason: "x" },
    });
    const { text } = await open("/silences");
    assert.match(text, /a_kind_of_another_plugin · target 3\.0\.0/);
    assert.doesNotMatch(text, /\/act\//);
    assert.equal((await open("/act/addSilence")).status, 403);
    assert.equal((await send("/act/addSilence", { upgradeId: "3", lasts: "2h", reason: "x" })).status, 403);
    assert.equal((await send("/act/removeSilence", { id, reason: "x" })).status, 403);
    assert.equal((await app.admin.silences.list()).length, 1);
    const refused = (await app.admin.audit()).items.filter(({ by }) => by === "bob");
    assert.deepEqual(refused.map(({ action, outcome }) => [action, outcome]), [
      ["silence.remove", "refused"],
      ["silence.add", "refused"],
    ]);
    await app.close();
  });

  it("know each kind of notification that operators get", () => {
    assert.deepEqual(SILENCED_KINDS.toSorted(), OPERATOR_KINDS.toSorted());
  });
});
