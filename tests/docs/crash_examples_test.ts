import assert from "node:assert/strict";
import { type App, memoryStorage } from "@b24/onappupdate";
import {
  type CrashEnvironment,
  crashEverywhere,
  type CrashReport,
  type FakeBitrix24,
  fakeBitrix24,
  type FakePortal,
} from "@b24/onappupdate/testing";
import { buildApp } from "../../examples/_app.ts";
import { buildApp as buildDealsApp } from "../../examples/_deals_app.ts";
import { type DealsService, dealsService } from "../../examples/_deals_service.ts";
import { buildApp as buildDemoApp } from "../../examples/_demo_app.ts";
import { buildApp as buildPluginApp } from "../../examples/06_plugin.ts";
import { appliedUpgrades, CLIENT_ID, MEMBER_ID, post, recordingLogger } from "../support/app.ts";
import { describe, it } from "../support/test.ts";
import { OPERATOR } from "../support/operator.ts";

/** Everything outside of an app, created for each execution. */
interface Outside {
  readonly bitrix24: FakeBitrix24;
  readonly portal: FakePortal;
  readonly service: DealsService;
  /** Notes of handlers. */
  readonly notes: string[];
}

interface Example {
  readonly build: (environment: CrashEnvironment & { readonly clientId: string }, outside: Outside) => App<never> | App;
  /** Create the events of the portal, in order. */
  readonly events: readonly ((portal: FakePortal) => string)[];
  readonly check: (outside: Outside, app: App) => void | Promise<void>;
  /** Repeated calls that the receiver cannot recognize. */
  readonly unsafe: readonly string[];
}

const DEALS = 120;
const CHAT = "https://chat.example/";

const examples: Readonly<Record<string, Example>> = {
  "app.ts, which deno.ts, node.ts and hono.ts serve,": {
    build: (options) => buildApp(options),
    events: [
      (portal) => portal.install(1),
      (portal) => portal.update(2),
      (portal) => portal.uninstall(),
      (portal) => portal.install(2),
      (portal) => portal.update(3),
    ],
    check: async (_outside, app) => assert.deepEqual(await appliedTo(app), ["3.0.0"]),
    unsafe: [],
  },
  "demo_app.ts, of demo.ts,": {
    build: (options, { notes }) =>
      buildDemoApp({ ...options, acknowledge: "handled" }, (line) => void notes.push(line)),
    events: [
      (portal) => portal.install(2),
      (portal) => portal.update(3),
      (portal) => portal.update(4, { rotateToken: true }),
    ],
    check: async ({ notes }, app) => {
      assert.deepEqual(await appliedTo(app), ["3.0.0", "4.0.0"]);
      // At least once each, because they are outside steps.
      assert.deepEqual([...new Set(notes)], [`moves the settings of ${MEMBER_ID}`, "adds the new report"]);
    },
    unsafe: [],
  },
  "plugin.ts": {
    build: (options) =>
      buildPluginApp(options, async (body) => void await options.fetch(CHAT, { method: "POST", body })),
    events: [(portal) => portal.install(2), (portal) => portal.update(3)],
    // Nobody waits for the notes: a crash may lose them.
    check: async (_outside, app) => assert.deepEqual(await appliedTo(app), ["3.0.0"]),
    // A message for people: twice is better than not at all.
    unsafe: [`POST ${CHAT}`],
  },
  "deals_app.ts": {
    build: (options) => buildDealsApp(options),
    events: [(portal) => portal.install(2), (portal) => portal.update(3)],
    check: async ({ service: { pipelines, current, mails } }, app) => {
      assert.deepEqual([...pipelines.values()].map(({ deals }) => deals), [Array.from({ length: DEALS }, (_, i) => i)]);
      assert.deepEqual([...current], [[MEMBER_ID, 1]]);
      assert.deepEqual(mails, [`${MEMBER_ID}: Your pipeline is ready`]);
      // Whatever was repeated, the rollback restores the start.
      const { undone, without } = await app.admin.rollback(MEMBER_ID, OPERATOR);
      assert.deepEqual(undone.map(({ step }) => step), ["switch over", "create the pipeline"]);
      assert.deepEqual(without.map(({ step }) => step), ["notify the administrator", "copy the deals"]);
      assert.deepEqual([pipelines.size, [...current]], [0, [[MEMBER_ID, null]]]);
    },
    unsafe: [],
  },
};

async function appliedTo(app: App): Promise<string[]> {
  return (await appliedUpgrades(app)).map(({ id }) => id);
}

function crash({ build, events, check }: Example, pairs: number): Promise<CrashReport> {
  let outside: Outside;
  return crashEverywhere({
    pairs,
    app: (environment) => build({ ...environment, clientId: CLIENT_ID }, outside),
    reset: () => {
      const bitrix24 = fakeBitrix24({ clientId: CLIENT_ID });
      const portal = bitrix24.portal({ memberId: MEMBER_ID });
      outside = { bitrix24, portal, service: dealsService(DEALS), notes: [] };
    },
    events: events.map((make) => () => make(outside.portal)),
    fetch: async (request) => {
      if (request.url.startsWith("https://deals.example/")) return await outside.service.fetch(request);
      if (request.url !== CHAT) return await outside.bitrix24.fetch(request);
      outside.notes.push(await request.text());
      return new Response();
    },
    check: (app) => check(outside, app),
  });
}

it("examples/06_plugin.ts upgrades the portal while the chat is down", async () => {
  const bitrix24 = fakeBitrix24({ clientId: CLIENT_ID });
  const portal = bitrix24.portal({ memberId: MEMBER_ID });
  const { logger, lines } = recordingLogger();
  const options = { storage: memoryStorage(), clientId: CLIENT_ID, fetch: bitrix24.fetch, logger };
  const app = buildPluginApp(options, () => Promise.reject(new Error("the chat is down")));
  for (const body of [portal.install(2), portal.update(3)]) await app.fetch(post(body));
  await app.settled();
  assert.equal((await app.portal(MEMBER_ID))?.version, "3.0.0");
  assert(lines.some((line) => line.includes("not sent") && line.includes("the chat is down")));
  await app.close();
});

describe("crashEverywhere() over examples/", () => {
  // At the same time, because each waits for timers now and then.
  const reports = Object.fromEntries(Object.entries(examples).map(([name, example]) => [name, crash(example, 400)]));
  const settled = Promise.allSettled(Object.values(reports));

  for (const [name, { unsafe }] of Object.entries(examples)) {
    it(`${name} has the same result after every crash`, async () => {
      const report = await reports[name]!;
      assert.deepEqual([...new Set(report.unsafe.map(({ call }) => call))], unsafe, report.text);
    });
  }

  it("runs two thousand executions", async () => {
    await settled;
    let executions = 0;
    for (const report of Object.values(reports)) executions += (await report).executions;
    assert(executions >= 2000, `${executions}`);
  });
});
