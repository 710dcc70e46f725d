import assert from "node:assert/strict";
import { inspect } from "node:util";
import { type Context, createApp, digestToken, memoryStorage, Secret } from "@b24/onappupdate";
import { applicationToken } from "@b24/onappupdate/application-token";
import { CLIENT_ID, MEMBER_ID, OTHER_MEMBER_ID, post, quietLogger, rig } from "../../support/app.ts";
import {
  type Answer,
  appInfo,
  assertRefused,
  changed,
  HOSTS,
  installPortal,
  scene,
  simultaneousReads,
  TOKENLESS,
  UNKNOWN_APPLICATION_TOKEN,
} from "../../support/scene.ts";
import { describe, test } from "../../support/test.ts";

const HOUR = 3_600_000;

function digestOf(body: string): Promise<string> {
  return digestToken(new Secret(new URLSearchParams(body).get("auth[application_token]")!));
}

describe("applicationToken() and digests", () => {
  test("hashes a token once: it remembers 100,000 accepted ones, and forgets the least recently used first", async () => {
    let hashed: string[] = [];
    class CountedSecret extends Secret {
      override reveal(): string {
        hashed.push(super.reveal());
        return super.reveal();
      }
    }
    const plugin = applicationToken();
    const accept = async (name: string): Promise<void> => {
      const event = { name: "ONCRMDEALADD", auth: { applicationToken: new CountedSecret(name) } };
      const portal = { status: "installed", applicationToken: { current: await digestToken(new Secret(name)) } };
      let isAccepted = false;
      await plugin.around!({ event, portal, receivedAt: 0, stage: "received" } as unknown as Context, () => {
        isAccepted = true;
        return Promise.resolve();
      });
      assert(isAccepted);
    };
    const hashedBy = async (...names: readonly string[]): Promise<string[]> => {
      hashed = [];
      for (const name of names) await accept(name);
      return hashed;
    };
    for (let n = 0; n < 100_000; n++) await accept(`token ${n}`);
    assert.equal(hashed.length, 100_000);
    assert.deepEqual(await hashedBy("token 0", "token 99999", "token 0"), []);
    assert.deepEqual(await hashedBy("another", "token 0"), ["another"]);
    assert.deepEqual(await hashedBy("token 1"), ["token 1"]);
  });

  test("refuses another token, also if the stored one is remembered", async () => {
    const made = scene();
    await installPortal(made);
    const update = made.portal.update(2, { tokenless: true });
    assert.equal(await made.send(update), 200);
    const forged = changed(update, { "auth[application_token]": "0".repeat(32) });
    assert.equal(await made.send(forged), 403);
    assert.equal(await made.send(made.portal.update(2, { tokenless: true })), 200);
  });
});

