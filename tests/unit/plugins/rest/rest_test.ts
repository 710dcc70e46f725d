import assert from "node:assert/strict";
import type { HandlerContext, PluginHost } from "@b24/onappupdate";
import { type B24, rest, type RestOptions } from "@b24/onappupdate/rest";
import { MEMBER_ID } from "../../../support/app.ts";
import { fakeOAuthHost, testApp, tokenFields } from "../../../support/fake_oauth_host.ts";
import { describe, it } from "../../../support/test.ts";
import { assertNoToken, counter, ENDPOINT, failure, ok } from "./_rest.ts";

describe("rest()", () => {
  it("adds b24 to handlers and upgrades, and returns it to other code by portal()", async () => {
    const at = fakeOAuthHost();
    const urls: string[] = [];
    const portals = rest();
    const made = testApp({
      oauth: {
        ...at,
        fetch: async (input, init) => {
          const request = new Request(input, init);
          // The app asks for the profile of the user before any call of the plugin.
          const isOfPlugin = request.headers.get("content-type")?.includes("json");
          if (!isOfPlugin) return await at.fetch(request);
          urls.push(request.url);
          return ok(await request.json());
        },
      },
    });
    const seen: unknown[] = [];
    made.app.use(portals).upgrade("3.0.0", async ({ b24 }) => {
      seen.push(await b24.call("crm.deal.get", { id: 7 }));
    }).on("ONAPPTEST", async ({ b24 }) => {
      seen.push(await b24.call("profile"));
    });
    const { access } = made.oauth.issueTokens();
    assert.throws(() => portals.portal(MEMBER_ID), { name: "TypeError", message: /before the app has started/ });
    await made.send("ONAPPINSTALL", { "data[VERSION]": "2", ...tokenFields({ access }) });
    await made.send("ONAPPUPDATE", { "data[VERSION]": "3" });
    await made.send("ONAPPTEST", {});
    assert.deepEqual(await portals.portal(MEMBER_ID).call("user.current"), { auth: access });
    assert.deepEqual(seen, [{ id: 7, auth: access }, { auth: access }]);
    assert.deepEqual(urls, ["crm.deal.get", "profile", "user.current"].map((method) => ENDPOINT + method));
    await made.app.close();
    await assert.rejects(portals.portal(MEMBER_ID).call("profile"), { name: "AbortError" });
  });

  it("aborts the calls of an event with its work", async () => {
    const made = counter();
    made.answer = () => new Promise(() => {});
    const work = new AbortController();
    const { b24 } = await made.plugin.extend!(
      { event: { auth: { memberId: MEMBER_ID } }, signal: work.signal } as HandlerContext,
    );
    const call = b24.call("profile");
    work.abort(new Error("another worker has taken over"));
    await failure(made, call, { message: "another worker has taken over" });
  });

  it("does not start in an app without credentials of portals", () => {
    for (const host of [{}, { credentials: {} }, { credentials: { call: () => {} } }]) {
      assert.throws(() => rest().setup!(host as unknown as PluginHost), {
        name: "TypeError",
        message: /needs an app that provides credentials/,
      });
    }
  });

  const WRONG: readonly RestOptions[] = [
    { timeoutMs: 0 },
    { timeoutMs: 2 ** 31 },
    { answerBytes: NaN },
    { answerContainers: 0 },
    { attempts: 0 },
    { longestWaitMs: -1 },
    { rate: { burst: 0, perSecond: 2 } },
    { rate: { burst: 50, perSecond: 0 } },
    { rate: { burst: 50, perSecond: Infinity } },
  ];
  for (const options of WRONG) {
    it(`refuses ${JSON.stringify(options)} (${Object.values(options)[0]})`, () => {
      assert.throws(() => rest(options), { name: "TypeError", message: /^cannot call portals/ });
    });
  }
});

