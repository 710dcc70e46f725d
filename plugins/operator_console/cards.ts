/** Common parts of pages. */
import { type ActionId, ACTIONS } from "./actions.ts";
import { type Html, markup } from "./html.ts";
import type { PageContext } from "./page.ts";

/** A section with a heading. */
export interface Card {
  /** Unique on the page. */
  readonly id: string;
  readonly title: string;
  /** Links beside the heading. */
  readonly tools?: Html | undefined;
  readonly content: Html;
  /** Its content is fetched anew on changes. */
  readonly isLive?: boolean;
}

/** Returns a section with a heading. */
export function card({ id, title, tools, content, isLive = false }: Card): Html {
  const body = isLive ? markup`<div id="${id}-live" data-live>${content}</div>` : content;
  return markup`<section class="card" aria-labelledby="${id}">
<div class="card-head"><h2 id="${id}">${title}</h2>${tools ?? ""}</div>
${body}
</section>`;
}

/** Returns what is shown instead of an empty list: that it is empty, and why that is so. */
export function empty(title: string, text = ""): Html {
  return markup`<div class="empty"><p class="empty-title">${title}</p>${
    text === "" ? "" : markup`<p>${text}</p>`
  }</div>`;
}

/** A fact: its name and its value. Facts without a value are left out. */
export type Fact = readonly [name: string, value: Html | string | undefined];

/** Returns facts as a list. */
export function facts(list: readonly Fact[]): Html {
  return markup`<dl class="facts">${
    list.filter(([, value]) => value !== undefined).map(([name, value]) =>
      markup`<div><dt>${name}</dt><dd>${value}</dd></div>`
    )
  }</dl>`;
}

/** Number of characters of a message in a list: pages stay below 100 KB, whatever errors say. */
const MAX_MESSAGE = 300;

/** Returns a text, or its beginning: for lists. */
export function shortened(text: string, max = MAX_MESSAGE): string {
  const chars = [...text.slice(0, 2 * max)];
  return chars.length <= max ? text : `${chars.slice(0, max - 1).join("")}…`;
}

/** Returns a link to the page of an action, or nothing if the viewer may not act. It leads back to this page. */
export function actionLink(
  ctx: PageContext,
  id: ActionId,
  fields: Readonly<Record<string, string | undefined>> = {},
  text: string = ctx.t(ACTIONS[id].name),
): Html | "" {
  if (!ctx.canOperate) return "";
  const isDangerous = "isDangerous" in ACTIONS[id];
  const address = ctx.href(`/act/${id}`, { ...fields, back: ctx.here });
  return markup`<a class="button${isDangerous ? " danger" : ""}" href="${address}">${text}</a>`;
}

/** Returns buttons beside each other; nothing if there are none. */
export function actions(...buttons: readonly (Html | "")[]): Html | "" {
  const shown = buttons.filter((button) => button !== "");
  return shown.length === 0 ? "" : markup`<div class="actions">${shown}</div>`;
}

/** Returns links to actions that are fetched anew on changes: they depend on the state. Once on a page. */
export function liveActions(...buttons: readonly (Html | "")[]): Html {
  return markup`<div id="actions" data-live>${actions(...buttons)}</div>`;
}

/** Returns a number of milliseconds ago in words, with the time. */
export function ago(ctx: PageContext, at: number): Html {
  const passed = Math.max(ctx.now - at, 0);
  // The largest unit says enough.
  const unit = [86_400_000, 3_600_000, 60_000, 1000].find((size) => passed >= size) ?? 1;
  return markup`<span class="ago">${
    ctx.t("parts.ago", { duration: ctx.duration(Math.floor(passed / unit) * unit) })
  }</span>`;
}

/** Returns a place in code: upgrade and step. */
export function place(
  ctx: PageContext,
  { upgradeId, step }: { readonly upgradeId?: string | undefined; readonly step?: string | undefined },
): string {
  const { t } = ctx;
  const upgrade = upgradeId === undefined
    ? t("parts.beforeUpgrade")
    : t("parts.upgrade", { id: shortened(upgradeId, 100) });
  return step === undefined ? upgrade : `${upgrade} · ${t("parts.step", { name: shortened(step, 100) })}`;
}

const collator = new Intl.Collator("en", { numeric: true });

/** Compares versions, the highest first; unknown ones last. */
export function byVersion(a: string | undefined, b: string | undefined): number {
  if (a === undefined || b === undefined) return Number(a === undefined) - Number(b === undefined);
  return collator.compare(b, a);
}
