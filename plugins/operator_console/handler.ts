/** Answers the requests of the console. */
import type { Logger } from "../../mod.ts";
import { ApiError, refusalOf } from "../operator_api/api_error.ts";
import type { Operator, OperatorApp, Route } from "../operator_api/route.ts";
import { createRouteRunner, type RouteRunner } from "../operator_api/run_route.ts";
import { ACT_PATH, type Acting, createActing } from "./acting.ts";
import { HEADERS } from "./assets/policy.ts";
import { type Call, createCalls } from "./calls.ts";
import type { Cookies } from "./cookies.ts";
import { pathIn, readForm } from "./form.ts";
import type { Guard } from "./guard.ts";
import { markup } from "./html.ts";
import { createLive, type Live } from "./live.ts";
import type { AnyPage } from "./page.ts";
import { createPages, type Pages } from "./show_page.ts";
import { assertOwnLink, assertSameOrigin } from "./same_origin.ts";
import { isTextKey, LANGUAGES, type TextKey } from "./texts.ts";
import type { Views } from "./views.ts";
import { type Visit, visitOf } from "./visit.ts";

/** Parts of {@linkcode createHandler}. */
export interface HandlerParts {
  readonly app: OperatorApp;
  readonly guard: Guard;
  readonly routes: readonly Route[];
  readonly pages: readonly AnyPage[];
  readonly views: Views;
  readonly cookies: Cookies;
  readonly base: string;
  readonly origin: string;
  readonly formBytes: number;
  readonly logger: Logger;
  readonly clock: () => number;
}

/** Answers requests. */
export interface Handler {
  /** Answers one request. Never rejects. */
  readonly fetch: (request: Request, ...platform: unknown[]) => Promise<Response>;
  /** Ends the streams of open pages, which would keep a server from stopping. */
  readonly close: () => void;
}

/** Paths of the console that are no pages. */
export const OWN_PATHS: readonly string[] = ["/language", "/login", "/logout", ACT_PATH, "/live", "/export"];

const YEAR_S = 365 * 86_400;

/** The operator that reads the storage for all open pages. */
const READER: Operator = { name: "console", role: "read" };

interface Inner extends HandlerParts {
  readonly runner: RouteRunner;
  readonly callsOf: (operator: Operator, signal: () => AbortSignal) => Call;
  readonly pagesOf: Pages;
  readonly acting: Acting;
  readonly live: Live;
}

/** Returns what answers requests. */
export function createHandler(parts: HandlerParts): Handler {
  const { base, cookies, clock } = parts;
  const runner = createRouteRunner({ ...parts, name: "console" });
  const callsOf = createCalls({ routes: parts.routes, runner });
  const read = callsOf(READER, () => new AbortController().signal);
  const live = createLive({
    counts: async () => (await read("countPortals")).items,
    portal: async (portal) => await read("getPortal", { portal }),
    onError: (thrown) => void (refusalOf(thrown) ?? runner.failed(thrown)),
    clock,
  });
  const inner: Inner = { ...parts, runner, callsOf, live, pagesOf: createPages(parts), acting: createActing(parts) };
  return {
    close: live.close,
    fetch: async (request, ...platform) => {
      const visit = visitOf(request, platform, base, cookies);
      const known: { operator?: Operator } = {};
      try {
        return await answer(inner, visit, known);
      } catch (thrown) {
        const refusal = refusalOf(thrown) ?? (isGone(request, thrown) ? GONE : runner.failed(thrown));
        return await refuse(inner, visit, known.operator, refusal);
      } finally {
        discard(request);
      }
    },
  };
}

const GONE = new ApiError(500, { code: "failed", message: "the client went away" });

function isGone({ signal }: Request, thrown: unknown): boolean {
  return signal.aborted && thrown === signal.reason;
}

