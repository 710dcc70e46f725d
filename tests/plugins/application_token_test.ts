import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, test } from "node:test";
import { inspect } from "node:util";
import { createApp, digestToken, memoryStorage, Secret, type Storage } from "@b24/onappupdate";
import { applicationToken } from "@b24/onappupdate/application-token";
import { CLIENT_ID, MEMBER_ID, OTHER_MEMBER_ID, post, recordingLogger, rig } from "../_app.ts";
import { type Answer, appInfo, changed, HOSTS, type Scene, scene, TOKENLESS } from "./_scene.ts";

const HOUR = 3_600_000;
const MADE_UP = { "auth[application_token]": "f".repeat(32) };
const ERRORS: Readonly<Record<number, { readonly name: string; readonly code: string; readonly level: string }>> = {
  403: { name: "NotGenuineError", code: "not_genuine", level: "info" },
  503: { name: "CannotVerifyError", code: "cannot_verify", level: "warn" },
};

function digestOf(body: string): Promise<string> {
  return digestToken(new Secret(new URLSearchParams(body).get("auth[application_token]")!));
}

/** A portal that is known: installed at 2. */
async function known(made: Scene): Promise<string> {
  const install = made.portal.install(2);
  assert.equal(await made.send(install), 200);
  made.forget();
  return install;
}

/** Sends what must not get in: nothing changes, and one observer and one log line say which of the two it was. */
async function assertRefused(made: Scene, body: string, status: 403 | 503): Promise<void> {
  const before = await made.stored();
  made.reports.length = made.lines.length = 0;
  assert.equal(await made.send(body), status);
  assert.deepEqual(await made.stored(), before);
  const { name, code, level } = ERRORS[status]!;
  const [report, ...others] = made.reports;
  assert(report?.name === "rejected" && others.length === 0, inspect(made.reports));
  assert.equal(report.status, status);
  assert.equal(report.error.name, name);
  assert.equal((report.error as { code?: string }).code, code);
  const refusals = made.lines.map((line) => JSON.parse(line)).filter(({ message }) => message === "request refused");
  assert.deepEqual(refusals.map((line) => [line.level, line.status, line.error.name]), [[level, status, name]]);
}

