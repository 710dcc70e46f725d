import assert from "node:assert/strict";
import { type App, createApp, memoryStorage, type Readiness } from "@b24/onappupdate";
import { type Health, health, type HealthOptions } from "@b24/onappupdate/health";
import { quietLogger, trustAll } from "../../support/app.ts";
import { refuses } from "../../support/refusals.ts";
import { describe, it } from "../../support/test.ts";

/** Returns the routes of an app that is as `readiness` says. */
function serve(readiness: Readiness, options?: HealthOptions): Health & {
  readonly asked: string[];
  readonly ask: (path: string, method?: string, ...platform: unknown[]) => Promise<
    { readonly status: number; readonly headers: Headers; readonly text: string }
  >;
} {
  const asked: string[] = [];
  const app: Pick<App, "readiness"> = {
    readiness: () => {
      asked.push("readiness");
      return Promise.resolve(readiness);
    },
  };
  const { fetch } = health(app, options);
  const ask = async (path: string, method = "GET", ...platform: unknown[]) => {
    const body = method === "POST" ? "a=1" : null;
    const response = await fetch(new Request(`http://10.0.0.1:8000${path}`, { method, body }), ...platform);
    const { status, headers } = response;
    assert.equal(headers.get("cache-control"), "no-store", path);
    return { status, headers, text: await response.text() };
  };
  return { asked, fetch, ask };
}

const UNREADY: readonly Readiness[] = (["not_started", "closing", "storage"] as const)
  .map((reason) => ({ isReady: false, reason }));

describe("health()", () => {
  it("answers /healthz without a look at the app, whatever its state", async () => {
    for (const readiness of UNREADY) {
      const { asked, ask } = serve(readiness);
      const { status, headers, text } = await ask("/healthz?from=kubelet");
      assert.deepEqual([status, headers.get("content-type"), JSON.parse(text)], [
        200,
        "application/json",
        { status: "ok" },
      ]);
      assert.deepEqual(asked, []);
    }
  });

  it("answers /readyz 200 if the app takes events, otherwise 503 with the reason", async () => {
    const { status, text } = await serve({ isReady: true }).ask("/readyz");
    assert.deepEqual([status, JSON.parse(text)], [200, { status: "ok" }]);
    for (const readiness of UNREADY) {
      const { status, text } = await serve(readiness).ask("/readyz");
      assert.equal(status, 503);
      assert.deepEqual(JSON.parse(text), {
        status: "unavailable",
        reason: readiness.isReady ? undefined : readiness.reason,
      });
    }
  });

  it("answers HEAD without a body, and other methods 405", async () => {
    const { ask, asked } = serve({ isReady: false, reason: "storage" });
    for (const [path, wanted] of [["/healthz", 200], ["/readyz", 503]] as const) {
      const { status, text } = await ask(path, "HEAD");
      assert.deepEqual([status, text], [wanted, ""]);
      for (const method of ["POST", "PUT", "DELETE", "OPTIONS"]) {
        const { status, headers, text } = await ask(path, method);
        assert.deepEqual([status, headers.get("allow"), text], [405, "GET, HEAD", ""]);
      }
    }
    assert.equal(asked.length, 1);
  });

  it("answers 404 at other paths, or passes them on with what the server passes", async () => {
    const paths = ["/", "/healthz/", "/readyz/x", "/b24/readyz", "/HEALTHZ", "/api/v1/health"];
    for (const path of paths) assert.equal((await serve({ isReady: true }).ask(path, "POST")).status, 404);
    const passed: unknown[][] = [];
    const next: HealthOptions["next"] = ({ method, url }, ...platform) => {
      passed.push([method, new URL(url).pathname, ...platform]);
      return new Response("from next", { status: 202, headers: { "cache-control": "no-store" } });
    };
    const { ask } = serve({ isReady: true }, { next });
    assert.deepEqual([(await ask("/b24/events", "POST", "info", 2)).text, passed], [
      "from next",
      [["POST", "/b24/events", "info", 2]],
    ]);
    assert.equal((await ask("/readyz", "POST")).status, 405);
  });

  it("is mounted below a base", async () => {
    const { ask } = serve({ isReady: true }, { base: "/b24/app" });
    assert.deepEqual([(await ask("/b24/app/readyz")).status, (await ask("/readyz")).status], [200, 404]);
  });

  it("follows an app from its start to its close", async () => {
    const app = createApp({ storage: memoryStorage(), logger: quietLogger, tickEveryMs: false }).use(trustAll);
    const { fetch } = health(app, { next: app.fetch });
    const statuses = async () => {
      const responses = await Promise.all(
        ["/healthz", "/readyz", "/b24/events"].map((path) => fetch(new Request(`http://localhost${path}`))),
      );
      return responses.map(({ status }) => status);
    };
    await app.start();
    assert.deepEqual(await statuses(), [200, 200, 405]);
    await app.close();
    assert.deepEqual(await statuses(), [200, 503, 503]);
  });

  it("refuses what is no request", async () => {
    const { fetch } = serve({ isReady: true });
    for (const request of [undefined, {}, { url: "/readyz" }]) {
      await assert.rejects(fetch(request as never), /^TypeError: cannot answer with request .*, wanted a Request/);
    }
  });

  const app = { readiness: () => Promise.resolve<Readiness>({ isReady: true }) };
  const BASE = 'a path such as "/b24", without a slash at its end';
  refuses([
    [
      "cannot serve the health of an app with app undefined, wanted an app of createApp()",
      () => health(undefined as never),
    ],
    ["cannot serve the health of an app with app an object, wanted an app of createApp()", () => health({} as never)],
    [`cannot serve the health of an app with base "b24", wanted ${BASE}`, () => health(app, { base: "b24" })],
    [`cannot serve the health of an app with base "/", wanted ${BASE}`, () => health(app, { base: "/" })],
    [
      "cannot serve the health of an app with next 1, wanted a function that answers a request, such as app.fetch",
      () => health(app, { next: 1 as never }),
    ],
    [
      "cannot serve the health of an app with the option path that does not exist, wanted base or next",
      () => health(app, { path: "/b24" } as never),
    ],
  ]);
});
