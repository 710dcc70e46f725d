/**
 * An HTTP API for operators: all of `app.admin` as JSON, for command lines, consoles and scripts that cannot load the app.
 *
 * @module
 */
import { type App, checkOptions, consoleLogger, type Logger, option, type OptionRules } from "../mod.ts";
import { checkTokens, type OperatorRole, type OperatorToken, TOKENS_RULE } from "./operator_api/guard.ts";
import { createHandler } from "./operator_api/handler.ts";
import { ROUTES } from "./operator_api/routes.ts";

export type { OperatorRole, OperatorToken };

/** Options of {@linkcode operatorApi}. */
export interface OperatorApiOptions {
  /** The app. It may be started, or only set up: the API sets it up if need be, and never starts it. */
  readonly app: Pick<App, "admin" | "check" | "plan" | "portal" | "rehearse" | "setUp">;
  /**
   * The tokens that may call the API. At least one; each with a name and a digest of its own. Keep them out of the code: a
   * digest is useless to a thief of 32 random bytes, but not of a password.
   */
  readonly tokens: readonly OperatorToken[];
  /**
   * Path under which the API is mounted, such as `"/ops"` for `/ops/api/v1/portals`. Begins with a slash and has none at its
   * end. A framework that removes the path from the URL needs no base.
   *
   * @default "" for `/api/v1/portals`
   */
  readonly base?: string;
  /**
   * Maximum size of a body in bytes; a larger one is answered 413. Minimum: 1024. Maximum: 1048576.
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

const isFunction = (value: unknown): boolean => typeof value === "function";

const OPTION_RULES: OptionRules<OperatorApiOptions> = {
  app: option.required(option.value("an app of createApp()", (app) => {
    const { admin, check, plan, portal, rehearse, setUp } = Object(app) as Partial<App>;
    return typeof admin === "object" && [check, plan, portal, rehearse, setUp].every(isFunction);
  })),
  tokens: TOKENS_RULE,
  base: option.value(
    'a path such as "/ops", without a slash at its end',
    (base) => typeof base === "string" && /^(\/[\w.~-]+)*$/.test(base),
  ),
  bodyBytes: option.number({ min: 1024, max: 2 ** 20, isWhole: true }),
  logger: option.value("a logger with debug, info, warn and error", (logger) => {
    const { debug, info, warn, error } = Object(logger) as Partial<Logger>;
    return [debug, info, warn, error].every(isFunction);
  }),
  clock: option.function(),
};

/** An operator API. */
export interface OperatorApi {
  /** Answers one request. Never rejects. Pass it to a server, or mount it in any router. */
  readonly fetch: (request: Request) => Promise<Response>;
}

/** Path of the API below `base`. */
const PREFIX = "/api/v1";

/**
 * Returns an HTTP API of `app.admin`: JSON under `/api/v1/`, described in `docs/operator-api.json`.
 *
 * Each request needs `authorization: Bearer TOKEN`. The audit log names the token as the one who acts. There are no cookies and
 * no CORS headers, so that no page of a browser can call it. Serve it over https, and not to the whole world if you can avoid
 * it: a token with the role `operate` can erase portals.
 *
 * Answers contain no tokens, bodies of events, results of steps, or digests of application tokens.
 *
 * @throws {TypeError} if an option is unknown or invalid, `tokens` is empty, two tokens have one name or one digest, or a digest
 * is not a SHA-256 in hexadecimal or that of an empty string
 *
 * @example
 * ```ts
 * import { createApp, digestToken, memoryStorage, Secret } from "@b24/onappupdate";
 * import { applicationToken } from "@b24/onappupdate/application-token";
 * import { operatorApi } from "@b24/onappupdate/operator";
 * import assert from "node:assert/strict";
 * import { randomBytes } from "node:crypto";
 *
 * const app = createApp({ storage: memoryStorage(), clientId: "app.5f3a" }).use(applicationToken());
 * // For once: keep the token in a secret store, and only its digest in the configuration of the server.
 * const token = randomBytes(32).toString("hex");
 * const sha256 = await digestToken(new Secret(token));
 * const api = operatorApi({ app, tokens: [{ name: "ada", sha256, role: "read" }] });
 *
 * const response = await api.fetch(
 *   new Request("https://ops.example/api/v1/counts", { headers: { authorization: `Bearer ${token}` } }),
 * );
 * assert.deepEqual(await response.json(), { items: [] });
 * await app.close();
 * ```
 */
export function operatorApi(options: OperatorApiOptions): OperatorApi {
  checkOptions("cannot serve the operator API", options, OPTION_RULES);
  const { app, tokens, base = "", bodyBytes = 65_536, logger = consoleLogger(), clock = Date.now } = options;
  checkTokens("cannot serve the operator API", tokens);
  return { fetch: createHandler({ app, tokens, routes: ROUTES, prefix: base + PREFIX, bodyBytes, logger, clock }) };
}
