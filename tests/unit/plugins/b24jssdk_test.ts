import { type AjaxError, B24OAuth } from "@bitrix24/b24jssdk";
import assert from "node:assert/strict";
import { inspect } from "node:util";
import { type App, B24Error, createApp, type HandlerContext, memoryStorage, type Plugin } from "@b24/onappupdate";
import { applicationToken } from "@b24/onappupdate/application-token";
import { b24jssdk, type B24JsSdkOptions, type HasB24Sdk, type SdkClass } from "@b24/onappupdate/b24jssdk";
import { fakeBitrix24 } from "@b24/onappupdate/testing";
import { CLIENT_ID, MEMBER_ID, post, quietLogger } from "../../support/app.ts";
import {
  CLIENT_SECRET,
  ENDPOINT,
  type FakeOAuthHost,
  fakeOAuthHost,
  NOW,
  type TestApp,
  testApp,
  tokenFields,
} from "../../support/fake_oauth_host.ts";
import { describe, it, test } from "../../support/test.ts";

/** Bitrix24's code of an error of ours or of the SDK. */
const codeOf = (error: Error): string => error instanceof B24Error ? error.b24Code : (error as AjaxError).code;

/** A request that the portal received. */
interface Call {
  readonly url: URL;
  readonly params: Readonly<Record<string, unknown>>;
  readonly signal: AbortSignal;
}

type Answer = (call: Call, scene: Scene) => Response | undefined | Promise<Response | undefined>;

interface Scene {
  readonly oauth: FakeOAuthHost;
  readonly calls: Call[];
  readonly lines: string[];
  /** All tokens that the app has received. */
  readonly tokens: Set<string>;
  /** Lets all access tokens expire. */
  readonly expire: () => void;
  /** Errors that handlers have thrown. */
  readonly errors: Error[];
  /** Closes the app without waiting. */
  readonly close: () => void;
  /** Sends an event with a token pair of another user. */
  readonly join: (userId: number) => Promise<unknown>;
}

interface Played extends Scene, Pick<TestApp, "send" | "record"> {
  readonly app: App<HasB24Sdk<B24OAuth>>;
}

type Handler = (context: HandlerContext & HasB24Sdk<B24OAuth>, scene: Scene) => unknown;

const TIME = { start: 1, finish: 2, duration: 1, processing: 1, operating: 0, operating_reset_at: 0 };
const METHOD = "crm.deal.get";
const ATTACKER = "https://attacker.example.org";

function refusal(status: number, error: string, description = `about ${error}`): Response {
  return Response.json({ error, error_description: description }, { status });
}

function redirect(location: string): Response {
  return new Response(null, { status: 302, headers: { location } });
}

/**
 * Runs `handler` in an app with the SDK at an installation by user 1, and at each further event. `answer` replaces the
 * answers of the portal.
 */
async function play(
  handler: Handler,
  answer: Answer = () => undefined,
  sdk: Partial<B24JsSdkOptions<B24OAuth>> = {},
): Promise<Played> {
  const at = fakeOAuthHost();
  at.isAdmin = (userId) => userId === 1;
  const ended = new Set<unknown>();
  const fetch: typeof globalThis.fetch = async (input, init) => {
    const request = new Request(input, init);
    const url = new URL(request.url);
    if (url.hostname.startsWith("oauth.")) {
      const response = await at.fetch(request);
      const { access_token, refresh_token } = await response.clone().json();
      for (const token of [access_token, refresh_token]) if (token !== undefined) scene.tokens.add(token);
      return response;
    }
    if (request.headers.get("content-type")?.includes("form") && url.pathname === "/rest/profile") {
      return await at.fetch(request);
    }
    const call = { url, params: JSON.parse(await request.text()), signal: request.signal };
    scene.calls.push(call);
    if (ended.has(call.params.auth)) return await answer(call, scene) ?? refusal(401, "expired_token");
    return await answer(call, scene) ?? Response.json({ result: { done: call.params.ID ?? 0 }, time: TIME });
  };
  const made = testApp({ oauth: { ...at, fetch }, limits: { closeMs: 1 } });
  const scene: Scene = {
    oauth: at,
    calls: [],
    lines: made.lines,
    tokens: new Set(),
    expire: () => {
      for (const token of scene.tokens) ended.add(token);
      at.expireAccessTokens();
    },
    errors: [],
    close: () => void made.app.close(),
    join: (userId) => {
      const pair = at.issueTokens(userId);
      for (const token of [pair.access, pair.refresh]) scene.tokens.add(token);
      made.now += 60_000;
      return made.send("ONAPPTEST", tokenFields(pair, userId));
    },
  };
  const app = made.app.use(b24jssdk({ B24OAuth, ...sdk }));
  app.on(["ONAPPINSTALL", "ONAPPUPDATE"], async (context) => {
    try {
      await handler(context, scene);
    } catch (error) {
      assert.ok(error instanceof Error);
      scene.errors.push(error);
      throw error;
    }
  });
  const pair = at.issueTokens();
  for (const token of [pair.access, pair.refresh]) scene.tokens.add(token);
  await made.send("ONAPPINSTALL", { "data[VERSION]": "2", ...tokenFields(pair) });
  return { ...scene, app, send: made.send, record: made.record };
}

