/**
 * The code blocks of the documentation as programs. Every ```ts block of README.md, docs/*.md and the doc comments of what
 * ships is one, complete in itself. Words after `ts` say how it runs:
 *
 * - `serve`: it serves until it is stopped. It gets one POST and then SIGTERM, in a process of its own.
 * - `node`: on Node, against the packed package. All others run on Deno. One with decorators, which Node does not know, is
 *   compiled first, as Nest's command line does it.
 *
 * Databases are created in a folder of the block's own, servers take any free port, and the tests' Redis server takes the
 * place of the one at port 6379.
 *
 * In Markdown, a comment right before a block can hold what the block needs and the reader has just seen: `<!-- before`,
 * lines of code, `-->`.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import process from "node:process";
import { fileURLToPath, pathToFileURL } from "node:url";
import { transformSync } from "esbuild";
import { run } from "../../scripts/run.ts";
import { readReport } from "../../scripts/test_report.ts";
import { failureOutput } from "../../scripts/test_run.ts";
import { root } from "../support/process.ts";

/** One block of code. */
export interface Snippet {
  /** The place, such as `README.md:12`. */
  readonly place: string;
  readonly tags: readonly Tag[];
  readonly code: string;
}

const TAGS = ["node", "serve"] as const;
type Tag = typeof TAGS[number];

/** The end of a snippet: its output, and the problem if there was one. */
export interface Outcome {
  readonly output: string;
  readonly problem?: string;
}

/** Returns all snippets of the repository. @throws {SyntaxError} for an unknown tag */
export function collect(): Snippet[] {
  const files = (folder: string, ending: string): string[] =>
    readdirSync(join(root, folder), { withFileTypes: true, recursive: true })
      .filter((entry) => entry.isFile() && entry.name.endsWith(ending))
      .map((entry) => relative(root, join(entry.parentPath, entry.name))).sort();
  const text = (file: string): string => readFileSync(join(root, file), "utf8");
  // Translations have the code of their originals, which translations_test.ts checks.
  const markdown = ["README.md", ...files("docs", ".md").filter((file) => !file.startsWith(join("docs", "ru")))];
  const sources = readdirSync(root).filter((file) => file.endsWith(".ts")).sort();
  return [
    ...markdown.flatMap((file) => blocks(text(file), file)),
    ...[...sources, ...files("src", ".ts"), ...files("plugins", ".ts")]
      .flatMap((file) => blocks(docComments(text(file)), file)),
  ];
}

/** Returns the ```ts blocks of a Markdown text. */
export function blocks(markdown: string, file: string): Snippet[] {
  const found = markdown.matchAll(
    /(?:<!-- before\n(?<before>[\s\S]*?)-->\s*?\n)?^(?<indent>[ \t]*)```ts(?<tags>[^\n]*)\n(?<code>[\s\S]*?)^[ \t]*```[ \t]*$/gm,
  );
  return [...found].map(({ groups: { before = "", indent = "", tags = "", code = "" } = {}, 0: whole, index }) => {
    const start = index + whole.lastIndexOf("```ts");
    const place = `${file}:${markdown.slice(0, start).split("\n").length}`;
    const words = tags.trim().split(/\s+/).filter((word) => word !== "");
    const unknown = words.find((word) => !TAGS.some((tag) => tag === word));
    if (unknown !== undefined) {
      throw new SyntaxError(
        `cannot run ${place}: saw tag ${JSON.stringify(unknown)}, wanted one of ${TAGS.join(", ")}`,
      );
    }
    return { place, tags: words as Tag[], code: before + code.replaceAll(new RegExp(`^${indent}`, "gm"), "") };
  });
}

