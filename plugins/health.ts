/**
 * Routes for load balancers and orchestrators: whether the process is alive, and whether the app takes events.
 *
 * @module
 */
import { type App, checkOptions, option, type OptionRules } from "../mod.ts";

/** Options of {@linkcode health}. */
export interface HealthOptions {
  /**
   * Path under which the routes are mounted, such as `"/b24"` for `/b24/readyz`. Begins with a slash and has none at its end. A
   * framework that removes the path from the URL needs no base.
   *
   * @default "" for `/healthz` and `/readyz`
   */
  readonly base?: string;
  /**
   * Answers the requests for all other paths, such as `app.fetch`, or the `fetch` of a router. It receives the same arguments.
   *
   * @default a function that answers 404
   */
  readonly next?: (request: Request, ...platform: unknown[]) => Response | Promise<Response>;
}

const OPTION_RULES: OptionRules<HealthOptions> = {
  base: option.value(
    'a path such as "/b24", without a slash at its end',
    (base) => typeof base === "string" && /^(\/[\w.~-]+)*$/.test(base),
  ),
  next: option.function("a function that answers a request, such as app.fetch"),
};

const APP_RULES: OptionRules<{ readonly app: Pick<App, "readiness"> }> = {
  app: option.required(
    option.value("an app of createApp()", (app) => typeof (Object(app) as Partial<App>).readiness === "function"),
  ),
};

const REQUEST_RULES: OptionRules<{ readonly request: Request }> = {
  request: option.required(
    option.value(
      "a Request of the Fetch API; on Node, serve() and toNodeHandler() make one",
      (request) => typeof (Object(Object(request).headers) as Partial<Headers>).get === "function",
    ),
  ),
};

/** Serves the routes of {@linkcode health}. */
export interface Health {
  /** Answers one request. Pass it to a server, or mount it in any router. */
  readonly fetch: (request: Request, ...platform: unknown[]) => Promise<Response>;
}

/** The body of an answer. */
interface Answer {
  readonly status: "ok" | "unavailable";
  readonly reason?: string;
}

const OK: Answer = { status: "ok" };

/**
 * Returns routes for load balancers and orchestrators, which need no authentication:
 *
 * - `GET /healthz`: 200 while the process answers. It does not look at the storage: no restart mends that.
 * - `GET /readyz`: 200 if the app takes events; 503 with a `reason` if it has not started, is closing, or its storage fails or does
 *   not answer within 2 seconds. It reads one entry, at most once in 5 seconds.
 *
 * Late work, parked portals and full outboxes do not count: if all instances left the balancer because of them, Bitrix24's events
 * would be lost, which it sends once. They are figures of `app.admin.health()`.
 *
 * Answers are JSON and are not to be cached. HEAD is answered as GET is, without a body, and other methods are answered 405.
 *
 * @throws {TypeError} if `app` is not an app, or an option is unknown or invalid
 *
 * @example
 * ```ts
 * import { createApp, memoryStorage } from "@b24/onappupdate";
 * import { applicationToken } from "@b24/onappupdate/application-token";
 * import { health } from "@b24/onappupdate/health";
 * import assert from "node:assert/strict";
 *
 * const app = createApp({ storage: memoryStorage(), clientId: "app.5f3a" }).use(applicationToken());
 * const { fetch } = health(app, { next: app.fetch });
 *
 * const unready = await fetch(new Request("http://localhost/readyz"));
 * assert.equal(unready.status, 503);
 * assert.deepEqual(await unready.json(), { status: "unavailable", reason: "not_started" });
 *
 * await app.start();
 * assert.equal((await fetch(new Request("http://localhost/readyz"))).status, 200);
 * await app.close();
 * ```
 */
export function health(app: Pick<App, "readiness">, options: HealthOptions = {}): Health {
  checkOptions("cannot serve the health of an app", { app }, APP_RULES);
  checkOptions("cannot serve the health of an app", options, OPTION_RULES);
  const { base = "", next = (request) => refuse(request, 404) } = options;

  const routes: ReadonlyMap<string, () => Promise<Answer>> = new Map([
    [`${base}/healthz`, () => Promise.resolve(OK)],
    [`${base}/readyz`, async () => {
      const readiness = await app.readiness();
      return readiness.isReady ? OK : { status: "unavailable", reason: readiness.reason };
    }],
  ]);

  return {
    fetch: async (request, ...platform) => {
      checkOptions("cannot answer", { request }, REQUEST_RULES);
      // `Deno.serve` passes on a Host header that no URL can have.
      const route = URL.canParse(request.url) ? routes.get(new URL(request.url).pathname) : undefined;
      if (route === undefined) return await next(request, ...platform);
      const { method } = request;
      if (method !== "GET" && method !== "HEAD") return refuse(request, 405, { allow: "GET, HEAD" });
      const answer = await route();
      return new Response(method === "HEAD" ? null : JSON.stringify(answer), {
        status: answer.status === "ok" ? 200 : 503,
        headers: { "content-type": "application/json", ...NOT_CACHED },
      });
    },
  };
}

const NOT_CACHED = { "cache-control": "no-store" };

function refuse(request: Request, status: 404 | 405, headers: Readonly<Record<string, string>> = {}): Response {
  // A server would wait for a body that nobody reads.
  request.body?.cancel().catch(() => {});
  return new Response(null, { status, headers: { ...NOT_CACHED, ...headers } });
}
