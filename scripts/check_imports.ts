/**
 * Checks the import direction of the whole tree, types included, on the module graph that `deno info --json` reports.
 *
 *     deno run -A scripts/check_imports.ts [folder]
 */
// deno-lint-ignore-file no-console
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, posix } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { moduleGraph } from "./module_graph.ts";

/**
 * The parts of the package, from the bottom up: a part imports itself and the rows above it in this table, never
 * another part of its own row. A part is a folder of `src/` or a module directly in it; the modules in the root count
 * as `mod.ts`, `storage.ts` and `errors.ts`.
 */
const RANKS: readonly (readonly string[])[] = [
  ["src/errors.ts", "src/secret.ts", "src/defined.ts", "src/async"],
  ["src/check_options.ts"],
  ["src/version.ts", "src/redact.ts", "src/storage"],
  ["src/logger.ts"],
  ["src/bitrix24"],
  ["src/net", "src/retry.ts"],
  ["src/portal"],
  ["src/credentials"],
  ["src/plugin"],
  ["src/verify"],
  ["src/upgrade", "src/intake", "src/outbox"],
  ["src/rollout"],
  ["src/worker"],
  ["src/app"],
  ["mod.ts", "storage.ts", "errors.ts"],
  ["src/testing", "plugins"],
  ["src/cli"],
];

/** Imports that the ranks would allow: the worker finishes what intake accepts, and neither knows the other. */
const FORBIDDEN: readonly (readonly [from: RegExp, to: RegExp])[] = [[/^src\/worker\//, /^src\/intake\//]];

/** Rules for the files of a folder, besides the ranks. The first that matches applies. */
interface Area {
  readonly files: RegExp;
  /** Local files that may be imported. */
  readonly local: RegExp;
  /** Packages and builtin modules that may be imported. */
  readonly packages: RegExp;
  /** The first group names a unit; files of one unit may import each other. */
  readonly unit?: RegExp;
  /** Part of the package: `deno pack` makes a literal dynamic import a hard dependency. */
  readonly shipped?: true;
}

const AREAS: readonly Area[] = [
  { files: /^(mod|storage|errors)\.ts$/, local: /^src\//, packages: /^$/, shipped: true },
  { files: /^src\/testing\//, local: /^(src\/|(mod|storage|errors)\.ts$)/, packages: /^node:/, shipped: true },
  {
    files: /^src\/cli\//,
    local: /^(src\/|(mod|storage|errors)\.ts$|plugins\/operator_api\.ts$)/,
    packages: /^(node:|commander$|cli-progress$)/,
    shipped: true,
  },
  { files: /^src\//, local: /^src\//, packages: /^semver$/, shipped: true },
  {
    files: /^plugins\//,
    local: /^(mod|storage|errors)\.ts$/,
    packages: /^(?!@b24\/)/,
    // The console shows what the operator API answers.
    unit: /^plugins\/(operator(?=_(?:api|console)[./])|\w+(?=[./]))/,
    shipped: true,
  },
  { files: /^examples\//, local: /^examples\//, packages: /./ },
  { files: /^scripts\//, local: /^((scripts|src|plugins|tests\/support)\/|(mod|storage|errors)\.ts$)/, packages: /./ },
  { files: /^tests\//, local: /./, packages: /./ },
];

/** Returns the problems of the tree under `root`, one line each; empty if there are none. */
export async function checkImports(root: string): Promise<string[]> {
  const { name, imports: mapped = {} } = JSON.parse(readFileSync(join(root, "deno.json"), "utf8"));
  const packages: string[] = [name, ...Object.keys(mapped)];
  const files = modulesIn(root);
  const problems: string[] = [];
  const graph = new Map<string, string[]>();
  for (const { file, imports } of await moduleGraph(root, files)) {
    const area = AREAS.find(({ files }) => files.test(file));
    if (area === undefined) problems.push(`${file}: no rule of check_imports.ts covers it`);
    if (rankOf(file) === -1) problems.push(`${file}: has no rank in check_imports.ts`);
    graph.set(file, []);
    for (const { specifier, line, isDynamic } of imports) {
      const target = /^\.{1,2}\//.test(specifier) ? posix.join(posix.dirname(file), specifier) : undefined;
      if (target !== undefined) graph.get(file)!.push(target);
      const problem = area === undefined
        ? undefined
        : target === undefined
        ? packageProblem(specifier, area, packages, isDynamic)
        : fileProblem(file, target, area, existsSync(join(root, target)));
      if (problem !== undefined) problems.push(`${file}:${line}: ${problem}`);
    }
  }
  return [...problems.sort(), ...cyclesOf(graph)];
}

function fileProblem(file: string, target: string, area: Area, exists: boolean): string | undefined {
  if (!exists) return `imports ${target}, which does not exist`;
  if (FORBIDDEN.some(([from, to]) => from.test(file) && to.test(target))) {
    return `imports ${target}, which is forbidden`;
  }
  const [own, other] = [file, target].map((path) => area.unit?.exec(path)?.[1]);
  if (!area.local.test(target) && (own === undefined || own !== other)) {
    return `imports ${target}, wanted a path that matches ${area.local.source}`;
  }
  const [from, to] = [rankOf(file), rankOf(target)];
  if (from === undefined || to === undefined || to < from || partOf(file) === partOf(target)) return undefined;
  return to > from
    ? `imports ${target}, which has a higher rank`
    : own !== undefined && own === other
    ? undefined
    : `imports ${target}, another part of the same rank`;
}

function packageProblem(
  written: string,
  area: Area,
  packages: readonly string[],
  isDynamic: boolean,
): string | undefined {
  const known = written.startsWith("node:") ||
    packages.some((name) => written === name || written.startsWith(`${name}/`));
  if (!known) return `imports ${written}, wanted a key of "imports" in deno.json`;
  if (!area.packages.test(written)) return `imports ${written}, wanted a package that matches ${area.packages.source}`;
  if (area.shipped && isDynamic && !written.startsWith("node:")) {
    return `imports ${written} dynamically by a literal, which makes it a hard dependency on npm`;
  }
  return undefined;
}

/** Returns the part of the package that a file belongs to. */
function partOf(file: string): string {
  return /^(src\/[^/]+|plugins|[^/]+\.ts)/.exec(file)?.[0] ?? file;
}

/** Returns the rank of a file: -1 if it should have one, `undefined` outside of the package. */
function rankOf(file: string): number | undefined {
  if (!/^(src|plugins)\/|^[^/]+\.ts$/.test(file)) return undefined;
  return RANKS.findIndex((parts) => parts.includes(partOf(file)));
}

/** Returns one line for each cycle, named from its first file in the alphabet. */
function cyclesOf(graph: ReadonlyMap<string, readonly string[]>): string[] {
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

const FOLDERS = ["src", "plugins", "examples", "scripts", "tests"];
const SKIPPED = new Set(["node_modules", "fixtures", "data"]);

/** Returns the modules under `root`, as paths from there. */
function modulesIn(root: string): string[] {
  const walk = (folder: string): string[] =>
    readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
      const path = posix.join(folder, entry.name);
      if (entry.isDirectory()) {
        const isTop = folder === "";
        return (isTop ? FOLDERS.includes(entry.name) : !SKIPPED.has(entry.name)) ? walk(path) : [];
      }
      return /\.m?[jt]s$/.test(entry.name) ? [path] : [];
    });
  return walk("").sort();
}

if (import.meta.main) {
  const problems = await checkImports(process.argv[2] ?? fileURLToPath(new URL("..", import.meta.url)));
  for (const problem of problems) console.log(problem);
  process.exitCode = problems.length === 0 ? 0 : 1;
}
