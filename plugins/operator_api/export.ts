/** Exports: lists of any length as a stream, one item a line. */
import { type ObjectSchema, pick } from "./schema.ts";

/** The media types of exports, by format. */
export const FORMATS: Readonly<Record<ExportFormat, string>> = {
  csv: "text/csv; charset=utf-8; header=present",
  jsonl: "application/jsonl; charset=utf-8",
};

/** The format of an export. */
export type ExportFormat = "csv" | "jsonl";

/** A list to export. `Item` is as the API shows it. */
export interface Export<Item> {
  /** Name of the file, without its extension. */
  readonly name: string;
  readonly format: ExportFormat;
  /** The fields of an item in JSON lines. */
  readonly item: ObjectSchema;
  /** The columns of CSV: the name of each, and its value. */
  readonly columns: Readonly<Record<string, (item: Item) => Cell>>;
  /** The items, page by page. */
  readonly pages: AsyncIterator<readonly unknown[]>;
  /** Called if the items cannot be read to their end. */
  readonly onError: (thrown: unknown) => void;
}

/** A cell of CSV; empty if it is undefined. */
export type Cell = string | number | undefined;

/**
 * Returns the answer of an export. If the storage fails in the middle, the connection breaks: a part of a list must not look
 * like all of it.
 */
export function exportResponse<Item>({ name, format, item, columns, pages, onError }: Export<Item>): Response {
  const encoder = new TextEncoder();
  const lineOf = (value: unknown): string => {
    const shown = pick(item, value);
    if (format === "jsonl") return `${JSON.stringify(shown)}\n`;
    return csvLine(Object.values(columns).map((column) => column(shown as Item)));
  };
  const body = new ReadableStream<Uint8Array>({
    start: (controller) => {
      if (format === "csv") controller.enqueue(encoder.encode(csvLine(Object.keys(columns))));
    },
    pull: async (controller) => {
      try {
        const { value, done } = await pages.next();
        if (done) controller.close();
        else controller.enqueue(encoder.encode(value.map(lineOf).join("")));
      } catch (thrown) {
        onError(thrown);
        // The reader has no use for the reason, which the log has.
        controller.error(new Error("the export has failed"));
      }
    },
    cancel: async () => void await pages.return?.(),
  });
  return new Response(body, {
    headers: {
      "content-type": FORMATS[format],
      "content-disposition": `attachment; filename="${name}.${format}"`,
    },
  });
}

/** Returns a line of CSV (RFC 4180). */
export function csvLine(cells: readonly Cell[]): string {
  return `${cells.map(csvCell).join(",")}\r\n`;
}

/** The beginning of a formula. Some spreadsheets drop spaces before it, and some take the wide forms of its signs for them. */
const FORMULA = '[\\p{Z}\\s"]*[=+\\-@＝＋－＠]';

const AT_START = new RegExp(`^(?=${FORMULA}|[\\t\\r\\n])`, "u");

/**
 * The characters that begin another cell within a text: spreadsheets in countries with a decimal comma separate cells at semicolons, and then
 * take a quote in the middle of a line for a part of the text.
 */
const WITHIN = new RegExp(`([\\n\\r\\t;])(?=${FORMULA})`, "gu");

/**
 * Returns a cell of CSV. A spreadsheet would run text that begins like a formula, and customers and errors choose some of the
 * texts: they get an apostrophe.
 */
function csvCell(cell: Cell): string {
  if (cell === undefined) return "";
  if (typeof cell === "number") return String(cell);
  const text = cell.replaceAll(WITHIN, "$1'").replace(AT_START, "'");
  return /[",;\t\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Returns a time as a cell: ISO 8601, in UTC. */
export function timeCell(ms: number | undefined): Cell {
  return ms === undefined ? undefined : new Date(ms).toISOString();
}

/** Reads a list page by page. */
export async function* pagesOf<Item>(
  read: (after: string | undefined) => Promise<{ readonly items: readonly Item[]; readonly next?: string }>,
): AsyncGenerator<readonly Item[], void> {
  let after: string | undefined;
  do {
    const { items, next } = await read(after);
    yield items;
    after = next;
  } while (after !== undefined);
}