describe("b24.call()", () => {
  it("posts JSON to the verified address, with the token in the body only", async () => {
    const made = counter();
    made.answer = ({ params }) => ok(params);
    const params = { id: 7, fields: { TITLE: "ä", OPEN: true, NONE: [], GONE: undefined } };
    assert.deepEqual(await made.b24.call("crm.deal.update", params), {
      id: 7,
      fields: { TITLE: "ä", OPEN: true, NONE: [] },
    });
    const sent = made.sent.map(({ headers, ...sent }) => ({ ...sent, headers: [...headers.keys()] }));
    assert.deepEqual(sent, [{
      url: "https://example.bitrix24.de/rest/crm.deal.update",
      http: "POST",
      redirect: "manual",
      contentType: "application/json",
      host: "example.bitrix24.de",
      method: "crm.deal.update",
      params: made.sent[0]!.params,
      auth: made.tokens[0],
      headers: ["accept", "content-type"],
    }]);
    assertNoToken(made);
  });

  it("sends parameters that have an order", async () => {
    const made = counter();
    await made.b24.call("task.commentitem.add", [7, { POST_MESSAGE: "text" }]);
    assert.deepEqual(made.sent[0]?.params, { 0: 7, 1: { POST_MESSAGE: "text" } });
  });

  it("does not let a parameter replace the token", async () => {
    const made = counter();
    await made.b24.call("profile", { auth: "mine" });
    assert.equal(made.sent[0]?.auth, made.tokens[0]);
  });

  for (const result of [null, false, 0, "", [], {}, { error: "no error of the call" }]) {
    it(`resolves to ${JSON.stringify(result)}`, async () => {
      const made = counter();
      made.answer = () => ok(result);
      assert.deepEqual(await made.b24.call("crm.deal.get"), result);
    });
  }

  for (
    const method of ["", "../oauth/token", "crm.deal.list?auth=1", "https://evil.example/", "a b", "a..b", "/x", "1"]
  ) {
    it(`refuses the method ${JSON.stringify(method)}`, async () => {
      const made = counter();
      await failure(made, made.b24.call(method), { name: "TypeError" });
      assert.equal(made.sent.length, 0);
    });
  }

  it("refuses batch, and values that JSON does not have", async () => {
    const made = counter();
    await failure(made, made.b24.call("batch"), { name: "TypeError" });
    await failure(made, made.b24.call("crm.deal.add", { fields: { ID: 1n } }), { name: "TypeError" });
    assert.equal(made.sent.length, 0);
  });

  it("rejects with the reason of its signal before a call, in the queue, and during the request", async () => {
    const made = counter();
    await failure(made, made.b24.call("profile", {}, { signal: AbortSignal.abort(new Error("before")) }), {
      message: "before",
    });
    assert.deepEqual(made.asked, []);
    const never = Promise.withResolvers<Response>();
    made.answer = () => never.promise;
    const [first, second] = [new AbortController(), new AbortController()];
    const calls = [first, second].map(({ signal }) => made.b24.call("crm.deal.add", {}, { signal }));
    while (made.sent.length === 0) await new Promise((resolve) => setTimeout(resolve));
    second.abort(new Error("in the queue"));
    await failure(made, calls[1]!, { message: "in the queue" });
    first.abort(new Error("in the middle"));
    await failure(made, calls[0]!, { message: "in the middle" });
    await new Promise((resolve) => setTimeout(resolve));
    assert.deepEqual(made.lines, []);
    made.answer = () => ok("the next call is not blocked");
    assert.equal(await made.b24.call("profile"), "the next call is not blocked");
    assert.equal(made.sent.length, 2);
  });

  it("rejects at once if it is aborted while the queue waits", async () => {
    const controller = new AbortController();
    const made = counter({
      rate: { burst: 1, perSecond: 0.001 },
      timer: { now: () => 0, sleep: () => new Promise(() => controller.abort(new Error("gave up"))) },
    });
    await made.b24.call("profile");
    await failure(made, made.b24.call("profile", {}, { signal: controller.signal }), { message: "gave up" });
    assert.equal(made.sent.length, 1);
  });

  it("has types", () => {
    const calls = async (b24: B24): Promise<void> => {
      const deal: { ID: string } = await b24.call<{ ID: string }>("crm.deal.get");
      const { user, deals } = await b24.batch<{ user: { NAME: string }; deals: string[] }>({
        user: ["user.current"],
        deals: { method: "crm.deal.list" },
      });
      if (user.ok && deals.ok) assert.equal(user.value.NAME, deals.value[0]);
      const id = await b24.call("crm.deal.add");
      // @ts-expect-error without a type, a result is unknown
      assert(id > 0);
      // @ts-expect-error no command has this name
      await b24.batch<{ user: string }>({ users: ["user.get"] });
      // @ts-expect-error a failed command has no value
      if (!user.ok) assert.equal(user.value, deal.ID);
    };
    assert.equal(typeof calls, "function");
  });
});