describe("applicationToken() decisions", () => {
  test("stored token, with and without access token: accepted; only a higher version is asked about", async () => {
    for (const tokenless of [false, true]) {
      const made = scene();
      const install = await installPortal(made);
      assert.equal(await made.send(made.portal.event("ONCRMDEALADD", {}, { tokenless })), 200);
      assert.equal(await made.send(made.portal.update(2, { tokenless })), 200);
      assert.equal(made.asked.length, 0);
      assert.equal(await made.send(made.portal.update(3, { tokenless })), 200);
      const record = (await made.app.portal(MEMBER_ID))!;
      assert.equal(record.version, "3.0.0");
      assert.deepEqual(record.applicationToken, { current: await digestOf(install) });
      assert.equal(made.asked.length, 1);
    }
  });

  test("stored token, an update to the present version: its handlers run for each new ts, and no upgrade", async () => {
    const made = scene();
    let updates = 0;
    made.app.on("ONAPPUPDATE", () => void updates++).upgrade("2", () => assert.fail("no version changes"));
    await installPortal(made);
    for (const ts of [1, 2, 3]) {
      assert.equal(await made.send(made.portal.forge("ONAPPUPDATE", { VERSION: "2" }, { ts })), 200);
      assert.equal(updates, ts);
    }
    assert.equal(made.asked.length, 0);
  });

  test("different token, with access token: verified and stored; the old one is kept", async () => {
    const made = scene();
    const install = await installPortal(made);
    const update = made.portal.update(3, { rotateToken: true });
    assert.equal(await made.send(update), 200);
    assert.equal(made.asked.length, 1);
    const record = (await made.app.portal(MEMBER_ID))!;
    assert.equal(record.version, "3.0.0");
    assert.deepEqual(record.applicationToken, {
      current: await digestOf(update),
      previous: [{ digest: await digestOf(install), replacedAt: made.now }],
    });
    assert.equal(await made.send(made.portal.update(3, { tokenless: true })), 200);
    assert.equal(made.asked.length, 1);
  });

  test("different token, without access token: refused", async () => {
    const made = scene();
    await installPortal(made);
    await assertRefused(made, made.portal.update(3, { rotateToken: true, tokenless: true }), 403);
    assert.equal(made.asked.length, 0);
  });

  test("empty tokens: treated as absent", async () => {
    const made = scene();
    await installPortal(made);
    const update = changed(made.portal.update(3), { "auth[access_token]": "", ...UNKNOWN_APPLICATION_TOKEN });
    await assertRefused(made, update, 403);
    assert.equal(made.asked.length, 0);
  });

  for (const name of ["ONAPPINSTALL", "ONAPPUPDATE"]) {
    const data: Record<string, string> = { VERSION: "3", PREVIOUS_VERSION: "2" };

    test(`unknown portal, ${name} with access token: verified, then the portal is stored`, async () => {
      const made = scene();
      made.portal.install(3);
      const event = made.portal.event(name, data);
      assert.equal(await made.send(event), 200);
      assert.equal(made.asked.length, 1);
      const record = (await made.app.portal(MEMBER_ID))!;
      assert.equal(record.status, "installed");
      assert.equal(record.version, "3.0.0");
      assert.equal(record.clientEndpoint, "https://example.bitrix24.de/rest/");
      assert.deepEqual(record.applicationToken, { current: await digestOf(event) });
    });

    test(`unknown portal, ${name} without access token: refused, nothing is stored`, async () => {
      const made = scene();
      made.portal.install(3);
      await assertRefused(made, made.portal.event(name, data, { tokenless: true }), 403);
      assert.deepEqual(await made.stored(), []);
      assert.equal(made.asked.length, 0);
    });
  }

  test("unknown portal, removal: refused", async () => {
    const made = scene();
    made.portal.install(2);
    await assertRefused(made, made.portal.uninstall(), 403);
    assert.deepEqual(await made.stored(), []);
  });

  test("removal with a different token: refused, even if its access token is valid, which shows that the app is installed", async () => {
    const made = scene();
    const removal = { event: "ONAPPUNINSTALL", "data[CLEAN]": "1" };
    await assertRefused(made, changed(made.portal.install(2), removal), 403);
    await installPortal(made);
    await assertRefused(made, changed(made.portal.update(3), { ...removal, ...UNKNOWN_APPLICATION_TOKEN }), 403);
    assert.equal(made.asked.length, 0);
  });

  test("removed portal, stored token, without access token: accepted, stays removed", async () => {
    const made = scene();
    await installPortal(made);
    const update = made.portal.event("ONAPPUPDATE", { VERSION: "3", PREVIOUS_VERSION: "2" }, { tokenless: true });
    const removal = made.portal.uninstall();
    assert.equal(await made.send(removal), 200);
    assert.equal(made.asked.length, 1);
    assert.equal(await made.send(update), 200);
    assert.equal(await made.send(changed(removal, { ts: "1785399999" })), 200);
    assert.equal((await made.app.portal(MEMBER_ID))?.status, "uninstalled");
    assert.equal(made.asked.length, 1);
  });

  test("removed portal, stored token: an installation needs verification", async () => {
    const made = scene();
    await installPortal(made);
    const again = made.portal.event("ONAPPINSTALL", { VERSION: "9" });
    await made.send(made.portal.uninstall());
    made.forget();
    const late = changed(again, { ts: String(made.now / 1000) });
    // The OAuth host says NOT_INSTALLED, which may be behind the event.
    await assertRefused(made, late, 503);
    assert.equal(made.asked.length, 1);
    await assertRefused(made, changed(late, TOKENLESS), 403);
    assert.equal((await made.app.portal(MEMBER_ID))?.status, "uninstalled");
  });

  test("removed portal, different token: verified, then reinstalled; refused without access token", async () => {
    const made = scene();
    await installPortal(made);
    await made.send(made.portal.uninstall());
    made.forget();
    const install = made.portal.install(4);
    await assertRefused(made, changed(install, TOKENLESS), 403);
    assert.equal(made.asked.length, 0);
    assert.equal(await made.send(install), 200);
    assert.equal(made.asked.length, 1);
    const record = (await made.app.portal(MEMBER_ID))!;
    assert.deepEqual([record.status, record.version, record.generation], ["installed", "4.0.0", 2]);
    assert.equal(record.applicationToken?.current, await digestOf(install));
  });

  test("previous token: accepted within the grace period, then treated as any other", async () => {
    for (const [options, graceMs] of [[{}, 24 * HOUR], [{ graceMs: 1000 }, 1000]] as const) {
      const made = scene(options);
      const { send, portal } = made;
      const install = await installPortal(made);
      const old = { "auth[application_token]": new URLSearchParams(install).get("auth[application_token]")! };
      const rotated = portal.update(3, { rotateToken: true });
      await send(rotated);
      made.forget();
      const current = await digestOf(rotated);
      made.now += graceMs - 1;
      assert.equal(await send(changed(portal.event("ONCRMDEALADD", {}), old)), 200);
      assert.equal(await send(changed(portal.update(3, { tokenless: true }), old)), 200);
      assert.equal(made.asked.length, 0);
      assert.equal((await made.app.portal(MEMBER_ID))?.applicationToken?.current, current, "the old one stays old");
      made.now += 1;
      await assertRefused(made, changed(portal.update(6, { tokenless: true }), old), 403);
      assert.equal(made.asked.length, 0);
      assert.equal(await send(changed(portal.update(7), old)), 200);
      assert.equal(made.asked.length, 1);
      assert.deepEqual((await made.app.portal(MEMBER_ID))?.applicationToken, {
        current: await digestOf(install),
        previous: [{ digest: current, replacedAt: made.now }],
      });
    }
  });

  test("tokens before the previous one: the last four are accepted, each within its own grace period", async () => {
    const made = scene();
    const tokenOf = (body: string) => ({
      "auth[application_token]": new URLSearchParams(body).get("auth[application_token]")!,
    });
    const tokens = [tokenOf(await installPortal(made))];
    for (const version of [3, 4, 5, 6, 7]) {
      const update = made.portal.update(version, { rotateToken: true });
      assert.equal(await made.send(update), 200);
      tokens.push(tokenOf(update));
      made.now += HOUR;
    }
    const event = made.portal.event("ONAPPTEST", {}, { tokenless: true });
    const statuses = () => Promise.all(tokens.map((token) => made.send(changed(event, token))));
    assert.deepEqual(await statuses(), [403, 200, 200, 200, 200, 200]);
    // The second one was replaced four hours ago, the third one three.
    made.now += 24 * HOUR - 4 * HOUR;
    assert.deepEqual(await statuses(), [403, 403, 200, 200, 200, 200]);
  });

  test("a previous token: refused for a removal, also within the grace period", async () => {
    const made = scene();
    const old = new URLSearchParams(await installPortal(made)).get("auth[application_token]")!;
    assert.equal(await made.send(made.portal.update(3, { rotateToken: true })), 200);
    const removal = made.portal.event("ONAPPUNINSTALL", { CLEAN: "1" }, { tokenless: true });
    await assertRefused(made, changed(removal, { "auth[application_token]": old }), 403);
    assert.equal(await made.send(removal), 200);
  });

  test("no application_token: verified by access token, else refused; the stored one stays", async () => {
    const payment = { CODE: "vendor.app", VERSION: "2", STATUS: "S", PAYMENT_EXPIRED: "N" };
    const none = { "auth[application_token]": undefined };
    const made = scene();
    const install = await installPortal(made);
    await assertRefused(made, changed(made.portal.event("ONAPPPAYMENT", payment, { tokenless: true }), none), 403);
    assert.equal(made.asked.length, 0);
    assert.equal(await made.send(changed(made.portal.event("ONAPPPAYMENT", payment), none)), 200);
    assert.equal(made.asked.length, 1);
    assert.deepEqual((await made.app.portal(MEMBER_ID))?.applicationToken, { current: await digestOf(install) });
    const before = await made.stored();
    assert.equal(await made.send(changed(made.portal.update(3), none)), 400);
    assert.deepEqual(await made.stored(), before);
  });

  test("portal verified without application_token: stores the first one that is verified", async () => {
    const made = scene();
    made.portal.install(2);
    const payment = { CODE: "vendor.app", VERSION: "2", STATUS: "S", PAYMENT_EXPIRED: "N" };
    const event = changed(made.portal.event("ONAPPPAYMENT", payment), { "auth[application_token]": undefined });
    assert.equal(await made.send(event), 200);
    assert.equal((await made.app.portal(MEMBER_ID))?.applicationToken, undefined);
    await assertRefused(made, made.portal.update(3, { tokenless: true }), 403);
    const update = made.portal.update(4);
    assert.equal(await made.send(update), 200);
    assert.deepEqual((await made.app.portal(MEMBER_ID))?.applicationToken, { current: await digestOf(update) });
  });

  test("tokens similar to the stored one: refused", async () => {
    const made = scene();
    const token = new URLSearchParams(await installPortal(made)).get("auth[application_token]")!;
    const near = [
      token.slice(0, -1),
      `${token}0`,
      ` ${token}`,
      `${token} `,
      `${token}\0`,
      token.toUpperCase(),
      [...token].reverse().join(""),
      token.repeat(2),
      await digestToken(new Secret(token)),
      "[redacted]",
    ];
    for (const guess of near) {
      const update = made.portal.update(3, { tokenless: true });
      await assertRefused(made, changed(update, { "auth[application_token]": guess }), 403);
    }
    assert.equal(await made.send(made.portal.update(3, { tokenless: true })), 200);
  });
});

