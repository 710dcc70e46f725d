/** The document around a page. */
import { SCRIPT } from "./assets/script.ts";
import { STYLE } from "./assets/style.ts";
import { type Html, html, raw } from "./html.ts";
import type { PageContext } from "./page.ts";
import { LANGUAGES, type TextKey } from "./texts.ts";

/** An entry of the navigation. */
export interface NavEntry {
  readonly path: string;
  readonly text: TextKey;
}

/** Parts of {@linkcode frame}. */
export interface FrameParts {
  readonly title: string;
  /** Empty if nobody has signed in. */
  readonly nav: readonly NavEntry[];
  readonly content: Html;
  /** What the last action has reported; absent if nothing. */
  readonly flash?: Html | undefined;
  /** Shown above the content. */
  readonly notices?: readonly Html[];
  /** The query of the stream of changes; absent if the page shows none. */
  readonly live?: Readonly<Record<string, string | undefined>> | undefined;
  /** Whether there is a button to sign out. */
  readonly canLogOut: boolean;
}

/** What the frame needs to know of a request. Before a sign-on there is no operator. */
export type FrameContext = Omit<PageContext, "operator" | "canOperate"> & Partial<Pick<PageContext, "operator">>;

/** Returns a document. */
export function frame(
  ctx: FrameContext,
  { title, nav, content, flash = html``, notices = [], live, canLogOut }: FrameParts,
): Html {
  const { t, href, language, operator, here } = ctx;
  const path = here.split("?")[0];
  const current = ({ path: own }: NavEntry): Html | string =>
    path === own
      ? html`
        aria-current="page"
      `
      : own !== "/" && path!.startsWith(`${own}/`)
      ? html`
        aria-current="true"
      `
      : "";
  return html`
    <!doctype html>
    <html lang="${language}">
      <head>
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <meta name="color-scheme" content="light dark">
        <title>${title} · ${t("frame.name")}</title>
        <link rel="icon" href="data:,">
        <style>${raw(STYLE)}</style>
      </head>
      <body${live === undefined ? "" : html`
        data-stream="${href("/live", live)}"
      `}>
        <a class="skip" href="#main">${t("frame.skip")}</a>
        <header>
        ${nav.length === 0
          ? html`<span class="name">${t("frame.name")}</span>`
          : html`<nav aria-label="${t("frame.nav")}">${
            nav.map((entry) =>
              html`
                <a href="${href(entry.path)}" ${current(entry)}>${t(entry.text)}</a>\\n
              `
            )
          }</nav>`}
        ${operator === undefined
          ? ""
          : html`<span class="operator">${operator.name} <small>(${t(`frame.role.${operator.role}`)})</small></span>${
            canLogOut
              ? html`<form method="post" action="${href("/logout")}"><button>${t("signIn.logOut")}</button></form>`
              : ""
          }`}
            </header>
        <main id="main" tabindex="-1">
        <h1>${title}</h1>
        ${flash}
    <div id="notices" data-live>${notices}</div>
        ${content}
            </main>
        <footer>
          <span>${t("frame.asOf")} ${ctx.time(ctx.now)}</span>
          <form class="languages" method="post" action="${href("/language")}">
        <input type="hidden" name="back" value="${here}">
        <span id="languages">${t("frame.language")}</span>
        ${Object.entries(LANGUAGES).map(([code, name]) =>
          html`
            <button name="language" value="${code}" lang="${code}" ${code === language
              ? html`
                aria-current="true"
              `
              : ""}>${name}</button>\\n
          `
        )}</form>
        </footer>
        <script>${raw(SCRIPT)}</script>
        </body>
        </html>
  `;
}
