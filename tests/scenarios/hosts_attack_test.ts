import assert from "node:assert/strict";
import { type App, createApp, memoryStorage } from "@b24/onappupdate";
import { applicationToken } from "@b24/onappupdate/application-token";
import { type HasB24, rest } from "@b24/onappupdate/rest";
import { type FakeBitrix24, fakeBitrix24, type FakePortal } from "@b24/onappupdate/testing";
import { CLIENT_ID, MEMBER_ID, post, quietLogger } from "../support/app.ts";
import { describe, it } from "../support/test.ts";

const CLIENT_SECRET = "client-secret-0123456789abcdef";

/** Addresses that no token may go to, in every notation. */
const TRAPS = [
  ...["https://evil.com/rest/", "http://example.bitrix24.de/rest/", "https://127.0.0.1/rest/", "https://[::1]/rest/"],
  ...["https://2130706433/rest/", "https://0x7f.1/rest/", "https://169.254.169.254/latest/meta-data/"],
  ...["https://metadata.google.internal/", "https://localhost/rest/", "https://portal/rest/"],
  ...["https://nas.local/rest/", "https://example.bitrix24.de@evil.com/rest/", "https://evil.com#.bitrix24.de/rest/"],
  ...["https://evil.com/.bitrix24.de/rest/", "https://example.bitrix24.de.evil.com/rest/"],
  ...["https://xbitrix24.de/rest/", "https://example.bitrіx24.de/rest/"],
  ...["https://example.bitrix24.de:8443/rest/", "https://example.bitrix24.de./rest/"],
  ...["//evil.com/rest/", "javascript:alert(1)", "file:///etc/passwd", "", "https://", "not an address"],
];
/** Addresses at which an OAuth host may place a portal, because their hosts are public. */
const PUBLIC = new Set([
  ...["https://evil.com/rest/", "https://example.bitrix24.de.evil.com/rest/", "https://xbitrix24.de/rest/"],
  ...["https://example.bitrіx24.de/rest/", "https://evil.com#.bitrix24.de/rest/"],
  "https://evil.com/.bitrix24.de/rest/",
]);

interface Scene {
  readonly app: App<HasB24>;
  readonly bitrix24: FakeBitrix24;
  readonly portal: FakePortal;
  /** Hosts that received a request. */
  readonly requestedHosts: Set<string>;
  readonly send: (body: string) => Promise<number>;
  /** Results of the calls from handlers: `ok`, or the name of the error. */
  readonly results: string[];
  /** Address that the portal redirects to; undefined for its own answers. */
  redirect: string | undefined;
  /** Names whose addresses were looked up. */
  readonly lookups: string[];
  /** Result of every look-up. */
  addresses: readonly string[];
}

function scene(): Scene {
  const bitrix24 = fakeBitrix24({ clientId: CLIENT_ID, clientSecret: CLIENT_SECRET, clock: Date.now });
  const requestedHosts = new Set<string>();
  const results: string[] = [];
  const lookups: string[] = [];
  const portals = rest({ rate: { burst: 10_000, perSecond: 1000 }, attempts: 1 });
  const app = createApp({
    storage: memoryStorage(),
    clientId: CLIENT_ID,
    clientSecret: CLIENT_SECRET,
    acknowledge: "handled",
    logger: quietLogger,
    tickEveryMs: false,
    lookup: (host) => {
      lookups.push(host);
      return Promise.resolve(made.addresses);
    },
    fetch: (input, init) => {
      const request = new Request(input, init);
      const { host } = new URL(request.url);
      requestedHosts.add(host);
      assert.equal(request.redirect, "manual");
      assert.doesNotMatch(request.url, /acce55|fe5fe5|secret/);
      if (host === "example.bitrix24.de" && made.redirect !== undefined) {
        return Promise.resolve(new Response(null, { status: 302, headers: { location: made.redirect } }));
      }
      return bitrix24.fetch(request);
    },
  }).use(applicationToken({ budget: { perPortal: 1000, perMinute: 2000 } })).use(portals);
  const call = async ({ b24 }: HasB24): Promise<void> => {
    await b24.call("profile").then(() => results.push("ok"), (error) => results.push(error.name));
  };
  app.on(["ONAPPINSTALL", "ONAPPUPDATE", "ONAPPTEST", "ONAPPPAYMENT", "ONAPPUSERREADY", "ONCRMDEALADD"], call);
  const made: Scene = {
    app,
    bitrix24,
    portal: bitrix24.portal({ memberId: MEMBER_ID }),
    requestedHosts,
    results,
    redirect: undefined,
    lookups,
    addresses: ["93.184.216.34"],
    send: async (body) => {
      const response = await app.fetch(post(body));
      await response.body?.cancel();
      return response.status;
    },
  };
  return made;
}

const ALLOWED = ["oauth.bitrix24.tech", "oauth.bitrix.info", "example.bitrix24.de"];

function assertOnlyAllowedHosts({ requestedHosts }: Scene): void {
  assert.deepEqual([...requestedHosts].filter((host) => !ALLOWED.includes(host)), []);
}

function changed(body: string, fields: Readonly<Record<string, string>>): string {
  const form = new URLSearchParams(body);
  for (const [name, value] of Object.entries(fields)) form.set(name, value);
  return form.toString();
}

