import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { inspect } from "node:util";
import { MEMBER_ID, OTHER_MEMBER_ID, post } from "../../support/app.ts";
import {
  type Answer,
  appInfo,
  assertRefused,
  changed,
  HOSTS,
  installPortal,
  type Scene,
  scene,
  simultaneousReads,
  TOKENLESS,
  UNKNOWN_APPLICATION_TOKEN,
} from "../../support/scene.ts";
import { describe, test } from "../../support/test.ts";

describe("applicationToken() in a flood", () => {
  const forged = (body: string, i: number, memberId = MEMBER_ID): string =>
    changed(body, {
      "auth[member_id]": memberId,
      "auth[access_token]": `acce55-forged-${i}`,
      "auth[application_token]": `forged-${i}`,
      "auth[server_endpoint]": undefined,
    });

  const isUnverified = (entry: unknown): boolean => (entry as [string[]])[0][0]!.startsWith("unverified");
  const unverified = async (made: Scene): Promise<unknown[]> => (await made.stored()).filter(isUnverified);
  const waitMinutes = async (made: Scene, minutes: number): Promise<void> => {
    for (let i = 0; i < minutes; i++) {
      made.now += 60_000;
      await made.app.tick();
    }
  };

  for (const together of [false, true]) {
    const how = together ? "at once" : "in turn";

    test(`1,000 forged events of one portal, ${how}: 6 verifications a minute, authentic events are accepted`, async () => {
      const made = scene();
      await installPortal(made);
      made.now += 60_000;
      const model = made.portal.update(3);
      const updates = Array.from({ length: 10 }, (_, n) => made.portal.update(10 + 100 * n));
      const statuses: Record<number, number> = {};
      const attack = async (i: number): Promise<void> => {
        const status = await made.send(forged(model, i));
        statuses[status] = (statuses[status] ?? 0) + 1;
        if (i % 100 === 0) assert.equal(await made.send(updates[i / 100]!), 200);
      };
      if (together) await Promise.all(Array.from({ length: 1000 }, (_, i) => attack(i)));
      else for (let i = 0; i < 1000; i++) await attack(i);
      assert.deepEqual(statuses, { 403: 6, 503: 994 });
      const aboutForged = made.asked.filter(({ auth }) => auth?.startsWith("acce55-forged"));
      assert.equal(aboutForged.length, 6 * HOSTS.length);
      // Updates that come together cause one question a minute.
      await waitMinutes(made, 2);
      assert.equal((await made.app.portal(MEMBER_ID))?.version, "910.0.0");
      await assertRefused(made, made.portal.update(2000, { rotateToken: true }), 503);
      // It waits behind forged events, of which six a minute are refused.
      await assertRefused(made, made.portal.update(2001, { rotateToken: true }), 503);
      await waitMinutes(made, 7);
      assert.equal((await made.app.portal(MEMBER_ID))?.version, "2001.0.0");
      assert.deepEqual(await unverified(made), []);
    });

    test(`1,000 invented member_ids, ${how}: 300 requests a minute; known portals have a limit of their own`, async () => {
      const made = scene();
      await installPortal(made);
      made.now += 60_000;
      const before = await made.stored();
      const model = made.portal.update(3);
      const statuses: Record<number, number> = {};
      const attack = async (i: number): Promise<void> => {
        const status = await made.send(forged(model, i, i.toString(16).padStart(32, "0")));
        statuses[status] = (statuses[status] ?? 0) + 1;
      };
      if (together) await Promise.all(Array.from({ length: 1000 }, (_, i) => attack(i)));
      else for (let i = 0; i < 1000; i++) await attack(i);
      // Each of them is asked about at both hosts.
      assert.deepEqual(statuses, { 403: 150, 503: 850 });
      assert.equal(made.asked.length, 300);
      const others = (await made.stored()).filter((entry) => !isUnverified(entry));
      assert.deepEqual(others, before);
      assert.equal(await made.send(made.portal.update(4)), 200);
      assert.equal(await made.send(made.portal.update(5, { rotateToken: true })), 200);
      const stranger = made.bitrix24.portal({ memberId: OTHER_MEMBER_ID });
      const install = stranger.install(1);
      assert.equal(await made.send(install), 503);
      await waitMinutes(made, 7);
      assert.equal((await made.app.portal(OTHER_MEMBER_ID))?.version, "1.0.0");
      assert.deepEqual(await unverified(made), []);
    });
  }

  test("one token in 1,000 concurrent events causes one request", async () => {
    const made = scene({}, { storage: simultaneousReads(1000) });
    const body = forged(made.portal.update(3), 0);
    const answered = await Promise.all(Array.from({ length: 1000 }, () => made.send(body)));
    assert.deepEqual(new Set(answered), new Set([403]));
    assert.equal(made.asked.length, HOSTS.length);
  });

  test("the limits are options; half of the questions are for known portals", async () => {
    const made = scene({ budget: { perMinute: 4, perPortal: 2 } });
    const [other, third] = [OTHER_MEMBER_ID, "3".repeat(32)].map((memberId) => made.bitrix24.portal({ memberId }));
    const statuses: number[] = [];
    for (const portal of [made.portal, other!, third!]) statuses.push(await made.send(portal.install(1)));
    for (const portal of [made.portal, made.portal, other!, other!]) {
      statuses.push(await made.send(portal.update(2, { rotateToken: true })));
    }
    assert.deepEqual(statuses, [200, 200, 503, 200, 503, 200, 503]);
    await waitMinutes(made, 2);
    assert.equal((await made.app.portal("3".repeat(32)))?.version, "1.0.0");
    assert.deepEqual(await unverified(made), []);
  });
});