function refreshes({ oauth }: Scene): number {
  return oauth.asked.filter(({ kind }) => kind === "token").length;
}

/** Calls a method with the SDK. */
async function call(sdk: B24OAuth, params: Readonly<Record<string, unknown>> = {}): Promise<unknown> {
  return (await sdk.actions.v2.call.make({ method: METHOD, params })).getData()?.result;
}

/** A handler that calls a method once. */
const callOnce: Handler = async ({ b24sdk }) => await call(await b24sdk());

describe("b24sdk() calls", () => {
  for (const [version, path] of [["v2", "/rest/crm.deal.get"], ["v3", "/rest/api/crm.deal.get"]] as const) {
    it(`the portal's REST, ${version}`, async () => {
      let result: unknown;
      const scene = await play(async ({ b24sdk }) => {
        const { actions } = await b24sdk();
        result = (await actions[version].call.make({ method: METHOD, params: { ID: 7 } })).getData()?.result;
      });
      assert.deepEqual(result, { done: 7 });
      const [{ url, params }] = scene.calls as [Call];
      assert.equal(`${url.origin}${url.pathname}`, `${new URL(ENDPOINT).origin}${path}`);
      assert.deepEqual(params, { ID: 7, auth: [...scene.tokens][0] });
      assert.equal(refreshes(scene), 0);
    });
  }

  it("batches", async () => {
    let data: unknown;
    const times = { one: TIME, two: TIME };
    const result = { result: { one: 1, two: 2 }, result_error: [], result_total: [], result_next: [] };
    const scene = await play(async ({ b24sdk }) => {
      const calls = { one: { method: METHOD, params: { ID: 1 } }, two: { method: METHOD, params: { ID: 2 } } };
      data = (await (await b24sdk()).actions.v2.batch.make({ calls })).getData();
    }, () => Response.json({ result: { ...result, result_time: times }, time: TIME }));
    assert.deepEqual(data, { one: 1, two: 2 });
    const commands = { one: "crm.deal.get?ID=1", two: "crm.deal.get?ID=2" };
    assert.deepEqual(scene.calls.map(({ params }) => params["cmd"]), [commands]);
  });

  it("nothing before it is used", async () => {
    const scene = await play(() => {});
    assert.deepEqual([scene.oauth.asked, scene.calls], [[], []]);
  });

  it("nothing but the portal's REST", async () => {
    const scene = await play(async ({ b24sdk }) => {
      const { ajaxClient } = (await b24sdk()).getHttpClient("v2" as never);
      for (
        const url of [`${ATTACKER}/rest/profile`, new URL("/pub/", ENDPOINT).href, "http://example.bitrix24.de/rest/"]
      ) {
        await assert.rejects(ajaxClient.post(url, {}), /wanted POST of application\/json to its REST/, url);
      }
      await assert.rejects(ajaxClient.get(`${ENDPOINT}profile`), /wanted POST/);
      await assert.rejects(ajaxClient.post(`${ENDPOINT}profile`, new URLSearchParams({ a: "1" })), /wanted POST/);
    });
    assert.deepEqual([scene.calls, scene.errors], [[], []]);
  });
});

