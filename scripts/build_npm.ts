/**
 * Builds the npm package: `deno pack`, then what `deno pack` cannot say (bin, engines, description, peers), then shorter
 * modules, then `npm pack`. Prints the path of the tarball.
 *
 *     deno run -A scripts/build_npm.ts [folder]
 */
// deno-lint-ignore-file no-console
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { build, stop } from "esbuild";
import { minify } from "terser";
import { read, run } from "./run.ts";

const root = fileURLToPath(new URL("..", import.meta.url));

/** Fields laid over the generated package.json. */
const overlay = {
  description: "Bring every customer's Bitrix24 portal to the current version of your app: " +
    "verified ONAPPUPDATE events, upgrade handlers chosen by semver range, once each, in order",
  keywords: ["bitrix24", "onappupdate", "webhook", "middleware", "upgrade", "migration", "semver", "deno", "hono"],
  homepage: "https://github.com/b24/onappupdate#readme",
  bugs: "https://github.com/b24/onappupdate/issues",
  author: "The @b24/onappupdate authors",
  repository: { type: "git", url: "git+https://github.com/b24/onappupdate.git" },
  bin: { onappupdate: "src/cli/cli.js" },
  engines: { node: ">=22.13" },
  sideEffects: ["./src/cli/cli.js", "./src/cli/create.js"],
  publishConfig: { access: "public", provenance: true },
};

/** Optional peers: only some export paths need them, and only users of those install them. */
const optionalPeers: Readonly<Record<string, string>> = {
  "@bitrix24/b24jssdk": "^2.2.0",
  "@hono/node-server": "^2.0.0",
  "@opentelemetry/api": "^1.9.0",
  "hono": "^4.0.0",
  "nodemailer": "^10.0.0",
};

/** Folder beside the tarball with the modules before they are put together, which tests of internal modules import. */
export const MODULES = "modules";

interface Manifest {
  readonly exports: Readonly<
    Record<string, { readonly types: string; readonly import?: string; readonly default?: string }>
  >;
  readonly bin: Readonly<Record<string, string>>;
  dependencies?: Record<string, string>;
  peerDependencies?: Record<string, string>;
  peerDependenciesMeta?: Record<string, { optional: boolean }>;
}

/**
 * Builds the tarball into `folder`, which is emptied first, and gives its path.
 *
 * @throws {Error} with all that a tool printed when it fails
 */
export async function buildNpm(folder: string = join(root, "npm")): Promise<string> {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });

  const raw = join(folder, "raw.tgz");
  // Source maps would carry this machine's paths.
  const packing = await run(process.execPath, ["pack", "--allow-dirty", "--no-source-maps", "--output", raw], {
    cwd: root,
  });
  if (!packing.ok || /\bwarning\b|slow type/i.test(packing.output)) {
    throw new Error(`deno pack failed\n${packing.output}`);
  }
  await read("tar", ["xzf", raw], { cwd: folder });
  rmSync(raw);

  const unpacked = join(folder, "package");
  // They lead to pages of the repository, and are read there.
  for (const text of ["CHANGELOG.md", "SECURITY.md"]) rmSync(join(unpacked, text), { force: true });
  const packedManifest: Manifest = JSON.parse(readFileSync(join(unpacked, "package.json"), "utf8"));
  const manifest = { ...packedManifest, ...overlay, typesVersions: typesVersions(packedManifest) };
  for (const [name, range] of Object.entries(optionalPeers)) {
    delete manifest.dependencies?.[name];
    (manifest.peerDependencies ??= {})[name] = range;
    (manifest.peerDependenciesMeta ??= {})[name] = { optional: true };
  }
  writeFileSync(join(unpacked, "package.json"), JSON.stringify(manifest, null, 2) + "\n");
  const modules = join(folder, MODULES);
  for (const file of modulesIn(unpacked)) cpSync(file, join(modules, relative(unpacked, file)));
  await bundle(unpacked, manifest);

  const packed = await read("npm", ["pack", "--silent", "--json", "./package"], { cwd: folder });
  const [{ filename }] = JSON.parse(packed);
  return join(folder, filename);
}

/** Returns the paths of the compiled modules in a folder. */
function modulesIn(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(".js")).map(({ parentPath, name }) =>
      join(parentPath, name)
    );
}

/** Returns where TypeScript finds the types of the export paths with `moduleResolution: "node10"`, which ignores `exports`. */
function typesVersions({ exports }: Manifest): object {
  const types = Object.entries(exports).filter(([path]) => path !== ".")
    .map(([path, { types }]) => [path.slice("./".length), [types]]);
  return { "*": Object.fromEntries(types) };
}

/**
 * Puts the modules of a package together: one for each export and for the command, and those that several of them share. Drops
 * comments and spaces, and shortens the names of variables. Functions and classes keep their names, which stack traces have,
 * and editors show the comments of the types. Hundreds of modules would make the tarball half as large again.
 */
async function bundle(folder: string, { exports, bin }: Manifest): Promise<void> {
  const targets = Object.values(exports).map((paths) => paths.import ?? paths.default);
  const entryPoints = [...new Set([...targets, ...Object.values(bin)].map((path) => join(folder, path!)))];
  const { outputFiles } = await build({
    ...{ entryPoints, outdir: folder, outbase: folder, write: false, bundle: true, splitting: true, format: "esm" },
    ...{ target: "esnext", platform: "node", packages: "external", legalComments: "none", charset: "utf8" },
    chunkNames: "chunks/[hash]",
  }).finally(stop);
  for (const file of modulesIn(folder)) rmSync(file);
  for (const { path, text } of outputFiles) {
    const { code } = await minify(withClassNames(text), {
      ...{ module: true, compress: false, keep_fnames: true, keep_classnames: true },
      // Node prints the whole line in which an error was thrown.
      format: { comments: false, max_line_len: 1000 },
    });
    if (code === undefined) throw new Error(`terser failed on ${path}`);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, code);
  }
}

/**
 * Returns a module with classes in place of the variables that esbuild makes of them, `var A = class _A {}`: terser shortens the
 * names of variables, and errors have the names of their classes.
 */
function withClassNames(code: string): string {
  const classes = [...code.matchAll(/^var (\w+) = class _\1\b/gm)].map(([, name]) => name!);
  const own = classes.reduce((text, name) => text.replaceAll(new RegExp(`\\b_${name}\\b`, "g"), name), code);
  return own.replaceAll(/^var (\w+) = class(?: \1)?(?= extends |\s*\{)/gm, "class $1");
}

if (import.meta.main) console.log(await buildNpm(...process.argv.slice(2, 3).map((folder) => resolve(folder))));