/** The answers of `app.info` and what becomes of an event with another token. */
const ANSWERS: readonly (readonly [name: string, status: 200 | 403 | 503, answer: Answer])[] = [
  ["this app on this portal", 200, () => Response.json(appInfo())],
  ["member_id in capitals", 200, () => Response.json(appInfo({ member_id: MEMBER_ID.toUpperCase() }))],
  ["unknown keys", 200, () => Response.json({ ...appInfo({ new: [1] }, { new: {} }), time: { start: 1 } })],
  ["another app on this portal", 403, () => Response.json(appInfo({}, { client_id: "app.0ther" }))],
  ["a client_id that begins with ours", 403, () => Response.json(appInfo({}, { client_id: `${CLIENT_ID}0` }))],
  ["a client_id that ours begins with", 403, () => Response.json(appInfo({}, { client_id: CLIENT_ID.slice(0, -1) }))],
  ["an empty client_id", 403, () => Response.json(appInfo({}, { client_id: "" }))],
  ["this app on another portal", 403, () => Response.json(appInfo({ member_id: OTHER_MEMBER_ID }))],
  ["an empty member_id", 403, () => Response.json(appInfo({ member_id: "" }))],
  ["expired_token", 403, () => Response.json({ error: "expired_token" }, { status: 401 })],
  ["invalid_token", 403, () => Response.json({ error: "invalid_token" }, { status: 401 })],
  ["NO_AUTH_FOUND", 403, () => Response.json({ error: "NO_AUTH_FOUND" }, { status: 401 })],
  ["NOT_INSTALLED", 503, () => Response.json({ error: "NOT_INSTALLED" }, { status: 401 })],
  ["invalid_grant", 403, () => Response.json({ error: "invalid_grant" }, { status: 400 })],
  ["invalid_client", 403, () => Response.json({ error: "invalid_client" }, { status: 400 })],
  ["WRONG_CLIENT with HTTP 200", 403, () => Response.json({ error: "WRONG_CLIENT" })],
  ["WRONG_CLIENT beside a result", 403, () => Response.json({ error: "WRONG_CLIENT", ...appInfo() })],
  ["INTERNAL_SERVER_ERROR", 503, () => Response.json({ error: "INTERNAL_SERVER_ERROR" }, { status: 500 })],
  ["QUERY_LIMIT_EXCEEDED", 503, () => Response.json({ error: "QUERY_LIMIT_EXCEEDED" }, { status: 503 })],
  ["OVERLOAD_LIMIT", 503, () => Response.json({ error: "OVERLOAD_LIMIT" }, { status: 503 })],
  ["an error that nobody knows", 503, () => Response.json({ error: "ERROR_METHOD_NOT_FOUND" }, { status: 404 })],
  ["an empty error", 503, () => Response.json({ error: "" })],
  ["a refusal with HTTP 500", 503, () => Response.json({ error: "expired_token" }, { status: 500 })],
  ["a refusal with HTTP 502", 503, () => Response.json({ error: "invalid_token" }, { status: 502 })],
  ["a result with HTTP 500", 503, () => Response.json(appInfo(), { status: 500 })],
  ["HTML with HTTP 200", 503, () => new Response("<html>maintenance</html>")],
  ["HTML with HTTP 502", 503, () => new Response("<html>bad gateway</html>", { status: 502 })],
  ["nothing", 503, () => new Response(null, { status: 200 })],
  ["an empty text", 503, () => new Response("")],
  ["half a text", 503, () => new Response(JSON.stringify(appInfo()).slice(0, -3))],
  ["bytes that are not UTF-8", 503, () => new Response(new Uint8Array([0x7b, 0xff, 0xfe]))],
  ["null", 503, () => Response.json(null)],
  ["true", 503, () => Response.json(true)],
  ["a list", 503, () => Response.json([appInfo()])],
  ["an empty object", 503, () => Response.json({})],
  ["a result that is true", 503, () => Response.json({ result: true })],
  ["a result that is an empty list", 503, () => Response.json({ result: [] })],
  ["a result without client_id", 503, () => Response.json(appInfo({}, { client_id: undefined }))],
  ["a client_id that is a list with ours", 503, () => Response.json(appInfo({}, { client_id: [CLIENT_ID] }))],
  ["a result without install", 503, () => Response.json(appInfo({}, { install: undefined }))],
  ["an install that is an empty list", 503, () => Response.json(appInfo({}, { install: [] }))],
  ["a member_id that is a list with ours", 503, () => Response.json(appInfo({ member_id: [MEMBER_ID] }))],
  ["another call's result", 503, () => Response.json({ result: { ID: "1", ADMIN: true } })],
  ["a result on the prototype", 503, () => new Response(`{"__proto__":${JSON.stringify(appInfo())}}`)],
  ["100,000 levels", 503, () => new Response("[".repeat(30_000) + "]".repeat(30_000))],
  ["more than 64 KiB", 503, () => Response.json({ ...appInfo(), padding: "x".repeat(65_536) })],
  ["an endless stream", 503, () =>
    new Response(
      new ReadableStream({ pull: (controller) => controller.enqueue(new TextEncoder().encode("[".repeat(8192))) }),
    )],
  ["a stream that breaks", 503, () =>
    new Response(
      new ReadableStream({ pull: (controller) => controller.error(new TypeError("connection reset")) }),
    )],
  ["a redirect to another host", 503, () => Response.redirect("https://evil.example/rest/app.info", 302)],
  ["a redirect that keeps the method", 503, () => Response.redirect("https://evil.example/rest/app.info", 307)],
  ["no connection", 503, () => Promise.reject(new TypeError("error sending request"))],
  ["an abort", 503, () => Promise.reject(new DOMException("timed out", "TimeoutError"))],
  ["a thrown value that is not an Error", 503, () => Promise.reject("down")],
];

