/** Answers with documents. */
import type { Operator } from "../operator_api/route.ts";
import { HEADERS } from "./assets/policy.ts";
import { frameContext } from "./context.ts";
import type { Cookies } from "./cookies.ts";
import { takeFlash } from "./flash.ts";
import { frame, type FrameContext, type FrameParts, type NavEntry } from "./frame.ts";
import { type Html, markup } from "./html.ts";
import type { PageContext } from "./page.ts";
import type { Visit } from "./visit.ts";

/** A document to answer with. */
export interface View extends Pick<FrameParts, "title" | "content" | "notices" | "live"> {
  /** `@default 200` */
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Answers with documents. */
export interface Views {
  /** Returns the context of a page for a signed-in operator. */
  readonly contextOf: (visit: Visit, path: Readonly<Record<string, string>>, operator: Operator) => PageContext;
  /** Returns the context of a document for nobody in particular. */
  readonly bareContextOf: (visit: Visit) => FrameContext;
  /** Answers with a document. It shows, once, what the last action has reported. */
  readonly answer: (visit: Visit, ctx: FrameContext, view: View) => Promise<Response>;
  /** Answers 303: the browser opens a path of the console. `headers` may have a cookie. */
  readonly redirect: (path: string, headers?: Readonly<Record<string, string>>) => Response;
}

/** Parts of {@linkcode createViews}. */
export interface ViewsParts {
  readonly nav: readonly NavEntry[];
  readonly base: string;
  readonly clock: () => number;
  readonly cookies: Cookies;
  readonly canLogOut: boolean;
}

/** Returns the functions that answer with documents. */
export function createViews({ nav, base, clock, cookies, canLogOut }: ViewsParts): Views {
  const bare = ({ language, here, query }: Visit, path: Readonly<Record<string, string>>): FrameContext =>
    frameContext({ base, language, here, params: { path, query }, now: clock() });
  return {
    contextOf: (visit, path, operator) => ({
      ...bare(visit, path),
      ...{ operator, canOperate: operator.role === "operate" },
    }),
    bareContextOf: (visit) => bare(visit, {}),
    answer: async (visit, ctx, { status = 200, headers = {}, notices = [], ...view }) => {
      const taken = takeFlash(visit.request, cookies);
      const flash = taken && markup`
        <div class="notice notice-done" role="status">
          <p>${ctx.t(taken.key, taken.values)}</p>
        </div>
      `;
      const shownNav = ctx.operator === undefined ? [] : nav;
      const document = frame(ctx, { ...view, flash, notices, nav: shownNav, canLogOut });
      return await respond(visit, status, document, {
        ...(taken !== undefined && { "set-cookie": cookies.clear("flash") }),
        ...headers,
      });
    },
    redirect: (path, headers = {}) =>
      new Response(null, { status: 303, headers: { ...HEADERS, location: base + path, ...headers } }),
  };
}

/** Marks that change the direction of text: customers and errors choose texts, and must not turn what stands around them. */
const DIRECTION = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

async function respond(
  { request: { method } }: Visit,
  status: number,
  document: Html,
  headers: Readonly<Record<string, string>>,
): Promise<Response> {
  const text = String(await document).replaceAll(DIRECTION, " ");
  return new Response(method === "HEAD" ? null : text, {
    status,
    headers: { ...HEADERS, "content-type": "text/html; charset=utf-8", ...headers },
  });
}
