/** Answers the requests of the operator API. */
import type { Logger } from "../../mod.ts";
import { ApiError, refusalOf } from "./api_error.ts";
import { createGuard, type OperatorToken } from "./guard.ts";
import { readLines } from "./lines.ts";
import { readJson, readQuery } from "./request.ts";
import type { OperatorApp, Route } from "./route.ts";
import { createRouter, type Match } from "./router.ts";
import { createRouteRunner, type RouteRunner } from "./run_route.ts";

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
  const { tokens, routes, prefix, bodyBytes } = parts;
  const authorize = createGuard(tokens);
  const find = createRouter(routes, prefix);
  const runner = createRouteRunner({ ...parts, name: "operator API" });
  return async (request) => {
    try {
      const token = await authorize(request);
      const url = addressOf(request);
      return await answer(runner, { request, url, token, match: find(request, url) }, bodyBytes);
    } catch (thrown) {
      // Nobody reads the answer to a client that went away, which is no failure.
      const refusal = refusalOf(thrown) ?? (isGone(request, thrown) ? GONE : runner.failed(thrown));
      if (refusal.status === 401) runner.refusals.unauthorized();
      return json(refusal.status, { error: refusal.body }, refusal.headers);
    } finally {
      discard(request);
    }
  };
}

/** Returns the address of a request. `Deno.serve` passes on a Host header that no URL can have. */
function addressOf({ url }: Request): URL {
  if (URL.canParse(url)) return new URL(url);
  throw new ApiError(400, {
    code: "invalid",
    message: "the address of the request is no URL, wanted a valid Host header",
  });
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
  { run }: RouteRunner,
  { request, url, token, match }: Authorized,
  bodyBytes: number,
): Promise<Response> {
  const { route } = match;
  const result = await run({
    ...{ match, operator: token, holder: `token ${JSON.stringify(token.name)}` },
    readQuery: () => readQuery(url, route.query),
    readBody: async () => await readJson(request, route.body, bodyBytes) as Readonly<Record<string, unknown>>,
    readLines: () => readLines(request, route.lines!, bodyBytes),
    reason: url.searchParams.get("reason"),
    // Deno prints a warning if it is read, so only routes that need it do.
    get signal() {
      return request.signal;
    },
  });
  return result instanceof Response ? withHeaders(result) : json(route.status ?? 200, result);
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
