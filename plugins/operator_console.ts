/**
 * A console for operators, in a browser: portals, rollouts and the audit log at a glance, and the actions of `app.admin`.
 *
 * @module
 */
import { type App, checkOptions, consoleLogger, type Logger, option, type OptionRules } from "../mod.ts";
import { ROUTES } from "./operator_api/routes.ts";
import type { OperatorRole } from "./operator_api/guard.ts";
import type { ConsoleUser, SignOn } from "./operator_console/guard.ts";
import { createHandler } from "./operator_console/handler.ts";
import { PAGES } from "./operator_console/pages.ts";

export type { ConsoleUser, OperatorRole, SignOn };

/** Options of {@linkcode operatorConsole}. */
export interface OperatorConsoleOptions {
  /** The app. It may be started, or only set up: the console sets it up if need be, and never starts it. */
  readonly app: Pick<App, "admin" | "check" | "plan" | "portal" | "rehearse" | "setUp">;
  /** Who may open the console: your own single sign-on. */
  readonly guard: SignOn;
  /**
   * The origin by which browsers reach the console, such as `"https://ops.example.com"`. Behind a proxy this is not the address
   * of the requests that arrive, and what the proxy says about it could come from anybody. `http` is accepted for this machine:
   * `localhost`, `127.0.0.1` and `[::1]`.
   */
  readonly origin: string;
  /**
   * Path under which the console is mounted, such as `"/ops"`. Begins with a slash and has none at its end. Pass it also if a
   * framework removes it from the address of requests, because links contain it.
   *
   * @default "" for the root of the origin
   */
  readonly base?: string;
  /**
   * The logger of failures and refused requests. Actions are logged by the app.
   *
   * @default consoleLogger()
   */
  readonly logger?: Logger;
  /**
   * Returns the time, in milliseconds since 1970. For tests.
   *
   * @default Date.now
   */
  readonly clock?: () => number;
}

const isFunction = (value: unknown): boolean => typeof value === "function";

/** First parts of the paths of the console. */
const OWN_PATHS: ReadonlySet<string> = new Set(
  [...PAGES.map(({ path }) => path), "/language"].map((path) => path.split("/")[1]!).filter((part) => part !== ""),
);

function isBase(base: unknown): boolean {
  return typeof base === "string" && /^(\/[\w.~-]+)*$/.test(base) && !OWN_PATHS.has(base.split("/")[1] ?? "");
}

function isOrigin(origin: unknown): boolean {
  if (typeof origin !== "string" || !URL.canParse(origin)) return false;
  const url = new URL(origin);
  const isLocal = /^(localhost|127\.0\.0\.1|\[::1\])$/.test(url.hostname);
  return url.origin === origin && (url.protocol === "https:" || url.protocol === "http:" && isLocal);
}

const OPTION_RULES: OptionRules<OperatorConsoleOptions> = {
  app: option.required(option.value("an app of createApp()", (app) => {
    const { admin, check, plan, portal, rehearse, setUp } = Object(app) as Partial<App>;
    return typeof admin === "object" && [check, plan, portal, rehearse, setUp].every(isFunction);
  })),
  guard: option.required(option.function("a function that returns who has sent a request")),
  origin: option.required(option.value(
    'an origin such as "https://ops.example.com", without a path; http only for this machine',
    isOrigin,
  )),
  base: option.value('a path such as "/ops", without a slash at its end, and none of the console itself', isBase),
  logger: option.value("a logger with debug, info, warn and error", (logger) => {
    const { debug, info, warn, error } = Object(logger) as Partial<Logger>;
    return [debug, info, warn, error].every(isFunction);
  }),
  clock: option.function(),
};

/** A console. */
export interface OperatorConsole {
  /**
   * Answers one request. Never rejects. Pass it to a server, or mount it in any router. `platform` is what the server passes
   * besides the request.
   */
  readonly fetch: (request: Request, ...platform: unknown[]) => Promise<Response>;
}

/**
 * Returns a console for operators: pages that are rendered on the server, over the calls of the operator API.
 *
 * Pages contain no tokens, bodies of events, results of steps, or digests of application tokens. They load nothing from other
 * hosts, and work without JavaScript.
 *
 * @throws {TypeError} if an option is unknown or invalid, or there is no guard
 *
 * @example
 * ```ts
 * import { createApp, memoryStorage } from "@b24/onappupdate";
 * import { applicationToken } from "@b24/onappupdate/application-token";
 * import { operatorConsole } from "@b24/onappupdate/operator-console";
 * import assert from "node:assert/strict";
 *
 * const app = createApp({ storage: memoryStorage(), clientId: "app.5f3a" }).use(applicationToken());
 * const { fetch } = operatorConsole({
 *   app,
 *   origin: "https://ops.example.com",
 *   guard: (request) => request.headers.get("x-sign-on") === "ada" ? { name: "ada", role: "read" } : undefined,
 * });
 * const page = await fetch(new Request("https://ops.example.com/", { headers: { "x-sign-on": "ada" } }));
 * assert.match(await page.text(), /Overview/);
 * await app.close();
 * ```
 */
export function operatorConsole(options: OperatorConsoleOptions): OperatorConsole {
  checkOptions("cannot serve the console", options, OPTION_RULES);
  const { app, guard, origin, base = "", logger = consoleLogger(), clock = Date.now } = options;
  const parts = { app, signOn: guard, routes: ROUTES, pages: PAGES, base, origin, logger, clock };
  return { fetch: createHandler(parts) };
}