describe("applicationToken() and answers of an OAuth host", () => {
  for (const [name, status, answer] of ANSWERS) {
    test(`${name}: ${status}`, async () => {
      const made = scene();
      await installPortal(made);
      made.answer = answer;
      const update = made.portal.update(3, { rotateToken: true });
      if (status === 200) assert.equal(await made.send(update), 200);
      else await assertRefused(made, update, status);
      const stranger = scene();
      stranger.answer = answer;
      const install = stranger.portal.install(3);
      if (status === 200) assert.equal(await stranger.send(install), 200);
      else await assertRefused(stranger, install, status);
      // Whatever came of it, it can be had later.
      made.answer = undefined;
      made.now += 60_000;
      assert.equal(await made.send(made.portal.update(4)), 200);
      assert.equal((await made.app.portal(MEMBER_ID))?.version, "4.0.0");
    });
  }

  test("does not read an oversized body to its end", async () => {
    const made = scene();
    let pulled = 0;
    let cancelled = 0;
    made.answer = () =>
      new Response(
        new ReadableStream({
          pull: (controller) => controller.enqueue(new Uint8Array(8192).fill(++pulled && 91)),
          cancel: () => void cancelled++,
        }),
      );
    await assertRefused(made, made.portal.install(2), 503);
    assert.equal(cancelled, made.asked.length);
    assert(pulled <= 12 * made.asked.length, `${pulled} pieces of 8 KiB`);
  });

  test("does not wait for a slow body, even if fetch ignores its signal", async () => {
    const made = scene({}, { oauthTimeoutMs: 20 });
    made.answer = () =>
      new Response(
        new ReadableStream({
          pull: async (controller) => {
            await new Promise((resolve) => setTimeout(resolve, 1));
            controller.enqueue(new TextEncoder().encode(" "));
          },
        }),
      );
    await assertRefused(made, made.portal.install(3), 503);
  });

  test("uses the portal address of the answer, never that of the event", async () => {
    const made = scene();
    const theirs = { "auth[client_endpoint]": "https://evil.example/rest/", "auth[domain]": "evil.example" };
    assert.equal(await made.send(changed(made.portal.install(2), theirs)), 200);
    assert.equal((await made.app.portal(MEMBER_ID))?.clientEndpoint, "https://example.bitrix24.de/rest/");
    assert.equal(await made.send(changed(made.portal.update(3), theirs)), 200);
    assert.equal((await made.app.portal(MEMBER_ID))?.clientEndpoint, "https://example.bitrix24.de/rest/");
  });

  for (
    const address of [
      ...[
        "http://example.bitrix24.de/rest/",
        "https://user:pw@example.bitrix24.de/rest/",
        "https://user@evil.example/",
        "https://:pw@evil.example/",
      ],
      ...["//example.bitrix24.de/rest/", "example.bitrix24.de", "garbage", "", "https://", "https://[::1/"],
      ...["javascript:alert(1)", "file:///etc/passwd", "data:text/plain,x", "ftp://example.bitrix24.de/"],
      undefined,
    ]
  ) {
    test(`ignores the address ${inspect(address)}, and logs that`, async () => {
      const made = scene();
      made.answer = () => Response.json(appInfo({ client_endpoint: address }));
      assert.equal(await made.send(made.portal.install(3)), 200);
      assert.equal((await made.app.portal(MEMBER_ID))?.clientEndpoint, undefined);
      assert.match(made.lines.join("\n"), /"event":"oauth.address_missing"/);
      made.answer = undefined;
      await made.send(made.portal.update(4, { rotateToken: true }));
      made.answer = () => Response.json(appInfo({ client_endpoint: address }));
      assert.equal(await made.send(made.portal.update(5, { rotateToken: true })), 200);
      const { clientEndpoint } = (await made.app.portal(MEMBER_ID))!;
      assert.equal(clientEndpoint, "https://example.bitrix24.de/rest/", "the verified one stays");
    });
  }

  test("uses the version of the answer rather than that of the event", async () => {
    const made = scene();
    await installPortal(made);
    made.answer = () => Response.json(appInfo({ version: 2 }));
    assert.equal(await made.send(made.portal.update(9, { rotateToken: true })), 200);
    assert.equal((await made.app.portal(MEMBER_ID))?.target, "2.0.0");
  });
});

