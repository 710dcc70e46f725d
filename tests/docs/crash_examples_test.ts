import assert from "node:assert/strict";
import type { App } from "@b24/onappupdate";
import {
  type CrashEnvironment,
  crashEverywhere,
  type CrashReport,
  type FakeBitrix24,
  fakeBitrix24,
  type FakePortal,
} from "@b24/onappupdate/testing";
import { buildApp } from "../../examples/app.ts";
import { buildApp as buildDealsApp } from "../../examples/deals_app.ts";
import { type DealsService, dealsService } from "../../examples/deals_service.ts";
import { buildApp as buildDemoApp } from "../../examples/demo_app.ts";
import { buildApp as buildPluginApp } from "../../examples/plugin.ts";
import { CLIENT_ID, MEMBER_ID } from "../support/app.ts";
import { describe, it } from "../support/test.ts";

/** What is outside of an app, made anew for each schedule. */
interface World {
  readonly bitrix24: FakeBitrix24;
  readonly portal: FakePortal;
  readonly service: DealsService;
  /** What handlers told. */
  readonly told: string[];
}

interface Example {
  readonly build: (environment: CrashEnvironment & { readonly clientId: string }, world: World) => App<never> | App;
  /** Events of the portal, each made when it is its turn. */
  readonly life: readonly ((portal: FakePortal) => string)[];
  readonly check: (world: World, app: App) => void | Promise<void>;
  /** Calls that are repeated, and of which the other side cannot tell. */
  readonly unsafe: readonly string[];
}

const DEALS = 120;
const CHAT = "https://chat.example/";

const examples: Readonly<Record<string, Example>> = {
  "app.ts, which deno.ts, node.ts and hono.ts serve,": {
    build: (options) => buildApp(options),
    life: [
      (portal) => portal.install(1),
      (portal) => portal.update(2),
      (portal) => portal.uninstall(),
      (portal) => portal.install(2),
      (portal) => portal.update(3),
    ],
    check: async (_world, app) => assert.deepEqual(await appliedTo(app), ["3.0.0"]),
    unsafe: [],
  },
  "demo_app.ts, of demo.ts,": {
    build: (options, { told }) => buildDemoApp({ ...options, acknowledge: "handled" }, (line) => void told.push(line)),
    life: [
      (portal) => portal.install(2),
      (portal) => portal.update(3),
      (portal) => portal.update(4, { rotateToken: true }),
    ],
    check: async ({ told }, app) => {
      assert.deepEqual(await appliedTo(app), ["3.0.0", "4.0.0"]);
      // At least once each, for they are in no step.
      assert.deepEqual([...new Set(told)], [`moves the settings of ${MEMBER_ID}`, "adds the new report"]);
    },
    unsafe: [],
  },
  "plugin.ts": {
    build: (options) =>
      buildPluginApp(options, async (body) => void await options.fetch(CHAT, { method: "POST", body })),
    life: [(portal) => portal.install(2), (portal) => portal.update(3)],
    check: async ({ told }, app) => {
      assert.deepEqual(await appliedTo(app), ["3.0.0"]);
      assert(told.includes("example.bitrix24.de: the new report is there"));
    },
    // A message to people; better twice than not at all.
    unsafe: [`POST ${CHAT}`],
  },
  "deals_app.ts": {
    build: (options) => buildDealsApp(options),
    life: [(portal) => portal.install(2), (portal) => portal.update(3)],
    check: async ({ service: { pipelines, current, mails } }, app) => {
      assert.deepEqual([...pipelines.values()].map(({ deals }) => deals), [Array.from({ length: DEALS }, (_, i) => i)]);
      assert.deepEqual([...current], [[MEMBER_ID, 1]]);
      assert.deepEqual(mails, [`${MEMBER_ID}: It is there`]);
      // Whatever was repeated on the way, the way back ends where it began.
      const { undone, without } = await app.admin.rollback(MEMBER_ID);
      assert.deepEqual(undone.map(({ step }) => step), ["switch over", "create the pipeline"]);
      assert.deepEqual(without.map(({ step }) => step), [
        "tell the administrator",
        "copy the deals",
        "until all servers know it",
      ]);
      assert.deepEqual([pipelines.size, [...current]], [0, [[MEMBER_ID, null]]]);
    },
    unsafe: [],
  },
};

async function appliedTo(app: App): Promise<string[]> {
  return (await app.portal(MEMBER_ID))!.applied.map(({ id }) => id);
}

function crash({ build, life, check }: Example, pairs: number): Promise<CrashReport> {
  let world: World;
  return crashEverywhere({
    pairs,
    app: (environment) => build({ ...environment, clientId: CLIENT_ID }, world),
    reset: () => {
      const bitrix24 = fakeBitrix24({ clientId: CLIENT_ID });
      const portal = bitrix24.portal({ memberId: MEMBER_ID });
      world = { bitrix24, portal, service: dealsService(DEALS), told: [] };
    },
    events: life.map((event) => () => event(world.portal)),
    fetch: async (request) => {
      if (request.url.startsWith("https://deals.example/")) return await world.service.fetch(request);
      if (request.url !== CHAT) return await world.bitrix24.fetch(request);
      world.told.push(await request.text());
      return new Response();
    },
    check: (app) => check(world, app),
  });
}

describe("crashEverywhere() over examples/", () => {
  // All at once, for each waits for timers now and then.
  const reports = Object.fromEntries(Object.entries(examples).map(([name, example]) => [name, crash(example, 400)]));
  const settled = Promise.allSettled(Object.values(reports));

  for (const [name, { unsafe }] of Object.entries(examples)) {
    it(`${name} comes to the same end from everywhere`, async () => {
      const report = await reports[name]!;
      assert.deepEqual([...new Set(report.unsafe.map(({ call }) => call))], unsafe, report.text);
    });
  }

  it("tries two thousand schedules", async () => {
    await settled;
    let schedules = 0;
    for (const report of Object.values(reports)) schedules += (await report).schedules;
    assert(schedules >= 2000, `${schedules}`);
  });
});
