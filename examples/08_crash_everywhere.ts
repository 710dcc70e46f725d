/**
 * Crashes the app of `_deals_app.ts` before and after each of its operations, alone and in pairs, and checks each time
 * that the portal and the service have the same result: `deno task example 8`
 *
 * In your project, this is a test. See `docs/testing-upgrades.md`.
 */
// deno-lint-ignore-file no-console
import assert from "node:assert/strict";
import { crashEverywhere, type FakeBitrix24, fakeBitrix24, type FakePortal } from "@b24/onappupdate/testing";
import { buildApp } from "./_deals_app.ts";
import { type DealsService, dealsService } from "./_deals_service.ts";

let bitrix24: FakeBitrix24;
let portal: FakePortal;
let service: DealsService;

const report = await crashEverywhere({
  app: (environment) => buildApp({ ...environment, clientId: "app.5f3a" }),
  reset: () => {
    bitrix24 = fakeBitrix24({ clientId: "app.5f3a" });
    portal = bitrix24.portal({ memberId: "a223c6b3710f85df22e9377d6c4f7553" });
    service = dealsService(120);
  },
  events: [() => portal.install(2), () => portal.update(3)],
  fetch: (request) =>
    request.url.startsWith("https://deals.example/") ? service.fetch(request) : bitrix24.fetch(request),
  check: () => {
    assert.deepEqual([...service.pipelines.values()].map(({ deals }) => deals.length), [120]);
    assert.deepEqual([...service.current.values()], [...service.pipelines.keys()]);
    assert.equal(service.mails.length, 1);
  },
  pairs: 100,
});
console.log(report.text);
assert.deepEqual(report.unsafe, []);