const ENDPOINTS: readonly (readonly [endpoint: string | undefined, asked: readonly string[]])[] = [
  [`${HOSTS[0]}/rest/`, [HOSTS[0]]],
  [`${HOSTS[1]}/rest/`, [HOSTS[1]]],
  ["HTTPS://OAuth.Bitrix.INFO:443/other/", [HOSTS[1]]],
  [undefined, HOSTS],
  ["", HOSTS],
  ["garbage", HOSTS],
  ["https://evil.example/rest/", HOSTS],
  ["http://oauth.bitrix.info/rest/", HOSTS],
  ["https://oauth.bitrix.info:8443/rest/", HOSTS],
  ["https://oauth.bitrix.info.evil.example/rest/", HOSTS],
  ["https://oauth.bitrix.info@evil.example/rest/", HOSTS],
  ["https://evil.example/?https://oauth.bitrix.info/rest/", HOSTS],
  ["https://evil.example/#@oauth.bitrix.info/", HOSTS],
  ["https://oauth.bitrix.info\\.evil.example/", [HOSTS[1]]],
  ["//evil.example/rest/", HOSTS],
  ["http://127.0.0.1:8000/", HOSTS],
  ["http://169.254.169.254/latest/meta-data/", HOSTS],
  ["file:///etc/passwd", HOSTS],
  ["data:application/json,{}", HOSTS],
  ["javascript:alert(1)", HOSTS],
];

