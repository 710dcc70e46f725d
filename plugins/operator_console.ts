/**
 * A console for operators, in a browser: portals, rollouts and the audit log at a glance, and the actions of `app.admin`.
 *
 * @module
 */
import {
  type App,
  checkOptions,
  connectionAddress,
  consoleLogger,
  type Logger,
  option,
  type OptionRules,
  type Plugin,
  type Storage,
} from "../mod.ts";
import type { OperatorRole } from "./operator_api/guard.ts";
import { ROUTES } from "./operator_api/routes.ts";
import { createCookies } from "./operator_console/cookies.ts";
import { type ConsoleUser, type Guard, isName, type PasswordUser, type SignOn } from "./operator_console/guard.ts";
import { createHandler, OWN_PATHS } from "./operator_console/handler.ts";
import { PAGES } from "./operator_console/pages.ts";
import { PASSWORD_HASH } from "./operator_console/passwords.ts";
import { createSessions } from "./operator_console/sessions.ts";
import { createSignIn } from "./operator_console/sign_in.ts";
import { createSignOn } from "./operator_console/sign_on.ts";
import { createViews } from "./operator_console/views.ts";

export type { ConsoleUser, OperatorRole, PasswordUser, SignOn };

/** Users with passwords. */
export interface PasswordGuard {
  /** The users. At least one; each with a name of its own. */
  readonly users: readonly PasswordUser[];
}