describe("b24sdk() refreshes", () => {
  it("an expired token once for 50 concurrent calls, some of which fail after the refresh", async () => {
    const results: unknown[] = [];
    const [gone, repeated] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const scene = await play(async ({ b24sdk }, { expire }) => {
      const sdk = await b24sdk();
      expire();
      results.push(...await Promise.all(Array.from({ length: 50 }, (_, i) => call(sdk, { ID: i }))));
    }, async ({ params }, { tokens, calls }) => {
      if (params["auth"] !== [...tokens][0]) return void repeated.resolve();
      if (calls.length === 50) gone.resolve();
      await (Number(params["ID"]) % 2 === 0 ? gone : repeated).promise;
      return undefined;
    });
    assert.deepEqual(results, Array.from({ length: 50 }, (_, i) => ({ done: i })));
    assert.equal(refreshes(scene), 1);
    assert.equal(scene.calls.length, 100);
  });

  for (const code of ["expired_token", "invalid_token", "NO_AUTH_FOUND"]) {
    it(`after ${code}`, async () => {
      const scene = await play(callOnce, (_, { calls }) => calls.length === 1 ? refusal(401, code) : undefined);
      assert.deepEqual([scene.errors, scene.calls.length, refreshes(scene)], [[], 2, 1]);
      assert.notEqual(scene.calls[1]?.params["auth"], scene.calls[0]?.params["auth"]);
    });
  }

  it("as often as tokens expire during one event", async () => {
    const scene = await play(async ({ b24sdk }, { expire }) => {
      const sdk = await b24sdk();
      for (let hour = 0; hour < 3; hour++) {
        await call(sdk);
        expire();
      }
      await call(sdk);
    });
    assert.deepEqual([scene.errors, refreshes(scene)], [[], 3]);
  });

  it("once for a portal that refuses every token, which is then blocked", async () => {
    const scene = await play(callOnce, () => refusal(401, "expired_token"));
    assert.deepEqual([scene.calls.length, refreshes(scene)], [2, 1]);
    assert.deepEqual(scene.errors.map(({ name }) => name), ["B24Error"]);
    assert.equal((await scene.app.portal(MEMBER_ID))?.blocked?.on, "authorization");
  });
});