/** A host on this machine. */
async function listen(answer: RequestListener): Promise<{ url: string; close: () => Promise<void> }> {
  const server = createServer(answer);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    close: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

describe("applicationToken() over a real connection", () => {
  const HANGING: readonly (readonly [name: string, answer: RequestListener])[] = [
    ["that never answers", () => {}],
    ["that sends headers only", (_, response) => void response.writeHead(200).flushHeaders()],
    ["that sends half a body", (_, response) => void response.writeHead(200).write(`{"result":{`)],
    ["that announces more than it sends", (_, response) => {
      response.writeHead(200, { "content-length": "1000" });
      response.write("{}");
      response.socket?.end();
    }],
    ["that hangs up", (request) => void request.socket.destroy()],
    ["that never ends", (_, response) => {
      response.writeHead(200);
      const more = (): void => {
        while (!response.destroyed && response.write(" ".repeat(16_384)));
      };
      response.on("drain", more);
      more();
    }],
  ];
  for (const [name, answer] of HANGING) {
    test(`a host ${name}: 503`, async () => {
      const host = await listen(answer);
      const made = scene({}, { oauthHosts: [host.url], oauthTimeoutMs: 50, fetch: globalThis.fetch });
      await assertRefused(made, made.portal.install(1), 503);
      await host.close();
    });
  }

  for (const status of [301, 302, 303, 307, 308]) {
    test(`a redirect (${status}) is not followed`, async () => {
      let stolen = 0;
      const evil = await listen((_, response) => {
        stolen++;
        response.end(JSON.stringify(appInfo()));
      });
      const host = await listen((_, response) => {
        response.writeHead(status, { location: `${evil.url}/rest/app.info` }).end();
      });
      const made = scene({}, { oauthHosts: [host.url], fetch: globalThis.fetch });
      await assertRefused(made, made.portal.install(3), 503);
      assert.equal(stolen, 0);
      await host.close();
      await evil.close();
    });
  }

  test("the access token is in the body, never in the URL", async () => {
    const seen: string[] = [];
    const host = await listen(async (request, response) => {
      let body = "";
      for await (const chunk of request) body += chunk;
      seen.push(`${request.method} ${request.url} ${request.headers["content-type"]} ${body}`);
      assert.doesNotMatch(JSON.stringify(request.rawHeaders), /acce55/);
      response.end(JSON.stringify(appInfo()));
    });
    const made = scene({}, { oauthHosts: [host.url], fetch: globalThis.fetch });
    const install = made.portal.install(3);
    assert.equal(await made.send(install), 200);
    const token = new URLSearchParams(install).get("auth[access_token]");
    assert.deepEqual(seen, [
      `POST /rest/app.info application/x-www-form-urlencoded;charset=UTF-8 auth=${token}`,
    ]);
    await host.close();
  });
});

describe("a portal whose member_id is stolen", () => {
  interface Theft extends Scene {
    /** An authentic event of the victim, which the forged ones are based on. */
    readonly model: string;
    /** A valid access token of the attacker's own portal for the same app. */
    readonly own: string;
    /** A valid access token of another app on the victim's portal. */
    readonly otherApp: string;
  }

  async function theft(): Promise<Theft> {
    const made = scene({ budget: { perPortal: 1000 } });
    await installPortal(made);
    const attacker = made.bitrix24.portal({ memberId: OTHER_MEMBER_ID, domain: "attacker.bitrix24.de" });
    assert.equal(await made.send(attacker.install(2)), 200);
    const other = made.bitrix24.portal({ memberId: MEMBER_ID, clientId: "app.0ther", domain: "example.bitrix24.de" });
    other.install(1);
    return { ...made, model: made.portal.update(3), own: attacker.accessToken(), otherApp: other.accessToken() };
  }

  const HIS_HOSTS = {
    "auth[client_endpoint]": "https://evil.example/rest/",
    "auth[server_endpoint]": "https://evil.example/rest/",
    "auth[domain]": "evil.example",
  };
  const DATA: Readonly<Record<string, Readonly<Record<string, string>>>> = {
    ONAPPUPDATE: { "data[VERSION]": "99", "data[PREVIOUS_VERSION]": "1" },
    ONAPPINSTALL: { "data[VERSION]": "99" },
    ONAPPUNINSTALL: { "data[CLEAN]": "1" },
    ONAPPPAYMENT: { "data[CODE]": "a", "data[VERSION]": "99", "data[STATUS]": "S", "data[PAYMENT_EXPIRED]": "Y" },
    ONAPPUSERREADY: { "data[access_token]": "acce55-his", "data[refresh_token]": "fe5fe5-his" },
    ONAPPMETHODCONFIRM: { "data[TOKEN]": "acce55-his", "data[METHOD]": "user.get", "data[CONFIRMED]": "1" },
    ONAPPTEST: { "data[QUERY][a]": "1" },
    ONCRMDEALADD: { "data[FIELDS][ID]": "1" },
  };
  const NEEDS_TOKEN = ["ONAPPUPDATE", "ONAPPINSTALL", "ONAPPUNINSTALL", "ONAPPMETHODCONFIRM", "ONAPPTEST"];

  for (const [event, data] of Object.entries(DATA)) {
    test(`a forged ${event} is refused`, async () => {
      const made = await theft();
      const accessTokens = {
        none: undefined,
        "invented": "acce55-invented",
        "of his own portal": made.own,
        "of another app here": made.otherApp,
      };
      for (const applicationToken of [UNKNOWN_APPLICATION_TOKEN["auth[application_token]"], undefined]) {
        if (applicationToken === undefined && NEEDS_TOKEN.includes(event)) continue;
        for (const accessToken of Object.values(accessTokens)) {
          for (const addresses of [{}, HIS_HOSTS]) {
            const body = changed(made.model, {
              ...(accessToken === undefined ? TOKENLESS : { "auth[access_token]": accessToken }),
              ...addresses,
              ...data,
              event,
              "auth[application_token]": applicationToken,
            });
            await assertRefused(made, body, 403);
          }
        }
      }
      for (const { url } of made.asked) assert(HOSTS.some((host) => url === `${host}/rest/app.info`), url);
      const before = (await made.app.portal(MEMBER_ID))!;
      assert.deepEqual([before.version, before.status, before.domain], ["2.0.0", "installed", "example.bitrix24.de"]);
      assert.equal(await made.send(made.portal.update(4, { tokenless: true })), 200);
      const after = (await made.app.portal(MEMBER_ID))!;
      assert.equal(after.version, "4.0.0");
      assert.equal(after.clientEndpoint, "https://example.bitrix24.de/rest/");
      assert.deepEqual(after.applicationToken, before.applicationToken);
      assert.equal(await made.send(made.portal.uninstall()), 200);
      assert.equal((await made.app.portal(MEMBER_ID))?.status, "uninstalled");
    });
  }

  test("a second member_id in the body does not bypass the verification", async () => {
    const made = await theft();
    const his = { "auth[access_token]": made.own, ...UNKNOWN_APPLICATION_TOKEN };
    const body = changed(made.model, { ...his, "auth[member_id]": undefined });
    const bodies = [
      `${body}&auth[member_id]=${OTHER_MEMBER_ID}&auth[member_id]=${MEMBER_ID}`,
      `${body}&auth[member_id]=${MEMBER_ID.toUpperCase()}`,
      `member_id=${OTHER_MEMBER_ID}&${body}&auth[member_id]=${MEMBER_ID}&member_id=${OTHER_MEMBER_ID}`,
      `${body}&auth[member_id]=${MEMBER_ID}&auth[extra][member_id]=${OTHER_MEMBER_ID}`,
      `${body}&auth[__proto__][member_id]=${OTHER_MEMBER_ID}&auth[member_id]=${MEMBER_ID}`,
    ];
    for (const forged of bodies) await assertRefused(made, forged, 403);
    const before = await made.stored();
    for (
      const broken of [
        `${body}&auth[member_id][]=${OTHER_MEMBER_ID}&auth[member_id][]=${MEMBER_ID}`,
        `${body}&auth[member_id]=${OTHER_MEMBER_ID},${MEMBER_ID}`,
        `${body}&auth[member_id]=${MEMBER_ID}%00`,
        `${body}&auth[member_id]=${MEMBER_ID}%0A`,
        `${body}&auth[member_id]=%20${MEMBER_ID}`,
      ]
    ) {
      assert.equal(await made.send(broken), 400);
    }
    assert.deepEqual(await made.stored(), before);
  });

  test("events of the attacker's own portal change its own record only", async () => {
    const made = await theft();
    const record = async (memberId: string): Promise<unknown> => (await made.storage.get(["portal", memberId]))?.value;
    const before = await record(MEMBER_ID);
    const own = changed(made.model, {
      ...HIS_HOSTS,
      "auth[access_token]": made.own,
      "auth[application_token]": new URLSearchParams(made.model).get("auth[application_token]")!,
      "auth[member_id]": OTHER_MEMBER_ID,
    });
    assert.equal(await made.send(own), 200);
    assert.deepEqual(await record(MEMBER_ID), before);
    assert.equal((await made.app.portal(OTHER_MEMBER_ID))?.clientEndpoint, "https://attacker.bitrix24.de/rest/");
  });
});

test("applicationToken() never shows a token", async () => {
  const seen: string[] = [];
  const see = (value: unknown): void => {
    const { Deno } = globalThis as { Deno?: { inspect: (value: unknown, options: object) => string } };
    seen.push(inspect(value, { depth: Infinity, showHidden: true }), String(value), JSON.stringify(value));
    if (Deno !== undefined) seen.push(Deno.inspect(value, { depth: 100, showHidden: true }));
    if (value instanceof Error) seen.push(value.message, String(value.stack), inspect(value.cause));
  };
  const made = scene({ budget: { perPortal: 1000 } });
  const { portal } = made;
  const tokens = new Set<string>();
  const send = async (body: string, contentType?: string): Promise<void> => {
    for (const [name, value] of new URLSearchParams(body)) {
      if (/token/i.test(name) && value.length >= 8) tokens.add(value);
    }
    const response = await made.app.fetch(contentType === undefined ? post(body) : post(body, contentType));
    seen.push(await response.text(), JSON.stringify([...response.headers]), response.statusText);
  };
  const broken = (): never => {
    throw new TypeError(`cannot reach https://oauth.bitrix.info/rest/app.info?auth=${[...tokens].join()}`);
  };
  // While the access tokens of the events are valid.
  made.now = 1785300000_000;
  made.app.upgrade("5", async ({ memberId, portal, log }) => {
    log.info("upgrading", { portal });
    see(portal);
    const token = (await made.app.credentials.get(memberId)).accessToken.reveal();
    tokens.add(token);
    throw new Error(`no ${token}`, { cause: new TypeError(`cannot reach https://example.bitrix24.de/?auth=${token}`) });
  }).on(["ONAPPINSTALL", "ONAPPUSERREADY", "ONAPPMETHODCONFIRM", "ONCRMDEALADD"], (ctx) => {
    ctx.log.info("handling", { event: ctx.event });
    see(ctx);
  });
  await send(portal.install(2));
  await send(portal.install(2));
  await send(portal.update(3, { rotateToken: true }));
  await send(portal.update(4, { rotateToken: true, tokenless: true }));
  await send(changed(portal.update(4), { "auth[access_token]": "acce55-of-nobody" }));
  await send(portal.event("ONAPPUSERREADY", { access_token: "acce55-system", refresh_token: "fe5fe5-system" }));
  await send(portal.event("ONAPPMETHODCONFIRM", { TOKEN: "acce55-confirmed", METHOD: "user.get", CONFIRMED: "1" }));
  await send(`${portal.event("ONCRMDEALADD", { token: "acce55-unknown" })}&auth[other_token]=acce55-other`);
  await send(portal.update(5));
  await made.app.tick();
  for (const field of ["auth[member_id]", "auth[domain]", "auth[access_token]", "ts", "data[VERSION]", "event"]) {
    await send(changed(portal.update(6), { [field]: undefined }));
    await send(`${portal.update(6)}&${field}[]=1`);
    await send(changed(portal.update(6), { [field]: "acce55 in the wrong place of 32 c", auth_token: "acce55-top" }));
  }
  await send(portal.update(6), "application/json");
  await send(portal.update(6), "text/plain");
  const answers: Answer[] = [
    broken,
    () => Promise.reject(new DOMException([...tokens].join(), "TimeoutError")),
    async (request) => new Response(await request.text()),
    async (request) => Response.json({ error: (await request.text()).slice("auth=".length) }),
    async (request) => Response.json({ error: `no ${(await request.text()).slice("auth=".length)}` }, { status: 500 }),
    async (request) => Response.json({ result: await request.text() }),
  ];
  for (const answer of answers) {
    made.answer = answer;
    await send(portal.update(7, { rotateToken: true }));
    await send(
      changed(portal.update(7, { rotateToken: true }), { "auth[access_token]": "acce55-short-of-32-chars-12345678" }),
    );
  }
  see(made.reports);
  for (const report of made.reports) {
    see(report);
    if ("error" in report) see(report.error);
  }
  seen.push(...made.lines);
  assert(
    /upgradeRetryScheduled|eventFailed/.test(made.names().join()) && made.names().includes("eventRejected") &&
      made.names().includes("eventReceived"),
  );
  assert(tokens.size > 40 && seen.length > 100);
  // Nor the beginning of one, which a truncated message could contain.
  for (const token of tokens) {
    for (const text of seen) assert(!text.includes(token.slice(0, 20)), `${token} in ${text.slice(0, 2000)}`);
  }
});
