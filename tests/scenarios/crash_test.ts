/** The life of a portal with a crash at every operation and at every pair of operations, atomic ordered writes or not. */
import assert from "node:assert/strict";
import { createApp } from "@b24/onappupdate";
import { applicationToken } from "@b24/onappupdate/application-token";
import { crashEverywhere, fakeBitrix24 } from "@b24/onappupdate/testing";
import { CLIENT_ID, MEMBER_ID } from "../support/app.ts";
import { describe, it } from "../support/test.ts";

/** Longer than a delivery in a record may be. */
const LARGE = "x".repeat(5000);

describe("an installation, updates with steps, pages and a sleep, and a large event", () => {
  for (const atomicWrites of [true, false]) {
    it(`survive a crash at every pair of operations, ${atomicWrites ? "with" : "without"} atomic writes`, async () => {
      let bitrix24 = fakeBitrix24({ clientId: CLIENT_ID });
      let portal = bitrix24.portal({ memberId: MEMBER_ID });
      const effects = new Map<string, number>();
      const done = (effect: string): void => void effects.set(effect, (effects.get(effect) ?? 0) + 1);
      const report = await crashEverywhere({
        atomicWrites,
        pairs: 500,
        reset: () => {
          bitrix24 = fakeBitrix24({ clientId: CLIENT_ID });
          portal = bitrix24.portal({ memberId: MEMBER_ID });
          effects.clear();
        },
        fetch: (request) => bitrix24.fetch(request),
        app: (environment) =>
          createApp({ ...environment, clientId: CLIENT_ID }).use(applicationToken())
            .upgrade("3", async ({ step, pages }) => {
              const large = await step("large", () => (done("large"), LARGE));
              assert.equal(large, LARGE);
              await pages("pages", 0, (cursor) => ({ next: cursor < 2 ? cursor + 1 : null, done: 1 }));
            })
            .upgrade("4", async ({ step, sleep }) => {
              await sleep("a minute", 60_000);
              await step("last", () => done("last"));
            })
            .on("ONCRMDEALADD", ({ event }) => done(`deal ${event.data.extra.ID}`)),
        events: [
          () => portal.install(2),
          () => portal.update(3),
          () => portal.event("ONCRMDEALADD", { ID: "1", MESSAGE: LARGE }),
          () => portal.update(4),
          () => portal.event("ONCRMDEALADD", { ID: "2" }),
        ],
        check: async (app) => {
          const { version, target, failure } = (await app.portal(MEMBER_ID))!;
          assert.deepEqual([version, target, failure], ["4.0.0", "4.0.0", undefined]);
          const runs = await app.admin.runs(MEMBER_ID);
          const applied = runs.flatMap(({ applied }) => applied.map(({ id }) => id)).sort();
          assert.deepEqual(applied, ["3", "4"], "each upgrade is recorded once");
          for (const effect of ["large", "last", "deal 1", "deal 2"]) assert(effects.has(effect), `no ${effect}`);
          assert.deepEqual(await app.tick(), { handled: 0, failed: 0 });
        },
      });
      assert(report.executions > 200, String(report));
    });
  }
});
