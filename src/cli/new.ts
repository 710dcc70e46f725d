/** `onappupdate new`: a new project that starts at once. */
import { mkdir, readdir, writeFile } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { defineCommand } from "./command.ts";
import { usageError } from "./exit.ts";
import {
  type Choice,
  type Framework,
  FRAMEWORKS,
  problemOf,
  type Runtime,
  RUNTIMES,
  type StorageChoice,
  STORAGES,
} from "./templates/choice.ts";
import { projectFiles } from "./templates/project.ts";

interface NewOptions {
  readonly runtime?: Runtime;
  readonly storage?: StorageChoice;
  readonly framework?: Framework;
}

/** Writes a new project into an empty folder. */
export const newProject = defineCommand<NewOptions>({
  usage: "new",
  summary: "write a new project that starts at once",
  description: "Writes an app with an upgrade, its tests with a fake Bitrix24, what serves it, " +
    "a Dockerfile and a README into a folder that is empty or does not exist. " +
    "Asks nothing.",
  group: "Try an app:",
  arguments: [{ usage: "<dir>", description: "the folder; its name is that of the project" }],
  options: [
    { flags: "--runtime <name>", description: "default: the one that runs this command", choices: RUNTIMES },
    { flags: "--storage <name>", description: "where portals are kept (default: file)", choices: STORAGES },
    { flags: "--framework <name>", description: "what serves the app (default: none)", choices: FRAMEWORKS },
  ],
  examples: [
    "onappupdate new rating",
    "onappupdate new rating --runtime deno --storage kv",
    "onappupdate new rating --runtime node --storage redis --framework fastify",
    "deno create jsr:@b24/onappupdate -- rating --storage kv",
  ],
  run: async ({ args: [dir = ""], options, show, note }) => {
    const { runtime = "Deno" in globalThis ? "deno" : "node", storage = "file", framework = "none" } = options;
    const problem = problemOf({ runtime, framework });
    if (problem !== undefined) throw usageError(problem);
    const choice: Choice = { name: nameOf(dir), runtime, storage, framework };
    const files = await writeProject(resolve(dir), choice);
    show({ dir: resolve(dir), ...choice, files }, () => files.map((file) => join(dir, file)).join("\n"));
    const run = runtime === "deno" ? "deno task" : "npm run";
    const server = storage === "redis" ? "Redis" : storage === "postgres" ? "PostgreSQL" : undefined;
    const steps = [
      `cd ${shellWord(dir)}`,
      ...(runtime === "node" ? ["npm install"] : []),
      `${run} dev`,
      `${run} bitrix24`,
    ];
    if (options.json !== true) {
      note(`\nNext, the last one in another terminal:\n${steps.map((step) => `  ${step}`).join("\n")}`);
      if (server !== undefined) note(`\n${server} has to run before: see README.md.`);
    }
  },
});

/** Returns a path as it can be pasted into a shell. */
function shellWord(path: string): string {
  const word = path.startsWith("-") ? `./${path}` : path;
  return /^[\p{L}\p{N}_./\\:~@%+,=-]+$/u.test(word) ? word : `"${word.replaceAll(/["$`]/g, "\\$&")}"`;
}

/** Returns the name of a project in a folder. @throws {ExitError} if it has none */
function nameOf(dir: string): string {
  const name = basename(resolve(dir)).toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-+|-+$/g, "");
  if (dir.trim() !== "" && name !== "") return name;
  throw usageError(`cannot make a project in "${dir}", wanted a folder whose name has Latin letters or digits`);
}

/**
 * Writes the files into a folder, and returns their names.
 *
 * @throws {ExitError} if there is anything in it, before anything is written; if it cannot be written
 */
async function writeProject(folder: string, choice: Choice): Promise<string[]> {
  const files = projectFiles(choice);
  try {
    const found = await readdir(folder).catch((error: Error & { readonly code?: string }) => {
      if (error.code === "ENOENT") return [];
      throw error;
    });
    if (found.length > 0) {
      throw usageError(`cannot make a project in ${folder}: it is not empty; name a new folder`);
    }
    await mkdir(folder, { recursive: true });
    for (const [name, content] of files) await writeFile(join(folder, name), content, { flag: "wx" });
    return [...files.keys()];
  } catch (error) {
    if (error instanceof Error && error.name === "ExitError") throw error;
    throw usageError(`cannot make a project in ${folder}: ${error instanceof Error ? error.message : error}`, {
      cause: error,
    });
  }
}
