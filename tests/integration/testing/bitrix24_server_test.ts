import assert from "node:assert/strict";
import { fakeAnswers, forwardingFetch } from "@b24/onappupdate/testing";
import { run } from "../../support/process.ts";
import { assertError, fakeSetup, read, TECH } from "../../support/fake.ts";
import { describe, it } from "../../support/test.ts";

describe("FakeBitrix24.serve() and forwardingFetch()", () => {
  it("answer for all hosts, for every way to call fetch", async () => {
    const { bitrix24, portal } = fakeSetup();
    const server = await bitrix24.serve();
    const fetch = forwardingFetch(server.url);
    const auth = portal.accessToken();
    const form = { method: "POST", body: new URLSearchParams({ auth }) };
    assert.equal((await read(await fetch(`${TECH}/rest/app.info`, form))).body.result.user_id, 1);
    assert.equal((await read(await fetch("https://example.bitrix24.de/rest/profile", form))).body.result.ID, "1");
    const json = new Request(`https://${portal.domain}/rest/batch.json?auth=${auth}`, {
      method: "POST",
      body: JSON.stringify({ cmd: { ä: "profile" } }),
      headers: { "content-type": "application/json" },
    });
    assert.equal((await read(await fetch(json))).body.result.result.ä.ID, "1");
    assert.equal((await read(await fetch(`https://${portal.domain}/rest/profile?auth=${auth}`))).status, 200);
    // Code that does not know of forwarding sees an OAuth host.
    assert.equal((await read(await globalThis.fetch(`${server.url}/rest/app.info?auth=${auth}`))).status, 200);
    await server.close();
    await assert.rejects(fetch(`${TECH}/rest/app.info`, form));
  });

  it("pass on redirects, broken connections and endless answers", async () => {
    const { bitrix24, portal } = fakeSetup();
    const server = await bitrix24.serve();
    const fetch = forwardingFetch(server.url);
    const { domain } = portal;
    portal.rename("new.bitrix24.com");
    const old = `https://${domain}/rest/profile`;
    const moved = await fetch(old, { method: "POST", body: "auth=1", redirect: "manual" });
    assert.deepEqual([moved.status, moved.headers.get("location")], [302, "https://new.bitrix24.com/rest/profile"]);
    assertError(await read(await fetch(old, { method: "POST", body: "auth=1" })), 401, "NO_AUTH_FOUND");
    const url = `https://new.bitrix24.com/rest/profile?auth=${portal.accessToken()}`;
    portal.lose();
    await assert.rejects(fetch(url), { name: "TypeError" });
    await assert.rejects(fetch("https://nobody.bitrix24.de/rest/profile"), { name: "TypeError" });
    portal.answer("profile", fakeAnswers.hanging);
    const stop = new AbortController();
    const hanging = await fetch(url, { signal: stop.signal });
    const text = hanging.text();
    stop.abort();
    await assert.rejects(text, { name: "AbortError" });
    await server.close();
  });

  it("serve apps in other processes", async () => {
    const { bitrix24, portal } = fakeSetup();
    portal.answer("crm.deal.add", ({ params }) => params);
    const server = await bitrix24.serve();
    const args = [server.url, `https://${portal.domain}/rest/`, portal.accessToken()];
    const child = run("tests/integration/testing/fake_child.ts", { args });
    assert.equal(await child.exited, 0, child.output());
    assert.match(child.output(), /\{"result":\{"fields":\{"TITLE":"from a child"\}\}/);
    assert.deepEqual(portal.calls().map(({ method, userId, status }) => [method, userId, status]), [
      ["crm.deal.add", 1, 200],
    ]);
    await server.close();
  });
});
