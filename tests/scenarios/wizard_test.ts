import assert from "node:assert/strict";
import { createApp, memoryStorage } from "@b24/onappupdate";
import { applicationToken } from "@b24/onappupdate/application-token";
import { openingPage } from "@b24/onappupdate/opening-page";
import { registrations } from "@b24/onappupdate/registrations";
import { rest } from "@b24/onappupdate/rest";
import { fakeBitrix24 } from "@b24/onappupdate/testing";
import { backgroundWork, CLIENT_ID, MEMBER_ID, quietLogger } from "../support/app.ts";
import { test } from "../support/test.ts";
import { until } from "../support/until.ts";

test("an app with an install wizard is installed and updated without any event", async () => {
  let now = Date.UTC(2027, 0, 1);
  const clock = (): number => now;
  const bitrix24 = fakeBitrix24({ clientId: CLIENT_ID, clientSecret: "secret", clock });
  const portal = bitrix24.portal({ memberId: MEMBER_ID, scope: ["crm", "placement", "user_brief"] });
  const ran: string[] = [];
  const { platform, settled } = backgroundWork();
  const app = createApp({
    ...{ storage: memoryStorage({ clock }), clock, clientId: CLIENT_ID, clientSecret: "secret", fetch: bitrix24.fetch },
    ...{ logger: quietLogger, tickEveryMs: false },
  })
    .use(applicationToken())
    .use(rest())
    .use(registrations({
      placements: [{ placement: "CRM_DEAL_DETAIL_TAB", handler: "https://app.example.com/deal", title: "Rating" }],
    }))
    .on("ONAPPINSTALL", () => void ran.push("installed"))
    .upgrade("3", async ({ b24 }) => {
      const { ADMIN } = await b24.call<{ ADMIN: boolean }>("profile");
      ran.push(`upgrade 3 as ${ADMIN ? "an administrator" : "a user"}`);
    });
  const page = openingPage({ app, page: (_request, { portal }) => new Response(`on ${portal.version}`) });
  const open = async (): Promise<string> => await (await page(portal.open(), platform)).text();
  const placements = (): unknown[] => portal.registrations().placements.map(({ PLACEMENT }) => PLACEMENT);

  portal.install(2, { wizard: true });
  assert.match(await open(), /The app is being installed|Done/);
  await settled();
  assert.deepEqual([ran, placements()], [["installed"], ["CRM_DEAL_DETAIL_TAB"]]);
  portal.installFinish();
  now += 2000;
  assert.equal(await open(), "on 2.0.0");

  now += 30 * 24 * 60 * 60 * 1000;
  portal.update(3, { wizard: true, dropRegistrations: true });
  assert.deepEqual(placements(), []);
  assert.match(await open(), /The app is being installed|Done/);
  await settled();
  await until("the portal is on 3", async () => {
    await app.tick();
    return (await app.portal(MEMBER_ID))?.version === "3.0.0";
  });
  assert.deepEqual([ran, placements()], [["installed", "upgrade 3 as an administrator"], ["CRM_DEAL_DETAIL_TAB"]]);
  portal.installFinish();
  now += 2000;
  assert.equal(await open(), "on 3.0.0");

  assert.deepEqual(bitrix24.events(), []);
  assert.equal((await app.portal(MEMBER_ID))?.generation, 1);
  await app.close();
});
