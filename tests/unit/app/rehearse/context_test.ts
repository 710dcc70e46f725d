import { B24OAuth } from "@bitrix24/b24jssdk";
import assert from "node:assert/strict";
import { clearInterval, setInterval } from "node:timers";
import { b24jssdk } from "@b24/onappupdate/b24jssdk";
import { MEMBER_ID } from "../../../support/app.ts";
import { describe, it } from "../../../support/test.ts";
import { world } from "./_world.ts";

const REHEARSAL = { rehearsal: true } as const;
const TO_3 = { target: "3" };

/** A queue such as a vendor's limit of requests: its tasks run in the asynchronous context that `start` is called in. */
function createQueue(): {
  readonly start: () => void;
  readonly add: <T>(task: () => Promise<T>) => Promise<T>;
  readonly stop: () => void;
} {
  const tasks: (() => void)[] = [];
  let timer: ReturnType<typeof setInterval> | undefined;
  return {
    start: () => timer ??= setInterval(() => tasks.splice(0).forEach((task) => task()), 1),
    add: (task) => new Promise((resolve, reject) => tasks.push(() => void task().then(resolve, reject))),
    stop: () => clearInterval(timer),
  };
}

describe("a queue whose tasks run in another asynchronous context", () => {
  it("does not write in a rehearsal", async () => {
    const queue = createQueue();
    queue.start();
    const made = await world((app) =>
      app.upgrade("3", async ({ b24, fetch, step }) => {
        await queue.add(() => b24.call("crm.deal.add", { fields: { TITLE: "a" } }));
        await queue.add(() => b24.batch({ a: ["crm.deal.list"], b: ["crm.deal.delete", { id: 1 }] }));
        await queue.add(() => step("add", async () => void await b24.v3.call("tasks.task.add", { fields: {} })));
        await queue.add(() => fetch("https://vendor.example/mails", { method: "POST" }));
      }, REHEARSAL)
    );
    made.portal.data("crm.deal.list", [{ ID: "1" }]);
    const { writes, upgrades: [upgrade] } = await made.app.rehearse(MEMBER_ID, TO_3);
    queue.stop();
    assert.deepEqual(made.calls().map(({ method }) => method).filter((method) => !/list|batch/.test(method)), []);
    assert.deepEqual(writes.map(({ method }) => method), ["crm.deal.add", "crm.deal.delete", "api/tasks.task.add"]);
    assert.deepEqual([upgrade?.outcome, made.others, made.written()], ["incomplete", [], []]);
    await made.close();
  });

  it("does not write by the official SDK in a rehearsal", async () => {
    const queue = createQueue();
    queue.start();
    const made = await world((app) =>
      app.use(b24jssdk({ B24OAuth })).upgrade("3", async ({ b24sdk }) => {
        const { actions } = await b24sdk();
        const params = { fields: { TITLE: "a" } };
        await queue.add(async () => void await actions.v2.call.make({ method: "crm.deal.add", params }));
      }, REHEARSAL)
    );
    const { writes, isComplete } = await made.app.rehearse(MEMBER_ID, TO_3);
    queue.stop();
    assert.deepEqual(made.calls().map(({ method }) => method), []);
    assert.deepEqual([writes.map(({ method }) => method), isComplete], [["crm.deal.add"], true]);
    await made.close();
  });

  it("writes in a run, also if a rehearsal has started it", async () => {
    const queue = createQueue();
    const results: unknown[] = [];
    const made = await world((app) =>
      app.upgrade("3", async ({ b24, fetch, step, mode }) => {
        queue.start();
        const result = await queue.add(() =>
          step("add", async () => await b24.call("crm.deal.add", { fields: { TITLE: "a" } }))
        );
        if (mode === "run") await queue.add(async () => void await fetch("https://vendor.example/mails"));
        results.push(result);
      }, REHEARSAL)
    );
    made.portal.answer("crm.deal.add", () => 7);
    await made.app.rehearse(MEMBER_ID, TO_3);
    await made.send(made.portal.update(3));
    queue.stop();
    assert.deepEqual(results, [-1_000_000_001, 7]);
    assert.deepEqual(made.calls().filter(({ method }) => method === "crm.deal.add").length, 1);
    assert.equal((await made.app.portal(MEMBER_ID))?.version, "3.0.0");
    assert.deepEqual(made.others, ["GET https://vendor.example/mails"]);
    await made.close();
  });
});
