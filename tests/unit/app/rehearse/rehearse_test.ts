import assert from "node:assert/strict";
import { isReadMethod, NonRetriableError, type Plugin, RetryAfterError } from "@b24/onappupdate";
import { registrations } from "@b24/onappupdate/registrations";
import { MEMBER_ID } from "../../../support/app.ts";
import { describe, it, mock } from "../../../support/test.ts";
import { countsOf, type World, world } from "./_world.ts";

const REHEARSAL = { rehearsal: true } as const;

/** README's example of calls to a portal, with a portal of 120 deals. */
async function readmeWorld(): Promise<World> {
  const made = await world((app) =>
    app.use(registrations({
      placements: [{ placement: "CRM_DEAL_DETAIL_TAB", handler: "https://app.example.com/deal", title: "Rating" }],
      events: [{ event: "ONCRMDEALADD", handler: "https://app.example.com/b24/events" }],
    })).upgrade("3", async ({ b24, step, pages }) => {
      await step("field", async () => {
        const known = await b24.call<unknown[]>("crm.deal.userfield.list", { filter: { FIELD_NAME: "UF_CRM_RATING" } });
        if (known.length === 0) {
          await b24.call("crm.deal.userfield.add", { fields: { FIELD_NAME: "RATING", USER_TYPE_ID: "integer" } });
        }
      });
      await pages("deals", 0, async (cursor) => {
        const { items, next } = await b24.page<{ ID: string }>("crm.deal.list", {}, { after: cursor });
        await b24.batchEach(items, ({ ID }) => ["crm.deal.update", { id: ID, fields: { UF_CRM_RATING: 5 } }]);
        return { next, done: items.length };
      });
    }, { requires: { scope: "crm" }, ...REHEARSAL })
  );
  const { portal } = made;
  portal.dropRegistrations();
  portal.data("crm.deal.list", Array.from({ length: 120 }, (_, i) => ({ ID: String(i + 1), TITLE: `deal ${i}` })));
  portal.answer("crm.deal.userfield.list", () => []);
  portal.answer("crm.deal.userfield.add", () => 42);
  portal.answer("crm.deal.update", () => true);
  return made;
}