/** `known.operator` is set as soon as it is known who has sent the request: errors are then shown within the console. */
async function answer(inner: Inner, visit: Visit, known: { operator?: Operator }): Promise<Response> {
  const { guard, origin, runner, callsOf, acting, pagesOf } = inner;
  const { request, path } = visit;
  assertSameOrigin(request, origin);
  if (path === "/language" && request.method === "POST") return await setLanguage(inner, visit);
  // Sessions are in its storage.
  await runner.setUp();
  const own = await guard.answer(visit);
  if (own !== undefined) return own;
  const visitor = await guard.identify(visit, !isOfOpenPage(visit));
  if (visitor === undefined) {
    if (request.method === "POST" || path === "/live") throw new ApiError(403, { code: "signed_out", message: "" });
    return await guard.signIn(visit);
  }
  const { operator, isLastKnown } = visitor;
  known.operator = operator;
  const call = callsOf(operator, () => request.signal);
  if (isLastKnown) return await pagesOf.showLastKnown(visit, operator);
  if (request.method === "GET") {
    if (path === "/live") return await watch(inner, visit, operator, call);
    if (path.startsWith("/export/")) {
      assertOwnLink(request);
      return await exported(visit, call);
    }
  }
  return await acting.answer(visit, operator, call) ?? await pagesOf.show(visit, operator, call);
}

/** Returns whether a page that was left open has sent a request by itself. Browsers open a stream again without its headers. */
function isOfOpenPage({ path, request: { headers } }: Visit): boolean {
  return path === "/live" || headers.get("x-console-live") !== null;
}

async function setLanguage({ views, cookies, formBytes }: Inner, { request }: Visit): Promise<Response> {
  const form = await readForm(request, formBytes);
  const language = form.get("language") ?? "";
  const isKnown = Object.hasOwn(LANGUAGES, language);
  return views.redirect(
    pathIn(form.get("back")),
    isKnown ? { "set-cookie": cookies.set("language", language, YEAR_S) } : {},
  );
}

/** Opens the stream of a page. */
async function watch({ guard, live }: Inner, visit: Visit, operator: Operator, call: Call): Promise<Response> {
  const { portal } = visit.query;
  const stored = portal === undefined ? undefined : await call("getPortal", { portal });
  return live.open({
    operator,
    ...(stored !== undefined && { memberId: stored.memberId }),
    isSignedIn: async () => {
      const visitor = await guard.identify(visit, false);
      return visitor?.operator.name === operator.name && visitor.operator.role === operator.role;
    },
  });
}

const EXPORTS = { "/export/portals": "exportPortals", "/export/audit": "exportAudit" } as const;

/** Returns an export of the operator API, which is in the audit log. */
async function exported({ path, query }: Visit, call: Call): Promise<Response> {
  const id = Object.hasOwn(EXPORTS, path) ? EXPORTS[path as keyof typeof EXPORTS] : undefined;
  if (id === undefined) throw new ApiError(404, { code: "unknown_page", message: "" });
  const response = await call(id, { query });
  for (const [name, value] of Object.entries(HEADERS)) response.headers.set(name, value);
  return response;
}

/** Strings of errors whose message is for programs. */
const OWN_ERRORS: Readonly<Record<string, TextKey>> = {
  sign_on: "error.403.signOn",
  foreign_origin: "error.403.origin",
  signed_out: "acting.signedOut",
  not_set_up: "error.not_set_up.text",
};

/** Answers with the page of an error. */
async function refuse(inner: Inner, visit: Visit, operator: Operator | undefined, error: ApiError): Promise<Response> {
  const { views, origin, logger } = inner;
  const { status, body: { code, message }, headers } = error;
  if (status === 403) logger.warn("console refused a request", { event: "console.forbidden", code });
  const here = visit.request.method === "POST" ? { ...visit, here: "/" } : visit;
  const ctx = operator === undefined ? views.bareContextOf(here) : views.contextOf(here, {}, operator);
  const { t } = ctx;
  const key = code === "not_set_up" ? `error.${code}` : `error.${status}`;
  const text = OWN_ERRORS[code] === undefined ? message : t(OWN_ERRORS[code], { origin });
  const notices = text === "" ? [] : [markup`
    <div class="notice notice-bad" role="alert">
      <p>${text}</p>
    </div>
  `];
  return await views.answer(visit, ctx, {
    ...{ title: t(isTextKey(key) ? key : "error.500"), status, headers, notices },
    content: markup`<p><a href="${ctx.href("/")}">${t("error.back")}</a></p>`,
  });
}

/** Frees the connection of a body that was not read. */
function discard({ body, bodyUsed }: Request): void {
  if (body !== null && !bodyUsed) body.cancel().catch(() => {});
}
