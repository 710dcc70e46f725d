import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join, posix } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { buildNpm } from "../../scripts/build_npm.ts";
import { moduleGraph } from "../../scripts/module_graph.ts";
import { after, before, describe, it } from "../support/test.ts";

interface Manifest {
  readonly name: string;
  readonly exports: Readonly<Record<string, Readonly<Record<string, string>>>>;
  readonly dependencies: Readonly<Record<string, string>>;
  readonly peerDependencies: Readonly<Record<string, string>>;
  readonly peerDependenciesMeta: unknown;
  readonly bin: Readonly<Record<string, string>>;
  readonly engines: unknown;
  readonly repository: unknown;
  readonly homepage: unknown;
  readonly bugs: unknown;
  readonly author: unknown;
  readonly publishConfig: unknown;
}

const root = fileURLToPath(new URL("../..", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "onappupdate-tarball-"));
const unpacked = join(folder, "package");
let tarball: string;
let files: string[] = [];
let manifest: Manifest;

const read = (file: string): string => readFileSync(join(unpacked, file), "utf8");

before(async () => {
  // The gate builds it once.
  tarball = process.env["TEST_TARBALL"] ?? await buildNpm(join(folder, "npm"));
  execFileSync("tar", ["xzf", tarball, "-C", folder]);
  files = readdirSync(unpacked, { recursive: true, withFileTypes: true, encoding: "utf8" })
    .filter((entry) => entry.isFile())
    .map((entry) => posix.join(entry.parentPath.slice(unpacked.length + 1), entry.name)).sort();
  manifest = JSON.parse(read("package.json"));
});
after(() => rmSync(folder, { recursive: true, force: true }));

describe("npm tarball", () => {
  it("holds compiled modules, their types and four texts, and nothing else", () => {
    const texts = ["LICENSE", "README.md", "package.json"];
    const modules = files.filter((file) =>
      /^(mod|storage|errors|chunks\/.+|src\/.+|plugins\/.+)(\.js|\.d\.ts)$/.test(file)
    );
    assert.deepEqual(files.filter((file) => !modules.includes(file)), texts);
    assert.ok(modules.includes("mod.js") && modules.includes("mod.d.ts"));
  });

  it("has at most 500 kB", () => {
    const { size } = statSync(tarball);
    assert.ok(size <= 500_000, `${size} bytes: see bundle() of scripts/build_npm.ts`);
  });

  it("keeps comments in the types, and the names of functions and classes in the modules", () => {
    const types = read("src/app/app.d.ts");
    assert.match(types, /@throws \{TypeError\} if /);
    const code = files.filter((file) => file.endsWith(".js")).map(read).join("\n");
    assert.doesNotMatch(code, /@linkcode|@throws/);
    for (const name of ["function createApp(", "function writeRecord("]) assert.ok(code.includes(name), name);
    assert.doesNotMatch(code, /=class( extends|\{)/);
    assert.ok((code.match(/\bclass \w+Error extends /g) ?? []).length > 20);
    // One of two classes of a name would get a number, which users would see.
    assert.doesNotMatch(code, /\bclass \w*[a-z]\d\b/);
  });

  it("has short lines, because Node prints the whole line in which an error was thrown", () => {
    const code = files.filter((file) => file.endsWith(".js")).map(read).join("\n");
    assert.ok(code.length / code.split("\n").length < 1200);
  });

  it("names no path of this machine, no source map and no registry", () => {
    for (const file of files) {
      const text = read(file);
      for (const path of [root, homedir() + "/", tmpdir() + "/onappupdate"]) {
        assert.ok(!text.includes(path), `${file} names ${path}`);
      }
      assert.doesNotMatch(
        text,
        /file:\/\/\/|sourceMappingURL|registry\.[a-z]+\.(?:com|org|net|io)\b|npm\.jsr\.io/,
        file,
      );
    }
  });

  it("has a module and its types for every export of deno.json", () => {
    const { exports } = JSON.parse(readFileSync(join(root, "deno.json"), "utf8"));
    assert.deepEqual(Object.keys(manifest.exports), Object.keys(exports));
    for (const targets of Object.values(manifest.exports)) {
      for (const target of Object.values(targets)) assert.ok(existsSync(join(unpacked, target)), target);
      assert.match(targets["types"] ?? "", /\.d\.ts$/);
    }
  });

  it("imports only its own files, builtins of Node, and packages that it names", async () => {
    const named = [manifest.dependencies, manifest.peerDependencies].flatMap((packages) => Object.keys(packages));
    for (const { file, imports } of await moduleGraph(unpacked, files.filter((file) => file.endsWith(".js")))) {
      for (const { specifier } of imports) {
        if (specifier.startsWith(".")) assert.ok(files.includes(posix.join(posix.dirname(file), specifier)), specifier);
        else {
          const [name] = /^(@[^/]+\/)?[^/]+/.exec(specifier)!;
          assert.ok(specifier.startsWith("node:") || named.includes(name), `${file} imports ${specifier}`);
        }
      }
    }
  });

  it("loads the packages of the command line in the command line only", async () => {
    const graph = await moduleGraph(unpacked, files.filter((file) => file.endsWith(".js")));
    const importsOf = new Map(graph.map(({ file, imports }) => [file, imports.map(({ specifier }) => specifier)]));
    const entries = Object.entries(manifest.exports).filter(([path]) => !/^\.\/(cli|create)$/.test(path));
    for (const [path, targets] of entries) {
      const loaded = new Set([posix.normalize(targets["import"] ?? targets["default"]!)]);
      for (const file of loaded) {
        for (const specifier of importsOf.get(file)!) {
          assert.doesNotMatch(specifier, /^(commander|cli-progress)$/, `${path} by ${file}`);
          if (specifier.startsWith(".")) loaded.add(posix.join(posix.dirname(file), specifier));
        }
      }
    }
  });

  it("asks for three packages and two of the command line, and for five others where they are used", () => {
    assert.deepEqual(
      Object.keys(manifest.dependencies).sort(),
      ["cli-progress", "commander", "semver", "standardwebhooks", "zod"],
    );
    assert.deepEqual(manifest.peerDependencies, {
      "@bitrix24/b24jssdk": "^2.2.0",
      "@hono/node-server": "^2.0.0",
      "@opentelemetry/api": "^1.9.0",
      "hono": "^4.0.0",
      "nodemailer": "^10.0.0",
    });
    assert.deepEqual(manifest.peerDependenciesMeta, {
      "@bitrix24/b24jssdk": { optional: true },
      "@hono/node-server": { optional: true },
      "@opentelemetry/api": { optional: true },
      "hono": { optional: true },
      "nodemailer": { optional: true },
    });
  });

  it("says what deno pack cannot say", () => {
    assert.deepEqual(manifest.engines, { node: ">=22.13" });
    assert.deepEqual(manifest.repository, { type: "git", url: "git+https://github.com/b24/onappupdate.git" });
    assert.equal(manifest.homepage, "https://github.com/b24/onappupdate#readme");
    assert.equal(manifest.bugs, "https://github.com/b24/onappupdate/issues");
    assert.equal(manifest.author, "The @b24/onappupdate authors");
    assert.deepEqual(manifest.publishConfig, { access: "public", provenance: true });
    assert.deepEqual(manifest.bin, { onappupdate: "src/cli/cli.js" });
    assert.match(read("src/cli/cli.js"), /^#!\/usr\/bin\/env node\n/);
  });
});
