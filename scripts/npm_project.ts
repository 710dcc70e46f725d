/** An npm project with the packed tarball installed, as a user of the package has it, and the Nodes to run it on. */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath, pathToFileURL } from "node:url";
import { MODULES } from "./build_npm.ts";
import { read } from "./run.ts";

const root = fileURLToPath(new URL("..", import.meta.url));

/** Files that the tests need besides the package. The sources come from the tarball. */
const COPIED = ["tests", "scripts"];

/** Packages that only the benchmarks, the scripts and their tests import. They are large, so that other tests do without them. */
const BENCH_PACKAGES: ReadonlySet<string> = new Set([
  ...["@arethetypeswrong/core", "esbuild", "publint", "terser"],
  ...["@octokit/webhooks", "@shopify/shopify-api", "@slack/bolt", "bullmq", "umzug"],
]);

/** One Node to run things on. */
export interface NodeBinary {
  readonly path: string;
  /** Such as `v24.1.0`. */
  readonly version: string;
}

/** A project in a temporary folder. */
export interface NpmProject {
  readonly folder: string;
  /** Installs what the tests import beside the package itself. */
  readonly installTestPackages: () => Promise<void>;
  /** Installs what the benchmarks import as well. */
  readonly installBenchPackages: () => Promise<void>;
  /** Environment in which the tests run on `node`. */
  readonly env: (node: NodeBinary) => Record<string, string>;
  readonly remove: () => void;
}

/** Installs `tarball` and its optional peers and nothing else, so that a dependency that it does not name is missed. */
export async function createNpmProject(tarball: string): Promise<NpmProject> {
  const folder = mkdtempSync(join(tmpdir(), "onappupdate-npm-"));
  const install = (packages: string[]): Promise<string> =>
    read("npm", ["install", "--no-audit", "--no-fund", "--prefer-offline", ...packages], { cwd: folder });
  const imports = packageSpecs();
  writeFileSync(join(folder, "package.json"), JSON.stringify({ private: true, type: "module" }));
  try {
    await install([tarball]);
    const installed = JSON.parse(readFileSync(join(folder, "node_modules/@b24/onappupdate/package.json"), "utf8"));
    const peers = Object.keys(installed.peerDependencies ?? {});
    if (peers.length > 0) await install(peers.map((name) => imports.get(name) ?? name));
    for (const name of COPIED) cpSync(join(root, name), join(folder, name), { recursive: true });
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
  // Tests import internal modules, too: from here on, the package has them as they were before they were put together.
  const takeApart = (): void =>
    cpSync(join(dirname(tarball), MODULES), join(folder, "node_modules/@b24/onappupdate"), { recursive: true });
  return {
    folder,
    installTestPackages: async () => {
      await install([...imports].filter(([name]) => !BENCH_PACKAGES.has(name)).map(([, spec]) => spec));
      takeApart();
    },
    installBenchPackages: async () => {
      await install([...imports.values()]);
      takeApart();
    },
    env: (node) => ({
      PATH: dirname(node.path) + delimiter + process.env["PATH"],
      // By environment, so that the processes that tests start get it, too.
      NODE_OPTIONS: `--disable-warning=ExperimentalWarning --import=${
        pathToFileURL(join(folder, "scripts/node_test_hooks.mjs"))
      }`,
    }),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/** Returns `name@range` of every package that deno.json maps, by name, without types, which only Deno needs. */
function packageSpecs(): Map<string, string> {
  const { imports } = JSON.parse(readFileSync(join(root, "deno.json"), "utf8")) as { imports: Record<string, string> };
  const specs = Object.entries(imports).map(([name, spec]) => {
    const range = spec.replace(/^npm:/, "");
    // Another version of a package has a name of its own, such as `express4`.
    return [name, range.startsWith(`${name}@`) ? range : `${name}@${spec}`] as const;
  });
  return new Map(specs.filter(([name]) => !name.startsWith("@types/")));
}

/** Finds a Node: `wanted` is a major version, which npx fetches if need be, or the path or name of a binary. */
export async function findNode(wanted: string): Promise<NodeBinary> {
  const where = ["-p", "process.execPath"];
  const path = /^\d+$/.test(wanted)
    ? await read("npx", ["-y", "--prefer-offline", "-p", `node@${wanted}`, "node", ...where])
    : await read(wanted, where);
  return { path, version: await read(path, ["--version"]) };
}
