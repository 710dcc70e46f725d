/** Answers with the pages of the table. */
import { ApiError, refusalOf } from "../operator_api/api_error.ts";
import type { Operator } from "../operator_api/route.ts";
import type { Call } from "./calls.ts";
import { markup } from "./html.ts";
import { createLastKnown, type LastKnown } from "./last_known.ts";
import type { AnyPage } from "./page.ts";
import type { Views } from "./views.ts";
import type { Visit } from "./visit.ts";

/** Answers with pages. */
export interface Pages {
  /** Answers with a page: while the storage does not answer, with 503 and what was last known, if anything was. */
  readonly show: (visit: Visit, operator: Operator, call: Call) => Promise<Response>;
  /** Answers with what was last known, without a look at the storage. */
  readonly showLastKnown: (visit: Visit, operator: Operator) => Promise<Response>;
}

/** Parts of {@linkcode createPages}. */
export interface PagesParts {
  readonly pages: readonly AnyPage[];
  readonly views: Views;
  readonly clock: () => number;
}

const DOWN = { code: "storage", message: "the storage does not answer" } as const;

/** Returns the functions that answer with pages. */
export function createPages({ pages, views, clock }: PagesParts): Pages {
  const find = createFinder(pages);
  const lastKnown = createLastKnown();

  async function render(visit: Visit, operator: Operator, { page, path }: Found, data: unknown): Promise<Response> {
    const ctx = views.contextOf(visit, path, operator);
    const live = page.live && { ...(page.live === "portal" && { portal: path.portal }) };
    return await views.answer(visit, ctx, { title: page.title(data, ctx), content: page.render(data, ctx), live });
  }

  async function renderLastKnown(
    visit: Visit,
    operator: Operator,
    { page, path }: Found,
    known: LastKnown,
  ): Promise<Response> {
    const ctx = { ...views.contextOf(visit, path, operator), now: known.at, canOperate: false };
    const notice = markup`
      <div class="notice notice-warn" role="alert">
        <p>${ctx.t("frame.stale")} ${ctx.time(known.at)}.</p>
      </div>
    `;
    return await views.answer(visit, ctx, {
      ...{ title: page.title(known.data, ctx), content: page.render(known.data, ctx), notices: [notice] },
      ...{ status: 503, headers: { "retry-after": "5" } },
    });
  }

  return {
    show: async (visit, operator, call) => {
      const found = find(visit);
      let data: unknown;
      try {
        data = await found.page.load(call, { path: found.path, query: visit.query }, clock());
      } catch (thrown) {
        const known = refusalOf(thrown)?.status === 503 ? lastKnown.find(operator, visit.here) : undefined;
        if (known === undefined) throw thrown;
        return await renderLastKnown(visit, operator, found, known);
      }
      lastKnown.keep(operator, visit.here, { data, at: clock() });
      return await render(visit, operator, found, data);
    },
    showLastKnown: async (visit, operator) => {
      const known = visit.request.method === "POST" ? undefined : lastKnown.find(operator, visit.here);
      if (known === undefined) throw new ApiError(503, DOWN, { "retry-after": "5" });
      return await renderLastKnown(visit, operator, find(visit), known);
    },
  };
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
    pattern: new RegExp(`^${page.path.replaceAll(/\{(\w+)\}/g, "(?<$1>[^/]+)")}$`),
  }));
  return ({ path, request: { method } }) => {
    for (const { page, pattern } of compiled) {
      const parts = pattern.exec(path);
      if (parts !== null && method !== "POST") return { page, path: decoded(parts.groups ?? {}) };
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
