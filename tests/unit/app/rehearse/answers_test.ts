import assert from "node:assert/strict";
import { currentRehearsal, type UpgradeContext } from "@b24/onappupdate";
import { type HasB24, resultOf } from "@b24/onappupdate/rest";
import { MEMBER_ID } from "../../../support/app.ts";
import { describe, it } from "../../../support/test.ts";
import { systemTime, type Time } from "../../../../src/async/time.ts";
import { virtualTime } from "../../../support/time.ts";
import { type World, world } from "./_world.ts";

const REHEARSAL = { rehearsal: true } as const;
const TO_3 = { target: "3" };

type Handler = (ctx: UpgradeContext & HasB24) => void | Promise<void>;

/** Returns a world with one upgrade, and with deals on its portal. */
async function worldOf(handler: Handler, ...options: readonly (object | undefined)[]): Promise<World> {
  const made = await world((app) => app.upgrade("3", handler, REHEARSAL), ...options);
  made.portal.data("crm.deal.list", Array.from({ length: 3 }, (_, i) => ({ ID: String(i + 1), TITLE: `deal ${i}` })));
  made.portal.answer("crm.deal.get", ({ params }) => ({ ID: params["id"] ?? params["ID"] }));
  return made;
}

describe("answers in a rehearsal", () => {
  it("are true, a negative id, or the entity, as the method has it", async () => {
    const answers: unknown[] = [];
    const made = await worldOf(async ({ b24 }) => {
      for (
        const method of ["crm.deal.add", "crm.lead.add", "crm.deal.update", "crm.deal.delete", "bizproc.robot.add"]
      ) {
        answers.push(await b24.call(method, { fields: { TITLE: "a" } }));
      }
      answers.push(await b24.call("crm.item.add", { entityTypeId: 2, fields: { title: "a" } }));
      answers.push(await b24.call("crm.item.update", { entityTypeId: 2, id: 7, fields: { title: "b" } }));
      answers.push(await b24.v3.call("tasks.task.add", { fields: { title: "c" } }));
    });
    const { writes, isComplete } = await made.app.rehearse(MEMBER_ID, TO_3);
    const id = -1_000_000_001;
    assert.deepEqual(answers, [
      ...[id, id - 1, true, true, true],
      ...[{ item: { title: "a", id: id - 2 } }, { item: { title: "b", id: 7 } }, { item: { title: "c", id: id - 3 } }],
    ]);
    assert.equal(isComplete, true);
    assert.equal(writes.at(-1)?.method, "api/tasks.task.add");
    assert.deepEqual(made.calls().filter(({ method }) => method !== "profile"), []);
    await made.close();
  });

  it("find nothing that the rehearsal has added, and say so", async () => {
    const made = await worldOf(async ({ b24 }) => {
      const id = await b24.addOnce<number>("crm.deal.add", { fields: { TITLE: "a" } }, { key: "k1" });
      await b24.call("crm.deal.update", { id, fields: { TITLE: "b" } });
      await b24.call("crm.deal.get", { id });
    });
    const { upgrades: [upgrade], writes } = await made.app.rehearse(MEMBER_ID, TO_3);
    assert.deepEqual([upgrade?.outcome, upgrade?.why], [
      "incomplete",
      "crm.deal.get: it reads what the rehearsal has added as -1000000001, and the portal does not have that",
    ]);
    assert.deepEqual(writes.map(({ method }) => method), ["crm.deal.add", "crm.deal.update"]);
    assert.deepEqual(made.calls().map(({ method }) => method), ["crm.deal.list"]);
    await made.close();
  });

  it("to batches come from the portal for reads and from the table for writes, with references between them", async () => {
    let outcomes: unknown;
    const made = await worldOf(async ({ b24 }) => {
      outcomes = await b24.batch({
        first: ["crm.deal.list", { filter: { ID: 2 } }],
        copy: ["crm.deal.add", { fields: { TITLE: resultOf("first", 0, "TITLE") } }],
        note: ["crm.timeline.comment.add", { fields: { ENTITY_ID: resultOf("copy"), COMMENT: "copied" } }],
        second: ["crm.deal.get", { id: resultOf("first", 0, "ID") }],
      });
    });
    const { writes, calls, time } = await made.app.rehearse(MEMBER_ID, TO_3);
    const id = -1_000_000_001;
    assert.deepEqual(outcomes, {
      first: { ok: true, value: [{ ID: "2", TITLE: "deal 1" }], total: 1 },
      copy: { ok: true, value: id },
      note: { ok: true, value: id - 1 },
      second: { ok: true, value: { ID: "2" } },
    });
    assert.deepEqual(writes.map(({ params }) => params), [
      { fields: { TITLE: "deal 1" } },
      { fields: { ENTITY_ID: id, COMMENT: "copied" } },
    ]);
    assert.deepEqual(calls.map(({ method, count }) => [method, count]), [
      ["crm.deal.list", 1],
      ["crm.deal.add", 1],
      ["crm.timeline.comment.add", 1],
      ["crm.deal.get", 1],
    ]);
    assert.equal(time.requests, 1);
    assert.deepEqual(made.calls().map(({ method }) => method), ["batch", "crm.deal.list", "batch", "crm.deal.get"]);
    await made.close();
  });

  it("to a halted batch end at the first read that fails", async () => {
    let ran: unknown;
    const made = await worldOf(async ({ b24 }) => {
      const { bad, deal } = await b24.batch({ bad: ["crm.none.get"], deal: ["crm.deal.add", {}] }, { halt: true });
      ran = [bad.ok, deal.ok];
    });
    const { writes } = await made.app.rehearse(MEMBER_ID, TO_3);
    assert.deepEqual([ran, writes], [[false, false], []]);
    await made.close();
  });

  it("are those of an earlier rehearsal, if its recording is passed: a JSON value without tokens", async () => {
    let isNew = false;
    const made = await worldOf(async ({ b24 }) => {
      const deals = await Array.fromAsync(b24.list<{ ID: string }>("crm.deal.list"));
      await b24.batchEach(deals, ({ ID }) => ["crm.deal.get", { id: ID }]);
      await b24.call("crm.deal.update", { id: deals[0]?.ID, fields: { TITLE: "x" } });
      if (isNew) await b24.call("crm.deal.get", { id: 9 });
    });
    // An answer may quote the token, such as that of a file in its URL.
    made.portal.answer("crm.deal.get", ({ params }) => ({ ID: params["id"], URL: `https://x?auth=${token()}` }));
    const token = () => usedToken;
    let usedToken = "";
    usedToken = (await made.app.credentials.get(MEMBER_ID)).accessToken.reveal();
    const { recording, ...first } = await made.app.rehearse(MEMBER_ID, TO_3);
    made.calls();
    const json = JSON.stringify(recording);
    assert.ok(!json.includes(usedToken) && !first.text.includes(usedToken));
    const again = await made.app.rehearse(MEMBER_ID, { ...TO_3, recording: JSON.parse(json) });
    assert.deepEqual(made.calls(), []);
    assert.deepEqual([again.writes, again.calls, again.time, again.text], [
      first.writes,
      first.calls,
      first.time,
      first.text,
    ]);
    assert.deepEqual(again.recording.reads, recording.reads);
    isNew = true;
    const more = await made.app.rehearse(MEMBER_ID, { ...TO_3, recording });
    assert.deepEqual(made.calls().map(({ method }) => method), ["crm.deal.get"]);
    assert.equal(more.recording.reads.length, recording.reads.length + 1);
    await made.close();
  });

  it("end after 200 requests to the portal, whatever the handler catches", async () => {
    const made = await worldOf(async ({ b24 }) => {
      for (let id = 1; id <= 500; id++) await b24.call("crm.deal.get", { id }).catch(() => {});
    });
    const { upgrades: [upgrade], calls, isComplete } = await made.app.rehearse(MEMBER_ID, TO_3);
    assert.deepEqual(
      [upgrade?.outcome, upgrade?.why, isComplete],
      ["incomplete", "not rehearsed further: it has sent 200 reads to the portal", false],
    );
    assert.deepEqual(calls, [{ method: "crm.deal.get", count: 200, isRead: true }]);
    assert.equal(made.calls().length, 200);
    await made.close();
  });

  it("end after 60 seconds, also if the handler does not heed its signal, and stay away afterwards", async () => {
    let expire = (): void => assert.fail("no timer of 60 seconds");
    const time: Time = {
      ...systemTime,
      setTimer: (run, ms, options) => {
        if (ms === 60_000) expire = run;
        return ms === 60_000 ? () => {} : systemTime.setTimer(run, ms, options);
      },
    };
    const left = Promise.withResolvers<void>();
    const waits = Promise.withResolvers<void>();
    const late = Promise.withResolvers<readonly PromiseSettledResult<unknown>[]>();
    const made = await worldOf(async ({ b24, fetch }) => {
      waits.resolve();
      await left.promise;
      late.resolve(
        await Promise.allSettled([
          b24.call("crm.deal.get", { id: 1 }),
          b24.call("crm.deal.add"),
          fetch("https://a.example"),
        ]),
      );
    }, { time } as object);
    const rehearsal = made.app.rehearse(MEMBER_ID, TO_3);
    await waits.promise;
    expire();
    const { upgrades: [upgrade] } = await rehearsal;
    assert.deepEqual([upgrade?.outcome, upgrade?.why], [
      "incomplete",
      "not rehearsed further: it has taken 60 seconds",
    ]);
    made.calls();
    left.resolve();
    const outcomes = await late.promise;
    assert.deepEqual(outcomes.map(({ status }) => status), ["rejected", "rejected", "rejected"]);
    assert.deepEqual([made.calls(), made.others], [[], []]);
    await made.close();
  });

  it("wait for the portal's rate only if they come from the portal; the report estimates what a run takes", async () => {
    const time = virtualTime();
    const timer = {
      now: time.monotonic,
      sleep: (ms: number) => new Promise<void>((done) => void time.setTimer(done, ms)),
    };
    const made = await worldOf(
      async ({ b24 }) => {
        for (let i = 0; i < 50; i++) await b24.call("crm.deal.update", { id: 1, fields: { N: i } });
      },
      {},
      { timer, rate: { burst: 10, perSecond: 2 } },
    );
    const { time: estimate } = await made.app.rehearse(MEMBER_ID, TO_3);
    assert.deepEqual(estimate, { requests: 50, rateMs: 20_000, sleepMs: 0, minMs: 20_000 });
    assert.equal(time.monotonic(), 0);
    await made.close();
  });

  it("count a read once that is repeated with a refreshed token, and store nothing but that pair", async () => {
    const made = await worldOf(async ({ b24 }) => void await b24.call("crm.deal.get", { id: 1 }));
    made.portal.expireTokens();
    const before = await made.storage.get(["portal", MEMBER_ID]);
    const { calls, time, isComplete, recording } = await made.app.rehearse(MEMBER_ID, TO_3);
    assert.deepEqual(recording.reads.map(({ status, answer }) => [status, Object(answer).result]), [[200, { ID: 1 }]]);
    assert.deepEqual([calls, time.requests, isComplete], [
      [{ method: "crm.deal.get", count: 1, isRead: true }],
      1,
      true,
    ]);
    const written = made.written();
    assert.deepEqual([...new Set(written)], [`credentials/${MEMBER_ID}`]);
    assert.deepEqual(await made.storage.get(["portal", MEMBER_ID]), before);
    await made.close();
  });

  it("store nothing if the pair cannot be refreshed: the upgrade is blocked", async () => {
    const made = await worldOf(async ({ b24 }) => void await b24.call("crm.deal.get", { id: 1 }));
    made.portal.expireTokens({ refresh: true });
    const before = await made.storage.get<object>(["portal", MEMBER_ID]);
    const { upgrades: [upgrade] } = await made.app.rehearse(MEMBER_ID, TO_3);
    assert.equal(upgrade?.outcome, "blocked");
    assert.match(upgrade?.why ?? "", /^on authorization: cannot call portal/);
    assert.deepEqual((await made.storage.get<object>(["portal", MEMBER_ID]))?.value, before?.value);
    await made.close();
  });

  it("are not those of another portal", async () => {
    const other = "74ef8a46a75104de55d5d4a61b98ab6d";
    const made = await worldOf(async () => {
      assert.equal(currentRehearsal()?.memberId, MEMBER_ID);
      await made.app.credentials.get(other);
    });
    const { upgrades: [upgrade] } = await made.app.rehearse(MEMBER_ID, TO_3);
    assert.deepEqual([upgrade?.outcome, upgrade?.why], [
      "incomplete",
      `cannot rehearse a call of portal ${other}: the rehearsal is one of another portal`,
    ]);
    await made.close();
  });
});
