/** Elements that several pages use. */
import type { PortalCount } from "../../mod.ts";
import { type Html, markup } from "./html.ts";
import type { PageContext } from "./page.ts";

/** A state of portals. */
export type State = PortalCount["status"];

/** Returns a link within the console. */
export function link(
  ctx: PageContext,
  text: string | Html,
  path: string,
  query?: Readonly<Record<string, string | number | undefined>>,
): Html {
  return markup`<a href="${ctx.href(path, query)}">${text}</a>`;
}

/** Returns the link to a portal, by its domain. One whose data were erased, or that has not sent an event yet, has none. */
export function portalLink(
  ctx: PageContext,
  { memberId, domain }: { readonly memberId: string; readonly domain: string },
): Html {
  return link(ctx, domain === "" ? memberId : domain, `/portals/${memberId}`);
}

/** A column of a table. */
export interface Column<Row> {
  readonly head: string;
  /** Aligns to the right, with digits of equal width. */
  readonly isNumber?: boolean;
  readonly cell: (row: Row) => Html | string | undefined;
}

/** A table. */
export interface Table<Row> {
  /** Says what the rows are, for those who do not see the heading above. */
  readonly caption: string;
  readonly columns: readonly Column<Row>[];
  readonly rows: readonly Row[];
  /** On narrow screens each row is a card with the heads beside its values. Other tables scroll by themselves. */
  readonly isCards?: boolean;
}

/** Returns a table whose first column names the row. */
export function table<Row>({ caption, columns, rows, isCards = false }: Table<Row>): Html {
  const numeric = ({ isNumber }: Column<Row>): Html | "" => isNumber === true ? markup` class="number"` : "";
  const cell = (row: Row, column: Column<Row>, i: number): Html => {
    const value = column.cell(row);
    if (i === 0) return markup`<th scope="row"${numeric(column)}>${value}</th>`;
    if (!isCards) return markup`<td${numeric(column)}>${value}</td>`;
    // A value that is missing has no line of its own in a card.
    if (value === undefined || value === "") return markup`<td class="blank"></td>`;
    return markup`<td data-label="${column.head}"${numeric(column)}><div>${value}</div></td>`;
  };
  return markup`<div class="scroll${isCards ? " cards" : ""}" role="group" tabindex="0" aria-label="${caption}"><table>
<caption>${caption}</caption>
<thead><tr>${columns.map((column) => markup`<th scope="col"${numeric(column)}>${column.head}</th>`)}</tr></thead>
<tbody>
${rows.map((row) => markup`<tr>${columns.map((column, i) => cell(row, column, i))}</tr>\n`)}</tbody>
</table></div>`;
}

/** Returns a state of a portal as a badge. */
export function badge(ctx: PageContext, status: State): Html {
  return markup`<span class="badge badge-${status}">${ctx.t(`state.${status}`)}</span>`;
}

/** Returns the links of a list with pages: to the first one, and to the one after this. */
export function pager(ctx: PageContext, path: string, next: Readonly<Record<string, string>> | undefined): Html {
  const { query } = ctx.params;
  const withoutPage = Object.fromEntries(Object.entries(query).filter(([name]) => !name.startsWith("after")));
  const isFirst = Object.keys(withoutPage).length === Object.keys(query).length;
  if (isFirst && next === undefined) return markup``;
  const button = (text: string, target: Readonly<Record<string, string>>): Html =>
    markup`<a class="button" href="${ctx.href(path, target)}">${text}</a>`;
  return markup`<nav class="pager" aria-label="${ctx.t("frame.pager")}">${
    isFirst ? "" : button(ctx.t("frame.first"), withoutPage)
  }${next === undefined ? "" : button(ctx.t("frame.next"), { ...withoutPage, ...next })}</nav>`;
}

/** A field of a form with a label. */
export interface Field {
  readonly name: string;
  readonly label: string;
  readonly value?: string;
  readonly hint?: string;
  readonly type?: "text" | "search" | "password" | "number";
  readonly autocomplete?: string;
  readonly maxLength?: number;
  readonly isRequired?: boolean;
  /** Values that the browser suggests. */
  readonly suggestions?: readonly string[];
}

/** Returns a field for a line of text. */
export function textField({ name, label, value = "", hint, type = "text", suggestions = [], ...rest }: Field): Html {
  const { autocomplete = "off", maxLength = 1000, isRequired = false } = rest;
  const id = `field-${name}`;
  const described = hint === undefined ? "" : markup` aria-describedby="${id}-hint"`;
  const list = suggestions.length === 0 ? "" : markup` list="${id}-list"`;
  return markup`<p class="field"><label for="${id}">${label}</label>
<input id="${id}" name="${name}" type="${type}" value="${value}" autocomplete="${autocomplete}" maxlength="${maxLength}"${described}${list}${
    isRequired ? markup` required` : ""
  }>${hint === undefined ? "" : markup`<span class="hint" id="${id}-hint">${hint}</span>`}</p>${
    suggestions.length === 0
      ? ""
      : markup`<datalist id="${id}-list">${
        suggestions.map((text) => markup`<option value="${text}"></option>`)
      }</datalist>`
  }`;
}

/** Returns a field with a choice; the first option is the empty one. */
export function selectField(
  { name, label, value = "" }: Pick<Field, "name" | "label" | "value">,
  options: readonly (readonly [value: string, text: string])[],
): Html {
  const id = `field-${name}`;
  return markup`<p class="field"><label for="${id}">${label}</label>
<select id="${id}" name="${name}">${
    options.map(([option, text]) =>
      markup`<option value="${option}"${option === value ? markup` selected` : ""}>${text}</option>`
    )
  }</select></p>`;
}

/** Returns fields that are not shown. */
export function hiddenFields(values: Readonly<Record<string, string | number | undefined>>): Html {
  return markup`${
    Object.entries(values).filter(([, value]) => value !== undefined).map(([name, value]) =>
      markup`<input type="hidden" name="${name}" value="${value}">`
    )
  }`;
}
