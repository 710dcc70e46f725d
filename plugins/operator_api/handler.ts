/** Answers the requests of the operator API. */
import { type Logger, redact } from "../../mod.ts";
import { ApiError, refusalOf } from "./api_error.ts";
import { findPortal } from "./find_portal.ts";
import { createGuard, type OperatorToken } from "./guard.ts";
import { type InputLine, readLines } from "./lines.ts";
import { REASON } from "./parameters.ts";
import { createRefusals, type Refusals } from "./refusals.ts";
import { createRateLimit, type RateLimit } from "./rate_limit.ts";
import { readJson, readQuery } from "./request.ts";
import type { OperatorApp, Route } from "./route.ts";
import { createRouter, type Match } from "./router.ts";
import { issuesOf, pick } from "./schema.ts";

/** Parts of {@linkcode createHandler}. */
export interface HandlerParts {
  readonly app: OperatorApp;
  readonly tokens: readonly OperatorToken[];
  readonly routes: readonly Route[];
  /** Path of the API, without a slash at its end. */
  readonly prefix: string;
  readonly bodyBytes: number;
  readonly logger: Logger;
  readonly clock: () => number;
}

/** Headers of every answer. */
const HEADERS = { "cache-control": "no-store", "x-content-type-options": "nosniff" };

/** Returns the function that answers requests. It never rejects. */
export function createHandler(parts: HandlerParts): (request: Request) => Promise<Response> {
  const { tokens, routes, prefix, logger } = parts;
  const authorize = createGuard(tokens);
  const find = createRouter(routes, prefix);
  const refusals = createRefusals(parts);
  const limitRate = createRateLimit(parts);
  return async (request) => {
    try {
      const token = await authorize(request);
      const url = new URL(request.url);
      return await answer({ ...parts, refusals, limitRate }, { request, url, token, match: find(request, url) });
    } catch (thrown) {
      // Nobody reads the answer to a client that went away, which is no failure.
      const refusal = refusalOf(thrown) ?? (isGone(request, thrown) ? GONE : failed(thrown, logger));
      if (refusal.status === 401) refusals.unauthorized();
      return json(refusal.status, { error: refusal.body }, refusal.headers);
    } finally {
      discard(request);
    }
  };
}

const GONE = new ApiError(500, { code: "failed", message: "the client went away" });

function isGone({ signal }: Request, thrown: unknown): boolean {
  return signal.aborted && thrown === signal.reason;
}

/** A request whose token is known. */
interface Authorized {
  readonly request: Request;
  readonly url: URL;
  readonly token: OperatorToken;
  readonly match: Match;
}

async function answer(
  parts: HandlerParts & { readonly refusals: Refusals; readonly limitRate: RateLimit },
  { request, url, token, match }: Authorized,
): Promise<Response> {
  const { app, bodyBytes, logger, limitRate } = parts;
  const { route } = match;
  await setUp(parts);
  if (route.role === "operate" && token.role !== "operate") return await refuse(parts, { request, url, token, match });
  const query = readQuery(url, route.query) as { readonly reason?: string };
  const lines = route.lines === undefined ? NO_LINES : readLines(request, route.lines, bodyBytes);
  const { reason = query.reason, ...fields } = await readBody(request, route, bodyBytes);
  const memberId = match.portal === undefined ? "" : await findPortal(app, match.portal);
  limitRate(token, route);
  const result = await route.run({
    ...{
      app,
      admin: app.admin,
      memberId,
      id: match.id ?? "",
      target: match.target ?? "",
      query,
      body: fields,
      lines,
      token,
    },
    signal: request.signal,
    reportFailure: (thrown) => void failed(thrown, logger),
    attribution: { by: token.name, reason: reason ?? `${route.method} ${route.path}` },
  });
  if ("stream" in route.answer) return withHeaders(result as Response);
  return json(route.status ?? 200, pick(route.answer, result));
}

const NO_LINES: AsyncIterable<InputLine> = { [Symbol.asyncIterator]: () => ({ next: () => DONE }) };
const DONE = Promise.resolve({ done: true, value: undefined } as const);

/** Returns the body of a route that takes one. */
async function readBody(
  request: Request,
  { method, body, lines }: Route,
  bodyBytes: number,
): Promise<{ readonly reason?: string }> {
  if (method !== "POST" || lines !== undefined) return {};
  return await readJson(request, body, bodyBytes) as { readonly reason?: string };
}

/** @throws {ApiError} 403, after the attempt was recorded */
async function refuse(
  { app, bodyBytes, refusals }: HandlerParts & { readonly refusals: Refusals },
  { request, url, token, match: { route, portal, id, target } }: Authorized,
): Promise<never> {
  const message = `the role of token ${JSON.stringify(token.name)} is "${token.role}", wanted "${route.role}"`;
  // Neither may keep the attempt out of the audit log.
  const body = await readBody(request, route, bodyBytes).catch((): { reason?: string } => ({}));
  const memberId = portal === undefined ? undefined : await findPortal(app, portal).catch(() => undefined);
  const { reason = validReason(url) ?? "no valid reason was given", ...fields } = body;
  await refusals.forbidden({
    ...{ token, route, reason, refusal: message },
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

function validReason({ searchParams }: URL): string | undefined {
  const reason = searchParams.get("reason");
  return reason !== null && issuesOf(REASON, reason, "reason").length === 0 ? reason : undefined;
}

/** Plugins may be needed for what the API does. On an app that is started, this is done. */
async function setUp({ app, logger }: HandlerParts): Promise<void> {
  try {
    await app.setUp();
  } catch (thrown) {
    logger.error("operator API cannot set the app up", { event: "operator.set_up_failed", err: loggable(thrown) });
    const message = "the app cannot be set up: its log has the reason";
    throw new ApiError(503, { code: "not_set_up", message });
  }
}

/** Returns the answer to a failure of this program or of the vendor's code, whose message may have anything in it. */
function failed(thrown: unknown, logger: Logger): ApiError {
  logger.error("operator API failed to answer a request", { event: "operator.failed", err: loggable(thrown) });
  const message =
    "the request has failed: the log of the app has the error, and so has the audit log if it was an action";
  return new ApiError(500, { code: "failed", message });
}

function loggable(thrown: unknown): { readonly name: string; readonly message: string } {
  const { name, message } = thrown instanceof Error
    ? thrown
    : { name: "Error", message: "a value that is not an error" };
  // What the vendor's code throws may quote a token that has no name there.
  return { name, message: redact(message).replaceAll(/[\da-f]{32,}/gi, "[redacted]") };
}

function json(status: number, value: unknown, headers: Readonly<Record<string, string>> = {}): Response {
  return new Response(JSON.stringify(value), {
    status,
    headers: { ...HEADERS, "content-type": "application/json", ...headers },
  });
}

function withHeaders(response: Response): Response {
  for (const [name, value] of Object.entries(HEADERS)) response.headers.set(name, value);
  return response;
}

/** Frees the connection of a body that was not read. */
function discard(request: Request): void {
  if (request.body === null || request.bodyUsed) return;
  request.body.cancel().catch(() => {});
}