describe("app.rehearse()", () => {
  it("reports what a run of README's example then does, call by call, and writes nothing", async () => {
    const made = await readmeWorld();
    const observed = made.names().length;
    const report = await made.app.rehearse(MEMBER_ID, { target: "3" });

    assert.deepEqual([report.from, report.to, report.obstacle, report.isComplete], ["2.0.0", "3.0.0", undefined, true]);
    assert.deepEqual(report.upgrades, [{
      ...{ id: "3", range: "3", outcome: "rehearsed" },
      steps: [{ name: "field", kind: "step" }, { name: "deals", kind: "pages", pages: 3, done: 120 }],
    }]);
    assert.deepEqual(
      report.changes["registrations"]!.map(({ action, kind }) => `${action} ${kind}`).sort(),
      ["add events", "add placements"],
    );
    const whileRehearsed = made.calls();
    assert.deepEqual(whileRehearsed.filter(({ method }) => method !== "batch" && !isReadMethod(method)), []);
    assert.deepEqual(made.written(), []);
    assert.equal(made.names().length, observed);
    assert.equal((await made.app.portal(MEMBER_ID))?.version, "2.0.0");

    await made.send(made.portal.update(3));
    assert.equal((await made.app.portal(MEMBER_ID))?.version, "3.0.0");
    const run = made.calls().filter(({ at, method, isInBatch }) =>
      at === "portal" && (method !== "profile" || isInBatch)
    );
    assert.deepEqual(
      report.writes.map(({ method, params }) => ({ method, params })),
      run.filter(({ method }) => method !== "batch" && !isReadMethod(method)).map(({ method, params }) => ({
        method,
        params,
      })),
    );
    assert.deepEqual(Object.fromEntries(report.calls.map(({ method, count }) => [method, count])), countsOf(run));
    assert.equal(report.time.requests, run.filter(({ isInBatch }) => isInBatch !== true).length);
    await made.close();
  });

  it("says for each write where it was made, and is a text for people", async () => {
    const made = await world((app) =>
      app.upgrade("3", async ({ b24, step }) => {
        await step("deal", () => b24.call("crm.deal.add", { fields: { TITLE: "Ada" } }));
        await b24.call("crm.stage.recalculate", { id: 1 });
      }, REHEARSAL)
    );
    const { writes, calls, text } = await made.app.rehearse(MEMBER_ID, { target: "3" });
    assert.deepEqual(writes, [
      {
        ...{ method: "crm.deal.add", params: { fields: { TITLE: "Ada" } }, result: -1_000_000_001 },
        ...{ upgradeId: "3", step: "deal" },
      },
      { method: "crm.stage.recalculate", params: { id: 1 }, result: true, upgradeId: "3", isUnknown: true },
    ]);
    assert.deepEqual(calls.map(({ isRead }) => isRead), [false, false]);
    assert.equal(
      text,
      `Rehearsal of portal ${MEMBER_ID} from 2.0.0 to 3.0.0: not complete
Upgrades:
- 3: rehearsed
  step "deal"
Calls:
- 1 crm.deal.add (write)
- 1 crm.stage.recalculate (write)
Writes:
- crm.deal.add {"fields":{"TITLE":"Ada"}} in step "deal" of 3
- crm.stage.recalculate {"id":1} in 3; the method is not known
Not rehearsed:
- the answer to crm.stage.recalculate: the method is not known; it counts as a write and was answered with true
Time: at least 0 s: 2 requests in 0 s at the portal's rate, and 0 s of sleeps`,
    );
    await made.close();
  });

  it("does not run upgrades and plugins that do not say { rehearsal: true }, and names them", async () => {
    let effects = 0;
    const database: Plugin<object, { database: () => void }> = {
      name: "database",
      adds: ["database"],
      extend: () => ({ database: () => void effects++ }),
      around: async (_ctx, next) => {
        effects++;
        await next();
      },
    };
    const made = await world((app) =>
      app.use(database)
        .upgrade("2.5", async () => void await globalThis.fetch("https://vendor.example/mails"))
        .upgrade("3", ({ database }) => database(), REHEARSAL)
        .on("ONAPPUPDATE", () => void effects++)
    );
    const before = effects;
    const fetched = mock.method(globalThis, "fetch", () => Promise.reject(new Error("no network")));
    const { upgrades, notRehearsed, isComplete } = await made.app.rehearse(MEMBER_ID, { target: "3" });
    fetched.mock.restore();
    assert.deepEqual([effects, fetched.mock.callCount()], [before, 0]);
    assert.equal(isComplete, false);
    assert.deepEqual(upgrades.map(({ id, outcome }) => [id, outcome]), [["2.5", "not_rehearsed"], ["3", "incomplete"]]);
    assert.deepEqual(notRehearsed, [
      { what: "upgrade 2.5", why: "it does not say { rehearsal: true }" },
      { what: "upgrade 3", why: "ctx.database: plugin database adds it, and does not say { rehearsal: true }" },
      { what: "plugin database", why: "it does not say { rehearsal: true }" },
      { what: "handlers of ONAPPUPDATE", why: "handlers of events are not rehearsed" },
      { what: "ctx.database", why: "plugin database adds it, and does not say { rehearsal: true }" },
    ]);
    await made.close();
  });

  it("refuses ctx.fetch without a trace of what it would have sent, and names the host", async () => {
    const modes: string[] = [];
    const made = await world((app) =>
      app.upgrade("3", async ({ fetch, mode, step }) => {
        modes.push(mode);
        await step("mail", async () => {
          const response = await fetch("https://vendor.example/mails/s3cret?key=s3cret", { method: "POST" });
          await response.body?.cancel();
        });
      }, REHEARSAL)
    );
    const { upgrades: [upgrade], text } = await made.app.rehearse(MEMBER_ID, { target: "3" });
    assert.deepEqual([upgrade?.outcome, upgrade?.steps], ["incomplete", [{ name: "mail", kind: "step" }]]);
    assert.match(upgrade?.why ?? "", /^POST to vendor\.example: a rehearsal calls only the portal/);
    assert.doesNotMatch(text, /s3cret/);
    assert.deepEqual(made.others, []);
    await made.send(made.portal.update(3));
    assert.deepEqual(made.others, ["POST https://vendor.example/mails/s3cret?key=s3cret"]);
    assert.deepEqual(modes, ["rehearsal", "run"]);
    await made.close();
  });

  it("goes on if the handler catches the refusal, and still names it", async () => {
    let isFailing = false;
    const made = await world((app) =>
      app.upgrade("3", async ({ fetch, b24 }) => {
        await fetch("https://vendor.example/").catch(() => {});
        await b24.call("crm.deal.add");
        if (isFailing) throw new Error("no mail");
      }, REHEARSAL)
    );
    const why = "GET to vendor.example: a rehearsal calls only the portal, and only to read";
    const caught = await made.app.rehearse(MEMBER_ID, { target: "3" });
    assert.deepEqual([caught.upgrades[0]?.outcome, caught.writes.length, caught.isComplete], ["rehearsed", 1, false]);
    assert.deepEqual(caught.notRehearsed.map(({ what, why }) => `${what}: ${why}`), [why]);
    isFailing = true;
    const [failed] = (await made.app.rehearse(MEMBER_ID, { target: "3" })).upgrades;
    assert.deepEqual([failed?.outcome, failed?.why], ["incomplete", `${why}; then it failed: no mail`]);
    await made.close();
  });

  it("runs steps, pages and sleeps as a run, and waits for no sleep", async () => {
    const done: unknown[] = [];
    const made = await world((app) =>
      app.upgrade("3", async ({ step, sleep, pages, attempt }) => {
        done.push("begin");
        const large = await step("large", () => ({ at: new Date(0), text: "x".repeat(1000) }));
        await sleep("a day", 86_400_000);
        done.push([typeof large.at, large.text.length, attempt]);
        done.push(await pages("all", 0, (cursor) => ({ next: cursor < 2 ? cursor + 1 : null, done: 10 })));
        await sleep("an hour", 3_600_000);
      }, REHEARSAL)
    );
    const { upgrades: [upgrade], time } = await made.app.rehearse(MEMBER_ID, { target: "3" });
    const result = ["string", 1000, 1];
    assert.deepEqual(done, ["begin", "begin", result, 30, "begin", result, 30]);
    assert.deepEqual(upgrade, {
      ...{ id: "3", range: "3", outcome: "rehearsed" },
      steps: [
        { name: "large", kind: "step" },
        { name: "a day", kind: "sleep", ms: 86_400_000 },
        { name: "all", kind: "pages", pages: 3, done: 30 },
        { name: "an hour", kind: "sleep", ms: 3_600_000 },
      ],
    });
    assert.deepEqual(time, { requests: 0, rateMs: 0, sleepMs: 90_000_000, minMs: 90_000_000 });
    assert.deepEqual(made.written(), []);
    await made.close();
  });

  it("continues a run where it is, without its finished steps", async () => {
    let isBroken = true;
    const ran: string[] = [];
    const made = await world((app) =>
      app.upgrade("3", async ({ step }) => {
        const one = await step("one", () => ran.push("one"));
        await step("two", () => {
          ran.push(`two after ${one}`);
          if (isBroken) throw new NonRetriableError("broken");
        });
      }, REHEARSAL)
    );
    await made.send(made.portal.update(3));
    assert.equal((await made.app.portal(MEMBER_ID))?.failure?.message, "broken");
    made.written();
    const failing = await made.app.rehearse(MEMBER_ID);
    assert.equal(failing.obstacle, "the portal is parked: broken");
    assert.deepEqual(failing.upgrades, [{
      ...{ id: "3", range: "3", outcome: "failed", why: "broken" },
      steps: [{ name: "one", kind: "step", wasDone: true }, { name: "two", kind: "step" }],
    }]);
    isBroken = false;
    assert.equal((await made.app.rehearse(MEMBER_ID)).upgrades[0]?.outcome, "rehearsed");
    assert.deepEqual(ran, ["one", "two after 1", "two after 1", "two after 1"]);
    assert.deepEqual(made.written(), []);
    await made.close();
  });

  it("continues pages and sleeps where the run is", async () => {
    let now = Date.UTC(2027, 0, 1);
    let isBroken = true;
    const cursors: number[] = [];
    const made = await world((app) =>
      app.upgrade("3", async ({ pages, sleep }) => {
        await pages("all", 0, (cursor) => {
          cursors.push(cursor);
          if (isBroken && cursor === 1) throw new NonRetriableError("broken");
          return { next: cursor < 2 ? cursor + 1 : null, done: 10 };
        });
        await sleep("an hour", 3_600_000);
      }, REHEARSAL), { clock: () => now });
    await made.send(made.portal.update(3));
    const broken = await made.app.rehearse(MEMBER_ID);
    assert.deepEqual(broken.upgrades[0]?.steps, [{ name: "all", kind: "pages", pages: 1, done: 10 }]);
    isBroken = false;
    const repaired = await made.app.rehearse(MEMBER_ID);
    assert.deepEqual(repaired.upgrades[0]?.steps, [
      { name: "all", kind: "pages", pages: 3, done: 30 },
      { name: "an hour", kind: "sleep", ms: 3_600_000 },
    ]);
    assert.deepEqual(cursors, [0, 1, 1, 1, 2]);
    await made.app.admin.retry(MEMBER_ID, { by: "ada", reason: "test" });
    await made.app.settled(MEMBER_ID);
    now += 600_000;
    const asleep = await made.app.rehearse(MEMBER_ID);
    assert.equal(asleep.obstacle, "an upgrade sleeps until 2027-01-01T01:00:00.000Z");
    assert.deepEqual(asleep.upgrades[0]?.steps, [
      { name: "all", kind: "pages", pages: 3, done: 30, wasDone: true },
      { name: "an hour", kind: "sleep", ms: 3_600_000 },
    ]);
    assert.equal(asleep.time.sleepMs, 3_000_000);
    await made.close();
  });

  it("names a step of pages whose first page fails", async () => {
    const made = await world((app) =>
      app.upgrade("3", async ({ pages }) => {
        await pages("all", 0, () => {
          throw new Error("broken");
        });
      }, REHEARSAL)
    );
    const { upgrades: [upgrade] } = await made.app.rehearse(MEMBER_ID, { target: "3" });
    assert.deepEqual([upgrade?.outcome, upgrade?.steps], ["failed", [{ name: "all", kind: "pages" }]]);
    await made.close();
  });

  it("ends at an upgrade that fails, and tells what comes after it", async () => {
    const made = await world((app) =>
      app.upgrade("2.1", ({ b24 }) => b24.call("crm.deal.get", { id: 1 }).then(() => {}), REHEARSAL)
        .upgrade("2.2", () => {}, REHEARSAL)
        .upgrade("2.3", () => {})
    );
    const { upgrades, calls } = await made.app.rehearse(MEMBER_ID, { target: "3" });
    assert.deepEqual(upgrades.map(({ id, outcome }) => [id, outcome]), [
      ["2.1", "failed"],
      ["2.2", "not_reached"],
      ["2.3", "not_rehearsed"],
    ]);
    assert.match(upgrades[0]?.why ?? "", /crm\.deal\.get answered 404 ERROR_METHOD_NOT_FOUND/);
    assert.equal(upgrades[1]?.why, "upgrade 2.1 is failed");
    assert.deepEqual(calls, [{ method: "crm.deal.get", count: 1, isRead: true }]);
    await made.close();
  });

  it("tells of scopes that are missing, of waits that a handler asks for, and of refusals of the portal", async () => {
    const made = await world((app) =>
      app.upgrade("2.1", () => {
        throw new RetryAfterError(60_000, "busy");
      }, REHEARSAL)
    );
    const [waiting] = (await made.app.rehearse(MEMBER_ID, { target: "3" })).upgrades;
    assert.deepEqual([waiting?.outcome, waiting?.why], ["failed", "busy"]);
    await made.close();

    const scoped = await world((app) =>
      app.upgrade("2.1", () => {}, { ...REHEARSAL, requires: { scope: ["crm", "disk"] } })
    );
    const [blocked] = (await scoped.app.rehearse(MEMBER_ID, { target: "3" })).upgrades;
    assert.deepEqual(
      [blocked?.outcome, blocked?.why],
      ["blocked", "it needs the scopes disk, which the portal has not granted"],
    );
    await scoped.close();

    const unpaid = await world((app) =>
      app.upgrade("2.1", ({ b24 }) => b24.call("crm.deal.list").then(() => {}), REHEARSAL)
    );
    unpaid.portal.data("crm.deal.list", []);
    unpaid.portal.stopPayment();
    const [refused] = (await unpaid.app.rehearse(MEMBER_ID, { target: "3" })).upgrades;
    assert.equal(refused?.outcome, "blocked");
    assert.match(refused?.why ?? "", /^on payment: /);
    assert.deepEqual(unpaid.written(), []);
    await unpaid.close();
  });
});