describe("no request goes to a host that is not verified", () => {
  it("if an event has forged endpoints and a forged domain", async () => {
    const made = scene();
    const { portal, send } = made;
    const trap = (body: string, address: string): string =>
      changed(body, {
        "auth[client_endpoint]": address,
        "auth[server_endpoint]": address,
        "auth[domain]": URL.canParse(address) && new URL(address).host !== "" ? new URL(address).host : "evil.com",
      });
    let sent = 0;
    for (const address of TRAPS) {
      for (
        const body of [
          portal.install(2),
          portal.update(3),
          portal.update(4, { rotateToken: true }),
          portal.event("ONAPPTEST", { "QUERY[any]": "x" }),
          portal.event("ONCRMDEALADD", { ID: "1" }),
          portal.userReady(),
          portal.pay(),
        ]
      ) {
        const status = await send(trap(body, address));
        // An invalid address may make the event malformed. All other fields are authentic.
        assert([200, 400].includes(status), `${status} for ${address}`);
        if (status === 200) sent++;
      }
      portal.expireTokens();
      await made.app.check(MEMBER_ID);
    }
    assert(sent > TRAPS.length * 3);
    assert(made.results.length > 0 && made.results.every((result) => result === "ok"), made.results.join());
    assertOnlyAllowedHosts(made);
  });

  for (const address of TRAPS) {
    it(`if an OAuth host returns the endpoint ${JSON.stringify(address)}`, async () => {
      const made = scene();
      const { portal, bitrix24 } = made;
      const info = async (token: string): Promise<object> => {
        const response = await bitrix24.fetch("https://oauth.bitrix24.tech/rest/app.info", {
          method: "POST",
          body: new URLSearchParams({ auth: token }),
        });
        const { result } = await response.json();
        return { result: { ...result, install: { ...result.install, client_endpoint: address } } };
      };
      const body = portal.install(2);
      const answer = await info(new URLSearchParams(body).get("auth[access_token]")!);
      portal.answer("app.info", () => Response.json(answer), { at: "oauth" });
      assert.equal(await made.send(body), 200);
      assert.deepEqual(made.results.length, 1);
      assert.notEqual(made.results[0], "ok");
      if (!PUBLIC.has(address)) assertOnlyAllowedHosts(made);
      const endpoint = (await made.app.portal(MEMBER_ID))?.clientEndpoint;
      if (endpoint !== undefined) assert(PUBLIC.has(address) && new URL(endpoint).host !== "");
    });

    it(`if a refresh returns the endpoint ${JSON.stringify(address)}`, async () => {
      const made = scene();
      const { portal } = made;
      assert.equal(await made.send(portal.install(2)), 200);
      portal.expireTokens();
      const { refreshToken, accessToken } = portal.tokens();
      portal.answer("oauth/token", () =>
        Response.json({
          access_token: accessToken,
          refresh_token: refreshToken,
          expires_in: 3600,
          member_id: MEMBER_ID,
          client_endpoint: address,
          server_endpoint: address,
          domain: "evil.com",
          scope: "crm",
        }), { at: "oauth" });
      await made.send(portal.event("ONAPPTEST", { "QUERY[any]": "x" }));
      if (!PUBLIC.has(address)) assertOnlyAllowedHosts(made);
    });

    it(`if the portal redirects to ${JSON.stringify(address)}`, async () => {
      const made = scene();
      assert.equal(await made.send(made.portal.install(2)), 200);
      assert.deepEqual(made.results, ["ok"]);
      made.redirect = address;
      await made.send(made.portal.event("ONAPPTEST", { "QUERY[any]": "x" }));
      assert.equal(made.results.length, 2);
      assert.notEqual(made.results[1], "ok");
      assertOnlyAllowedHosts(made);
      made.redirect = undefined;
      await made.send(made.portal.event("ONAPPTEST", { "QUERY[any]": "y" }));
      assert.equal(made.results[2], "ok");
    });
  }

  it("if a public name resolves to a private address", async () => {
    const made = scene();
    const { portal } = made;
    portal.rename("crm.customer.com");
    await made.send(portal.install(2));
    assert.deepEqual([made.results, made.lookups], [["ok"], ["crm.customer.com"]]);
    for (const addresses of [["10.0.0.1"], ["93.184.216.34", "::1"], ["169.254.169.254"]]) {
      const attacked = scene();
      attacked.addresses = addresses;
      attacked.portal.rename("crm.customer.com");
      await attacked.send(attacked.portal.install(2));
      assert.deepEqual(attacked.results, ["AddressError"]);
      assertOnlyAllowedHosts(attacked);
    }
  });

  it("except to the new name of a renamed portal", async () => {
    const made = scene();
    await made.send(made.portal.install(2));
    made.portal.rename("renamed.bitrix24.de");
    await made.send(made.portal.event("ONAPPTEST", { "QUERY[any]": "x" }));
    assert.deepEqual(made.results, ["ok", "ok"]);
    assert.equal((await made.app.portal(MEMBER_ID))?.clientEndpoint, "https://renamed.bitrix24.de/rest/");
    assert.deepEqual([...made.requestedHosts].filter((host) => !ALLOWED.includes(host)), ["renamed.bitrix24.de"]);
  });
});