/** Options of {@linkcode operatorConsole}. */
export interface OperatorConsoleOptions {
  /**
   * The app. The console adds itself to it as the plugin `console`, which keeps the sessions, so make it before the app starts. It
   * sets the app up if need be, and never starts it.
   */
  readonly app: ConsoleApp;
  /**
   * The users of the console: users with passwords, or your own single sign-on. Bearer tokens are for the operator API: they open
   * no page.
   */
  readonly guard: PasswordGuard | SignOn;
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
   * Returns the IP address of the client of a request, by which failed sign-ins are throttled. Behind a proxy, take it from a
   * header only if the proxy sets that itself: see {@linkcode connectionAddress}. Not used with a single sign-on.
   *
   * @default connectionAddress
   */
  readonly clientAddress?: (request: Request, platform: readonly unknown[]) => string | undefined;
  /**
   * Maximum size of a form in bytes; a larger one is answered 413. Minimum: 1024. Maximum: 1048576.
   *
   * @default 65536
   */
  readonly bodyBytes?: number;
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

/** The part of an app that the console uses. */
export interface ConsoleApp extends Pick<App, "admin" | "check" | "plan" | "portal" | "rehearse" | "setUp"> {
  /** Adds a plugin. */
  readonly use: (plugin: Plugin) => unknown;
}

const isFunction = (value: unknown): boolean => typeof value === "function";

/** First parts of the paths of the console. */
const OWN_PARTS: ReadonlySet<string> = new Set(
  [...PAGES.map(({ path }) => path), ...OWN_PATHS].map((path) => path.split("/")[1]!).filter((part) => part !== ""),
);

function isBase(base: unknown): boolean {
  return typeof base === "string" && /^(\/[\w.~-]+)*$/.test(base) && !OWN_PARTS.has(base.split("/")[1] ?? "");
}

function isOrigin(origin: unknown): boolean {
  if (typeof origin !== "string" || !URL.canParse(origin)) return false;
  const url = new URL(origin);
  const isLocal = /^(localhost|127\.0\.0\.1|\[::1\])$/.test(url.hostname);
  return url.origin === origin && (url.protocol === "https:" || url.protocol === "http:" && isLocal);
}

const USER_RULES: OptionRules<PasswordUser> = {
  name: option.required(option.value("1 to 100 characters without control characters, also of text direction", isName)),
  // Somebody may have put the password itself here.
  passwordHash: option.required(option.value(
    "what `onappupdate password` prints",
    (hash) => typeof hash === "string" && PASSWORD_HASH.test(hash),
    { isSecret: true },
  )),
  role: option.required(option.oneOf("read", "operate")),
};

const GUARD_RULE = option.object<PasswordGuard>({
  users: option.required(option.list("a list of users", option.object(USER_RULES))),
});

const OPTION_RULES: OptionRules<OperatorConsoleOptions> = {
  app: option.required(option.value("an app of createApp()", (app) => {
    const { admin, check, plan, portal, rehearse, setUp, use } = Object(app) as Partial<App>;
    return typeof admin === "object" && [check, plan, portal, rehearse, setUp, use].every(isFunction);
  })),
  guard: option.required((guard, path) => {
    if (typeof guard === "function") return undefined;
    const problem = GUARD_RULE(guard, path);
    return problem?.path === path ? { ...problem, wanted: "an object with users, or a function" } : problem;
  }),
  origin: option.required(option.value(
    'an origin such as "https://ops.example.com", without a path; http only for this machine',
    isOrigin,
  )),
  base: option.value('a path such as "/ops", without a slash at its end, and none of the console itself', isBase),
  clientAddress: option.function(),
  bodyBytes: option.number({ min: 1024, max: 2 ** 20, isWhole: true }),
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
 * @throws {TypeError} if an option is unknown or invalid, there is no guard, a guard has no users or two with one name, or the app
 * has started
 *
 * @example
 * ```ts
 * import { createApp, memoryStorage } from "@b24/onappupdate";
 * import { applicationToken } from "@b24/onappupdate/application-token";
 * import { operatorConsole } from "@b24/onappupdate/operator-console";
 * import assert from "node:assert/strict";
 *
 * const HASH = `$scrypt$ln=15,r=8,p=1$${"A".repeat(22)}$${"A".repeat(43)}`;
 * const app = createApp({ storage: memoryStorage(), clientId: "app.5f3a" }).use(applicationToken());
 * const { fetch } = operatorConsole({
 *   app,
 *   origin: "https://ops.example.com",
 *   // The hash is what `onappupdate password` has printed.
 *   guard: { users: [{ name: "ada", passwordHash: HASH, role: "operate" }] },
 * });
 * const page = await fetch(new Request("https://ops.example.com/portals"));
 * assert.equal(page.headers.get("location"), "/login?next=%2Fportals");
 * await app.close();
 * ```
 */
export function operatorConsole(options: OperatorConsoleOptions): OperatorConsole {
  checkOptions("cannot serve the console", options, OPTION_RULES);
  const { app, guard, origin, base = "", logger = consoleLogger(), clock = Date.now } = options;
  const { clientAddress = connectionAddress, bodyBytes: formBytes = 65_536 } = options;
  if (typeof guard !== "function") checkUsers(guard.users);
  const cookies = createCookies(origin, base);
  const nav = PAGES.flatMap(({ path, nav: text }) => text === undefined ? [] : [{ path, text }]);
  const views = createViews({ nav, base, clock, cookies, canLogOut: typeof guard !== "function" });

  let storage: Storage | undefined;
  const sessions = createSessions({ storage: () => storage!, clock });
  const checked: Guard = typeof guard === "function"
    ? createSignOn(guard)
    : createSignIn({ users: guard.users, sessions, cookies, views, clientAddress, formBytes, logger, clock });
  const handler = createHandler({
    ...{ app, guard: checked, routes: ROUTES, pages: PAGES, views, cookies, base, origin, formBytes, logger, clock },
  });
  app.use({
    name: "console",
    setup: (host) => void (storage = host.storage),
    close: handler.close,
  });
  return { fetch: handler.fetch };
}

/** @throws {TypeError} if there is no user, or two have one name */
function checkUsers(users: readonly PasswordUser[]): void {
  const refuse = (what: string, wanted: string): never => {
    throw new TypeError(`cannot serve the console with ${what}, wanted ${wanted}`);
  };
  if (users.length === 0) refuse("guard.users an empty list", "at least one user");
  for (const [i, { name }] of users.entries()) {
    if (users.findIndex((other) => other.name === name) === i) continue;
    refuse(`guard.users.${i}.name ${JSON.stringify(name)} twice`, "a name for each user");
  }
}
