/** Finds the programs of a PostgreSQL server, or unpacks the distribution's package into a cache folder, without root. */
import { existsSync, readdirSync } from "node:fs";
import { delimiter, join } from "node:path";
import process from "node:process";
import { cacheFolder, unpackPrograms } from "./debian_package.ts";
import { run } from "./run.ts";

/** The oldest major version that the tests accept. */
const MIN_VERSION = 12;
const PROGRAMS = ["initdb", "postgres"];

/**
 * Puts `initdb` and `postgres` on the PATH of this process and its children.
 *
 * @throws {Error} if there are none and they cannot be fetched; the message says what to install
 */
export async function ensurePostgres(): Promise<void> {
  if (await works("")) return;
  const cache = cacheFolder("postgres");
  const folders = [...installed(), join(cache, "bin")];
  let folder: string | undefined;
  for (const candidate of folders) {
    if (await works(candidate)) {
      folder = candidate;
      break;
    }
  }
  if (folder === undefined) {
    try {
      await unpackPrograms("postgresql", PROGRAMS, cache);
    } catch (error) {
      const how = `install its server, version ${MIN_VERSION} or later (apt-get install postgresql)`;
      throw new Error(`cannot run the tests without PostgreSQL: ${how}`, { cause: error });
    }
    folder = join(cache, "bin");
  }
  process.env["PATH"] = folder + delimiter + process.env["PATH"];
}

/** Folders where Debian installs the programs, the newest version first. They are not on its PATH. */
function installed(): string[] {
  const folder = "/usr/lib/postgresql";
  if (!existsSync(folder)) return [];
  return readdirSync(folder).sort((a, b) => Number(b) - Number(a)).map((version) => join(folder, version, "bin"));
}

/** Whether the programs in `folder` start and are recent enough. */
async function works(folder: string): Promise<boolean> {
  for (const program of PROGRAMS) {
    const { ok, stdout } = await run(join(folder, program), ["--version"]);
    const version = /\(PostgreSQL\) (\d+)/.exec(stdout)?.[1];
    if (!ok || version === undefined || Number(version) < MIN_VERSION) return false;
  }
  return true;
}
