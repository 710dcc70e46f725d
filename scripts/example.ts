/**
 * Runs an example: the one with this number, or all names if there is none.
 *
 *     deno task example [number] [--node] [arguments]
 *
 * With `--node`, on the Node on the PATH, against the packed package, as users have it.
 */
// deno-lint-ignore-file no-console
import { spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { buildNpm } from "./build_npm.ts";
import { createNpmProject } from "./npm_project.ts";

const root = fileURLToPath(new URL("..", import.meta.url));

/** The examples in reading order: what is run. Files that begin with `_` are parts of them. */
export const EXAMPLES: readonly string[] = readdirSync(join(root, "examples")).filter((file) => /^\d\d_/.test(file))
  .sort();

/** Returns the file of an example by its number, such as `1` or `01`. @throws {Error} if there is none */
export function exampleOf(number: string): string {
  const found = EXAMPLES.find((file) => file.startsWith(`${number.padStart(2, "0")}_`));
  if (found === undefined) throw new Error(`no example "${number}", wanted 1 to ${EXAMPLES.length}`);
  return found;
}

/** Returns the first sentence of the comment at the top of an example. */
function summaryOf(file: string): string {
  const [comment = ""] = /\/\*\*[\s\S]*?\*\//.exec(readFileSync(join(root, "examples", file), "utf8")) ?? [];
  return comment.replaceAll(/^\/?\s*\*+\/?\s?/gm, "").replaceAll(/\s+/g, " ").trim().split(/[:.](?: |$)/, 1)[0]!;
}

async function runChild(command: string, args: readonly string[], cwd: string): Promise<number> {
  const child = spawn(command, args, { cwd, stdio: "inherit" });
  // The child gets Ctrl-C from the terminal, too, and ends by itself.
  process.on("SIGINT", () => {});
  const [code] = await once(child, "exit") as [number | null];
  return code ?? 1;
}

async function runOnNode(file: string, args: readonly string[]): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), "onappupdate-example-"));
  const project = await createNpmProject(await buildNpm(folder));
  try {
    await project.installTestPackages();
    cpSync(join(root, "examples"), join(project.folder, "examples"), { recursive: true });
    return await runChild(
      "node",
      ["--disable-warning=ExperimentalWarning", `examples/${file}`, ...args],
      project.folder,
    );
  } finally {
    project.remove();
    rmSync(folder, { recursive: true, force: true });
  }
}

if (import.meta.main) {
  const [number, ...rest] = process.argv.slice(2);
  if (number === undefined) {
    for (const file of EXAMPLES) console.log(`${Number(file.slice(0, 2))}  ${file.slice(3)}: ${summaryOf(file)}`);
  } else {
    const file = exampleOf(number);
    const args = rest.filter((argument) => argument !== "--node");
    process.exitCode = rest.includes("--node")
      ? await runOnNode(file, args)
      : await runChild(process.execPath, ["run", "-A", `examples/${file}`, ...args], root);
  }
}
