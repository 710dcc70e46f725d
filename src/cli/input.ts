/** Files that a command reads. */
import { usageError } from "./exit.ts";
import type { Terminal } from "./terminal.ts";

/** Returns the content of a file, or of standard input for `-`. @throws {ExitError} if it cannot be read */
export async function readInput({ read }: Pick<Terminal, "read">, path: string): Promise<string> {
  try {
    return await read(path);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw usageError(`cannot read ${path === "-" ? "standard input" : path}: ${reason}`, { cause: error });
  }
}
