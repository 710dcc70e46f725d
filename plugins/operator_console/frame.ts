/** The document around a page. */
import { SCRIPT } from "./assets/script.ts";
import { STYLE } from "./assets/style.ts";
import { type Html, markup, raw } from "./html.ts";
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
  /** The report of the last action; absent if it has none. */
  readonly flash?: Html | undefined;
  /** Shown above the content. */
  readonly notices?: readonly Html[];
  /** The query of the stream of changes; absent if the page shows none. */
  readonly live?: Readonly<Record<string, string | undefined>> | undefined;
  /** Whether there is a button to sign out. */
  readonly canLogOut: boolean;
}

/** The data of a request that the frame shows. Before a sign-on there is no operator. */
export type FrameContext = Omit<PageContext, "operator" | "canOperate"> & Partial<Pick<PageContext, "operator">>;

/** Returns a document. */
export function frame(ctx: FrameContext, parts: FrameParts): Html {
  const { title, nav, content, flash = "", notices = [], live } = parts;
  const { t, href, language } = ctx;
  const stream = live === undefined ? "" : markup` data-stream="${href("/live", live)}"`;
  return markup`<!doctype html>
<html lang="${language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${title} · ${t("frame.name")}</title>
<link rel="icon" href="data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Crect width='16' height='16' rx='4' fill='%233a49c4'/%3E%3Cpath d='M4 11V7m4 4V4m4 7V9' stroke='%23fff' stroke-width='2' stroke-linecap='round'/%3E%3C/svg%3E">
<style>${raw(STYLE)}</style>
</head>
<body class="${nav.length === 0 ? "bare" : "framed"}"${stream}>
<a class="skip" href="#main">${t("frame.skip")}</a>
<header class="bar-top"><a class="name" href="${href("/")}"><span class="mark"></span>${t("frame.name")}</a>${
    viewer(ctx, parts)
  }</header>
${nav.length === 0 ? "" : navigation(ctx, nav)}
<main id="main" tabindex="-1">
<h1>${title}</h1>
${flash}
<div id="notices" data-live>${notices}</div>
${content}
</main>
${footer(ctx)}
<script>${raw(SCRIPT)}</script>
</body>
</html>
`;
}

function viewer({ t, href, operator }: FrameContext, { canLogOut }: FrameParts): Html | "" {
  if (operator === undefined) return "";
  return markup`<div class="viewer"><span class="operator"><b>${operator.name}</b> <small>${
    t(`frame.role.${operator.role}`)
  }</small></span>${
    canLogOut
      ? markup`<form method="post" action="${href("/logout")}"><button>${t("signIn.logOut")}</button></form>`
      : ""
  }</div>`;
}

function navigation({ t, href, here }: FrameContext, nav: readonly NavEntry[]): Html {
  const path = here.split("?")[0]!;
  const current = ({ path: own }: NavEntry): Html | "" => {
    if (path === own) return markup` aria-current="page"`;
    return own !== "/" && path.startsWith(`${own}/`) ? markup` aria-current="true"` : "";
  };
  return markup`<nav class="pages" aria-label="${t("frame.nav")}"><ul>${
    nav.map((entry) => markup`<li><a href="${href(entry.path)}"${current(entry)}>${t(entry.text)}</a></li>`)
  }</ul></nav>`;
}

function footer(ctx: FrameContext): Html {
  const { t, href, here, language } = ctx;
  return markup`<footer><span>${t("frame.asOf")} ${ctx.time(ctx.now)}</span>
<form class="languages" method="post" action="${href("/language")}" aria-label="${t("frame.language")}">
<input type="hidden" name="back" value="${here}">${
    Object.entries(LANGUAGES).map(([code, name]) =>
      markup`<button name="language" value="${code}" lang="${code}"${
        code === language ? markup` aria-current="true"` : ""
      }>${name}</button>`
    )
  }</form></footer>`;
}