describe("b24sdk() rejects", () => {
  it("if the token cannot be refreshed, and the portal is blocked", async () => {
    const scene = await play(async ({ b24sdk }, { expire, oauth }) => {
      const sdk = await b24sdk();
      expire();
      oauth.answer = ({ kind }) => kind === "token" ? refusal(400, "invalid_grant") : undefined;
      await call(sdk);
    });
    assert.deepEqual(scene.errors.map(({ name }) => name), ["NoCredentialsError"]);
    assert.deepEqual([scene.calls.length, refreshes(scene)], [1, 1]);
    assert.equal((await scene.app.portal(MEMBER_ID))?.blocked?.on, "authorization");
  });

  it("if there is no token, and can be called again", async () => {
    const names: string[] = [];
    const scene = await play(async ({ b24sdk }, { oauth }) => {
      oauth.answer = () => refusal(503, "down");
      await b24sdk().catch(({ name }) => names.push(name));
      oauth.answer = undefined;
      await call(await b24sdk());
    });
    assert.deepEqual([names, scene.errors, scene.calls.length], [["UnreachableError"], [], 1]);
  });

  const cases: readonly [what: string, answer: Answer, name: string, code: string, blockedOn?: string][] = [
    ["no answer", () => Promise.reject(new TypeError("cut off")), "UnreachableError", "unreachable"],
    ["HTML", () => new Response("<html>", { status: 502 }), "B24Error", "ERROR_UNEXPECTED_ANSWER"],
    ["HTML that says 200", () => new Response("<html>"), "B24Error", "ERROR_UNEXPECTED_ANSWER"],
    ["a list", () => Response.json([]), "B24Error", "ERROR_UNEXPECTED_ANSWER"],
    ["too much", () => new Response(" ".repeat(5 * 2 ** 20)), "B24Error", "ERROR_UNEXPECTED_ANSWER"],
    ["too many arrays", () => new Response(`[${"[],".repeat(100_001)}0]`), "B24Error", "ERROR_UNEXPECTED_ANSWER"],
    ["a redirect to a page of its own", () => redirect("/license"), "NoCredentialsError", "no_credentials", "payment"],
    ["OVERLOAD_LIMIT", () => refusal(503, "OVERLOAD_LIMIT"), "B24Error", "OVERLOAD_LIMIT"],
    ["INTERNAL_SERVER_ERROR", () => refusal(500, "INTERNAL_SERVER_ERROR"), "AjaxError", "INTERNAL_SERVER_ERROR"],
    ["ERROR_CORE", () => refusal(400, "ERROR_CORE"), "AjaxError", "ERROR_CORE"],
    ["PAYMENT_REQUIRED", () => refusal(402, "PAYMENT_REQUIRED"), "AjaxError", "PAYMENT_REQUIRED", "payment"],
    ["NOT_INSTALLED", () => refusal(401, "NOT_INSTALLED"), "AjaxError", "NOT_INSTALLED", "installation"],
    ["insufficient_scope", () => refusal(403, "insufficient_scope"), "AjaxError", "insufficient_scope", "scope"],
    ["ACCESS_DENIED", () => refusal(403, "ACCESS_DENIED"), "AjaxError", "ACCESS_DENIED", "administrator"],
  ];
  for (const [what, answer, name, code, blockedOn] of cases) {
    it(`${what} without a second call${blockedOn === undefined ? "" : `, and the portal is blocked on ${blockedOn}`}`, async () => {
      const scene = await play(callOnce, answer);
      assert.deepEqual(scene.errors.map((error) => [error.name, codeOf(error)]), [[name, code]]);
      assert.equal(scene.calls.length, 1);
      assert.equal((await scene.app.portal(MEMBER_ID))?.blocked?.on, blockedOn);
    });
  }

  it("what takes longer than the SDK's own timeout without a second call", async () => {
    const timeout = 54_321;
    const { setTimeout } = globalThis;
    let expire: (() => void) | undefined;
    // It is over once the portal has the call.
    globalThis.setTimeout = ((run: () => void, ms?: number) => {
      if (ms === timeout) expire = run;
      else return setTimeout(run, ms);
      return undefined;
    }) as typeof setTimeout;
    try {
      const scene = await play(
        callOnce,
        ({ signal }) =>
          new Promise((_, reject) => {
            signal.addEventListener("abort", () => reject(signal.reason));
            expire!();
          }),
        { configure: (sdk) => void (sdk.getHttpClient("v2" as never).ajaxClient.defaults.timeout = timeout) },
      );
      assert.deepEqual(scene.errors.map((error) => codeOf(error)), ["REQUEST_TIMEOUT"]);
      assert.equal(scene.calls.length, 1);
    } finally {
      globalThis.setTimeout = setTimeout;
    }
  });

  it("what REST 3.0 refuses, by its own code", async () => {
    const error = { code: "PAYMENT_REQUIRED", message: "about it" };
    const scene = await play(
      async ({ b24sdk }) => await (await b24sdk()).actions.v3.call.make({ method: METHOD }),
      () => Response.json({ error }, { status: 402 }),
    );
    assert.deepEqual(scene.errors.map(({ message }) => message), ["about it"]);
    assert.equal((await scene.app.portal(MEMBER_ID))?.blocked?.on, "payment");
  });

  for (
    const [code, status, on] of [
      ["INSUFFICIENTSCOPEEXCEPTION", 403, "scope"],
      ["RESTUNAVAILABLEEXCEPTION", 402, "payment"],
    ] as const
  ) {
    it(`what REST 3.0 refuses with ${code}, which blocks the portal on ${on}`, async () => {
      const error = { code: `BITRIX_REST_V3_EXCEPTION_${code}`, message: "about it" };
      const scene = await play(
        async ({ b24sdk }) => await (await b24sdk()).actions.v3.call.make({ method: METHOD }),
        () => Response.json({ error }, { status }),
      );
      assert.equal((await scene.app.portal(MEMBER_ID))?.blocked?.on, on);
    });
  }

  it("and blocks the portal also if the handler ignores the error", async () => {
    const scene = await play(
      ({ b24sdk }) => b24sdk().then(call).catch(() => {}),
      () => refusal(200, "PAYMENT_REQUIRED"),
    );
    assert.deepEqual(scene.errors, []);
    assert.equal((await scene.record())["blocked"] !== undefined, true);
  });

  it("a call during which the app closes", async () => {
    const scene = await play(callOnce, ({ signal }, { close }) => {
      close();
      return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    });
    assert.deepEqual(scene.errors.map(({ message }) => message), ["the app is closing"]);
  });
});

