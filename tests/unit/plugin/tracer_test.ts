import assert from "node:assert/strict";
import { AsyncLocalStorage } from "node:async_hooks";
import { memoryStorage, type Plugin, type TracedWork, type Tracing, type WorkEnd } from "@b24/onappupdate";
import { rest } from "@b24/onappupdate/rest";
import { tracedFetch } from "../../../src/plugin/traced.ts";
import { createTracer } from "../../../src/plugin/tracer.ts";
import { portalKey } from "../../../src/portal/keys.ts";
import type { PortalRecord } from "../../../src/portal/record.ts";
import { MEMBER_ID, quietLogger, recordingLogger, rig } from "../../support/app.ts";
import { countingStorage } from "../../support/counting_storage.ts";
import { describe, it } from "../../support/test.ts";

interface Recorded {
  readonly work: TracedWork;
  readonly parent: Recorded | undefined;
  end?: WorkEnd;
}

/** Returns a plugin that records all work, with the work around it. */
function recordingPlugin(extra: Partial<Tracing> = {}): { readonly plugin: Plugin; readonly works: Recorded[] } {
  const works: Recorded[] = [];
  const current = new AsyncLocalStorage<Recorded | undefined>();
  const tracing: Tracing = {
    begin: (work) => {
      const recorded: Recorded = { work, parent: current.getStore() };
      works.push(recorded);
      return {
        run: (work) => current.run(recorded, work),
        end: (end) => {
          assert.equal(recorded.end, undefined);
          recorded.end = end;
        },
      };
    },
    context: () => {
      const recorded = current.getStore();
      return recorded && `context-${works.indexOf(recorded)}`;
    },
    detach: (work) => current.run(undefined, work),
    ...extra,
  };
  return { plugin: { name: "trace", tracing }, works };
}

/** Returns the kinds of work around a piece of work, the outermost first. */
function pathOf(recorded: Recorded | undefined): string {
  return recorded === undefined ? "" : `${pathOf(recorded.parent)}/${recorded.work.kind}`;
}

const only = (works: readonly Recorded[], kind: string): Recorded => {
  const found = works.filter(({ work }) => work.kind === kind);
  assert.equal(found.length, 1, `${kind}: ${found.length}`);
  return found[0]!;
};

