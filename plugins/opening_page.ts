/**
 * A ready-made page for the address that Bitrix24 opens: shows the progress of installations and upgrades, and finishes
 * installations.
 *
 * @module
 */
import {
  type App,
  CannotVerifyError,
  checkOptions,
  NotAuthenticError,
  type Opening,
  type OpeningState,
  option,
  type OptionRules,
} from "../mod.ts";
import { InputError, StorageError } from "../errors.ts";
import { headersFor, textPage, waitingPage } from "./opening_page/page.ts";
import { languageOf, type Texts, textsIn } from "./opening_page/texts.ts";
import { type Leniency, type View, viewOf } from "./opening_page/view.ts";

/** Options of {@linkcode openingPage}. */
export interface OpeningPageOptions {
  /** The app whose page it is. */
  readonly app: Pick<App, "open" | "opening">;
  /**
   * Returns the app's own page. Called with a copy of the browser's request, whose body is unread, once the portal is on its
   * target and its installation is finished, and while it waits for the rollout of a new version: `opening.upgrade.state` is
   * `"held"` then. With `openWhenStuck`, also for stuck portals: `opening.upgrade` says why.
   */
  readonly page: (request: Request, opening: Opening) => Response | Promise<Response>;
  /**
   * Whether an installation whose handlers or upgrades have failed permanently is finished all the same. If not, the page
   * says so, and administrators can retry.
   *
   * @default false
   */
  readonly finishWhenParked?: boolean;
  /**
   * Whether the app's own page answers if the portal is installed, but parked or blocked; also if the installer of its new
   * version is not finished, which then stays so. If not, the page says so, and administrators can retry.
   *
   * @default false
   */
  readonly openWhenStuck?: boolean;
  /**
   * Heading of the page while it waits, such as the name of the app.
   *
   * @default "Getting ready" in the language of the user
   */
  readonly title?: string;
}

const OPTION_RULES: OptionRules<OpeningPageOptions> = {
  app: option.required(option.value("an app of createApp()", (app) => {
    const { open, opening } = Object(app) as Partial<App>;
    return typeof open === "function" && typeof opening === "function";
  })),
  page: option.required(option.function()),
  finishWhenParked: option.flag(),
  openWhenStuck: option.flag(),
  title: option.text("a heading"),
};

/** Answers one request. `platform` is what the host passes besides it, as for `app.fetch`. */
export type OpeningPage = (request: Request, ...platform: unknown[]) => Promise<Response>;

/**
 * Returns a handler for the address that Bitrix24 opens: the app's page, its installer, and its placements.
 *
 * While the installer's handlers or upgrades run, it answers a page that shows their progress. When they have succeeded,
 * that page calls `BX24.installFinish()` if the installation is not finished, and otherwise opens the app. If the portal is
 * parked or blocked, it says so, and administrators can retry; with `openWhenStuck`, `page` answers. In all other cases,
 * `page` answers.
 *
 * The waiting page asks its own address by a random ticket. It contains no token and no `member_id`, sets no cookies, and
 * loads no script of others but Bitrix24's `https://api.bitrix24.com/api/v1/`. It is in English, German or Russian.
 *
 * A request that is no opening is answered 400, one that is not authentic 403, and one that cannot be verified now 503.
 * Rejects only with errors of `page` and mistakes in the setup of the app.
 *
 * @throws {TypeError} if an option is unknown or invalid
 *
 * @example
 * ```ts
 * import { createApp, memoryStorage } from "@b24/onappupdate";
 * import { applicationToken } from "@b24/onappupdate/application-token";
 * import { openingPage } from "@b24/onappupdate/opening-page";
 * import { fakeBitrix24 } from "@b24/onappupdate/testing";
 * import assert from "node:assert/strict";
 *
 * const bitrix24 = fakeBitrix24({ clientId: "app.5f3a" });
 * const app = createApp({ storage: memoryStorage(), clientId: "app.5f3a", fetch: bitrix24.fetch })
 *   .use(applicationToken());
 * const handler = openingPage({
 *   app,
 *   title: "My app",
 *   page: (_request, { portal }) => new Response(`Hello ${portal.domain}`),
 * });
 *
 * const portal = bitrix24.portal({ memberId: "a223c6b3710f85df22e9377d6c4f7553" });
 * portal.install(2, { wizard: true });
 * assert.match(await (await handler(portal.open())).text(), /The app is being installed/);
 * portal.installFinish();
 * await app.close();
 * ```
 */
