/** Runs a route for an operator who is known: the part of a request that does not depend on how it came. */
import { type Logger, redact } from "../../mod.ts";
import { ApiError } from "./api_error.ts";
import { findPortal } from "./find_portal.ts";
import type { InputLine } from "./lines.ts";
import { REASON } from "./parameters.ts";
import { createRateLimit } from "./rate_limit.ts";
import { createRefusals, type Refusals } from "./refusals.ts";
import type { Operator, OperatorApp } from "./route.ts";
import type { Match } from "./router.ts";
import { issuesOf, pick } from "./schema.ts";

/** Parts of {@linkcode createRouteRunner}. */
export interface RouteRunnerParts {
  /** Name in log messages. */
  readonly name: "operator API" | "console";
  readonly app: OperatorApp;
  readonly logger: Logger;
  readonly clock: () => number;
}

/** A call of a route. The functions throw {@linkcode ApiError} if what was sent is invalid. */
export interface RouteCall {
  readonly match: Match;
  readonly operator: Operator;
  /** For people: who or what has the role, such as `token "ada"`. */
  readonly holder: string;
  /** Returns the parameters, checked by the schema of the route. */
  readonly readQuery: () => Readonly<Record<string, unknown>>;
  /** Returns the body, checked by the schema of the route. */
  readonly readBody: () => Promise<Readonly<Record<string, unknown>>>;
  /** Returns the lines of the body. Called if the route takes lines. */
  readonly readLines: () => AsyncIterable<InputLine>;
  /** The reason that came outside of the body, unchecked. */
  readonly reason: string | null;
  readonly signal: AbortSignal;
}

/** Runs routes. */
export interface RouteRunner {
  /**
   * Returns the answer: a `Response` if it is a stream, else a value with the members that its schema has and no others.
   *
   * @throws {ApiError} if the call is refused; attempts without the role are recorded
   * @throws what the route throws: `refusalOf` knows what it means
   */
  readonly run: (call: RouteCall) => Promise<unknown>;
  /** Sets the app up. @throws {ApiError} 503, if that fails */
  readonly setUp: () => Promise<void>;
  readonly refusals: Refusals;
  /** Logs a failure of this program or of the vendor's code, and returns what it is answered with. */
  readonly failed: (thrown: unknown) => ApiError;
}

/** Returns the function that runs routes. */
export function createRouteRunner(parts: RouteRunnerParts): RouteRunner {
  const { name, app, logger } = parts;
  const refusals = createRefusals(parts);
  const limitRate = createRateLimit(parts);
  const failed = (thrown: unknown): ApiError => failure(thrown, { name, logger });
  const run: RouteRunner["run"] = async (call) => {
    const { match: { route, portal, id = "", target = "" }, operator } = call;
    await setUp(parts);
    if (route.role === "operate" && operator.role !== "operate") return await refuse(app, refusals, call);
    const query = call.readQuery() as { readonly reason?: string };
    const lines = route.lines === undefined ? NO_LINES : call.readLines();
    const { reason = query.reason, ...body } = await bodyOf(call);
    const memberId = portal === undefined ? "" : await findPortal(app, portal);
    limitRate(route, operator, call.holder);
    const result = await route.run({
      ...{ app, admin: app.admin, memberId, id, target, query, body, lines, operator },
      get signal() {
        return call.signal;
      },
      reportFailure: (thrown) => void failed(thrown),
      attribution: { by: operator.name, reason: reason ?? `${route.method} ${route.path}` },
    });
    return "stream" in route.answer ? result : pick(route.answer, result);
  };
  return { run, setUp: () => setUp(parts), refusals, failed };
}

const NO_LINES: AsyncIterable<InputLine> = { [Symbol.asyncIterator]: () => ({ next: () => DONE }) };
const DONE = Promise.resolve({ done: true, value: undefined } as const);

/** Returns the body of a route that takes one. */
async function bodyOf({ match: { route }, readBody }: RouteCall): Promise<{ readonly reason?: string }> {
  return route.method !== "POST" || route.lines !== undefined ? {} : await readBody();
}

/** @throws {ApiError} 403, after the attempt was recorded */
async function refuse(app: OperatorApp, refusals: Refusals, call: RouteCall): Promise<never> {
  const { match: { route, portal, id, target }, operator, holder } = call;
  const message = `the role of ${holder} is "${operator.role}", wanted "${route.role}"`;
  // Neither may keep the attempt out of the audit log.
  const body = await bodyOf(call).catch((): { reason?: string } => ({}));
  const memberId = portal === undefined ? undefined : await findPortal(app, portal).catch(() => undefined);
  const { reason = validReason(call.reason) ?? "no valid reason was given", ...fields } = body;
  await refusals.forbidden({
    ...{ operator, route, reason, refusal: message },
    ...(memberId !== undefined && { memberId }),
    details: {
      ...fields,
      ...(id !== undefined && { id: id.slice(0, 200) }),
      ...(target !== undefined && { target: target.slice(0, 100) }),
      ...(portal !== undefined && memberId === undefined && { portal: portal.slice(0, 253) }),
    },
  });
  throw new ApiError(403, { code: "forbidden", message });
}

function validReason(reason: string | null): string | undefined {
  return reason !== null && issuesOf(REASON, reason, "reason").length === 0 ? reason : undefined;
}

/** Plugins may be needed for what a route does. On an app that is started, this is done. */
async function setUp({ name, app, logger }: RouteRunnerParts): Promise<void> {
  try {
    await app.setUp();
  } catch (thrown) {
    logger.error(`${name} cannot set the app up`, { event: "operator.set_up_failed", err: loggable(thrown) });
    const message = "the app cannot be set up: its log has the reason";
    throw new ApiError(503, { code: "not_set_up", message });
  }
}

/** Returns the answer to a failure of this program or of the vendor's code, whose message may have anything in it. */
function failure(thrown: unknown, { name, logger }: Pick<RouteRunnerParts, "name" | "logger">): ApiError {
  logger.error(`${name} failed to answer a request`, { event: "operator.failed", err: loggable(thrown) });
  const message =
    "the request has failed: the log of the app has the error, and so has the audit log if it was an action";
  return new ApiError(500, { code: "failed", message });
}

function loggable(thrown: unknown): { readonly name: string; readonly message: string } {
  const { name, message } = thrown instanceof Error
    ? thrown
    : { name: "Error", message: "a value that is not an error" };
  // Errors of the vendor's code may quote a token that has no name there.
  return { name, message: redact(message).replaceAll(/[\da-f]{32,}/gi, "[redacted]") };
}