describe("applicationToken() requests", () => {
  for (const [endpoint, hosts] of ENDPOINTS) {
    test(`go only to the OAuth hosts if the event names ${inspect(endpoint)}`, async () => {
      const made = scene();
      await installPortal(made);
      const update = changed(made.portal.update(3), {
        ...UNKNOWN_APPLICATION_TOKEN,
        "auth[server_endpoint]": endpoint,
        "auth[client_endpoint]": "https://evil.example/rest/",
        "auth[domain]": "evil.example",
        "auth[access_token]": "acce55-of-nobody",
      });
      await assertRefused(made, update, 403);
      assert.deepEqual(
        made.asked,
        hosts.map((host) => ({
          url: `${host}/rest/app.info`,
          method: "POST",
          auth: "acce55-of-nobody",
          redirect: "manual",
        })),
      );
    });
  }

  test("go to the other host only if the named one is down", async () => {
    for (const [named, other] of [HOSTS, HOSTS.toReversed()]) {
      for (const [theirs, status] of [[200, 200], [401, 403], [500, 503]] as const) {
        const made = scene();
        await installPortal(made);
        made.answer = ({ url }) =>
          url.startsWith(named!)
            ? Promise.reject(new TypeError("down"))
            : Response.json(theirs === 200 ? appInfo() : { error: "expired_token" }, { status: theirs });
        const update = changed(made.portal.update(3), {
          ...UNKNOWN_APPLICATION_TOKEN,
          "auth[server_endpoint]": `${named}/rest/`,
        });
        // An unknown token on the other host means nothing while the host that should know it is down.
        if (status === 200) assert.equal(await made.send(update), 200);
        else await assertRefused(made, update, 503);
        assert.deepEqual(made.asked.map(({ url }) => new URL(url).origin), [named, other]);
      }
    }
  });

  test("go to both hosts if the event names none, and use the one that knows the token", async () => {
    const made = scene();
    made.answer = ({ url }) =>
      url.startsWith(HOSTS[0]) ? Response.json({ error: "expired_token" }, { status: 401 }) : Response.json(appInfo());
    const install = changed(made.portal.install(3), { "auth[server_endpoint]": undefined });
    assert.equal(await made.send(install), 200);
    assert.equal(made.asked.length, 2);
  });

  test("go only to the host in the options", async () => {
    const made = scene({}, { oauthHosts: ["https://oauth.example.org/ignored/?path"] });
    made.answer = () => Response.json(appInfo());
    assert.equal(await made.send(made.portal.install(3)), 200);
    assert.deepEqual(made.asked.map(({ url }) => url), ["https://oauth.example.org/rest/app.info"]);
  });

  test("are shared by concurrent copies of one event", async () => {
    const made = scene({}, { storage: simultaneousReads(50) });
    const install = made.portal.install(3);
    const answered = await Promise.all(Array.from({ length: 50 }, () => made.send(install)));
    assert.deepEqual(new Set(answered), new Set([200]));
    assert.equal(made.asked.length, 1);
    assert.equal(made.names().filter((name) => name === "eventReceived").length, 1);
    assert.equal(made.names().filter((name) => name === "duplicateReceived").length, 49);
  });

  test("are repeated after the host was down for all copies", async () => {
    const made = scene({}, { storage: simultaneousReads(20) });
    made.answer = () => Promise.reject(new TypeError("down"));
    const install = made.portal.install(3);
    const answered = await Promise.all(Array.from({ length: 20 }, () => made.send(install)));
    assert.deepEqual(new Set(answered), new Set([503]));
    assert.equal(made.asked.length, 2);
    made.answer = undefined;
    made.now += 30_000;
    await made.app.tick();
    await made.app.close();
    assert.equal((await made.app.portal(MEMBER_ID))?.version, "3.0.0");
  });
});