/** Returns the text of the doc comments alone, each line on the line where it was. */
function docComments(source: string): string {
  let text = "", at = 0;
  for (const { 0: comment, index } of source.matchAll(/\/\*\*[\s\S]*?\*\//g)) {
    text += source.slice(at, index).replace(/[^\n]/g, "");
    text += comment.replace(/^\/\*\*|\*\/$/g, "").replace(/^[ \t]*\*(?: |$)/gm, "");
    at = index + comment.length;
  }
  return text;
}

/** Writes a snippet's module into a folder of its own below `folder`, and returns its path. */
export function write({ place, code }: Snippet, folder: string, redisPort: number): string {
  const own = mkdtempSync(join(folder, `${place.replaceAll(/[^\w.]+/g, "_")}-`));
  const path = join(own, "snippet.ts");
  const adapted = code.replaceAll(/(?<=\bpath: ")(?=\w+\.db")/g, `${own}/`).replaceAll(":6379", `:${redisPort}`);
  writeFileSync(path, adapted);
  return path;
}

/** Type checks modules. */
export async function check(paths: readonly string[]): Promise<Outcome> {
  const { ok, output } = await run(process.execPath, ["check", "--config", join(root, "deno.json"), ...paths]);
  return ok ? { output } : { output, problem: "does not pass the type check" };
}

/**
 * Runs modules that end by themselves, and the tests that they register, in one process of `deno test`. Returns the paths
 * of those that have run to their end; the problem is about the tests.
 */
export async function runAll(paths: readonly string[]): Promise<Outcome & { readonly ended: ReadonlySet<string> }> {
  const folder = mkdtempSync(join(tmpdir(), "snippets-run-"));
  const report = join(folder, "report.xml");
  try {
    // The last test of a module exists only if the rest of the module has run.
    const files = paths.map((path) => {
      const file = path.replace(/\.ts$/, "_test.ts");
      writeFileSync(file, `${readFileSync(path, "utf8")}\nDeno.test(${JSON.stringify(path)}, () => {});\n`);
      return file;
    });
    const args = ["test", "-A", "--no-check", "--parallel", "--config", join(root, "deno.json")];
    const { ok, output } = await run(process.execPath, [...args, `--junit-path=${report}`, ...files], {
      // Files that a snippet names by a relative path.
      cwd: folder,
    });
    const ended = new Set(readReport(readFileSync(report, "utf8")).passed);
    return { ended, output: failureOutput(output), ...(ok ? {} : { problem: "has a test that fails" }) };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Any free port instead of the one that a snippet names, which may be taken here. */
const ANY_PORT = fileURLToPath(new URL("_any_port.mjs", import.meta.url));
const ANY_PORT_DENO_SERVE = { DENO_SERVE_ADDRESS: "tcp:127.0.0.1:0" };
const TIMEOUT_MS = 60_000;

/** A module that serves. */
export interface ServingModule {
  /** The address that it listens on; `undefined` if it ended before it did. */
  readonly url: string | undefined;
  /** Everything that it has printed so far. */
  readonly output: () => string;
  /** Stops it by SIGTERM. Resolves to how it ended. */
  readonly stop: () => Promise<{ readonly code: number | null; readonly signal: string | null }>;
}

/** Starts a module that serves, on Deno or on the Node at `node`, on any free port. Resolves once it listens, or has ended. */
export async function startServing(path: string, node?: string): Promise<ServingModule> {
  return node === undefined
    ? await startProcess(
      process.execPath,
      ["run", "-A", "--no-check", "--config", join(root, "deno.json"), "--preload", ANY_PORT, path],
      path,
    )
    : await startProcess(
      node,
      ["--disable-warning=ExperimentalWarning", "--import", pathToFileURL(ANY_PORT).href, compiled(path)],
      path,
    );
}

/** Starts a command that serves the module at `path`, in the folder of the module. */
export async function startProcess(command: string, args: readonly string[], path: string): Promise<ServingModule> {
  const child = spawn(command, args, {
    cwd: join(path, ".."),
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, NO_COLOR: "1", ...ANY_PORT_DENO_SERVE },
    timeout: TIMEOUT_MS,
    killSignal: "SIGKILL",
  });
  const closed = once(child, "close") as Promise<[number | null, string | null]>;
  let output = "";
  const listening = new Promise<string>((resolve) => {
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text: string) => {
        output += text;
        const url = /(?:Listening on|server:) (http:\/\/[\w.:[\]-]+:\d+)\b/i.exec(output)?.[1];
        if (url !== undefined) resolve(url);
      });
    }
  });
  return {
    url: await Promise.race([listening, closed.then(() => undefined)]),
    output: () => output,
    stop: async () => {
      if (child.exitCode === null && child.signalCode === null) process.kill(child.pid!, "SIGTERM");
      const [code, signal] = await closed;
      return { code, signal };
    },
  };
}

/** Returns the module to run on Node: another one if it has decorators. */
function compiled(path: string): string {
  const code = readFileSync(path, "utf8");
  if (!/^@\w+\(/m.test(code)) return path;
  const to = path.replace(/\.ts$/, ".mjs");
  const compilerOptions = { experimentalDecorators: true, target: "es2023" };
  writeFileSync(to, transformSync(code, { loader: "ts", tsconfigRaw: { compilerOptions } }).code);
  return to;
}

/** Runs a module that serves, on Deno or on the Node at `node`, sends it a POST, and stops it. */
export async function serve(path: string, node?: string): Promise<Outcome> {
  const { url, output, stop } = await startServing(path, node);
  let problem = url === undefined ? "ended before it listened" : await post(url);
  const { code, signal } = await stop();
  if (signal === "SIGKILL") problem ??= `was still running after ${TIMEOUT_MS} ms`;
  else if (code !== 0 && code !== 143 && signal !== "SIGTERM") {
    problem ??= `ended with ${signal ?? `exit code ${code}`}`;
  }
  return { output: output(), ...(problem === undefined ? {} : { problem }) };
}

/** Returns the problem with the answer to a request that is no event: a server that works refuses it and does not fail. */
async function post(url: string): Promise<string | undefined> {
  try {
    const response = await fetch(url, { method: "POST", body: new URLSearchParams({ event: "" }) });
    await response.text();
    return response.status < 500 ? undefined : `answered ${response.status} to a POST`;
  } catch (error) {
    return `did not answer a POST: ${error}`;
  }
}
