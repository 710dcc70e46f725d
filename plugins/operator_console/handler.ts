/** Answers the requests of the console. */
import type { Logger } from "../../mod.ts";
import { ApiError, refusalOf } from "../operator_api/api_error.ts";
import type { Operator, OperatorApp, Route } from "../operator_api/route.ts";
import { createRouteRunner, type RouteRunner } from "../operator_api/run_route.ts";
import { HEADERS } from "./assets/policy.ts";
import { createCalls } from "./calls.ts";
import { type ContextParts, frameContext, pageContext } from "./context.ts";
import { type Cookies, createCookies } from "./cookies.ts";
import { pathIn, readForm } from "./form.ts";
import { frame, type NavEntry } from "./frame.ts";
import { operatorOf, type SignOn } from "./guard.ts";
import { type Html, html } from "./html.ts";
import type { AnyPage } from "./page.ts";
import { assertSameOrigin } from "./same_origin.ts";
import { languageOf, LANGUAGES, type TextKey } from "./texts.ts";
import { pathBelow, type Visit } from "./visit.ts";

/** Parts of {@linkcode createHandler}. */
export interface HandlerParts {
  readonly app: OperatorApp;
  readonly signOn: SignOn;
  readonly routes: readonly Route[];
  readonly pages: readonly AnyPage[];
  readonly base: string;
  readonly origin: string;
  readonly logger: Logger;
  readonly clock: () => number;
}

/** Answers one request. Never rejects. */
export type Handler = (request: Request, ...platform: unknown[]) => Promise<Response>;

/** Maximum size of a form in bytes. */
const FORM_BYTES = 65_536;
const YEAR_S = 365 * 86_400;

/** Returns the function that answers requests. */
export function createHandler(parts: HandlerParts): Handler {
  const { base, origin, signOn, logger } = parts;
  const cookies = createCookies(origin, base);
  const runner = createRouteRunner(parts);
  const pages = createPages(parts, runner);
  return async (request, ...platform) => {
    const visit = visitOf(request, platform, base, cookies);
    let operator: Operator | undefined;
    try {
      assertSameOrigin(request, origin);
      if (visit.path === "/language" && request.method === "POST") return await setLanguage(visit, base, cookies);
      operator = operatorOf(await signOn(request, ...platform));
      if (operator === undefined) throw new ApiError(403, { code: "sign_on", message: "" });
      return await pages.show(visit, operator);
    } catch (thrown) {
      const refusal = refusalOf(thrown) ?? runner.failed(thrown);
      if (refusal.status === 403) {
        logger.warn("console refused a request", { event: "console.forbidden", code: refusal.body.code });
      }
      return await pages.refuse(visit, operator, refusal);
    } finally {
      discard(request);
    }
  };
}

function visitOf(request: Request, platform: readonly unknown[], base: string, cookies: Cookies): Visit {
  const { pathname, searchParams } = new URL(request.url);
  const path = pathBelow(base, pathname);
  const query = Object.fromEntries([...searchParams].filter(([, value]) => value !== ""));
  const search = new URLSearchParams(query).toString();
  return {
    ...{ request, platform, path, query },
    here: `${path}${search === "" ? "" : `?${search}`}`,
    language: languageOf(cookies.get(request, "language"), request.headers.get("accept-language")),
  };
}

async function setLanguage({ request }: Visit, base: string, cookies: Cookies): Promise<Response> {
  const form = await readForm(request, FORM_BYTES);
  const language = form.get("language") ?? "";
  const headers: Record<string, string> = { location: base + pathIn(form.get("back")) };
  if (Object.hasOwn(LANGUAGES, language)) headers["set-cookie"] = cookies.set("language", language, YEAR_S);
  return new Response(null, { status: 303, headers: { ...HEADERS, ...headers } });
}

