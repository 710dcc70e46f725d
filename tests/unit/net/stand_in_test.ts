import assert from "node:assert/strict";
import { ADDRESS, BROKEN, isStandInUrl, standInFetch } from "../../../src/net/stand_in.ts";
import { describe, it } from "../../support/test.ts";

/** A `fetch` that notes what it is asked, and answers with `answer`. */
function recorded(
  answer: () => Response = () => new Response("ok"),
): { readonly fetch: typeof fetch; readonly asked: { url: string; address: string | null; redirect: string }[] } {
  const asked: { url: string; address: string | null; redirect: string }[] = [];
  const record = (input: Request | URL | string, init?: RequestInit): Promise<Response> => {
    const { url, headers, redirect } = new Request(input, init);
    asked.push({ url, address: headers.get(ADDRESS), redirect });
    return Promise.resolve(answer());
  };
  return { fetch: record as typeof fetch, asked };
}

describe("isStandInUrl()", () => {
  const cases: readonly (readonly [url: string, isValid: boolean])[] = [
    ["http://127.0.0.1:4024", true],
    ["http://localhost:4024/", true],
    ["http://[::1]:4024/", true],
    ["http://127.0.0.1:4024/5e0f", true],
    ["https://127.0.0.1:4024", false],
    ["http://127.0.0.1.evil.example:4024", false],
    ["http://localhost.evil.example", false],
    ["http://127.0.0.1@evil.example", false],
    ["http://ada@127.0.0.1:4024", false],
    ["http://127.0.0.1:4024/?to=a", false],
    ["http://127.0.0.1:4024/#a", false],
    ["http://127.0.0.1\\@evil.example", false],
    ["http://10.0.0.1:4024", false],
    ["http://0.0.0.0:4024", false],
    ["127.0.0.1:4024", false],
    ["", false],
  ];
  for (const [url, isValid] of cases) {
    it(`${isValid ? "accepts" : "refuses"} ${JSON.stringify(url)}`, () => assert.equal(isStandInUrl(url), isValid));
  }
});

describe("standInFetch()", () => {
  const toAll = (fetch: typeof globalThis.fetch): typeof globalThis.fetch =>
    standInFetch("http://127.0.0.1:4024/", () => true, fetch);

  it("sends a request to the stand-in, with the address that it was for", async () => {
    const { fetch, asked } = recorded();
    const response = await toAll(fetch)("https://portal1.example.com/rest/profile", { method: "POST", body: "auth=1" });
    assert.equal(await response.text(), "ok");
    assert.deepEqual(asked, [
      { url: "http://127.0.0.1:4024/", address: "https://portal1.example.com/rest/profile", redirect: "manual" },
    ]);
  });

  it("sends nothing else there, not even a header", async () => {
    const { fetch, asked } = recorded();
    const routed = standInFetch("http://127.0.0.1:4024/", ({ host }) => host === "oauth.bitrix.info", fetch);
    await routed("https://hooks.example.com/");
    assert.deepEqual(asked, [{ url: "https://hooks.example.com/", address: null, redirect: "follow" }]);
  });

  it("follows no redirect of the stand-in, whatever the caller wants", async () => {
    const moved = (): Response => new Response(null, { status: 302, headers: { location: "https://evil.example/" } });
    const { fetch, asked } = recorded(moved);
    assert.equal((await toAll(fetch)("https://a.bitrix24.de/", { redirect: "follow" })).status, 302);
    assert.equal((await toAll(fetch)("https://a.bitrix24.de/", { redirect: "manual" })).status, 302);
    await assert.rejects(toAll(fetch)("https://a.bitrix24.de/", { redirect: "error" }), /unexpected redirect/);
    assert.equal(asked.length, 3);
  });

  it("rejects as fetch does if the stand-in says that the connection broke", async () => {
    const { fetch } = recorded(() => new Response(null, { status: 502, headers: { [BROKEN]: "1" } }));
    await assert.rejects(toAll(fetch)("https://oauth.bitrix.info/"), {
      name: "TypeError",
      message: /oauth\.bitrix\.info/,
    });
  });
});
