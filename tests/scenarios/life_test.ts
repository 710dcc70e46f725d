import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createApp, encrypted, type Storage } from "@b24/onappupdate";
import { applicationToken } from "@b24/onappupdate/application-token";
import { fileStorage } from "@b24/onappupdate/file-storage";
import { serve } from "@b24/onappupdate/node-server";
import { redisStorage } from "@b24/onappupdate/redis-storage";
import { registrations } from "@b24/onappupdate/registrations";
import { rest } from "@b24/onappupdate/rest";
import { fakeBitrix24 } from "@b24/onappupdate/testing";
import { CLIENT_ID, MEMBER_ID, recordingLogger } from "../support/app.ts";
import { connectRedis, sharedRedis } from "../support/redis.ts";
import { describe, it } from "../support/test.ts";

const CLIENT_SECRET = "client-secret-0123456789abcdef";
const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;

interface OpenStorage {
  readonly storage: Storage;
  readonly remove: () => Promise<void>;
}

const STORAGES: Readonly<Record<string, () => Promise<OpenStorage>>> = {
  "a file": () => {
    const folder = mkdtempSync(join(tmpdir(), "onappupdate-life-"));
    const remove = (): Promise<void> => Promise.resolve(rmSync(folder, { recursive: true }));
    return Promise.resolve({ storage: fileStorage({ path: join(folder, "portals.db") }), remove });
  },
  Redis: async () => {
    const server = await sharedRedis();
    const { client, close } = await connectRedis("node-redis", [server.port]);
    const remove = async (): Promise<void> => {
      close();
      await server.remove();
    };
    return { storage: redisStorage(client, { prefix: `life ${crypto.randomUUID()}` }), remove };
  },
};

const HANDLER = "https://app.example.com/b24";
/** Registrations of a version. Version 3 adds a robot. */
const declared = (version: string) => ({
  events: [{ event: "ONCRMDEALADD", handler: `${HANDLER}/events` }],
  placements: [{ placement: "CRM_DEAL_DETAIL_TAB", handler: `${HANDLER}/deal`, title: "Rating" }],
  robots: [
    { code: "rate", handler: `${HANDLER}/rate`, name: "Rate" },
    ...(version >= "3" ? [{ code: "forget", handler: `${HANDLER}/forget`, name: "Forget" }] : []),
  ],
});