test("b24sdk() aborts a call when the app closes while the SDK waits to repeat it", async () => {
  let retries: number | undefined;
  const scene = await play(async ({ b24sdk }) => {
    const sdk = await b24sdk();
    await call(sdk).finally(() => retries = sdk.getHttpClient("v2" as never).getStats().retries);
  }, (_, { close }) => {
    close();
    return refusal(503, "QUERY_LIMIT_EXCEEDED");
  });
  assert.deepEqual(scene.errors.map(({ message }) => message), ["the app is closing"]);
  assert.deepEqual([scene.calls.length, retries], [1, 0]);
});

test("b24sdk() lets the SDK repeat a call after QUERY_LIMIT_EXCEEDED", async () => {
  const scene = await play(
    callOnce,
    (_, { calls }) => calls.length === 1 ? refusal(503, "QUERY_LIMIT_EXCEEDED") : undefined,
    // So that it does not wait for its own limits.
    {
      configure: (sdk) => {
        const http = sdk.getHttpClient("v2" as never);
        return http.setRestrictionManagerParams({
          ...http.getRestrictionManagerParams(),
          rateLimit: { burstLimit: 50, drainRate: 1000, adaptiveEnabled: false },
        });
      },
    },
  );
  assert.deepEqual([scene.errors, scene.calls.length], [[], 2]);
});

describe("b24sdk() follows", () => {
  const NEW = "https://renamed.bitrix24.de";

  it("a portal that was renamed, and stores the address", async () => {
    const scene = await play(async ({ b24sdk }) => {
      const sdk = await b24sdk();
      await call(sdk, { ID: 1 });
      await call(sdk, { ID: 2 });
    }, ({ url }) => url.hostname === "example.bitrix24.de" ? redirect(`${NEW}/rest/moved?x=1`) : undefined);
    assert.deepEqual(scene.errors, []);
    const seen = scene.calls.map(({ url, params }) => [url.hostname, url.pathname, params["ID"]]);
    const path = `/rest/${METHOD}`;
    assert.deepEqual(seen, [
      ["example.bitrix24.de", path, 1],
      ["renamed.bitrix24.de", path, 1],
      ["renamed.bitrix24.de", path, 2],
    ]);
    assert.equal((await scene.record())["clientEndpoint"], `${NEW}/rest/`);
  });

  for (
    const location of [
      `${ATTACKER}/rest/`,
      "http://example.bitrix24.de/rest/",
      "https://127.0.0.1/rest/",
      "https://user:password@renamed.bitrix24.de/rest/",
      "//attacker.example.org/",
      "https://",
    ]
  ) {
    it(`no portal to ${location}`, async () => {
      const scene = await play(callOnce, () => redirect(location));
      assert.deepEqual(scene.errors.map(({ name }) => name), ["AddressError"]);
      assert.deepEqual(scene.calls.map(({ url }) => url.hostname), ["example.bitrix24.de"]);
    });
  }

  it("no redirect 303, after which the call has taken effect", async () => {
    const answer = new Response(null, { status: 303, headers: { location: `${NEW}/rest/` } });
    const scene = await play(callOnce, () => answer);
    assert.deepEqual(scene.errors.map((error) => codeOf(error)), ["ERROR_UNEXPECTED_ANSWER"]);
    assert.equal(scene.calls.length, 1);
  });

  it("at most two redirects", async () => {
    const scene = await play(callOnce, (_call, { calls }) => redirect(`https://r${calls.length}.bitrix24.de/rest/`));
    assert.deepEqual([scene.errors.map(({ name }) => name), scene.calls.length], [["AddressError"], 3]);
  });
});

test("b24sdk() repeats a call as another user if the first one may not, for that call only", async () => {
  let ended: unknown;
  const scene = await play(async ({ b24sdk, event }, { join }) => {
    if (event.name !== "ONAPPINSTALL") return;
    const sdk = await b24sdk();
    await join(2);
    await call(sdk, { ID: 1 });
    await call(sdk, { ID: 2 });
  }, ({ params: { ID, auth } }, { calls }) => {
    if (ID === 1 && auth === calls[0]?.params["auth"]) return refusal(403, "ACCESS_DENIED");
    // The other one's token has ended when it is first used.
    ended ??= auth;
    return auth === ended ? refusal(401, "expired_token") : undefined;
  });
  assert.deepEqual([scene.errors, refreshes(scene)], [[], 1]);
  const [first, ...rest] = scene.calls.map(({ params }) => params["auth"]);
  const [done, next] = rest.slice(-2);
  assert.equal(new Set([first, ended, done]).size, 3);
  assert.equal(next, first);
});

