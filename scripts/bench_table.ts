/** The table of figures in docs/performance.md, which `deno task bench --write` fills. */
import type { Result } from "./bench/_bench.ts";

const [BEGIN, END] = ["<!-- figures -->", "<!-- end of figures -->"];
const COLUMNS = ["figure", "goal", "Deno", "Node"] as const;

/** A row of the table: cells by column. */
type Row = Record<typeof COLUMNS[number], string>;

/**
 * Returns the page with the figures in its table, by name and runtime. Rows and cells without a new figure stay.
 *
 * @throws {Error} if the page has no table between its markers
 */
export function withFigures(page: string, results: readonly Result[]): string {
  const [begin, end] = [page.indexOf(BEGIN), page.indexOf(END)];
  if (begin < 0 || end < begin) throw new Error(`the page has no ${BEGIN} … ${END}`);
  const rows = new Map<string, Row>();
  for (const line of page.slice(begin + BEGIN.length, end).trim().split("\n").slice(2)) {
    const [figure = "", goal = "", deno = "", node = ""] = line.split("|").slice(1, -1).map((cell) => cell.trim());
    if (figure !== "") rows.set(figure, { figure, goal, Deno: deno, Node: node });
  }
  for (const { name, runtime, value, wanted, isGood } of results) {
    const row = rows.get(name) ?? { figure: name, goal: wanted, Deno: "", Node: "" };
    rows.set(name, { ...row, goal: wanted, [runtime]: isGood ? value : `**${value}**` });
  }
  const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
  const table = [
    line(COLUMNS),
    line(COLUMNS.map(() => "---")),
    ...Array.from(rows.values(), (row) => line(COLUMNS.map((column) => row[column]))),
  ];
  return `${page.slice(0, begin)}${BEGIN}\n\n${table.join("\n")}\n\n${page.slice(end)}`;
}