/** Answers with pages. */
interface Pages {
  readonly show: (visit: Visit, operator: Operator) => Promise<Response>;
  readonly refuse: (visit: Visit, operator: Operator | undefined, refusal: ApiError) => Promise<Response>;
}

function createPages({ pages, routes, base, origin, clock }: HandlerParts, runner: RouteRunner): Pages {
  const nav: readonly NavEntry[] = pages.flatMap(({ path, nav: text }) => text === undefined ? [] : [{ path, text }]);
  const callsOf = createCalls({ routes, runner });
  const find = createFinder(pages);
  const partsOf = ({ language, here, query }: Visit, path: Readonly<Record<string, string>>): ContextParts => ({
    ...{ base, language, here, params: { path, query }, now: clock() },
  });
  return {
    show: async (visit, operator) => {
      const { request: { signal }, query } = visit;
      const { page, path } = find(visit);
      const data = await page.load(callsOf(operator, signal), { path, query });
      const ctx = pageContext(partsOf(visit, path), operator);
      const title = page.title(data, ctx);
      return await respond(visit, 200, frame(ctx, { title, nav, content: page.render(data, ctx) }));
    },
    refuse: async (visit, operator, { status, body: { code, message }, headers }) => {
      const ctx = { ...frameContext(partsOf(visit, {})), ...(operator !== undefined && { operator }) };
      const { t } = ctx;
      const key = `error.${status}`;
      const own: Readonly<Record<string, TextKey>> = {
        ...{ sign_on: "error.403.signOn", foreign_origin: "error.403.origin" },
      };
      const details = own[code] === undefined ? message : t(own[code], { origin });
      const content = html`
        <div class="notice notice-bad" role="alert">
          <p>${details}</p>
        </div>
        ${operator === undefined ? "" : html`<p><a href="${ctx.href("/")}">${t("error.back")}</a></p>`}
      `;
      const title = t(isTitle(key) ? key : "error.500");
      return await respond(
        visit,
        status,
        frame(ctx, { title, nav: operator === undefined ? [] : nav, content }),
        headers,
      );
    },
  };
}

function isTitle(key: string): key is TextKey & `error.${number}` {
  return ["400", "403", "404", "405", "409", "413", "429", "500", "502", "503"].some((code) => key === `error.${code}`);
}

/** A page, and the parameters in the path of a request. */
interface Found {
  readonly page: AnyPage;
  readonly path: Readonly<Record<string, string>>;
}

/** Returns the function that finds the page of a request. It throws {@linkcode ApiError} 404. */
function createFinder(pages: readonly AnyPage[]): (visit: Visit) => Found {
  const compiled = pages.map((page) => ({
    page,
    pattern: new RegExp(`^${page.path.replaceAll(/\{(\w+)\}/g, "(?<$1>[^/]+)")}/?$`),
  }));
  return ({ path, request: { method } }) => {
    for (const { page, pattern } of compiled) {
      const parts = pattern.exec(path)?.groups ?? (pattern.test(path) ? {} : undefined);
      if (parts !== undefined && method !== "POST") return { page, path: decoded(parts) };
    }
    throw new ApiError(404, { code: "unknown_page", message: "" });
  };
}

function decoded(parts: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  try {
    return Object.fromEntries(Object.entries(parts).map(([name, part]) => [name, decodeURIComponent(part)]));
  } catch {
    throw new ApiError(404, { code: "unknown_page", message: "" });
  }
}

async function respond(
  { request: { method } }: Visit,
  status: number,
  document: Html,
  headers: Readonly<Record<string, string>> = {},
): Promise<Response> {
  const text = String(await document);
  return new Response(method === "HEAD" ? null : text, {
    status,
    headers: { ...HEADERS, "content-type": "text/html; charset=utf-8", ...headers },
  });
}

/** Frees the connection of a body that was not read. */
function discard({ body, bodyUsed }: Request): void {
  if (body !== null && !bodyUsed) body.cancel().catch(() => {});
}
