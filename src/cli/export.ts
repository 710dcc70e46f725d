/** Exports as CSV: the operator API makes them, of the columns that it allows, and records each in the audit log. */
import type { Invocation, OptionSpec } from "./command.ts";
import { usageError } from "./exit.ts";
import type { OperatorClient, Query } from "./operator_client.ts";
import { safeLines } from "./text.ts";

/** The options of lists that can be exported. */
export interface ExportOptions {
  readonly csv?: true;
  readonly reason?: string;
  readonly limit?: number;
}

/** The flags of {@linkcode ExportOptions} but `--limit`. */
export const EXPORT_OPTIONS: readonly OptionSpec[] = [
  { flags: "--csv", description: "export all that match as CSV; the audit log shows it" },
  { flags: "--reason <text>", description: "why, for the audit log" },
];

/** Exports a list if `--csv` is set. Resolves to whether it is. */
export async function exported<Options extends ExportOptions>(
  { options, terminal }: Invocation<Options>,
  client: OperatorClient,
  list: "portals" | "audit",
  filter: Query,
): Promise<boolean> {
  const { csv, json, limit, reason } = options;
  if (csv !== true) {
    if (reason !== undefined) throw usageError("--reason is for --csv: a list is not recorded");
    return false;
  }
  if (json === true) throw usageError("saw --csv and --json, wanted one of them");
  if (limit !== undefined) throw usageError("saw --csv and --limit: an export has all that match");
  await client.stream(
    `/export/${list}`,
    { ...filter, format: "csv", reason: reason ?? `onappupdate ${list} --csv` },
    (text) => {
      terminal.stdout.write(safeLines(text));
    },
  );
  return true;
}