describe("b24sdk() keeps tokens", () => {
  /** Returns everything that is written to the console while `run` runs. */
  async function consoled(run: () => Promise<unknown>): Promise<unknown[]> {
    const written: unknown[] = [];
    const names = ["debug", "log", "info", "warn", "error"] as const;
    const { console } = globalThis;
    const kept = names.map((name) => [name, console[name]] as const);
    try {
      for (const name of names) console[name] = (...args: unknown[]) => void written.push(...args);
      await run();
    } finally {
      for (const [name, log] of kept) console[name] = log;
    }
    return written;
  }

  /** Returns everything that can be reached from `value` as a string. */
  const everything = (value: unknown): string =>
    inspect(value, { depth: Infinity, showHidden: true, maxStringLength: null });

  for (const status of [200, 400, 403, 503]) {
    it(`out of errors, logs, the console and the SDK itself, of a portal that answers them with ${status}`, async () => {
      const seen: unknown[] = [];
      let scene: Played | undefined;
      const written = await consoled(async () => {
        scene = await play(async ({ b24sdk }) => {
          const sdk = await b24sdk();
          const logger = Object.fromEntries(
            Object.keys(sdk.getLogger()).concat("log", "debug", "info", "notice", "warning", "error")
              .map((level) => [level, (...args: unknown[]) => Promise.resolve(void seen.push(...args))]),
          );
          sdk.setLogger(logger as never);
          seen.push(sdk, sdk.auth.getAuthData());
          const answer = await sdk.actions.v2.call.make({ method: METHOD }).catch((error) => error);
          seen.push(answer);
          if (answer instanceof Error) throw answer;
          throw new Error([...answer.getErrorMessages()].join());
        }, ({ params }) => {
          const text = `token ${params["auth"]} of ${JSON.stringify(params)}`;
          const error = status === 503 ? "OVERLOAD_LIMIT" : `E_${params["auth"]}`;
          return refusal(status, error, text);
        });
      });
      const { tokens, errors, lines, calls } = scene!;
      assert.deepEqual([written, errors.length, calls.length, seen.length > 3], [[], 1, 1, true]);
      const all = everything([seen, errors, lines]);
      assert.match(all, /\[redacted\]/);
      for (const token of tokens) assert.ok(!all.includes(token), `a token is in: ${all}`);
    });
  }

  it("out of an error that escapes them", async () => {
    const scene = await play(callOnce, ({ params }) => {
      const token = String(params["auth"]);
      const escaped = Array.from(token, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`).join("");
      return new Response(`{"error":"ERROR_CORE","error_description":"${escaped} client_secret=s3cret"}`, {
        status: 400,
      });
    });
    const all = everything([scene.errors, scene.lines]);
    assert.match(all, /\[redacted\] client_secret=\[redacted\]/);
    for (const token of scene.tokens) assert.ok(!all.includes(token));
  });

  it("out of the error about a redirect that contains one", async () => {
    const scene = await play(callOnce, ({ params }) => Response.redirect(`https://${params["auth"]}.example.org/`));
    assert.deepEqual(scene.errors.map(({ name }) => name), ["AddressError"]);
    for (const token of scene.tokens) assert.ok(!everything(scene.errors).includes(token));
  });

  it("out of the SDK's own output on the console", async () => {
    const written = await consoled(() =>
      play(async ({ b24sdk }) => {
        // The function of the SDK that always logs.
        await (await b24sdk()).callMethod(METHOD);
      })
    );
    assert.deepEqual(written, []);
  });

  it("out of requests that an SDK sends by other means", async () => {
    const bodies: string[] = [];
    const scene = await play(callOnce, undefined, {
      configure: (sdk) => {
        const { ajaxClient } = sdk.getHttpClient("v2" as never);
        const env = {
          fetch: async (request: Request) => {
            bodies.push(await request.text());
            return refusal(401, "expired_token");
          },
        };
        ajaxClient.defaults.adapter = (config) => ajaxClient.request(Object.assign(config, { adapter: "fetch", env }));
      },
    });
    assert.match(scene.errors[0]!.message, /do not go through axios' fetch, wanted the class of @bitrix24\/b24jssdk/);
    assert.deepEqual([bodies.length, scene.calls.length], [1, 0]);
    for (const token of scene.tokens) assert.ok(!bodies[0]!.includes(token));
  });
});

describe("b24sdk() is destroyed", () => {
  function counting(): {
    readonly Counting: SdkClass<B24OAuth>;
    readonly made: B24OAuth[];
    readonly destroyed: B24OAuth[];
  } {
    const [made, destroyed]: B24OAuth[][] = [[], []];
    class Counting extends B24OAuth {
      constructor(...args: ConstructorParameters<typeof B24OAuth>) {
        super(...args);
        made!.push(this);
      }
      override destroy(): void {
        destroyed!.push(this);
        super.destroy();
      }
    }
    return { Counting, made: made!, destroyed: destroyed! };
  }

  const endings: Readonly<Record<string, Handler>> = {
    "after the event": async ({ b24sdk }) => void await b24sdk(),
    "after a handler that failed": async ({ b24sdk }) => {
      await b24sdk();
      throw new Error("of the handler");
    },
    "after a handler that did not wait for it": ({ b24sdk }) => void b24sdk(),
  };
  for (const [when, handler] of Object.entries(endings)) {
    it(when, async () => {
      const { Counting, made, destroyed } = counting();
      const { send } = await play(handler, undefined, { B24OAuth: Counting });
      await send("ONAPPUPDATE", { "data[VERSION]": "3", "data[PREVIOUS_VERSION]": "2", ts: "1785300099" });
      assert.deepEqual(destroyed, made);
    });
  }

  it("and created once for each event", async () => {
    const { Counting, made } = counting();
    const { send } = await play(async ({ b24sdk }) => assert.equal(await b24sdk(), await b24sdk()), undefined, {
      B24OAuth: Counting,
    });
    await send("ONAPPUPDATE", { "data[VERSION]": "3", "data[PREVIOUS_VERSION]": "2", ts: "1785300099" });
    assert.equal(made.length, 2);
  });

  it("and not created if it is not used", async () => {
    const { Counting, made, destroyed } = counting();
    await play(() => {}, undefined, { B24OAuth: Counting });
    assert.deepEqual([made, destroyed], [[], []]);
  });

  it("and sends nothing after that", async () => {
    let late: (() => Promise<unknown>)[] = [];
    const scene = await play(async ({ b24sdk }) => {
      const sdk = await b24sdk();
      const { ajaxClient } = sdk.getHttpClient("v2" as never);
      late = [() => call(sdk), b24sdk, () => ajaxClient.post(`${ENDPOINT}profile`, {})];
    });
    const over = { message: `cannot use the SDK of portal ${MEMBER_ID}: its event is over` };
    await assert.rejects(late[0]!(), over);
    await assert.rejects(late[1]!().then((sdk) => call(sdk as B24OAuth)), over);
    await assert.rejects(late[2]!(), /: its event is over/);
    assert.deepEqual(scene.calls, []);
  });

  it("without a failure of the event if that fails", async () => {
    class Broken extends B24OAuth {
      override destroy(): void {
        throw new Error("broken");
      }
    }
    const scene = await play(callOnce, undefined, { B24OAuth: Broken });
    assert.equal((await scene.app.portal(MEMBER_ID))?.version, "2.0.0");
    assert.match(scene.lines.join("\n"), /SDK not destroyed/);
  });
});

describe("configure()", () => {
  it("is called with each SDK and its portal before the handler uses it", async () => {
    const seen: unknown[] = [];
    await play(({ b24sdk }) => b24sdk().then((sdk) => seen.push(sdk)), undefined, {
      configure: async (sdk, memberId) => {
        await Promise.resolve();
        seen.push(sdk, memberId);
      },
    });
    assert.deepEqual(seen.slice(1), [MEMBER_ID, seen[0]]);
  });

  it("is called again with the next SDK after a failure", async () => {
    let times = 0;
    const scene = await play(
      async ({ b24sdk }) => {
        await assert.rejects(b24sdk(), /not yet/);
        await call(await b24sdk());
      },
      undefined,
      {
        configure: () => {
          if (++times === 1) throw new Error("not yet");
        },
      },
    );
    assert.deepEqual([scene.errors, scene.calls.length, times], [[], 1, 2]);
  });
});

describe("b24jssdk() refuses", () => {
  const cut = (name: string): unknown => {
    const Cut = class extends B24OAuth {};
    Object.defineProperty(Cut.prototype, name, { value: undefined });
    return Cut;
  };
  const cases: readonly [what: string, B24OAuth: unknown, message: RegExp][] = [
    ["nothing", undefined, /B24OAuth undefined, wanted the class B24OAuth of @bitrix24\/b24jssdk$/],
    ["another class", Map, /has no setCustomRefreshAuth\(\)/],
    ["an SDK that can only refresh tokens by itself", cut("setCustomRefreshAuth"), /has no setCustomRefreshAuth\(\)/],
    ["an SDK without clients", cut("getHttpClient"), /has no getHttpClient\(\)/],
  ];
  for (const [what, Class, message] of cases) {
    it(what, () => {
      const options = { B24OAuth: Class } as B24JsSdkOptions<B24OAuth>;
      assert.throws(() => b24jssdk(options), { name: "TypeError", message });
    });
  }

  it("an SDK without axios, when it is created", async () => {
    class Other extends B24OAuth {
      override getHttpClient(): ReturnType<B24OAuth["getHttpClient"]> {
        return Object.create(super.getHttpClient("v2" as never), { ajaxClient: { value: undefined } });
      }
    }
    const scene = await play(callOnce, undefined, { B24OAuth: Other });
    assert.match(scene.errors[0]!.message, /^cannot use this SDK: its requests do not go through axios, wanted/);
    assert.deepEqual(scene.calls, []);
  });
});

test("b24sdk() in an upgrade lists and updates 120 deals of a portal that is renamed while its tokens expire", async () => {
  const bitrix24 = fakeBitrix24({ clientId: CLIENT_ID, clientSecret: CLIENT_SECRET, clock: () => NOW });
  const portal = bitrix24.portal({ memberId: MEMBER_ID });
  const deals = Array.from({ length: 120 }, (_, i) => ({ ID: String(i + 1), TITLE: `Deal ${i + 1}` }));
  portal.data("crm.deal.list", deals);
  const updated: unknown[] = [];
  portal.answer("crm.deal.update", ({ params }) => {
    updated.push(Number(params["id"]));
    return true;
  });
  const app = createApp({
    storage: memoryStorage(),
    clientId: CLIENT_ID,
    clientSecret: CLIENT_SECRET,
    fetch: bitrix24.fetch,
    clock: () => NOW,
    logger: quietLogger,
    acknowledge: "handled",
    checks: false,
  }).use(applicationToken()).use(b24jssdk({ B24OAuth })).upgrade("3.0.0", async ({ b24sdk, step }) => {
    const { actions } = await b24sdk();
    const ids = await step("list", async () => {
      const answer = await actions.v2.callList.make<{ ID: string }>({
        method: "crm.deal.list",
        params: {},
        idKey: "ID",
      });
      return answer.getData()!.map(({ ID }) => Number(ID));
    });
    portal.expireTokens();
    portal.rename("renamed.bitrix24.de");
    await step("update", async () => {
      const calls = ids.map((id) => ({ method: "crm.deal.update", params: { id, fields: { TITLE: "" } } }));
      const answer = await actions.v2.batchByChunk.make({ calls });
      if (!answer.isSuccess) throw new Error(answer.getErrorMessages().join("; "));
    });
  });
  assert.equal((await app.fetch(post(portal.install(2)))).status, 200);
  assert.equal((await app.fetch(post(portal.update(3)))).status, 200);
  const { version, failure } = (await app.portal(MEMBER_ID))!;
  assert.deepEqual([version, failure, bitrix24.refreshes()], ["3.0.0", undefined, 1]);
  assert.deepEqual(updated, deals.map(({ ID }) => Number(ID)));
  const [run] = await app.admin.runs(MEMBER_ID);
  assert.deepEqual(Object.keys(run!.calls), ["crm.deal.list", "batch"]);
  await app.close();
});

test("b24jssdk() has the type of the class, and refuses a class without the functions that it uses", () => {
  class Mine extends B24OAuth {
    readonly mine = true;
  }
  const own: Plugin<object, HasB24Sdk<Mine>> = b24jssdk({ B24OAuth: Mine });
  const theirs: Plugin<object, HasB24Sdk<B24OAuth>> = b24jssdk({ B24OAuth });
  assert.deepEqual([own.name, theirs.adds], ["b24jssdk", ["b24sdk"]]);
  // @ts-expect-error: it has no setCustomRefreshAuth
  assert.throws(() => b24jssdk({ B24OAuth: Map }));
});
