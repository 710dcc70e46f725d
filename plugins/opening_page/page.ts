/** The HTML of the page, and the headers of all answers. */
import { type Language, textsIn } from "./texts.ts";
import type { View } from "./view.ts";

/** Returns the headers of an answer. `nonce` allows the script and the style of the page. */
export function headersFor(
  contentType: string,
  frameAncestors: readonly string[],
  nonce?: string,
): Record<string, string> {
  const own = nonce === undefined ? [] : [
    `script-src 'nonce-${nonce}' https://api.bitrix24.com`,
    `style-src 'nonce-${nonce}'`,
    "connect-src 'self'",
  ];
  const policy = [
    "default-src 'none'",
    ...own,
    "base-uri 'none'",
    "form-action 'none'",
    `frame-ancestors ${frameAncestors.join(" ")}`,
  ];
  return {
    "content-type": contentType,
    "content-security-policy": policy.join("; "),
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
  };
}

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/** Returns a text as HTML, for elements and quoted attributes. */
function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ENTITIES[character]!);
}

const STYLE = `
body { margin: 0; font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff; }
main { max-width: 32rem; margin: 15vh auto 0; padding: 0 1rem; text-align: center; }
h1 { font-size: 1.4rem; }
progress { width: 100%; }
#message { color: #595959; overflow-wrap: anywhere; }
button { font: inherit; padding: .5rem 1.5rem; }
[hidden] { display: none; }
`;

/** Parts of a page that are the same in all states. */
interface PageParts {
  readonly language: Language;
  readonly title?: string | undefined;
  readonly nonce: string;
}

function page({ language, title, nonce }: PageParts, content: string, head = ""): string {
  const shown = escaped(title ?? textsIn(language).title);
  return `<!doctype html>
<html lang="${language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${shown}</title>
<style nonce="${nonce}">${STYLE}</style>
${head}</head>
<body>
<main>
<h1>${shown}</h1>
${content}
</main>
</body>
</html>
`;
}

/** Returns a page with one text. */
export function textPage(parts: PageParts, text: string): string {
  return page(parts, `<p role="status">${escaped(text)}</p>`);
}

/** Returns the page that shows a view, and asks again by its ticket. */
export function waitingPage(parts: PageParts, ticket: string, view: View): string {
  const { retry, progress, offline, expired, reload } = textsIn(parts.language);
  const data = JSON.stringify({ ticket, view, offline, expired, reload });
  const content = `<p role="status" id="status">${escaped(view.status)}</p>
<progress id="progress" aria-label="${escaped(progress)}"${view.state === "waiting" ? "" : " hidden"}></progress>
<p id="message">${escaped(view.message ?? "")}</p>
<button type="button" id="retry"${view.canRetry ? "" : " hidden"}>${escaped(retry)}</button>
<div id="data" hidden data-page="${escaped(data)}"></div>
<script nonce="${parts.nonce}">${SCRIPT}</script>`;
  return page(parts, content, `<script async src="https://api.bitrix24.com/api/v1/"></script>\n`);
}

/**
 * The script of the page. It asks the page's own address, without the query of Bitrix24, which contains a secret of the
 * session. `BX24` is Bitrix24's library: only it can finish an installation, and reload the page with new tokens. It is
 * `null` outside of Bitrix24's frame, and reloads nothing in the placements of older portals: then the user has to.
 */
const SCRIPT = `
(() => {
  const { ticket, view, offline, expired, reload } = JSON.parse(document.getElementById("data").dataset.page);
  const [status, bar, message, retry] = ["status", "progress", "message", "retry"].map((id) => document.getElementById(id));
  const address = new URL(location.href);
  for (const name of ["DOMAIN", "PROTOCOL", "LANG", "APP_SID"]) address.searchParams.delete(name);
  let timer, isOver = false;
  // There is one timer, however often the user has retried.
  const later = (ms) => {
    clearTimeout(timer);
    timer = setTimeout(ask, ms, false);
  };
  const text = (element, value) => {
    if (element.textContent !== value) element.textContent = value;
  };
  const end = (finishes) => {
    const library = typeof BX24 === "undefined" ? null : BX24;
    if (library === null) text(status, reload);
    else library.init(() => finishes ? library.installFinish() : library.reloadWindow());
  };
  const whenLoaded = (act) => {
    setTimeout(text, 10000, status, reload);
    document.readyState === "complete" ? act() : addEventListener("load", act);
  };
  const show = (view) => {
    text(status, view.status);
    text(message, view.message || "");
    retry.hidden = !view.canRetry;
    bar.hidden = view.state !== "waiting";
    if (view.progress && view.progress.total > 0) {
      bar.max = view.progress.total;
      bar.value = view.progress.done;
    } else bar.removeAttribute("value");
    if (view.state !== "ready") return later(view.state === "waiting" ? 1500 : 10000);
    clearTimeout(timer);
    if (!isOver) whenLoaded(() => end(view.finishes));
    isOver = true;
  };
  const ask = async (isRetry) => {
    try {
      const response = await fetch(address, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ ticket, retry: isRetry }),
        credentials: "omit",
        cache: "no-store",
      });
      if (response.status === 404) {
        bar.hidden = retry.hidden = true;
        return text(status, expired);
      }
      if (!response.ok) throw new Error();
      show(await response.json());
    } catch {
      text(status, offline);
      later(5000);
    }
  };
  retry.addEventListener("click", () => {
    retry.hidden = true;
    clearTimeout(timer);
    ask(true);
  });
  show(view);
})();
`;