describe("tracing of an app", () => {
  it("follows an update from its request to the calls of its steps", async () => {
    const { app, portal, send } = rig({ acknowledge: "stored", logger: quietLogger });
    const { plugin, works } = recordingPlugin();
    app.use(plugin).use(rest()).upgrade("3", ({ b24, step }) => step("one", () => b24.call("crm.deal.list")));
    await send(portal.install(2));
    await app.settled();
    works.length = 0;
    portal.answer("crm.deal.list", () => []);
    await send(portal.update(3));
    await app.settled();
    const call = works.find(({ work }) => work.kind === "call" && work.method === "crm.deal.list")!;
    assert.equal(pathOf(call), "/delivery/run/upgrade/step/call");
    assert.deepEqual(call.end, { status: 200 });
    const { host, method, httpMethod } = call.work as TracedWork & { kind: "call" };
    assert.deepEqual([host, method, httpMethod], [portal.domain, "crm.deal.list", "POST"]);
    const request = only(works, "request");
    assert.deepEqual([request.parent, request.end], [undefined, { status: 200 }]);
    assert.equal(pathOf(only(works, "verification")), "/request/verification");
    const context = `context-${works.indexOf(request)}`;
    const check = only(works, "check");
    assert.deepEqual([check.work, check.parent, check.end], [
      ...[{ kind: "check", memberId: MEMBER_ID, isFirst: true, trace: context }, undefined, { outcome: "finished" }],
    ]);
    const delivery = only(works, "delivery");
    assert(delivery.work.kind === "delivery");
    assert.deepEqual([delivery.work.trace, delivery.work.isFirst], [context, true]);
    assert.deepEqual(delivery.end, { outcome: "handled" });
    assert.deepEqual(only(works, "run").end, { outcome: "finished" });
    assert.deepEqual(only(works, "step").end, { outcome: "finished" });
    await app.close();
  });

  it("stores the context with an event that waits for its verification, and with its delivery", async () => {
    const storage = memoryStorage();
    const { app, portal, send, bitrix24 } = rig({ storage, acknowledge: "stored", logger: quietLogger });
    const { plugin, works } = recordingPlugin();
    app.use(plugin).on("ONAPPINSTALL", () => Promise.reject(new Error("not yet")));
    await app.start();
    bitrix24.outage();
    await send(portal.install(2));
    await app.settled().catch(() => {});
    const verifications = (): TracedWork[] =>
      works.map(({ work }) => work).filter(({ kind }) => kind === "verification");
    const request = `context-${works.indexOf(only(works, "request"))}`;
    assert.deepEqual(
      verifications().map((work) => work.kind === "verification" && [work.stage, work.attempt, work.trace]),
      [["received", 1, undefined], ["later", 1, request]],
    );
    await app.close();
  });

  it("tells the first attempt at the work of an event from later ones", async () => {
    const { app, portal, send, later } = rig({ logger: quietLogger });
    const { plugin, works } = recordingPlugin();
    let failures = 1;
    app.use(plugin).upgrade("3", async ({ step, sleep }) => {
      await step("one", () => {
        if (failures-- > 0) throw new Error("access_token=3a0f7d66007e2a1c is refused");
      });
      await sleep("a while", 60_000);
    });
    await send(portal.install(2));
    works.length = 0;
    await send(portal.update(3));
    later();
    await app.tick();
    later();
    await app.tick();
    const deliveries = works.filter(({ work }) => work.kind === "delivery");
    const request = `context-${works.indexOf(only(works, "request"))}`;
    assert.deepEqual(
      deliveries.map(({ work, end }) => work.kind === "delivery" && [work.isFirst, work.trace, end!.outcome]),
      [[true, request, "failed"], [false, request, "suspended"], [false, request, "handled"]],
    );
    const step = works.find(({ work }) => work.kind === "step")!;
    assert.equal(step.end!.outcome, "failed");
    assert.equal(step.end!.error!.message, "access_token=[redacted] is refused");
    assert.equal((await app.portal(MEMBER_ID))?.version, "3.0.0");
    await app.close();
  });

  it("costs no storage operation and no field of a record without a plugin that traces", async () => {
    const recordOf = async (plugins: readonly Plugin[]): Promise<readonly [number, string]> => {
      const storage = memoryStorage();
      const counting = countingStorage(storage);
      const { app, portal, send, settled } = rig({ storage: counting.storage, logger: quietLogger });
      for (const plugin of plugins) app.use(plugin);
      app.upgrade("3", () => Promise.reject(new Error("later")));
      await send(portal.install(2));
      await settled();
      await counting.idle();
      counting.reset();
      await send(portal.update(3));
      await settled();
      await counting.idle();
      const { value } = (await storage.get<PortalRecord>(portalKey(MEMBER_ID)))!;
      await app.close();
      return [counting.inSequence(), JSON.stringify(value.inbox)];
    };
    const [operations, inbox] = await recordOf([]);
    const [tracedOperations, tracedInbox] = await recordOf([recordingPlugin().plugin]);
    assert.equal(tracedOperations, operations);
    assert(!inbox.includes('"trace"'), inbox);
    assert.match(tracedInbox, /"trace":"context-\d+"/);
  });

  it("adds fields to all log lines, and reports operations of the storage", async () => {
    const { logger, lines } = recordingLogger();
    const operations = new Set<string>();
    const { plugin } = recordingPlugin({
      logFields: () => ({ trace_id: "5f3a" }),
      storageCalled: ({ operation, ms, error }) => {
        assert(ms >= 0 && error === undefined);
        operations.add(operation);
      },
    });
    const { app, portal, send } = rig({ logger });
    app.use(plugin).upgrade("3", ({ log }) => log.info("hello", { trace_id: "own" }));
    await send(portal.install(2));
    await send(portal.update(3));
    await app.tick();
    assert(lines.length > 5);
    for (const line of lines) assert.equal(JSON.parse(line).trace_id, line.includes('"hello"') ? "own" : "5f3a");
    assert.deepEqual([...operations].sort(), ["delete", "get", "list", "put", "write"]);
    await app.close();
  });

  it("refuses a second plugin that traces", async () => {
    const { app } = rig();
    app.use(recordingPlugin().plugin).use({ ...recordingPlugin().plugin, name: "other" });
    await assert.rejects(app.start(), {
      name: "TypeError",
      message: 'cannot start: plugins "trace" and "other" both have tracing, wanted one',
    });
  });
});

