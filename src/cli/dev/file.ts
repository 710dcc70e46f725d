/** The file of a stand-in, which keeps its portals over restarts. */
import { readFile, rename, writeFile } from "node:fs/promises";
import { isSavedWorld, type SavedWorld } from "../../testing/bitrix24/saved.ts";
import { usageError } from "../exit.ts";

/**
 * Returns the portals in a file; `undefined` if there is none yet.
 *
 * @throws {ExitError} if it is a file of something else, which is not overwritten
 */
export async function readPortals(path: string): Promise<SavedWorld | undefined> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if ((error as { readonly code?: unknown }).code === "ENOENT") return undefined;
    throw usageError(`cannot read ${path}: ${error instanceof Error ? error.message : error}`, { cause: error });
  }
  const saved = parsed(text);
  if (isSavedWorld(saved)) return saved;
  throw usageError(`cannot use ${path}: it is not a file that onappupdate dev has written; name another one in --file`);
}

/** Writes portals to a file that only its owner can read. A crash leaves the file as it was. */
export async function writePortals(path: string, saved: SavedWorld): Promise<void> {
  const text = `${JSON.stringify(saved)}\n`;
  const temporary = `${path}.new`;
  await writeFile(temporary, text, { mode: 0o600 });
  await rename(temporary, path);
}

/**
 * Returns rows and results of methods by name: an object such as `{ "crm.deal.list": [{ "ID": "1" }], "crm.deal.add": 7 }`.
 *
 * @throws {ExitError} if the file has anything else
 */
export async function readAnswers(path: string): Promise<Readonly<Record<string, unknown>>> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    throw usageError(`cannot read ${path}: ${error instanceof Error ? error.message : error}`, { cause: error });
  }
  let answers: unknown;
  try {
    // `trim()` also drops a byte order mark.
    answers = JSON.parse(text.trim());
  } catch (error) {
    throw usageError(`cannot use ${path}, which is not JSON: ${error instanceof Error ? error.message : error}`, {
      cause: error,
    });
  }
  if (typeof answers === "object" && answers !== null && !Array.isArray(answers)) {
    return answers as Readonly<Record<string, unknown>>;
  }
  throw usageError(`cannot use ${path}, wanted a JSON object such as {"crm.deal.list":[{"ID":"1"}],"crm.deal.add":7}`);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
