/**
 * The code blocks that documentation shows, as programs to run. Every ```ts block of README.md, docs/*.md and the doc
 * comments of what ships is one, whole in itself. Words after `ts` say how it runs:
 *
 * - `deno`: on Deno, whatever runtime the tests run on. Without it: on the runtime of the tests; `node` says the same
 *   to the reader (on Deno such a block runs on its Node compatibility).
 * - `redis`: a Redis server of its own takes the place of the one at 127.0.0.1:6379.
 * - `serve`: it serves until stopped. It is sent one POST, then SIGTERM. Any free port takes the place of the one that
 *   it names.
 *
 * In Markdown, what a block needs and the reader has just seen can stand in a comment right before it:
 * `<!-- before`, lines of code, `-->`.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, posix } from "node:path";
import process from "node:process";
import { fileURLToPath, pathToFileURL } from "node:url";
import { startRedis } from "./redis_server.ts";

/** One block of code. */
export interface Snippet {
  /** Where it stands, such as `README.md:12`. */
  readonly place: string;
  readonly tags: readonly Tag[];
  readonly code: string;
}

type Tag = "deno" | "node" | "redis" | "serve";
const TAGS: readonly string[] = ["deno", "node", "redis", "serve"] satisfies Tag[];

/** How a snippet ended: all it printed, and what was wrong with that. */
export interface Outcome {
  readonly output: string;
  /** Absent when it ran as it should. */
  readonly problem?: string;
}

/** Servers take any free port, so that a snippet can name one that is taken here. */
const ANY_PORT = fileURLToPath(new URL("snippet_preload.mjs", import.meta.url));
const ANY_PORT_DENO_SERVE = { DENO_SERVE_ADDRESS: "tcp:127.0.0.1:0" };
const TIMEOUT_MS = 60_000;

/** All snippets of the repository at `root`. @throws {SyntaxError} for a tag that is none */
export function collect(root: string): Snippet[] {
  const markdown = ["README.md", ...filesIn(root, "docs")].filter((file) => file.endsWith(".md"));
  const sources = ["mod.ts", ...filesIn(root, "src"), ...filesIn(root, "plugins")].filter((file) =>
    file.endsWith(".ts")
  );
  const text = (file: string): string => readFileSync(join(root, file), "utf8");
  return [
    ...markdown.flatMap((file) => blocks(text(file), file)),
    ...sources.flatMap((file) => blocks(docComments(text(file)), file)),
  ];
}

/** The ```ts blocks of a Markdown text. */
export function blocks(markdown: string, file: string): Snippet[] {
  const found = markdown.matchAll(
    /(?:<!-- before\n(?<before>[\s\S]*?)-->\s*?\n)?^(?<indent>[ \t]*)```ts(?<tags>[^\n]*)\n(?<code>[\s\S]*?)^[ \t]*```[ \t]*$/gm,
  );
  return [...found].map(({ groups: { before = "", indent = "", tags = "", code = "" } = {}, 0: whole, index }) => {
    const start = index + whole.lastIndexOf("```ts");
    const place = `${file}:${markdown.slice(0, start).split("\n").length}`;
    const words = tags.trim().split(/\s+/).filter((word) => word !== "");
    const unknown = words.find((word) => !TAGS.includes(word));
    if (unknown !== undefined) {
      throw new SyntaxError(
        `cannot run ${place}: saw tag ${JSON.stringify(unknown)}, wanted one of ${TAGS.join(", ")}`,
      );
    }
    return { place, tags: words as Tag[], code: before + code.replaceAll(new RegExp(`^${indent}`, "gm"), "") };
  });
}

/** The text of the doc comments alone, each line on the line where it was. */
function docComments(source: string): string {
  let text = "", at = 0;
  for (const { 0: comment, index } of source.matchAll(/\/\*\*[\s\S]*?\*\//g)) {
    text += source.slice(at, index).replace(/[^\n]/g, "");
    text += comment.replace(/^\/\*\*|\*\/$/g, "").replace(/^[ \t]*\*(?: |$)/gm, "");
    at = index + comment.length;
  }
  return text;
}

function filesIn(root: string, folder: string): string[] {
  if (!existsSync(join(root, folder))) return [];
  return readdirSync(join(root, folder), { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) =>
      posix.join(entry.parentPath.slice(root.length).replaceAll("\\", "/").replace(/^\//, ""), entry.name)
    )
    .sort();
}

/** Where {@linkcode execute} keeps a snippet's module, in a folder of its own, which is its working directory. */
export function moduleOf(snippet: Snippet, folder: string): string {
  const own = join(folder, snippet.place.replace(/[^\w.]+/g, "_"));
  mkdirSync(own, { recursive: true });
  const path = join(own, "snippet.ts");
  writeFileSync(path, snippet.code);
  return path;
}

/**
 * Runs a snippet in a child process. On Deno the package is that of `deno.json` of `root`; on Node the one installed
 * where `folder` is.
 */
export async function execute(snippet: Snippet, folder: string, root: string): Promise<Outcome> {
  if (!snippet.tags.includes("redis")) return await run(snippet, folder, root);
  const redis = await startRedis();
  try {
    return await run({ ...snippet, code: snippet.code.replaceAll(":6379", `:${redis.port}`) }, folder, root);
  } finally {
    await redis.remove();
  }
}

async function run(snippet: Snippet, folder: string, root: string): Promise<Outcome> {
  const path = moduleOf(snippet, folder);
  const onDeno = process.versions.deno !== undefined || snippet.tags.includes("deno");
  const args = onDeno
    ? ["run", "-A", "--no-check", "--config", join(root, "deno.json"), "--preload", ANY_PORT, path]
    : ["--import", pathToFileURL(ANY_PORT).href, path];
  const child = spawn(onDeno ? denoBinary() : process.execPath, args, {
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
        const url = /http:\/\/[\w.:[\]-]+:\d+\b/.exec(output)?.[0];
        if (url !== undefined) resolve(url);
      });
    }
  });
  let problem: string | undefined;
  if (snippet.tags.includes("serve")) {
    const url = await Promise.race([listening, closed.then(() => undefined)]);
    if (url === undefined) problem = "ended before it listened";
    else problem = await post(url);
    if (child.exitCode === null) process.kill(child.pid!, "SIGTERM");
  }
  const [code, signal] = await closed;
  const stopped = snippet.tags.includes("serve") && (signal === "SIGTERM" || code === 143);
  if (signal === "SIGKILL") problem ??= `was still running after ${TIMEOUT_MS} ms; tag it "serve" if it should`;
  else if (code !== 0 && !stopped) problem ??= `ended with ${code === null ? signal : `exit code ${code}`}`;
  return { output, ...(problem === undefined ? {} : { problem }) };
}

/** What is wrong with the answer to an event that is none: a server that works refuses it, and does not fail. */
async function post(url: string): Promise<string | undefined> {
  try {
    const response = await fetch(url, { method: "POST", body: new URLSearchParams({ event: "" }) });
    await response.text();
    return response.status < 500 ? undefined : `answered ${response.status} to a POST`;
  } catch (error) {
    return `did not answer a POST: ${error}`;
  }
}

/** Deno itself where the tests run on it; where they run on Node, DENO_BIN says where it is. */
export function denoBinary(): string {
  const path = process.versions.deno === undefined ? process.env["DENO_BIN"] : process.execPath;
  if (path === undefined) throw new Error("cannot find Deno: saw no DENO_BIN in the environment, wanted its path");
  return path;
}
