import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { operatorConsole, type OperatorConsoleOptions } from "@b24/onappupdate/operator-console";
import { describe, it } from "../../../support/test.ts";
import { answerOf, consoleRig, cookiesOf, ORIGIN, postOf } from "./_console.ts";

describe("operatorConsole() should", () => {
  it("refuse options that are missing or invalid", () => {
    const { app } = consoleRig();
    const make = (options: object) => () =>
      operatorConsole({ app, guard: () => undefined, origin: ORIGIN, ...options } as unknown as OperatorConsoleOptions);
    const cases: readonly (readonly [object, RegExp])[] = [
      [{ guard: undefined }, /with guard undefined, wanted an object with users, or a function/],
      [{ origin: undefined }, /with origin undefined, wanted an origin/],
      [{ origin: "http://ops.example" }, /http only for this machine/],
      [{ origin: "https://ops.example/" }, /without a path/],
      [{ base: "ops" }, /with base "ops", wanted a path/],
      [{ base: "/ops/" }, /with base "\/ops\/"/],
      [{ base: "/language" }, /none of the console itself/],
      [{ base: "/language/x" }, /none of the console itself/],
    ];
    for (const [options, message] of cases) assert.throws(make(options), message);
    for (const origin of ["http://localhost:8000", "http://127.0.0.1:1", "http://[::1]:8000"]) make({ origin })();
  });

  it("show a page with headers that let the browser load nothing but its own style and script", async () => {
    const { open } = consoleRig();
    const { status, headers, text } = await open("/");
    assert.equal(status, 200);
    const hashOf = (element: string): string => {
      const [, content = ""] = new RegExp(`<${element}>([^]*?)</${element}>`).exec(text) ?? [];
      return `'sha256-${createHash("sha256").update(content).digest("base64")}'`;
    };
    assert.equal(
      headers.get("content-security-policy"),
      `default-src 'none'; style-src ${hashOf("style")}; script-src ${hashOf("script")}; connect-src 'self'; ` +
        "img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    );
    assert.equal(headers.get("cache-control"), "no-store");
    assert.equal(headers.get("x-content-type-options"), "nosniff");
    assert.equal(headers.get("x-frame-options"), "DENY");
    assert.equal(headers.get("referrer-policy"), "same-origin");
    assert.doesNotMatch(text, / style=| on\w+=/);
  });

  it("refuse requests that a page of another origin has caused, whatever their type", async () => {
    const { fetch } = consoleRig();
    const json = { "content-type": "application/json" };
    const foreign: readonly Readonly<Record<string, string>>[] = [
      { origin: "https://evil.example", "sec-fetch-site": "cross-site" },
      { origin: "https://evil.example", "sec-fetch-site": "cross-site", ...json },
      { origin: "null" },
      { origin: ORIGIN, "sec-fetch-site": "same-site" },
      { origin: `${ORIGIN}:8443` },
      { "sec-fetch-site": "none" },
    ];
    for (const headers of foreign) {
      const request = postOf("/language", { language: "ru" }, headers);
      const { status } = await answerOf(await fetch(request));
      assert.equal(status, 403, JSON.stringify(headers));
      assert.ok(request.bodyUsed, "the body was left unread");
    }
    const bare = new Request(`${ORIGIN}/language`, { method: "POST", body: new Uint8Array(8) });
    assert.equal((await fetch(bare)).status, 403);
    for (const method of ["PUT", "DELETE", "OPTIONS"]) {
      assert.equal((await fetch(new Request(`${ORIGIN}/`, { method }))).status, 405);
    }
  });

  it("refuse exports that a link of another site has caused", async () => {
    const { open, app } = consoleRig();
    const exportOf = async (site: string): Promise<number> =>
      (await open("/export/portals?format=csv", { "sec-fetch-site": site })).status;
    assert.deepEqual(await Promise.all(["cross-site", "same-site", "same-origin", "none"].map(exportOf)), [
      ...[403, 403, 200, 200],
    ]);
    assert.equal((await app.admin.audit({ action: "export" })).items.length, 2);
  });

  it("answer whatever a cookie of a report contains", async () => {
    const { open, send } = consoleRig();
    const sent = await send("/act/pause", { reason: "x" });
    const [name = ""] = cookiesOf(sent).split("=");
    for (const values of [{ count: { toString: 1 } }, { count: [] }, [{}], null, "x", 1]) {
      const value = btoa(JSON.stringify(["act.startBatch.done", values]));
      assert.equal((await open("/", { cookie: `${name}=${value}` })).status, 200, JSON.stringify(values));
    }
  });

  it("show no marks that change the direction of text", async () => {
    const { open } = consoleRig({}, { guard: () => ({ name: "ada", role: "operate" }) });
    const { status, text } = await open(`/act/pause?reason=${encodeURIComponent("\u202eabc\u2066 \u061c")}`);
    assert.equal(status, 200);
    assert.match(text, /value=" abc/);
    assert.doesNotMatch(text, /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/);
  });

  it("answer in the language that was chosen, else in that of the browser", async () => {
    const { open, send } = consoleRig();
    assert.match((await open("/")).text, /<html lang="en">/);
    assert.match((await open("/", { "accept-language": "de, ru-RU;q=0.8, en;q=0.5" })).text, /<html lang="ru">/);
    const chosen = await send("/language", { language: "ru", back: "/?x=1" });
    assert.deepEqual([chosen.status, chosen.headers.get("location")], [303, "/?x=1"]);
    const cookie = chosen.headers.get("set-cookie")!;
    assert.match(cookie, /^__Host-[^;]+; Path=\/; Secure; HttpOnly; SameSite=Lax; Max-Age=\d+$/);
    assert.match((await open("/", { cookie: cookie.split(";")[0]! })).text, /<html lang="ru">/);
  });

  it("return to its own pages only", async () => {
    const backs = [
      ...["https://evil.example/", "//evil.example", "//", "/\\evil.example", "/\t/evil.example", "evil", "", "/\n"],
      ...["/..//evil.example", "/.//evil.example", "/x/..//evil.example", "/%2e%2e//evil.example", "/./\\evil.example"],
      ...["javascript:alert(1)", `/${"x".repeat(2000)}`],
    ];
    for (const base of ["", "/ops"]) {
      const { send } = consoleRig({}, { base });
      for (const back of backs) {
        const { headers } = await send(`${base}/language`, { language: "en", back });
        assert.equal(headers.get("location"), `${base}/`, back);
      }
      const { headers } = await send(`${base}/language`, { language: "en", back: "/portals?domain=ä&x=//y" });
      assert.equal(headers.get("location"), `${base}/portals?domain=%C3%A4&x=//y`);
    }
  });

  it("let in those only whom the sign-on names", async () => {
    const { open } = consoleRig({}, { guard: () => Promise.resolve(undefined) });
    const { status, text } = await open("/");
    assert.equal(status, 403);
    assert.doesNotMatch(text, /<table|<nav/);
    const broken = consoleRig({}, { guard: () => ({ name: "ada", role: "admin" }) as never });
    assert.equal((await broken.open("/")).status, 500);
    assert.match(
      broken.consoleLines.join(),
      /console failed to answer a request.*guard returned a value that is no user/,
    );
  });

  it("say that the app cannot be set up, and not that the storage is down", async () => {
    const { app, open, consoleLines } = consoleRig();
    app.use({
      name: "broken",
      setup: () => {
        throw new Error("no key");
      },
    });
    const { status, text } = await open("/");
    assert.equal(status, 503);
    assert.match(text, /<h1>The app cannot be set up<\/h1>/);
    assert.match(consoleLines.join(), /console cannot set the app up.*no key/);
  });

  it("not read the signal of a request that shows a page: Deno would print a warning", async () => {
    const { fetch } = consoleRig();
    const request = new Request(`${ORIGIN}/portals`);
    Object.defineProperty(request, "signal", { get: () => assert.fail("it was read") });
    assert.equal((await fetch(request)).status, 200);
  });

  it("serve the same links whether or not a framework removes the base", async () => {
    const { open } = consoleRig({}, { base: "/ops" });
    for (const path of ["/ops", "/ops/", "/"]) {
      const { status, text } = await open(path);
      assert.equal(status, 200, path);
      assert.match(text, /href="\/ops\/"/);
    }
    assert.equal((await open("/ops/nothing")).status, 404);
    assert.equal((await open("/opsx")).status, 404);
  });
});
