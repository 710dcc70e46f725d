/** Elements that several pages use. */
import { type Html, html } from "./html.ts";
import type { PageContext } from "./page.ts";

/** Returns a link within the console. */
export function link(
  ctx: PageContext,
  text: string | Html,
  path: string,
  query?: Readonly<Record<string, string | number | undefined>>,
): Html {
  return html`<a href="${ctx.href(path, query)}">${text}</a>`;
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
  /** Says what the rows are; shown above them. */
  readonly caption: string;
  readonly columns: readonly Column<Row>[];
  readonly rows: readonly Row[];
}

/** Returns a table whose first column names the row. It scrolls by itself if it is wider than the screen. */
export function table<Row>({ caption, columns, rows }: Table<Row>): Html {
  const numeric = ({ isNumber }: Column<Row>): Html | string =>
    isNumber
      ? html`
        class="number"
      `
      : "";
  const cell = (row: Row, column: Column<Row>, i: number): Html =>
    i === 0
      ? html`
        <th scope="row" ${numeric(column)}>${column.cell(row)}</th>
      `
      : html`<td${numeric(column)}>${column.cell(row)}</td>`;
  return html`
    <div class="scroll" role="region" tabindex="0" aria-label="${caption}">
      <table>
        <caption>${caption}</caption>
        <thead>
          <tr>${columns.map((column) =>
            html`
              <th scope="col" ${numeric(column)}>${column.head}</th>
            `
          )}</tr>
        </thead>
        <tbody>
    ${rows.map((row) => html`<tr>${columns.map((column, i) => cell(row, column, i))}</tr>\n`)}
        </tbody>
      </table>
    </div>
  `;
}

/** Returns a state of a portal as a badge. */
export function badge(
  ctx: PageContext,
  status: "current" | "upgrading" | "blocked" | "parked" | "held" | "uninstalled",
): Html {
  return html`<span class="badge badge-${status}">${ctx.t(`state.${status}`)}</span>`;
}

/** Returns the links of a list with pages: to the first one, and to the one after this. */
export function pager(ctx: PageContext, path: string, next: Readonly<Record<string, string>> | undefined): Html {
  const { query } = ctx.params;
  const withoutPage = Object.fromEntries(Object.entries(query).filter(([name]) => !name.startsWith("after")));
  const isFirst = Object.keys(withoutPage).length === Object.keys(query).length;
  if (isFirst && next === undefined) return html``;
  return html`<nav class="pager" aria-label="${ctx.t("frame.pager")}">
${isFirst ? "" : link(ctx, ctx.t("frame.first"), path, withoutPage)}
${next === undefined ? "" : link(ctx, ctx.t("frame.next"), path, { ...withoutPage, ...next })}
</nav>`;
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
}

/** Returns a field for a line of text. */
export function textField({ name, label, value = "", hint, type = "text", ...rest }: Field): Html {
  const { autocomplete = "off", maxLength = 1000, isRequired = false } = rest;
  const id = `field-${name}`;
  const described = hint === undefined ? "" : html`
    aria-describedby="${id}-hint"
  `;
  return html`<p class="field"><label for="${id}">${label}</label>
<input id="${id}" name="${name}" type="${type}" value="${value}" autocomplete="${autocomplete}" maxlength="${maxLength}"${described}${
    isRequired
      ? html`
        required
      `
      : ""
  }>${hint === undefined ? "" : html`<span class="hint" id="${id}-hint">${hint}</span>`}</p>`;
}

/** Returns a field with a choice; the first option is the empty one. */
export function selectField(
  { name, label, value = "" }: Pick<Field, "name" | "label" | "value">,
  options: readonly (readonly [value: string, text: string])[],
): Html {
  const id = `field-${name}`;
  return html`<p class="field"><label for="${id}">${label}</label>
<select id="${id}" name="${name}">${
    options.map(([option, text]) =>
      html`
        <option value="${option}" ${option === value
          ? html`
            selected
          `
          : ""}>${text}</option>
      `
    )
  }</select></p>`;
}

/** Returns fields that are not shown. */
export function hiddenFields(values: Readonly<Record<string, string | number | undefined>>): Html {
  return html`${
    Object.entries(values).filter(([, value]) => value !== undefined).map(([name, value]) =>
      html`<input type="hidden" name="${name}" value="${value}">`
    )
  }`;
}
