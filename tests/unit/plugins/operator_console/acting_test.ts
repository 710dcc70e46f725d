import assert from "node:assert/strict";
import { deployed, memoryStorage } from "@b24/onappupdate";
import { ACTIONS } from "../../../../plugins/operator_console/actions.ts";
import { MEMBER_ID, OTHER_MEMBER_ID, post } from "../../../support/app.ts";
import { memberIds, storeInstalled, tickOut } from "../../../support/rollout.ts";
import { describe, it } from "../../../support/test.ts";
import { type ConsoleRig, consoleRig, cookiesOf } from "./_console.ts";

/** Returns a console with a portal that is parked before version 3, and a second one that `update` parks. */
async function parkedRig(options: Parameters<typeof consoleRig>[1] = {}): Promise<
  ConsoleRig & { readonly update: () => Promise<void> }
> {
  const rig = consoleRig({ retry: { maxAttempts: 1 }, storage: memoryStorage() }, options);
  const { app, portal, bitrix24 } = rig;
  app.upgrade("3", async ({ step }) => void await step("convert", () => Promise.reject(new Error("no <b>list</b>"))));
  const other = bitrix24.portal({ memberId: OTHER_MEMBER_ID, domain: "other.bitrix24.example" });
  const deliver = async (body: string): Promise<void> => void await app.fetch(post(body));
  await deliver(portal.install(2));
  await deliver(other.install(2));
  await deliver(portal.update(3));
  return { ...rig, update: () => deliver(other.update(3)) };
}

/** Returns the hidden fields of the form of an action. */
function hiddenOf(text: string): Record<string, string> {
  const [, form = ""] = /<form[^>]*class="act"[^>]*>([^]*?)<\/form>/.exec(text) ?? [];
  return Object.fromEntries(
    [...form.matchAll(/<input\s+type="hidden"\s+name="([^"]*)"\s+value="([^"]*)"/g)].map(([, name, value]) => [
      name!,
      value!,
    ]),
  );
}