describe("applicationToken() refuses to start", () => {
  test("without clientId", async () => {
    const app = createApp({ storage: memoryStorage(), logger: quietLogger }).use(applicationToken());
    await assert.rejects(app.start(), { name: "TypeError", message: /needs clientId in createApp\(\)/ });
    const { portal } = rig();
    assert.equal((await app.fetch(post(portal.install(1)))).status, 503);
  });

  test("without OAuth hosts", () => {
    assert.throws(
      () => createApp({ storage: memoryStorage(), oauthHosts: [] }),
      /^TypeError: cannot create an app with oauthHosts \[\], wanted at least one host$/,
    );
  });

  for (
    const host of [
      ...["", "oauth.bitrix.info", "//oauth.bitrix.info", "https://", "garbage", "https://[::1"],
      ...["http://oauth.bitrix.info", "ftp://oauth.bitrix.info", "file:///etc/passwd", "javascript:alert(1)"],
      ...[
        "https://user@oauth.bitrix.info",
        "https://user:pw@oauth.bitrix.info",
        "https://:pw@oauth.bitrix.info",
        "http://user@127.0.0.1",
      ],
      ...["http://127.0.0.1.evil.example", "http://localhost.evil.example", "http://evil.example#localhost"],
      ...["http://0.0.0.0", "http://10.0.0.1", "http://[::2]"],
    ]
  ) {
    test(`with ${inspect(host)} among its hosts`, () => {
      assert.throws(() => createApp({ storage: memoryStorage(), oauthHosts: ["https://oauth.bitrix.info", host] }), {
        name: "TypeError",
        message: /^cannot use ".*" as an OAuth host, wanted an address such as "https:\/\/oauth\.bitrix\.info"$/,
      });
    });
  }

  for (
    const options of [
      { graceMs: NaN },
      { graceMs: -1 },
      { graceMs: Infinity },
      { budget: { perPortal: NaN } },
      { budget: { perPortal: 1 } },
      { budget: { perMinute: 3 } },
      { budget: { perMinute: Infinity } },
      { bounds: { maxEvents: 0 } },
      { bounds: { maxCharacters: NaN } },
      { bounds: { maxUnknownCharacters: 1023 } },
      { trustedAddresses: ["192.0.2.1", "192.0.2.0/33"] },
      { trustedAddresses: "192.0.2.1" as never },
      { budget: 0 as never },
      { grace: 5 } as never,
      { confirm: "sometimes" as never },
      { budget: { perHour: 9 } as never },
      { bounds: { events: 9 } as never },
    ]
  ) {
    test(`with an invalid option: ${inspect(options)}`, () => {
      assert.throws(
        () => applicationToken(options),
        /^TypeError: cannot verify with (the option )?(graceMs|grace|confirm|budget|bounds|trustedAddresses)[.\w]* .+, wanted /,
      );
    });
  }

  test("but uses the default of a limit that is undefined", async () => {
    const { app, send, bitrix24, portal } = rig({ acknowledge: "stored", clock: () => 0 }, {
      budget: { perPortal: undefined as never },
    });
    portal.install(2);
    const forged = (i: number): string => portal.event("ONAPPTEST", {}).replace(/acce55/, `f${i}`);
    for (let i = 0; i < 20; i++) await send(forged(i));
    await app.tick();
    assert.equal(bitrix24.requests(), 6);
    await app.close();
  });
});
