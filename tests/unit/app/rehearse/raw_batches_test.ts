import assert from "node:assert/strict";
import type { Plugin, PluginHost } from "@b24/onappupdate";
import { MEMBER_ID } from "../../../support/app.ts";
import { describe, it } from "../../../support/test.ts";
import { world } from "./_world.ts";

const REHEARSAL = { rehearsal: true } as const;
const TO_3 = { target: "3" };

describe("batches that a plugin of the vendor's has written itself", () => {
  const raw = (): Plugin<object, { raw: (path: string, params: object) => Promise<unknown> }> => {
    let host: PluginHost;
    return {
      name: "raw",
      adds: ["raw"],
      setup: (appHost) => {
        host = appHost;
      },
      extend: ({ event }) => ({
        raw: (path, params) =>
          host.credentials.call(event.auth.memberId, async ({ accessToken, clientEndpoint }) => {
            const body = JSON.stringify({ ...params, auth: accessToken.reveal() });
            const headers = { "content-type": "application/json" };
            const response = await host.portalFetch(`${clientEndpoint}${path}`, { method: "POST", headers, body });
            return await response.json();
          }),
      }),
      rehearsal: true,
    };
  };

  for (
    const [what, path, params, writes] of [
      // Bitrix24 ignores the case of the names of parameters.
      ["in capitals", "batch", { CMD: { a: "crm.deal.add" } }, ["crm.deal.add"]],
      ["in two spellings", "batch", { cmd: { a: "crm.deal.list" }, CMD: { a: "crm.deal.delete?id=1" } }, undefined],
      ["in the query", "batch?CMD[a]=crm.deal.delete%3Fid%3D1", { cmd: { a: "crm.deal.list" } }, undefined],
      // Bitrix24 reads them as URLs.
      ["with a fragment", "batch", { cmd: { a: "crm.deal.delete#x.list" } }, ["crm.deal.delete#x.list"]],
      ["within a batch", "batch", { cmd: { a: "batch?cmd[a]=crm.deal.delete" } }, ["batch"]],
    ] as const
  ) {
    it(`do not write if their commands are ${what}`, async () => {
      const made = await world((app) =>
        app.use(raw()).upgrade("3", async ({ raw }) => void await raw(path, params), REHEARSAL)
      );
      made.portal.data("crm.deal.list", [{ ID: "1" }]);
      const report = await made.app.rehearse(MEMBER_ID, TO_3);
      assert.deepEqual(made.calls(), []);
      assert.deepEqual(report.writes.map(({ method }) => method), writes ?? []);
      assert.equal(report.upgrades[0]?.outcome, writes === undefined ? "incomplete" : "rehearsed");
      await made.close();
    });
  }
});
