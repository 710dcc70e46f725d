import assert from "node:assert/strict";
import { guardedFetch } from "../../../src/net/guarded_fetch.ts";
import { describe, it } from "../../support/test.ts";

describe("guardedFetch()", () => {
  interface Scene {
    readonly fetch: typeof fetch;
    readonly called: { readonly url: string; readonly redirect?: RequestRedirect }[];
    readonly lookups: string[];
    addresses: readonly string[] | undefined | Error;
    now: number;
  }
  function scene(hosts: readonly string[] = []): Scene {
    const made: Scene = {
      called: [],
      lookups: [],
      addresses: ["93.184.216.34"],
      now: 0,
      fetch: guardedFetch({
        hosts,
        clock: () => made.now,
        lookup: (host) => {
          made.lookups.push(host);
          const { addresses } = made;
          return addresses instanceof Error ? Promise.reject(addresses) : Promise.resolve(addresses);
        },
        fetch: (input, init) => {
          const url = input instanceof Request ? input.url : String(input);
          made.called.push({ url, ...(init?.redirect === undefined ? {} : { redirect: init.redirect }) });
          return Promise.resolve(new Response("ok"));
        },
      }),
    };
    return made;
  }
  const CUSTOMER = "https://crm.customer.com/rest/app.info";

  it("accepts a string, a URL or a Request, and does not follow redirects", async () => {
    const made = scene();
    await made.fetch(CUSTOMER, { redirect: "follow" });
    await made.fetch(new URL(CUSTOMER));
    await made.fetch(new Request(CUSTOMER, { method: "POST", body: "x", redirect: "follow" }));
    assert.deepEqual(made.called, [1, 2, 3].map(() => ({ url: CUSTOMER, redirect: "manual" })));
  });

  it("calls nothing if the address is refused", async () => {
    const made = scene();
    for (const url of ["https://127.0.0.1/", "http://crm.customer.com/", "https://u@crm.customer.com/"]) {
      await assert.rejects(made.fetch(url), { name: "AddressError" });
    }
    await assert.rejects(made.fetch(new Request("https://10.0.0.1/")), { name: "AddressError" });
    assert.deepEqual([made.called, made.lookups], [[], []]);
  });

  it("refuses a name if any of its addresses is not public, at every call", async () => {
    const lists = [["127.0.0.1"], ["93.184.216.34", "10.0.0.1"], ["::ffff:169.254.169.254"], [], ["garbage"]];
    for (const addresses of lists) {
      const made = scene();
      made.addresses = addresses;
      for (let i = 0; i < 2; i++) {
        await assert.rejects(made.fetch(CUSTOMER), {
          name: "AddressError",
          message: "cannot call crm.customer.com: it resolves to an address that is not public; list the host in " +
            "extraPortalHosts to allow it, if it is your customer's",
        });
      }
      assert.deepEqual([made.called, made.lookups.length], [[], 1]);
    }
  });

  it("resolves a name once for concurrent calls, and neither cloud hosts nor configured ones", async () => {
    const made = scene(["bitrix.office.local"]);
    await Promise.all([1, 2, 3].map(() => made.fetch(CUSTOMER)));
    await made.fetch("https://example.bitrix24.de/rest/");
    await made.fetch("https://bitrix.office.local/rest/");
    assert.deepEqual([made.called.length, made.lookups], [5, ["crm.customer.com"]]);
  });

  it("rejects as fetch does if a name cannot be resolved, and tries again at the next call", async () => {
    const made = scene();
    made.addresses = new Error("ENOTFOUND");
    await assert.rejects(made.fetch(CUSTOMER), { name: "TypeError", message: "cannot resolve host crm.customer.com" });
    made.addresses = ["93.184.216.34"];
    assert.equal((await made.fetch(CUSTOMER)).status, 200);
  });

  it("resolves a name again after 30 seconds", async () => {
    const made = scene();
    await made.fetch(CUSTOMER);
    made.addresses = ["127.0.0.1"];
    made.now = 29_999;
    await made.fetch(CUSTOMER);
    made.now = 30_000;
    await assert.rejects(made.fetch(CUSTOMER), { name: "AddressError" });
    assert.equal(made.lookups.length, 2);
  });

  it("caches at most a thousand names", async () => {
    const made = scene();
    for (let i = 0; i < 1001; i++) await made.fetch(`https://crm${i}.customer.com/rest/`);
    await made.fetch("https://crm1000.customer.com/rest/");
    assert.equal(made.lookups.length, 1001);
    await made.fetch("https://crm0.customer.com/rest/");
    assert.equal(made.lookups.length, 1002);
  });

  it("rejects once its signal is aborted during a lookup", async () => {
    const called: unknown[] = [];
    const guarded = guardedFetch({
      clock: () => 0,
      lookup: () => new Promise(() => {}),
      fetch: (input) => Promise.resolve(new Response(String(called.push(input)))),
    });
    const stop = new AbortController();
    const waiting = [
      guarded(CUSTOMER, { signal: stop.signal }),
      guarded(new Request(CUSTOMER, { signal: stop.signal })),
    ];
    stop.abort(new Error("stop"));
    for (const one of waiting) await assert.rejects(one, /^Error: stop$/);
    await assert.rejects(guarded(CUSTOMER, { signal: stop.signal }), /^Error: stop$/);
    assert.deepEqual(called, []);
  });

  it("never sends a referrer", async () => {
    const seen: unknown[] = [];
    const guarded = guardedFetch({
      clock: () => 0,
      lookup: () => Promise.resolve(["93.184.216.34"]),
      fetch: (_, init) => Promise.resolve(new Response(String(seen.push(init?.referrerPolicy)))),
    });
    await guarded(CUSTOMER, { referrer: "about:client", referrerPolicy: "unsafe-url" });
    assert.deepEqual(seen, ["no-referrer"]);
  });

  it("keeps the method, the body and the headers of a Request", async () => {
    const guarded = guardedFetch({
      clock: () => 0,
      lookup: () => Promise.resolve(["93.184.216.34"]),
      fetch: async (input, init) => {
        const request = new Request(input, init);
        return Response.json([request.method, request.redirect, request.headers.get("x-a"), await request.text()]);
      },
    });
    const request = new Request(CUSTOMER, { method: "POST", body: "x=1", headers: { "x-a": "1" }, redirect: "follow" });
    assert.deepEqual(await (await guarded(request)).json(), ["POST", "manual", "1", "x=1"]);
  });

  it("refuses what is not an address, a Request or a URL", async () => {
    const made = scene();
    for (const input of [{ url: CUSTOMER }, 1, undefined, { href: CUSTOMER, toString: () => "https://10.0.0.1/" }]) {
      await assert.rejects(made.fetch(input as never), { name: "AddressError" });
    }
    assert.deepEqual(made.called, []);
  });

  it("returns redirects, and rejects if fetch followed or hid one", async () => {
    const answer = async (response: Response): Promise<Response> =>
      await guardedFetch({
        clock: () => 0,
        lookup: () => Promise.resolve(undefined),
        fetch: () => Promise.resolve(response),
      })(CUSTOMER);
    const headers = { location: "https://renamed.bitrix24.de/rest/" };
    assert.equal((await answer(new Response(null, { status: 302, headers }))).status, 302);
    for (const lie of [{ redirected: true }, { type: "opaqueredirect" }]) {
      const response = new Response("x");
      for (const [name, value] of Object.entries(lie)) Object.defineProperty(response, name, { value });
      await assert.rejects(answer(response), { name: "AddressError" });
    }
  });

  it("calls a host if lookups are not possible", async () => {
    const made = scene();
    made.addresses = undefined;
    assert.equal((await made.fetch(CUSTOMER)).status, 200);
  });
});