// One long test, because each event builds on the state that the previous ones left.
describe("a portal's life over HTTP", () => {
  for (const [name, open] of Object.entries(STORAGES)) {
    it(`on ${name}: ends with the right version, registrations and tokens`, async () => {
      const { storage, remove } = await open();
      let ahead = 0;
      const clock = (): number => Date.now() + ahead;
      const bitrix24 = fakeBitrix24({ clientId: CLIENT_ID, clientSecret: CLIENT_SECRET, clock });
      const portal = bitrix24.portal({ memberId: MEMBER_ID, scope: ["crm", "placement", "bizproc"] });
      const { logger, lines } = recordingLogger();
      const ran: string[] = [];
      const portals = rest({ rate: { burst: 1000, perSecond: 1000 } });
      const key = "rKxJ1wXAJmoM3UEfiJcNKB5rHeVTxPZd/LvTVnIuYHI=";
      const app = createApp({
        storage: encrypted(storage, { keys: { one: key }, current: "one" }),
        clientId: CLIENT_ID,
        clientSecret: CLIENT_SECRET,
        clock,
        fetch: bitrix24.fetch,
        acknowledge: "handled",
        tickEveryMs: false,
        logger,
      })
        .use(applicationToken())
        .use(portals)
        .use(registrations(declared))
        .upgrade("3", async ({ b24, step }) => {
          ran.push("3");
          await step("field", () => b24.call("profile"));
        })
        .upgrade("4", () => void ran.push("4"))
        .upgrade("5", () => void ran.push("5"));
      await app.start();
      const server = await serve(app, { hostname: "127.0.0.1", port: 0 });
      bitrix24.deliverTo(server.url);

      const pass = async (ms: number): Promise<void> => {
        ahead += ms;
        await app.tick();
      };
      const version = async (): Promise<string | undefined> => (await app.portal(MEMBER_ID))?.version;
      const codes = (): string[] => {
        const { events, placements, robots } = portal.registrations();
        return [...events, ...placements, ...robots].map((entry) =>
          String(entry.CODE ?? entry.PLACEMENT ?? entry.EVENT)
        )
          .sort();
      };
      const ALL = ["CRM_DEAL_DETAIL_TAB", "ONCRMDEALADD", "forget", "rate"];

      assert.deepEqual(await portal.sends.install(2), [200]);
      assert.deepEqual([await version(), codes()], ["2.0.0", ["CRM_DEAL_DETAIL_TAB", "ONCRMDEALADD", "rate"]]);

      // The first update comes twice and has a new application_token.
      await pass(DAY);
      assert.deepEqual(await portal.sends.update(3, { rotateToken: true, duplicate: 1 }), [200, 200]);
      assert.deepEqual([await version(), ran, codes()], ["3.0.0", ["3"], ALL]);

      // The second update is lost and the portal sends nothing else: the sweep finds it.
      await pass(DAY);
      assert.deepEqual(await portal.sends.update(4, { lose: true }), []);
      await pass(8 * DAY);
      await pass(MINUTE);
      assert.deepEqual([await version(), ran], ["4.0.0", ["3", "4"]]);

      // The third update removes all registrations.
      await pass(DAY);
      assert.deepEqual(await portal.sends.update(5, { dropRegistrations: true }), [200]);
      assert.deepEqual([await version(), ran, codes()], ["5.0.0", ["3", "4", "5"], ALL]);

      // The portal is renamed: the first call is redirected.
      portal.rename("renamed.bitrix24.de");
      await portals.portal(MEMBER_ID).call("profile");
      assert.equal((await app.portal(MEMBER_ID))?.clientEndpoint, "https://renamed.bitrix24.de/rest/");

      // The subscription ends: no events come, and the portal is blocked. Then it is paid again.
      await pass(MINUTE);
      assert.deepEqual(await portal.sends.stopPayment(), [200]);
      await assert.rejects(portals.portal(MEMBER_ID).call("profile"), { b24Code: "PAYMENT_REQUIRED" });
      assert.equal((await app.portal(MEMBER_ID))?.blocked?.on, "payment");
      assert.deepEqual((await app.check(MEMBER_ID)).problems.map(({ code }) => code), ["payment"]);
      await pass(40 * DAY);
      assert.deepEqual(await portal.sends.pay(), [200]);
      assert.equal((await app.portal(MEMBER_ID))?.blocked, undefined);
      await portals.portal(MEMBER_ID).call("profile");

      // The app is removed: no tokens are left for calls.
      await pass(DAY);
      assert.deepEqual(await portal.sends.uninstall(), [200]);
      // Bitrix24 confirms the removal, which may come after the answer if the portal is being processed.
      await app.settled(MEMBER_ID);
      await assert.rejects(portals.portal(MEMBER_ID).call("profile"), { name: "NoCredentialsError" });
      assert.equal((await app.portal(MEMBER_ID))?.status, "uninstalled");

      // The app is installed again.
      await pass(DAY);
      assert.deepEqual(await portal.sends.install(5), [200]);
      const last = (await app.portal(MEMBER_ID))!;
      assert.deepEqual([last.status, last.generation, last.version, last.target, last.blocked], [
        ...["installed", 2, "5.0.0", "5.0.0", undefined],
      ]);
      assert.deepEqual([codes(), ran], [ALL, ["3", "4", "5"]]);
      assert.equal(last.clientEndpoint, "https://renamed.bitrix24.de/rest/");
      assert.equal((await portals.portal(MEMBER_ID).call<{ ADMIN: boolean }>("profile")).ADMIN, true);
      assert.deepEqual((await app.check(MEMBER_ID)).problems, []);
      assert.doesNotMatch(lines.join(), /client-secret|acce55|fe5fe5/);

      await server.close();
      await remove();
    });
  }
});
