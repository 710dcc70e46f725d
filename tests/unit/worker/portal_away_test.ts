import assert from "node:assert/strict";
import { createApp, memoryStorage } from "@b24/onappupdate";
import { applicationToken } from "@b24/onappupdate/application-token";
import { rest } from "@b24/onappupdate/rest";
import { fakeBitrix24 } from "@b24/onappupdate/testing";
import { backgroundWork, CLIENT_ID, MEMBER_ID, post, quietLogger } from "../../support/app.ts";
import { CLIENT_SECRET } from "../../support/fake.ts";
import { describe, it } from "../../support/test.ts";

const HOUR = 60 * 60 * 1000;
const DAY = 24 * HOUR;

const refusal = (status: number, error: string) => (): Response =>
  Response.json({ error, error_description: "in words" }, { status });
const license = (): Response => new Response(null, { status: 302, headers: { location: "/bitrix/license.php" } });

const KEYS = { clientId: CLIENT_ID, clientSecret: CLIENT_SECRET };

interface Away {
  readonly answer: () => Response;
  /** The host that answers so. */
  readonly at: "portal" | "oauth";
  readonly blockedOn: string;
}

const CASES: Readonly<Record<string, Away>> = {
  "an ended license: a redirect to a page of its own": { answer: license, at: "portal", blockedOn: "payment" },
  "PORTAL_DELETED": { answer: refusal(500, "PORTAL_DELETED"), at: "portal", blockedOn: "installation" },
  "APPLICATION_NOT_FOUND of the portal": {
    ...{ answer: refusal(401, "APPLICATION_NOT_FOUND"), at: "portal", blockedOn: "installation" },
  },
  "authorization_error of the portal": {
    ...{ answer: refusal(401, "authorization_error"), at: "portal", blockedOn: "installation" },
  },
  "APPLICATION_NOT_FOUND of the OAuth hosts": {
    ...{ answer: refusal(400, "APPLICATION_NOT_FOUND"), at: "oauth", blockedOn: "installation" },
  },
  "authorization_error of the OAuth hosts": {
    ...{ answer: refusal(400, "authorization_error"), at: "oauth", blockedOn: "installation" },
  },
};

describe("a portal that is away for three weeks", () => {
  for (const [name, { answer, at, blockedOn }] of Object.entries(CASES)) {
    it(`by ${name}, is blocked, asked ever more rarely, and goes on by itself`, async () => {
      let now = Date.UTC(2027, 0, 1);
      let isAway = false;
      const askedAt: number[] = [];
      const clock = (): number => now;
      const bitrix24 = fakeBitrix24({ ...KEYS, clock });
      const portal = bitrix24.portal({ memberId: MEMBER_ID });
      const fetch: typeof globalThis.fetch = (input, init) => {
        const { hostname } = new URL(input instanceof Request ? input.url : input);
        if (!isAway || (hostname === portal.domain) !== (at === "portal")) return bitrix24.fetch(input, init);
        if (askedAt.at(-1) !== now) askedAt.push(now);
        return Promise.resolve(answer());
      };
      const { platform, settled } = backgroundWork();
      const app = createApp({
        ...{ storage: memoryStorage({ clock }), clock, fetch, logger: quietLogger, tickEveryMs: false },
        ...{ ...KEYS, acknowledge: "handled" },
      }).use(applicationToken()).use(rest())
        .upgrade("3", ({ step, b24 }) => step("profile", async () => void await b24.call("profile")));
      const send = async (body: string): Promise<void> => {
        assert.equal((await app.fetch(post(body), platform)).status, 200);
        await settled();
      };
      await send(portal.install(2));
      now += 2 * HOUR;
      const update = portal.update(3);
      now += 2 * HOUR;
      isAway = true;
      await send(update);
      const awayFrom = now;
      while (now < awayFrom + 21 * DAY) {
        now += 40 * 60_000;
        await app.tick();
        const { blocked, failure, version } = (await app.portal(MEMBER_ID))!;
        assert.deepEqual([blocked?.on, blocked!.since - awayFrom < HOUR, failure, version], [
          ...[blockedOn, true, undefined, "2.0.0"],
        ]);
      }
      const pauses = askedAt.slice(1).map((time, i) => time - askedAt[i]!);
      const late = pauses.filter((_, i) => askedAt[i]! - awayFrom > 8 * DAY);
      assert(late.length > 0 && late.every((pause) => pause >= DAY), late.slice(0, 9).map((ms) => ms / HOUR).join());
      assert(pauses.every((pause) => pause <= DAY + HOUR), `${Math.max(...pauses) / HOUR}`);
      assert(askedAt.length < 60, `asked ${askedAt.length} times`);
      isAway = false;
      now += DAY;
      await app.tick();
      const { version, blocked } = (await app.portal(MEMBER_ID))!;
      assert.deepEqual([version, blocked], ["3.0.0", undefined]);
      await app.close();
    });
  }
});

describe("a box at an address that the app may not call", () => {
  const HOSTS: Readonly<Record<string, string>> = {
    "crm.customer.com:8443": "a port",
    "crm.customer.lan": "a name of a private network",
    "crm.customer.com": "a name that resolves to a private address",
  };
  for (const [domain, what] of Object.entries(HOSTS)) {
    it(`with ${what} is blocked on \`configuration\`, and goes on once extraPortalHosts has the host`, async () => {
      let now = Date.UTC(2027, 0, 1);
      const clock = (): number => now;
      const bitrix24 = fakeBitrix24({ ...KEYS, clock });
      const portal = bitrix24.portal({ memberId: MEMBER_ID, domain });
      const storage = memoryStorage({ clock });
      const { platform, settled } = backgroundWork();
      const create = (extraPortalHosts: readonly string[]) =>
        createApp({
          ...{ storage, clock, fetch: bitrix24.fetch, logger: quietLogger, tickEveryMs: false, extraPortalHosts },
          ...{ ...KEYS, acknowledge: "handled", lookup: () => Promise.resolve(["10.0.0.7"]) },
        }).use(applicationToken()).use(rest())
          .upgrade("3", ({ step, b24 }) => step("profile", async () => void await b24.call("profile")));
      const app = create([]);
      for (const body of [portal.install(2), portal.update(3)]) {
        assert.equal((await app.fetch(post(body), platform)).status, 200);
        await settled();
        now += HOUR;
      }
      const { blocked, failure } = (await app.portal(MEMBER_ID))!;
      assert.deepEqual([blocked?.on, failure], ["configuration", undefined]);
      assert(blocked!.message.includes(domain), blocked!.message);
      assert.match(blocked!.message, /list the host in extraPortalHosts to allow it/);
      assert.deepEqual((await app.check(MEMBER_ID)).problems.map(({ code }) => code), ["configuration"]);
      await app.close();

      const next = create([domain]);
      now += HOUR;
      await next.tick();
      const { version, blocked: after } = (await next.portal(MEMBER_ID))!;
      assert.deepEqual([version, after], ["3.0.0", undefined]);
      await next.close();
    });
  }
});
