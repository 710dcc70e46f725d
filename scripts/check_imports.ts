/**
 * Checks who imports whom. The tables say what is allowed; whatever they do not name is refused.
 *
 *     deno run -A scripts/check_imports.ts [folder]
 */
// deno-lint-ignore-file no-console
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, posix } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { type Import, imports, lineOf, scan } from "./source_scan.ts";

/** Parts of `src/`, and `mod.ts`, from the bottom up: a part imports from its own layer and those before it. */
const LAYERS: readonly (readonly string[])[] = [
  ["errors", "secret", "log", "deadline", "retry", "surroundings"],
  ["wire", "version", "storage"],
  ["portal", "pipeline", "access"],
  ["core"],
  ["upgrade"],
  ["announce", "check", "receive", "handle", "visit", "worker", "tick", "admin", "start_checks"],
  ["http"],
  ["app_options"],
  ["app"],
  ["mod"],
  ["testing", "cli"],
];

interface Area {
  /** Which files it is about; the first area that fits counts. */
  readonly files: RegExp;
  /** Files that they may import. */
  readonly local: RegExp;
  /** Its first group names what a file is of; files of the same may import each other, too. */
  readonly part?: RegExp;
  /** Packages that they may import, of those that deno.json names. */
  readonly packages: RegExp;
  /** May name `Deno`, `process` and the like. */
  readonly runtime?: true;
  /** Is packed: `deno pack` makes the package of an `import("literal")` a hard dependency. */
  readonly packed?: true;
}

