/** `Deno.serve` passes on requests with a Host header that no URL can have: their `url` cannot be parsed. */
import assert from "node:assert/strict";
import { health } from "@b24/onappupdate/health";
import { openingPage } from "@b24/onappupdate/opening-page";
import { operatorApi } from "@b24/onappupdate/operator";
import { operatorConsole } from "@b24/onappupdate/operator-console";
import { InputError } from "@b24/onappupdate/errors";
import { FORM, rig } from "../../support/app.ts";
import { describe, it } from "../../support/test.ts";
import { OPERATE, TOKENS } from "./operator_api/_api.ts";

/** Returns a request as `Deno.serve` passes it. */
function requestTo(path: string, init: RequestInit = {}): Request {
  return Object.defineProperty(new Request(`http://localhost${path}`, init), "url", { value: `http://a b${path}` });
}

const opened = (): Request =>
  requestTo("/app?LANG=de", { method: "POST", headers: { "content-type": FORM }, body: "AUTH_ID=1" });

describe("a request with a Host header that no URL can have", () => {
  it("is answered by app.fetch() as another one, and its event is accepted", async () => {
    const { app, portal } = rig();
    assert.equal((await app.fetch(requestTo("/health"))).status, 405);
    const event = { method: "POST", headers: { "content-type": FORM }, body: portal.install(1) };
    assert.equal((await app.fetch(requestTo("/", event))).status, 200);
    await app.close();
  });

  it("reaches no route of health()", async () => {
    const { app } = rig();
    const { fetch } = health(app, { next: app.fetch });
    assert.equal((await fetch(requestTo("/healthz"))).status, 405);
    assert.equal((await health(app).fetch(requestTo("/healthz"))).status, 404);
    await app.close();
  });

  it("is refused by app.open(), and by its page", async () => {
    const { app } = rig();
    const request = opened();
    await assert.rejects(app.open(request), InputError);
    assert.equal(request.bodyUsed, true);
    const page = openingPage({ app, page: () => new Response("the page") });
    assert.equal((await page(opened())).status, 400);
    await app.close();
  });

  it("is refused by the operator API, without a line that it failed", async () => {
    const { app, lines } = rig();
    const { fetch } = operatorApi({ app, tokens: TOKENS });
    const headers = { authorization: `Bearer ${OPERATE}` };
    assert.equal((await fetch(requestTo("/api/v1/status"))).status, 401);
    assert.equal((await fetch(requestTo("/api/v1/status", { headers }))).status, 400);
    assert.deepEqual(lines.filter((line) => line.includes("failed")), []);
    await app.close();
  });

  it("is answered by the operator console", async () => {
    const { app } = rig();
    const { fetch } = operatorConsole({ app, origin: "https://ops.example", guard: () => undefined });
    const response = await fetch(requestTo("/portals"));
    assert(response.status >= 300 && response.status < 500, String(response.status));
    await app.close();
  });
});