describe("the overview of the console should", () => {
  it("offer the next stage of a rollout once: a form that is sent twice begins one", async () => {
    const storage = memoryStorage();
    await storeInstalled(storage, memberIds(20), "1.0.0");
    const stages = [{ portals: 5 }, { percent: 50 }, { percent: 100 }];
    const { app, open, send } = consoleRig({ storage, versions: deployed("2.0.0"), rollout: { stages } });
    app.upgrade("2.0.0", () => {});
    await tickOut(app);
    const [address] = (await open("/")).text.match(/\/act\/promoteRollout[^"]*/) ?? [];
    const form = await open(address!.replaceAll("&amp;", "&"));
    const fields = [...form.text.matchAll(/<input type="hidden" name="(target|stage|back)" value="([^"]*)"/g)];
    const sent = { ...Object.fromEntries(fields.map(([, name, value]) => [name, value])), reason: "ticket 17" };
    const answers = await Promise.all([send("/act/promoteRollout", sent), send("/act/promoteRollout", sent)]);
    assert.deepEqual(answers.map(({ status }) => status).sort(), [303, 409]);
    const status = await app.admin.rollout.status();
    assert.deepEqual(status?.stages.map(({ state }) => state), ["over", "present", "later"]);
    await app.close();
  });

  it("offer to retry only the portals of a group, and none that an operator has rolled back", async () => {
    const { app, bitrix24, portal, open } = consoleRig({ retry: { maxAttempts: 1 } });
    app.upgrade("3", ({ portal: { memberId } }) => {
      if (memberId === OTHER_MEMBER_ID) throw new Error("no list");
    });
    const other = bitrix24.portal({ memberId: OTHER_MEMBER_ID, domain: "other.bitrix24.example" });
    for (const body of [portal.install(2), other.install(2), portal.update(3), other.update(3)]) {
      await app.fetch(post(body));
      await app.settled();
    }
    await app.admin.rollback(MEMBER_ID, { by: "ada", reason: "ticket 17" });
    assert.deepEqual((await app.admin.stuck()).map(({ message, count }) => [message, count]), [
      ["rolled back", 1],
      ["no list", 1],
    ]);
    const links = (await open("/")).text.match(/\/act\/startBatch[^"]*/g) ?? [];
    assert.equal(links.length, 1);
    assert.match(links[0]!, /match\.fingerprint=/);
    await app.close();
  });
});

describe("actions of the console", () => {
  it("say what they do, ask for a reason, and are in the audit log with who did it", async () => {
    const { app, open, send } = await parkedRig();
    const page = await open(`/act/retryPortal?portal=${MEMBER_ID}&back=%2F%3Fx%3D1`);
    assert.equal(page.status, 200);
    assert.match(page.text, /Parked/);
    assert.match(page.text, /name="reason"[^>]*required/);
    assert.deepEqual(hiddenOf(page.text), { portal: MEMBER_ID, back: "/?x=1" });
    assert.equal((await app.admin.audit()).items.length, 0, "a look changes nothing");

    const done = await send("/act/retryPortal", { ...hiddenOf(page.text), reason: "ticket 17" });
    assert.deepEqual([done.status, done.headers.get("location")], [303, "/?x=1"]);
    const { items: [entry] } = await app.admin.audit();
    assert.deepEqual([entry?.action, entry?.by, entry?.reason, entry?.memberId, entry?.outcome], [
      ...["retry", "ada", "ticket 17", MEMBER_ID, "done"],
    ]);
    const next = await open("/", { cookie: cookiesOf(done) });
    assert.match(next.text, /<p>The portal is retried\.<\/p>/);
    assert.match(next.headers.getSetCookie()[0]!, /-flash=; .*Max-Age=0/);
    const live = await open("/", { cookie: cookiesOf(done), "x-console-live": "1" });
    assert.doesNotMatch(live.text, /The portal is retried/);
    await app.close();
  });

  it("report nothing that is not in the table of strings", async () => {
    const { app, open, send } = await parkedRig();
    const cookie = cookiesOf(await send("/act/pause", { reason: "x", back: "/" }));
    const name = cookie.split("=")[0]!;
    const forged = (value: unknown): string => `${name}=${btoa(JSON.stringify(value))}`;
    for (const value of [["call 555", {}], ["__proto__", {}], [1], null, ["act.pause.done"]]) {
      const { status, text } = await open("/", { cookie: forged(value) });
      assert.equal(status, 200);
      assert.doesNotMatch(text, /555/);
    }
    const { text } = await open("/", { cookie: forged(["act.startBatch.done", { count: "<img src=x>" }]) });
    assert.doesNotMatch(text, /<img/);
    await app.close();
  });

  it("act on all portals that match, and on none if more match than were shown", async () => {
    const { app, open, send, update } = await parkedRig();
    const page = await open("/act/startBatch?action=retry&match.status=parked&back=%2F");
    assert.match(page.text, /1 portal matches now/);
    const shown = hiddenOf(page.text);
    assert.deepEqual(shown, { action: "retry", "match.status": "parked", back: "/", expect: "1" });
    await update();
    const refused = await send("/act/startBatch", { ...shown, reason: "ticket 17" });
    assert.equal(refused.status, 409);
    assert.match(refused.text, /Nothing was done: 2 portals match now, more than were shown/);
    assert.match(refused.text, /name="reason"[^>]*value="ticket 17"/);
    assert.deepEqual(hiddenOf(refused.text), { ...shown, expect: "2" });
    assert.deepEqual(await app.admin.batches.list(), []);

    const started = await send("/act/startBatch", { ...hiddenOf(refused.text), reason: "ticket 17" });
    assert.equal(started.status, 303);
    assert.match((await open("/", { cookie: cookiesOf(started) })).text, /Started for 2 portals/);
    const [batch] = await app.admin.batches.list();
    assert.deepEqual([batch?.action, batch?.by, batch?.matched], ["retry", "ada", 2]);
    assert.deepEqual((await app.admin.audit({ action: "batch" })).items.map(({ outcome }) => outcome), [
      "done",
      "refused",
    ]);
    await app.close();
  });

  it("act on no other portals than those that a list by a former domain shows", async () => {
    const { app, open, portal, update } = await parkedRig();
    await update();
    const former = portal.domain;
    portal.rename("renamed.bitrix24.de");
    await app.check(portal.memberId);
    const { text } = await open(`/portals?status=parked&formerDomain=${former}`);
    const [, address = ""] = /href="(\/act\/startBatch\?action=retry[^"]*)"/.exec(text) ?? [];
    const page = await open(address.replaceAll("&amp;", "&"));
    assert.match(page.text, /1 portal matches now/);
    assert.equal(hiddenOf(page.text)["match.formerDomain"], former);
    await app.close();
  });

  it("show the form again with what is wrong, and with what was written", async () => {
    const { app, send } = await parkedRig();
    const portal = MEMBER_ID;
    const cases: readonly (readonly [string, Record<string, string>, number, RegExp])[] = [
      ["retryPortal", { portal }, 400, /Nothing was done: reason: saw nothing/],
      ["retryPortal", { portal, reason: "   " }, 400, /reason/],
      [
        "skipUpgrade",
        { portal, reason: "x", upgradeId: '"><i>9' },
        409,
        /value="&quot;&gt;&lt;i&gt;9"|&quot;&gt;&lt;i&gt;9/,
      ],
      ["setTarget", { portal, reason: "<b>why</b>", version: "x" }, 400, /value="&lt;b&gt;why&lt;\/b&gt;"/],
      ["setTarget", { portal, reason: "x", version: "1" }, 409, /Nothing was done/],
      ["startBatch", { action: "retry", reason: "x", "match.status": "parked" }, 400, /expect/],
    ];
    for (const [action, form, status, text] of cases) {
      const answer = await send(`/act/${action}`, form);
      assert.equal(answer.status, status, JSON.stringify([action, form]));
      assert.match(answer.text, text);
      assert.match(answer.text, /class="act"/);
      assert.doesNotMatch(answer.text, /<i>9|<b>why/);
    }
    assert.ok((await app.admin.audit()).items.every(({ outcome }) => outcome !== "done"));
    await app.close();
  });

  it("refuse what is no action, no portal or no field", async () => {
    const { app, open, send } = await parkedRig();
    assert.equal((await send("/act/adoptPortals", { reason: "x" })).status, 404);
    assert.equal((await send("/act/listPortals", {})).status, 404);
    assert.equal((await send("/act/__proto__", {})).status, 404);
    assert.equal((await open(`/act/retryPortal?portal=${"0".repeat(32)}`)).status, 404);
    assert.equal((await send("/act/retryPortal", { portal: "0".repeat(32), reason: "x" })).status, 404);
    const unknown = await send("/act/retryPortal", { portal: MEMBER_ID, reason: "x", by: "eve" });
    assert.equal(unknown.status, 400);
    assert.match(unknown.text, /by: saw a field that does not exist/);
    assert.equal((await open(`/act/retryPortal?portal=${MEMBER_ID}&nothing=1`)).status, 400);
    assert.equal((await app.admin.audit()).items.length, 0);
    await app.close();
  });

  it("need the role `operate`, and record who has tried without it", async () => {
    const { app, open, send, consoleLines } = await parkedRig({ guard: () => ({ name: "bob", role: "read" }) });
    assert.equal((await open(`/act/retryPortal?portal=${MEMBER_ID}`)).status, 403);
    assert.equal((await send("/act/retryPortal", { portal: MEMBER_ID, reason: "x" })).status, 403);
    const { items: [entry] } = await app.admin.audit();
    assert.deepEqual([entry?.action, entry?.by, entry?.outcome], ["retry", "bob", "refused"]);
    assert.match(consoleLines.join(), /operator\.forbidden/);
    assert.match(consoleLines.join(), /console refused an action/);
    assert.doesNotMatch(consoleLines.join(), /operator API/);
    await app.close();
  });

  it("pause and resume all work, and act on portals and messages", async () => {
    const { app, send } = await parkedRig();
    const portal = MEMBER_ID;
    const act = async (action: string, form: Record<string, string> = {}): Promise<number> =>
      (await send(`/act/${action}`, { reason: "ticket 17", ...form })).status;
    assert.equal(await act("pause"), 303);
    assert.equal((await app.admin.paused())?.by, "ada");
    assert.equal(await act("resume"), 303);
    assert.equal(await app.admin.paused(), undefined);
    assert.equal(await act("skipUpgrade", { portal, upgradeId: "3" }), 303);
    await app.settled();
    assert.equal((await app.portal(portal))?.version, "3.0.0");
    assert.equal(await act("setTarget", { portal, version: "4" }), 303);
    assert.equal((await app.portal(portal))?.target, "4.0.0");
    assert.equal(await act("setInitialVersion", { portal, version: "1" }), 409);
    assert.equal(await act("rollBackPortal", { portal }), 409);
    assert.equal(await act("retryOutbox", { plugin: "mail" }), 303);
    assert.equal(await act("recount"), 303);
    assert.equal(await act("forgetPortal", { portal }), 303);
    assert.equal((await app.portal(portal))?.domain, "", "a tombstone");
    await app.close();
  });

  it("show what a check and a rehearsal have found out", async () => {
    const { app, send } = await parkedRig();
    const form = { portal: MEMBER_ID, back: `/portals/${MEMBER_ID}` };
    const check = await send("/act/checkPortal", form);
    assert.equal(check.status, 200);
    assert.match(check.text, /Installed version<\/dt>\s*<dd>3\.0\.0/);
    const rehearsal = await send("/act/rehearsePortal", form);
    assert.equal(rehearsal.status, 200);
    assert.match(rehearsal.text, /<pre class="report"[^>]*>[^<]*not rehearsed/);
    assert.match(rehearsal.text, new RegExp(`href="/portals/${MEMBER_ID}"`));
    assert.equal((await send("/act/rehearsePortal", { ...form, target: "x" })).status, 400);
    await app.close();
  });

  it("change a rollout", async () => {
    const rig = consoleRig({
      ...{ storage: memoryStorage() },
      rollout: { stages: [{ portals: 1 }, { percent: 100 }], appliesTo: "all" },
    });
    const { app, portal, send, open } = rig;
    app.upgrade("3", () => {});
    await app.fetch(post(portal.install(2)));
    await app.fetch(post(portal.update(3)));
    const target = "3.0.0";
    const act = async (action: string, form: Record<string, string> = {}): Promise<number> =>
      (await send(`/act/${action}`, { reason: "ticket 17", target, ...form })).status;
    assert.equal(await act("pauseRollout"), 303);
    assert.match((await open("/act/resumeRollout?target=3.0.0")).text, /name="retryParked" value="true"/);
    assert.equal(await act("resumeRollout", { retryParked: "true" }), 303);
    assert.equal(await act("resumeRollout", { retryParked: "maybe" }), 400);
    assert.equal(await act("promoteRollout"), 303);
    assert.equal(await act("promoteRollout"), 409);
    assert.equal(await act("abortRollout"), 303);
    assert.equal(await act("pauseRollout", { target: "9.0.0" }), 404);
    const actions = (await app.admin.audit()).items.filter(({ outcome }) => outcome === "done").map(({ action }) =>
      action
    );
    assert.deepEqual(actions.filter((action) => action.startsWith("rollout")), [
      ...["rollout.abort", "rollout.promote", "rollout.resume", "rollout.pause"],
    ]);
    await app.close();
  });

  it("have a page each, in both languages", async () => {
    const { app, open } = await parkedRig();
    for (const id of Object.keys(ACTIONS)) {
      const isOfPortal = /Portal|skip|setTarget|setInitial/.test(id);
      const query = isOfPortal ? `portal=${MEMBER_ID}` : id === "startBatch" ? "action=retry&match.status=parked" : "";
      for (const language of ["en", "ru"]) {
        const { status, text } = await open(`/act/${id}?${query}`, { "accept-language": language });
        assert.equal(status, 200, id);
        assert.match(text, /<button/);
      }
    }
    await app.close();
  });
});