const AREAS: readonly Area[] = [
  { files: /^mod\.ts$/, local: /^src\//, packages: /^$/, packed: true },
  // Asks the runtime where it is, for the warnings at the start, and for nothing else.
  { files: /^src\/surroundings\.ts$/, local: /^$/, packages: /^$/, runtime: true, packed: true },
  { files: /^src\/cli\//, local: /^(src\/|mod\.ts$)/, packages: /^node:/, runtime: true, packed: true },
  // Starts processes: tests run where there are some.
  { files: /^src\/testing\//, local: /^(src\/|mod\.ts$)/, packages: /^node:/, runtime: true, packed: true },
  { files: /^src\//, local: /^(src\/|mod\.ts$)/, packages: /^(zod|semver)$/, packed: true },
  {
    files: /^plugins\//,
    local: /^mod\.ts$/,
    part: /^plugins\/(\w+)[./]/,
    packages: /^(?!@b24\/)/,
    runtime: true,
    packed: true,
  },
  { files: /^examples\//, local: /^examples\//, packages: /./, runtime: true },
  { files: /^scripts\//, local: /^(scripts\/|src\/|plugins\/|mod\.ts$)/, packages: /./, runtime: true },
  {
    files: /^tests\//,
    local: /^(tests\/|scripts\/|examples\/|src\/|plugins\/|mod\.ts$)/,
    packages: /./,
    runtime: true,
  },
];

const SKIPPED = new Set(["node_modules", "npm", "cov", "data", "fixtures"]);
const RUNTIME = /(?<![\w$.]|\.\s)(?:globalThis\??\.)?(Deno|process|Buffer|require|__dirname|__filename)\b(?!\s*\??:)/g;

/** What is wrong in the tree under `root`, one line each; empty when all is well. */
export function checkImports(root: string): string[] {
  const { name, imports: mapped = {} } = JSON.parse(readFileSync(join(root, "deno.json"), "utf8"));
  const packages = [name, ...Object.keys(mapped)];
  const files = ["", "src", "plugins", "examples", "scripts", "tests"].flatMap((folder) => modules(root, folder));
  const problems: string[] = [];
  const graph = new Map<string, string[]>();
  for (const file of files) {
    const text = readFileSync(join(root, file), "utf8");
    const area = AREAS.find(({ files }) => files.test(file));
    if (area === undefined) {
      problems.push(`${file}: is in no area that check_imports.ts knows`);
      continue;
    }
    if (layerOf(file) === -1) problems.push(`${file}: has no layer in check_imports.ts`);
    const scanned = scan(text);
    const report = (position: number, problem: string): number =>
      problems.push(`${file}:${lineOf(text, position)}: ${problem}`);
    const targets: string[] = [];
    for (const found of imports(scanned)) {
      const target = /^\.{1,2}\//.test(found.specifier) ? posix.join(posix.dirname(file), found.specifier) : undefined;
      if (target !== undefined) targets.push(target);
      const problem = target === undefined
        ? packageProblem(found, area, packages)
        : fileProblem(file, target, area, existsSync(join(root, target)));
      if (problem !== undefined) report(found.start, problem);
    }
    graph.set(file, targets);
    if (area.runtime) continue;
    for (const { 1: name, index } of scanned.code.matchAll(RUNTIME)) {
      report(index, `names ${name}, and the core knows no runtime`);
    }
    for (const { value, start } of scanned.strings) {
      if (/^node:/.test(value)) report(start, `names ${value}, and the core knows no runtime`);
    }
  }
  return [...problems, ...cycles(graph)];
}

function fileProblem(file: string, target: string, area: Area, exists: boolean): string | undefined {
  if (!exists) return `imports ${target}, which is not there`;
  const [own, its] = [file, target].map((path) => area.part?.exec(path)?.[1]);
  const isLocal = area.local.test(target) || (its !== undefined && its === own);
  if (!isLocal) return `imports ${target}, wanted a path that fits ${area.local.source}`;
  const [from, to] = [layerOf(file), layerOf(target)];
  return from !== undefined && to !== undefined && to > from ? `imports ${target}, which is a layer above` : undefined;
}

function packageProblem({ specifier, dynamic }: Import, area: Area, packages: string[]): string | undefined {
  const known = specifier.startsWith("node:") ||
    packages.some((name) => specifier === name || specifier.startsWith(`${name}/`));
  if (!known) return `imports ${specifier}, wanted a key of "imports" in deno.json`;
  if (!area.packages.test(specifier)) return `imports ${specifier}, wanted a package that fits ${area.packages.source}`;
  if (area.packed && dynamic && !specifier.startsWith("node:")) {
    return `imports ${specifier} dynamically by a literal, which makes it a hard dependency on npm`;
  }
  return undefined;
}

/** Index in LAYERS; -1: should have one; undefined: no part of the layered core. */
function layerOf(file: string): number | undefined {
  const part = /^src\/([^/]+?)(?:\.ts)?(?:\/|$)/.exec(file)?.[1] ?? (file === "mod.ts" ? "mod" : undefined);
  return part === undefined ? undefined : LAYERS.findIndex((layer) => layer.includes(part));
}

/** One line for every cycle, named from its first file in the alphabet. */
function cycles(graph: ReadonlyMap<string, readonly string[]>): string[] {
  const found = new Set<string>();
  const done = new Set<string>();
  const visit = (file: string, path: readonly string[]): void => {
    const at = path.indexOf(file);
    if (at >= 0) {
      const cycle = path.slice(at);
      const first = cycle.indexOf([...cycle].sort()[0]!);
      found.add([...cycle.slice(first), ...cycle.slice(0, first + 1)].join(" -> "));
    } else if (!done.has(file)) {
      for (const target of graph.get(file) ?? []) visit(target, [...path, file]);
      done.add(file);
    }
  };
  for (const file of graph.keys()) visit(file, []);
  return [...found].sort().map((cycle) => `${cycle}: a cycle of imports`);
}

/** The modules of a folder of `root` and the folders in it; of `root` itself only its own. */
function modules(root: string, folder: string): string[] {
  if (!existsSync(join(root, folder))) return [];
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = posix.join(folder, entry.name);
    if (entry.isDirectory()) return folder === "" || SKIPPED.has(entry.name) ? [] : modules(root, path);
    return /\.m?[jt]s$/.test(entry.name) ? [path] : [];
  }).sort();
}

if (import.meta.main) {
  const problems = checkImports(process.argv[2] ?? fileURLToPath(new URL("..", import.meta.url)));
  for (const problem of problems) console.log(problem);
  process.exitCode = problems.length === 0 ? 0 : 1;
}
