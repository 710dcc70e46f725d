import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createApp, memoryStorage } from "@b24/onappupdate";
import { applicationToken } from "@b24/onappupdate/application-token";
import { fakeBitrix24 } from "@b24/onappupdate/testing";
import { crashEverywhere, type CrashEverywhereOptions } from "../../src/testing/crash_everywhere.ts";
import { CLIENT_ID, MEMBER_ID } from "../_app.ts";

type Environment = Parameters<CrashEverywhereOptions["app"]>[0];

function scene(): { readonly events: readonly string[]; readonly fetch: NonNullable<CrashEverywhereOptions["fetch"]> } {
  const bitrix24 = fakeBitrix24({ clientId: CLIENT_ID });
  const portal = bitrix24.portal({ memberId: MEMBER_ID });
  return {
    events: [portal.install(2), portal.update(3), portal.update(4)],
    fetch: (request) => request.url.includes("app.info") ? bitrix24.fetch(request) : new Response(),
  };
}

function app(environment: Environment, acknowledge: "stored" | "handled" = "handled"): ReturnType<typeof createApp> {
  return createApp({ ...environment, acknowledge, clientId: CLIENT_ID }).use(applicationToken());
}

describe("crashEverywhere()", () => {
  for (const acknowledge of ["stored", "handled"] as const) {
    it(`finds no end from which an app with acknowledge "${acknowledge}" does not come back`, async () => {
      const report = await crashEverywhere({
        ...scene(),
        pairs: 200,
        app: (environment) =>
          app(environment, acknowledge)
            .on(
              "ONAPPUPDATE",
              async () => void await environment.fetch("https://mail.example/told", { method: "POST" }),
            )
            .upgrade("3", async ({ step, sleep }) => {
              const id = await step("create", async ({ idempotencyKey }) => {
                await environment.fetch(`https://crm.example/${idempotencyKey}`, { method: "PUT" });
                return 7;
              });
              assert.equal(id, 7);
              await sleep("until it is there", 60_000);
              await step("use", () => {});
            })
            .upgrade("4", async ({ pages }) => {
              const all = await pages("deals", 0, async (cursor, { idempotencyKey }) => {
                await environment.fetch(`https://crm.example/deals/${cursor}?${idempotencyKey}`);
                return { next: cursor < 2 ? cursor + 1 : null, done: 1 };
              });
              assert.equal(all, 3);
            }),
      });
      assert(report.operations > 40 && report.schedules > 2 * report.operations, JSON.stringify(report));
      const crm = report.repeated.filter(({ call }) => call.includes("crm.example"));
      assert.equal(crm.length, 4, "each step and page may be repeated");
      for (const { idempotencyKey, times } of crm) assert(idempotencyKey !== undefined && times <= 3);
      assert(report.repeated.some(({ call, idempotencyKey }) => call.includes("told") && idempotencyKey === undefined));
    });
  }

  it("finds a handler that counts on memory which an end takes from it", async () => {
    const made = (): CrashEverywhereOptions => {
      let invoices = 0;
      return {
        ...scene(),
        pairs: 0,
        reset: () => void (invoices = 0),
        app: (environment) =>
          app(environment).upgrade("3", async ({ step }) => {
            await step("bill", () => void invoices++); // a mistake: an effect without the idempotency key
          }),
        check: () => assert.equal(invoices, 1, `${invoices} invoices`),
      };
    };
    await assert.rejects(crashEverywhere(made()), /^Error: an end (before|after) operation \d+: 2 invoices/);
  });

  it("refuses an app that does not use the storage that it is given", async () => {
    await assert.rejects(
      crashEverywhere({
        ...scene(),
        app: (environment) =>
          createApp({ ...environment, clientId: CLIENT_ID, storage: memoryStorage() }).use(applicationToken()),
      }),
      /stored no portal in the storage that it was given/,
    );
  });
});