describe("createTracer()", () => {
  const work: TracedWork = { kind: "refresh" };
  const broken: Readonly<Record<string, Tracing["begin"]>> = {
    "begin() throws": () => {
      throw new Error("broken");
    },
    "run() throws": () => ({
      run: () => {
        throw new Error("broken");
      },
      end: () => {},
    }),
    "run() throws after the work": () => ({
      run: (work) => {
        work();
        throw new Error("broken");
      },
      end: () => {},
    }),
    "end() throws": () => ({
      run: (work) => work(),
      end: () => {
        throw new Error("broken");
      },
    }),
  };
  for (const [name, begin] of Object.entries(broken)) {
    it(`does the work once, and logs one line, if ${name}`, async () => {
      const { logger, lines } = recordingLogger();
      const { tracing } = recordingPlugin({ begin }).plugin;
      const { trace } = createTracer([{ name: "broken", tracing: tracing! }], logger);
      let runs = 0;
      for (const expected of [1, 2]) {
        assert.equal(await trace(work, () => Promise.resolve(++runs)), expected);
      }
      await assert.rejects(trace(work, () => Promise.reject(new Error("of the work"))), { message: "of the work" });
      assert.deepEqual(lines.map((line) => JSON.parse(line).event), ["tracing.failed"]);
    });
  }

  it("does the work once if run() and detach() call it late or twice, and takes note of what they reject with", async () => {
    const late = async (work: () => unknown): Promise<never> => {
      await Promise.resolve();
      work();
      throw new Error("broken");
    };
    const twice = (work: () => unknown): unknown => [work(), work()];
    for (const call of [late, twice] as unknown as readonly Tracing["detach"][]) {
      const { logger, lines } = recordingLogger();
      const begin: Tracing["begin"] = () => ({ run: call, end: () => {} });
      const { plugin } = recordingPlugin({ begin, detach: call });
      const { trace, detach } = createTracer([plugin], logger);
      let runs = 0;
      assert.equal(await trace(work, () => Promise.resolve(++runs)), 1);
      assert.equal(detach(() => ++runs), 2);
      assert.throws(() =>
        detach(() => {
          runs++;
          throw new Error("of the work");
        }), { message: "of the work" });
      await new Promise((resolve) => setTimeout(resolve));
      assert.equal(runs, 3);
      assert.equal(lines.length, (call as unknown) === late ? 1 : 0);
    }
  });

  it("stores no context that is longer than 256 characters", () => {
    const contextOf = (text: string): string | undefined =>
      createTracer([recordingPlugin({ context: () => text }).plugin], quietLogger).context();
    assert.equal(contextOf("x".repeat(256))?.length, 256);
    assert.equal(contextOf("x".repeat(257)), undefined);
  });
});

describe("tracedFetch()", () => {
  const cases: Readonly<Record<string, string>> = {
    "https://p.bitrix24.de/rest/crm.deal.list": "crm.deal.list",
    "https://p.bitrix24.de/rest/batch.json?auth=3a0f7d66": "batch",
    "https://p.bitrix24.de:8443/rest/api/tasks.task.add": "api/tasks.task.add",
    "https://p.bitrix24.de/rest/1/3a0f7d66007e2a1c/profile": "profile",
    "https://p.bitrix24.de/rest/1/3a0f7d66007e2a1c/": "other",
    "https://p.bitrix24.de/rest/1/3a0f7d66007e2a1c": "other",
    "https://oauth.bitrix.info/oauth/token/": "oauth/token",
    "https://oauth.bitrix.info/rest/app.info": "app.info",
  };
  for (const [address, method] of Object.entries(cases)) {
    it(`reports ${method} of ${address}`, async () => {
      const { plugin, works } = recordingPlugin();
      const fetch = tracedFetch(() => Promise.resolve(new Response()), "portal", createTracer([plugin], quietLogger));
      await fetch(address, { method: "POST" });
      const { host, method: seen } = works[0]!.work as TracedWork & { kind: "call" };
      assert.deepEqual([host, seen], [new URL(address).hostname, method]);
      assert(!JSON.stringify(works).includes("3a0f7d66"));
    });
  }
});