describe("applicationToken() decides", () => {
  test("stored token, with and without tokens: accepted, nobody is asked", async () => {
    for (const tokenless of [false, true]) {
      const made = scene();
      const install = await known(made);
      assert.equal(await made.send(made.portal.update(3, { tokenless })), 200);
      const record = (await made.app.portal(MEMBER_ID))!;
      assert.equal(record.version, "3.0.0");
      assert.deepEqual(record.applicationToken, { current: await digestOf(install) });
      assert.equal(made.asked.length, 0);
    }
  });

  test("another token, with tokens: proved, stored, the old one kept", async () => {
    const made = scene();
    const install = await known(made);
    const update = made.portal.update(3, { rotateToken: true });
    assert.equal(await made.send(update), 200);
    assert.equal(made.asked.length, 1);
    const record = (await made.app.portal(MEMBER_ID))!;
    assert.equal(record.version, "3.0.0");
    assert.deepEqual(record.applicationToken, {
      current: await digestOf(update),
      previous: { digest: await digestOf(install), replacedAt: made.now },
    });
    assert.equal(await made.send(made.portal.update(4, { tokenless: true })), 200);
    assert.equal(made.asked.length, 1);
  });

  test("another token, without tokens: refused", async () => {
    const made = scene();
    await known(made);
    await assertRefused(made, made.portal.update(3, { rotateToken: true, tokenless: true }), 403);
    assert.equal(made.asked.length, 0);
  });

  test("tokens that are empty texts are none", async () => {
    const made = scene();
    await known(made);
    const update = changed(made.portal.update(3), { "auth[access_token]": "", ...MADE_UP });
    await assertRefused(made, update, 403);
    assert.equal(made.asked.length, 0);
  });

  for (const name of ["ONAPPINSTALL", "ONAPPUPDATE"]) {
    const data: Record<string, string> = { VERSION: "3", PREVIOUS_VERSION: "2" };

    test(`unknown portal, ${name} with tokens: proved, then the portal is created`, async () => {
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

    test(`unknown portal, ${name} without tokens: refused, nothing is stored`, async () => {
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

  test("removed portal, stored token, without tokens: accepted, stays removed", async () => {
    const made = scene();
    await known(made);
    const update = made.portal.event("ONAPPUPDATE", { VERSION: "3", PREVIOUS_VERSION: "2" }, { tokenless: true });
    const removal = made.portal.uninstall();
    assert.equal(await made.send(removal), 200);
    assert.equal(await made.send(update), 200);
    assert.equal(await made.send(changed(removal, { ts: "1785399999" })), 200);
    assert.equal((await made.app.portal(MEMBER_ID))?.status, "uninstalled");
    assert.equal(made.asked.length, 0);
  });

  test("removed portal, stored token: an installation needs proof", async () => {
    const made = scene();
    await known(made);
    const again = made.portal.event("ONAPPINSTALL", { VERSION: "9" });
    await made.send(made.portal.uninstall());
    const late = changed(again, { ts: String(made.now / 1000) });
    await assertRefused(made, late, 403);
    assert.equal(made.asked.length, 1);
    await assertRefused(made, changed(late, TOKENLESS), 403);
    assert.equal((await made.app.portal(MEMBER_ID))?.status, "uninstalled");
  });

  test("removed portal, another token: proved, then installed anew; without tokens refused", async () => {
    const made = scene();
    await known(made);
    await made.send(made.portal.uninstall());
    const install = made.portal.install(4);
    await assertRefused(made, changed(install, TOKENLESS), 403);
    assert.equal(made.asked.length, 0);
    assert.equal(await made.send(install), 200);
    assert.equal(made.asked.length, 1);
    const record = (await made.app.portal(MEMBER_ID))!;
    assert.deepEqual([record.status, record.version, record.generation], ["installed", "4.0.0", 2]);
    assert.equal(record.applicationToken?.current, await digestOf(install));
  });

  test("previous token: accepted until the grace period is over, then as any other", async () => {
    for (const [options, graceMs] of [[{}, 24 * HOUR], [{ graceMs: 1000 }, 1000]] as const) {
      const made = scene(options);
      const { send, portal } = made;
      const install = await known(made);
      const old = { "auth[application_token]": new URLSearchParams(install).get("auth[application_token]")! };
      const rotated = portal.update(3, { rotateToken: true });
      await send(rotated);
      made.forget();
      const current = await digestOf(rotated);
      made.now += graceMs - 1;
      assert.equal(await send(changed(portal.update(4), old)), 200);
      assert.equal(await send(changed(portal.update(5, { tokenless: true }), old)), 200);
      assert.equal(made.asked.length, 0);
      assert.equal((await made.app.portal(MEMBER_ID))?.applicationToken?.current, current, "the old one stays old");
      made.now += 1;
      await assertRefused(made, changed(portal.update(6, { tokenless: true }), old), 403);
      assert.equal(made.asked.length, 0);
      assert.equal(await send(changed(portal.update(7), old)), 200);
      assert.equal(made.asked.length, 1);
      assert.deepEqual((await made.app.portal(MEMBER_ID))?.applicationToken, {
        current: await digestOf(install),
        previous: { digest: current, replacedAt: made.now },
      });
    }
  });

  test("the token before the previous one is no token any more", async () => {
    const made = scene();
    const install = await known(made);
    await made.send(made.portal.update(3, { rotateToken: true }));
    await made.send(made.portal.update(4, { rotateToken: true }));
    const first = { "auth[application_token]": new URLSearchParams(install).get("auth[application_token]")! };
    await assertRefused(made, changed(made.portal.update(5, { tokenless: true }), first), 403);
  });

  test("no application_token: proved by tokens, else refused; the stored one stays", async () => {
    const payment = { CODE: "vendor.app", VERSION: "2", STATUS: "S", PAYMENT_EXPIRED: "N" };
    const none = { "auth[application_token]": undefined };
    const made = scene();
    const install = await known(made);
    await assertRefused(made, changed(made.portal.event("ONAPPPAYMENT", payment, { tokenless: true }), none), 403);
    assert.equal(made.asked.length, 0);
    assert.equal(await made.send(changed(made.portal.event("ONAPPPAYMENT", payment), none)), 200);
    assert.equal(made.asked.length, 1);
    assert.deepEqual((await made.app.portal(MEMBER_ID))?.applicationToken, { current: await digestOf(install) });
    const before = await made.stored();
    assert.equal(await made.send(changed(made.portal.update(3), none)), 400);
    assert.deepEqual(await made.stored(), before);
  });

  test("a portal that was proved without application_token takes the first one that is proved", async () => {
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

  test("what is near the stored token is not it", async () => {
    const made = scene();
    const token = new URLSearchParams(await known(made)).get("auth[application_token]")!;
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
  ["NOT_INSTALLED", 403, () => Response.json({ error: "NOT_INSTALLED" }, { status: 401 })],
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
  ["a throw that is no Error", 503, () => Promise.reject("down")],
];

describe("applicationToken() takes from the OAuth host", () => {
  for (const [name, status, answer] of ANSWERS) {
    test(`${name}: ${status}`, async () => {
      const made = scene();
      await known(made);
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

  test("a body that is too long is not read to its end", async () => {
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

  test("no body that drips, not even from a fetch that is deaf to its signal", async () => {
    const made = scene({ timeoutMs: 20 });
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

  test("the address of the portal, never that of the event", async () => {
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
      ],
      ...["//example.bitrix24.de/rest/", "example.bitrix24.de", "garbage", "", "https://", "https://[::1/"],
      ...["javascript:alert(1)", "file:///etc/passwd", "data:text/plain,x", "ftp://example.bitrix24.de/"],
      undefined,
    ]
  ) {
    test(`no address ${inspect(address)}, and says so`, async () => {
      const made = scene();
      made.answer = () => Response.json(appInfo({ client_endpoint: address }));
      assert.equal(await made.send(made.portal.install(3)), 200);
      assert.equal((await made.app.portal(MEMBER_ID))?.clientEndpoint, undefined);
      assert.match(made.lines.join("\n"), /no address of the portal/);
      made.answer = undefined;
      await made.send(made.portal.update(4, { rotateToken: true }));
      made.answer = () => Response.json(appInfo({ client_endpoint: address }));
      assert.equal(await made.send(made.portal.update(5, { rotateToken: true })), 200);
      const { clientEndpoint } = (await made.app.portal(MEMBER_ID))!;
      assert.equal(clientEndpoint, "https://example.bitrix24.de/rest/", "the proved one stays");
    });
  }

  test("the version that is installed rather than the one that the event claims", async () => {
    const made = scene();
    await known(made);
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

/** A storage whose first reads all wait until there are `count` of them: the events that read then meet. */
function meeting(count: number): Storage {
  const storage = memoryStorage();
  const met = Promise.withResolvers<void>();
  let readers = 0;
  return {
    ...storage,
    get: async (...args) => {
      if (++readers === count) met.resolve();
      await met.promise;
      return await storage.get(...args);
    },
  };
}

describe("applicationToken() asks", () => {
  for (const [endpoint, hosts] of ENDPOINTS) {
    test(`nobody but the OAuth hosts where the event names ${inspect(endpoint)}`, async () => {
      const made = scene();
      await known(made);
      const update = changed(made.portal.update(3), {
        ...MADE_UP,
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

  test("the other host only where the named one is down", async () => {
    for (const [named, other] of [HOSTS, HOSTS.toReversed()]) {
      for (const [theirs, status] of [[200, 200], [401, 403], [500, 503]] as const) {
        const made = scene();
        await known(made);
        made.answer = ({ url }) =>
          url.startsWith(named!)
            ? Promise.reject(new TypeError("down"))
            : Response.json(theirs === 200 ? appInfo() : { error: "expired_token" }, { status: theirs });
        const update = changed(made.portal.update(3), { ...MADE_UP, "auth[server_endpoint]": `${named}/rest/` });
        // That the other one does not know the token proves nothing while the one that should know it is down.
        if (status === 200) assert.equal(await made.send(update), 200);
        else await assertRefused(made, update, 503);
        assert.deepEqual(made.asked.map(({ url }) => new URL(url).origin), [named, other]);
      }
    }
  });

  test("both hosts where none is named, and takes the one that knows", async () => {
    const made = scene();
    made.answer = ({ url }) =>
      url.startsWith(HOSTS[0]) ? Response.json({ error: "expired_token" }, { status: 401 }) : Response.json(appInfo());
    const install = changed(made.portal.install(3), { "auth[server_endpoint]": undefined });
    assert.equal(await made.send(install), 200);
    assert.equal(made.asked.length, 2);
  });

  test("its own host alone where the options say so", async () => {
    const made = scene({ oauthHosts: ["https://oauth.example.org/ignored/?path"] });
    assert.equal(await made.send(made.portal.install(3)), 200);
    assert.deepEqual(made.asked.map(({ url }) => url), ["https://oauth.example.org/rest/app.info"]);
  });

  test("once for copies of one event that come together", async () => {
    const made = scene({}, { storage: meeting(50) });
    const install = made.portal.install(3);
    const answered = await Promise.all(Array.from({ length: 50 }, () => made.send(install)));
    assert.deepEqual(new Set(answered), new Set([200]));
    assert.equal(made.asked.length, 1);
    assert.equal(made.names().filter((name) => name === "received").length, 1);
    assert.equal(made.names().filter((name) => name === "duplicate").length, 49);
  });

  test("again when the host was down for all copies", async () => {
    const made = scene({}, { storage: meeting(20) });
    made.answer = () => Promise.reject(new TypeError("down"));
    const install = made.portal.install(3);
    const answered = await Promise.all(Array.from({ length: 20 }, () => made.send(install)));
    assert.deepEqual(new Set(answered), new Set([503]));
    assert.equal(made.asked.length, 2);
    made.answer = undefined;
    assert.equal(await made.send(install), 200);
  });
});

describe("applicationToken() is flooded", () => {
  const forged = (body: string, i: number, memberId = MEMBER_ID): string =>
    changed(body, {
      "auth[member_id]": memberId,
      "auth[access_token]": `acce55-forged-${i}`,
      "auth[application_token]": `forged-${i}`,
      "auth[server_endpoint]": undefined,
    });

  for (const together of [false, true]) {
    const how = together ? "at once" : "in turn";

    test(`1,000 forged posts for one portal, ${how}: 6 proofs a minute, real events pass`, async () => {
      const made = scene();
      await known(made);
      made.now += 60_000;
      const model = made.portal.update(3);
      const statuses: Record<number, number> = {};
      const attack = async (i: number): Promise<void> => {
        const status = await made.send(forged(model, i));
        statuses[status] = (statuses[status] ?? 0) + 1;
        if (i % 100 === 0) assert.equal(await made.send(made.portal.update(10 + i)), 200);
      };
      if (together) await Promise.all(Array.from({ length: 1000 }, (_, i) => attack(i)));
      else for (let i = 0; i < 1000; i++) await attack(i);
      assert.deepEqual(statuses, { 403: 6, 503: 994 });
      assert.equal(made.asked.length, 6 * HOSTS.length);
      assert.equal((await made.app.portal(MEMBER_ID))?.version, "910.0.0");
      await assertRefused(made, made.portal.update(2000, { rotateToken: true }), 503);
      made.now += 60_000;
      assert.equal(await made.send(made.portal.update(2001, { rotateToken: true })), 200);
    });

    test(`1,000 made-up member_ids, ${how}: 120 proofs a minute, known portals have their own`, async () => {
      const made = scene();
      await known(made);
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
      assert.deepEqual(statuses, { 403: 120, 503: 880 });
      assert.equal(made.asked.length, 120 * HOSTS.length);
      assert.deepEqual(await made.stored(), before);
      assert.equal(await made.send(made.portal.update(4)), 200);
      assert.equal(await made.send(made.portal.update(5, { rotateToken: true })), 200);
      const stranger = made.bitrix24.portal({ memberId: OTHER_MEMBER_ID });
      const install = stranger.install(1);
      assert.equal(await made.send(install), 503);
      made.now += 60_000;
      assert.equal(await made.send(install), 200);
    });
  }

  test("one token, posted 1,000 times at once, is asked about once", async () => {
    const made = scene({}, { storage: meeting(1000) });
    const body = forged(made.portal.update(3), 0);
    const answered = await Promise.all(Array.from({ length: 1000 }, () => made.send(body)));
    assert.deepEqual(new Set(answered), new Set([403]));
    assert.equal(made.asked.length, HOSTS.length);
  });

  test("the limits are options; those of known portals hold for all of them together", async () => {
    const made = scene({ proofs: { perPortal: 2, known: 3, unknown: 1 } });
    const other = made.bitrix24.portal({ memberId: OTHER_MEMBER_ID });
    assert.equal(await made.send(made.portal.install(1)), 200);
    assert.equal(await made.send(other.install(1)), 503);
    made.now += 60_000;
    assert.equal(await made.send(other.install(1)), 200);
    const statuses: number[] = [];
    for (const portal of [made.portal, made.portal, made.portal, other, other]) {
      statuses.push(await made.send(portal.update(2, { rotateToken: true })));
    }
    // Of `other`, the one proof of its installation counts, too.
    assert.deepEqual(statuses, [200, 200, 503, 200, 503]);
  });
});

/** A real host on this machine. */
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
    test(`a host ${name} cannot check`, async () => {
      const host = await listen(answer);
      const made = scene({ oauthHosts: [host.url], timeoutMs: 50 }, { fetch: globalThis.fetch });
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
      const made = scene({ oauthHosts: [host.url] }, { fetch: globalThis.fetch });
      await assertRefused(made, made.portal.install(3), 503);
      assert.equal(stolen, 0);
      await host.close();
      await evil.close();
    });
  }

  test("the access token is in the body, never in the address", async () => {
    const seen: string[] = [];
    const host = await listen(async (request, response) => {
      let body = "";
      for await (const chunk of request) body += chunk;
      seen.push(`${request.method} ${request.url} ${request.headers["content-type"]} ${body}`);
      assert.doesNotMatch(JSON.stringify(request.rawHeaders), /acce55/);
      response.end(JSON.stringify(appInfo()));
    });
    const made = scene({ oauthHosts: [host.url] }, { fetch: globalThis.fetch });
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
    /** A real event of the victim, to forge from. */
    readonly model: string;
    /** A valid access token of the attacker's own portal, same app. */
    readonly own: string;
    /** A valid access token of another app on the victim's portal. */
    readonly otherApp: string;
  }

  async function theft(): Promise<Theft> {
    const made = scene({ proofs: { perPortal: 1000 } });
    await known(made);
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
    test(`no forged ${event} gets in`, async () => {
      const made = await theft();
      const accessTokens = {
        none: undefined,
        "made up": "acce55-made-up",
        "of his own portal": made.own,
        "of another app here": made.otherApp,
      };
      for (const applicationToken of [MADE_UP["auth[application_token]"], undefined]) {
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

  test("no second member_id smuggles his token in", async () => {
    const made = await theft();
    const his = { "auth[access_token]": made.own, ...MADE_UP };
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

  test("what his own portal may send changes his own record only", async () => {
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

test("applicationToken() shows no token to anybody", async () => {
  const seen: string[] = [];
  const see = (value: unknown): void => {
    const { Deno } = globalThis as { Deno?: { inspect: (value: unknown, options: object) => string } };
    seen.push(inspect(value, { depth: Infinity, showHidden: true }), String(value), JSON.stringify(value));
    if (Deno !== undefined) seen.push(Deno.inspect(value, { depth: 100, showHidden: true }));
    if (value instanceof Error) seen.push(value.message, String(value.stack), inspect(value.cause));
  };
  const made = scene({ proofs: { perPortal: 1000 } });
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
  made.app.upgrade("5", ({ portal, log }) => {
    log.info("upgrading", { portal });
    see(portal);
    const token = portal.tokens?.accessToken.reveal();
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
  assert(made.names().includes("failed") && made.names().includes("rejected") && made.names().includes("received"));
  assert(tokens.size > 40 && seen.length > 100);
  for (const token of tokens) {
    for (const text of seen) assert(!text.includes(token), `${token} in ${text.slice(0, 2000)}`);
  }
});

describe("applicationToken() refuses to start", () => {
  for (const clientId of [undefined, ""]) {
    test(`with clientId ${inspect(clientId)}`, async () => {
      const { logger } = recordingLogger();
      const app = createApp({ storage: memoryStorage(), logger, ...(clientId === undefined ? {} : { clientId }) })
        .use(applicationToken());
      await assert.rejects(app.start(), { name: "TypeError", message: /needs clientId in createApp\(\)/ });
      const { portal } = rig();
      assert.equal((await app.fetch(post(portal.install(1)))).status, 503);
    });
  }

  test("without hosts to ask", async () => {
    const app = createApp({ storage: memoryStorage(), clientId: CLIENT_ID }).use(applicationToken({ oauthHosts: [] }));
    await assert.rejects(app.start(), { name: "TypeError", message: /no oauthHosts to ask/ });
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
      assert.throws(() => applicationToken({ oauthHosts: ["https://oauth.bitrix.info", host] }), {
        name: "TypeError",
        message: /^cannot use ".*" as an OAuth host, wanted an address such as "https:\/\/oauth\.bitrix\.info"$/,
      });
    });
  }

  for (
    const options of [
      { graceMs: NaN },
      { timeoutMs: -1 },
      { timeoutMs: Infinity },
      { proofs: { perPortal: NaN } },
      { proofs: { unknown: Infinity } },
    ]
  ) {
    test(`with a limit that limits nothing: ${inspect(options)}`, () => {
      assert.throws(
        () => applicationToken(options),
        /^TypeError: cannot verify with \w+ -?\w+, wanted a number from 0$/,
      );
    });
  }

  test("with undefined in the place of a limit: the default holds", async () => {
    const { send, bitrix24, portal } = rig({}, { proofs: { perPortal: undefined as never } });
    portal.install(2);
    const forged = (i: number): string => portal.event("ONAPPTEST", {}).replace(/acce55/, `f${i}`);
    for (let i = 0; i < 20; i++) await send(forged(i));
    assert.equal(bitrix24.requests(), 6);
  });
});
