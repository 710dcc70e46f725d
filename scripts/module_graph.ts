/** The imports of modules, as `deno info --json` reports them. */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";
import { read } from "./run.ts";

/** A module and what it imports and re-exports, types included. */
export interface ModuleImports {
  /** Path from the root. */
  readonly file: string;
  readonly imports: readonly Import[];
}

/** An import or a re-export. */
export interface Import {
  /** As it is written. */
  readonly specifier: string;
  /** From 1. */
  readonly line: number;
  /** `import("…")`. */
  readonly isDynamic: boolean;
}

/** The part of a module's report by `deno info --json` that is used here. */
interface InfoModule {
  readonly specifier: string;
  readonly dependencies?: readonly {
    readonly specifier: string;
    readonly code?: InfoTarget;
    readonly type?: InfoTarget;
    readonly isDynamic?: true;
  }[];
}

interface InfoTarget {
  readonly span: { readonly start: { readonly line: number } };
}

/** Returns the imports of `files`, which are paths from `root`; a `deno.json` there maps packages. */
export async function moduleGraph(root: string, files: readonly string[]): Promise<ModuleImports[]> {
  const folder = mkdtempSync(join(tmpdir(), "onappupdate-graph-"));
  try {
    const entry = join(folder, "entry.ts");
    const paths = new Map(files.map((file) => [pathToFileURL(join(root, file)).href, file]));
    writeFileSync(entry, [...paths.keys()].map((url) => `import ${JSON.stringify(url)};`).join("\n"));
    const manifest = join(root, "deno.json");
    const config = existsSync(manifest) ? ["--config", manifest] : ["--no-config"];
    const { modules } = JSON.parse(await read(process.execPath, ["info", "--json", "--no-lock", ...config, entry]));
    return (modules as InfoModule[]).flatMap(({ specifier, dependencies = [] }) => {
      const file = paths.get(specifier);
      if (file === undefined) return [];
      const imports = dependencies.map(({ specifier, code, type, isDynamic = false }): Import => {
        const { line } = (code ?? type)!.span.start;
        return { specifier, line: line + 1, isDynamic };
      });
      return [{ file, imports }];
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