export function openingPage(options: OpeningPageOptions): OpeningPage {
  checkOptions("cannot make an opening page", options, OPTION_RULES);
  const { app, page, finishWhenParked = false, openWhenStuck = false, title } = options;
  const leniency: Leniency = { finishWhenParked, openWhenStuck };

  const show = (opening: Opening, ticket: string, view: View): Response => {
    const language = languageOf(opening.language);
    const nonce = crypto.randomUUID();
    const html = waitingPage({ language, title, nonce }, ticket, view);
    return new Response(html, { headers: headersFor(HTML, opening.frameAncestors, nonce) });
  };

  const refuse = (error: unknown, language: string | undefined): Response => {
    const refusal = refusalOf(error);
    if (refusal === undefined) throw error;
    const nonce = crypto.randomUUID();
    const parts = { language: languageOf(language), title, nonce };
    // Nobody knows whose portal it is, and the page has nothing to click on.
    const headers = headersFor(HTML, ["https:"], nonce);
    if (refusal.status === 503) headers["retry-after"] = "60";
    return new Response(textPage(parts, textsIn(parts.language)[refusal.text]), { status: refusal.status, headers });
  };

  return async (received, ...platform) => {
    if (isQuestion(received)) return await answerQuestion(app, received, leniency);
    const [request, opened] = twoOf(received);
    let opening: Opening;
    try {
      opening = await app.open(opened, ...platform);
    } catch (error) {
      discard(request);
      return refuse(error, languageIn(request));
    }
    const view = viewOf(opening, leniency);
    if (opening.ticket === undefined || (view.state === "ready" && !view.finishes)) {
      return await page(request, opening);
    }
    discard(request);
    return show(opening, opening.ticket, view);
  };
}

const HTML = "text/html; charset=utf-8";

/** Returns the language in the query of a request. `Deno.serve` passes on a Host header that no URL can have. */
function languageIn({ url }: Request): string | undefined {
  return URL.canParse(url) ? new URL(url).searchParams.get("LANG") ?? undefined : undefined;
}

/** Returns the status and the text for an error of `app.open`; `undefined` for mistakes in the setup. */
function refusalOf(error: unknown): { readonly status: number; readonly text: keyof Texts } | undefined {
  if (error instanceof InputError) return { status: 400, text: "input" };
  if (error instanceof NotAuthenticError) return { status: 403, text: "notAuthentic" };
  if (error instanceof CannotVerifyError || error instanceof StorageError) return { status: 503, text: "unavailable" };
  return undefined;
}

/** Returns whether a request is from the script of the waiting page. Bitrix24 sends forms. */
function isQuestion(request: Request): boolean {
  return request.method === "POST" && /^application\/json\b/i.test(request.headers.get("content-type") ?? "");
}

/** Answers the script of the waiting page with the present view. */
async function answerQuestion(
  app: OpeningPageOptions["app"],
  request: Request,
  leniency: Leniency,
): Promise<Response> {
  const question = await readQuestion(request);
  if (question === undefined) return answerJson(400, { error: "bad_request" });
  let opening: OpeningState | undefined;
  try {
    opening = await app.opening(question.ticket, { retry: question.retry });
  } catch (error) {
    const refusal = refusalOf(error);
    if (refusal === undefined) throw error;
    return answerJson(refusal.status, { error: "unavailable" });
  }
  if (opening === undefined) return answerJson(404, { error: "expired" });
  return answerJson(200, viewOf(opening, leniency));
}

function answerJson(status: number, body: object): Response {
  return new Response(JSON.stringify(body), { status, headers: headersFor("application/json", ["'none'"]) });
}

/** Maximum size of a question in bytes, far above that of a real one. */
const MAX_QUESTION_BYTES = 1024;

/** Returns the ticket that the script sent; `undefined` if it sent anything else. */
async function readQuestion(
  request: Request,
): Promise<{ readonly ticket: string; readonly retry: boolean } | undefined> {
  const decoder = new TextDecoder();
  let text = "";
  let size = 0;
  try {
    for await (const chunk of request.body ?? []) {
      size += chunk.byteLength;
      if (size > MAX_QUESTION_BYTES) return undefined;
      text += decoder.decode(chunk, { stream: true });
    }
    const { ticket, retry } = JSON.parse(text) as { readonly ticket?: unknown; readonly retry?: unknown };
    return typeof ticket === "string" ? { ticket, retry: retry === true } : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Returns two requests that can both be read. `request.clone()` would connect their signals, and Deno prints a warning if
 * that of a request is used.
 */
function twoOf(request: Request): readonly [Request, Request] {
  const { url, method, headers, body } = request;
  // `app.open` refuses an address that is no URL.
  if (body === null || request.bodyUsed || !URL.canParse(url)) return [request, request];
  const copyWith = (body: ReadableStream): Request => {
    const init: RequestInit & { readonly duplex: "half" } = { method, headers, body, duplex: "half" };
    return new Request(url, init);
  };
  const [first, second] = body.tee();
  return [copyWith(first), copyWith(second)];
}

/** Frees the connection of a body that nobody reads. */
function discard(request: Request): void {
  if (!request.bodyUsed) request.body?.cancel().catch(() => {});
}
