/** The packed package in the hands of its users: what their compilers say of it, and how large it is. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { checkPackage, createPackageFromTarballData } from "@arethetypeswrong/core";
import * as esbuild from "esbuild";
import { publint } from "publint";
import { formatMessage } from "publint/utils";
import { buildNpm } from "../../scripts/build_npm.ts";
import { read, run } from "../../scripts/run.ts";
import { after, before, describe, it } from "../support/test.ts";
import { typesProgram } from "./_types_program.ts";

/** The compilers. `node10` is an error in TypeScript 6, and gone in 7. */
const COMPILERS = { ts58: "5.8.3", ts59: "5.9.3", ts60: "6.0.3", ts70: "7.0.2" } as const;

type Program = readonly [compiler: keyof typeof COMPILERS, file: "app.mts" | "app.cts" | "app.ts", ...args: string[]];

const BUNDLER = ["--module", "esnext", "--moduleResolution", "bundler"];

/** ES modules by `node16`; CommonJS by `nodenext` of TypeScript 5.8 or later: with `node16`, it is TS1479 by design. */
const PROGRAMS: readonly Program[] = [
  ["ts59", "app.mts", "--module", "nodenext"],
  ["ts60", "app.mts", "--module", "nodenext"],
  ["ts70", "app.mts", "--module", "nodenext"],
  ["ts59", "app.ts", ...BUNDLER],
  ["ts60", "app.ts", ...BUNDLER],
  ["ts70", "app.ts", ...BUNDLER],
  ["ts59", "app.mts", "--module", "node16"],
  ["ts58", "app.cts", "--module", "nodenext"],
  ["ts59", "app.cts", "--module", "nodenext"],
  ["ts70", "app.cts", "--module", "nodenext"],
  ["ts59", "app.ts", "--module", "commonjs", "--moduleResolution", "node10"],
];

/** Maximum size of `createApp()`, minified, in bytes. */
const MAX_BUNDLE_BYTES = 450_000;

const folder = mkdtempSync(join(tmpdir(), "onappupdate-package-"));
const project = join(folder, "project");
let tarball: Uint8Array<ArrayBuffer>;
let installedBytes = 0;

const install = (packages: readonly string[]): Promise<string> =>
  read("npm", ["install", "--no-audit", "--no-fund", "--prefer-offline", ...packages], { cwd: project });

/** Returns the bytes of all files in a folder. */
function bytesIn(folder: string): number {
  return readdirSync(folder, { recursive: true, withFileTypes: true, encoding: "utf8" })
    .filter((entry) => entry.isFile())
    .reduce((sum, { parentPath, name }) => sum + statSync(join(parentPath, name)).size, 0);
}

before(async () => {
  // The gate builds it once.
  const path = process.env["TEST_TARBALL"] ?? await buildNpm(join(folder, "npm"));
  tarball = new Uint8Array(readFileSync(path));
  mkdirSync(project);
  writeFileSync(join(project, "package.json"), JSON.stringify({ private: true, type: "module" }));
  await install([path]);
  installedBytes = bytesIn(join(project, "node_modules"));
  const manifest = readFileSync(join(project, "node_modules/@b24/onappupdate/package.json"), "utf8");
  const { peerDependencies } = JSON.parse(manifest) as { peerDependencies: Record<string, string> };
  await install([
    ...Object.entries(peerDependencies).map(([name, range]) => `${name}@${range}`),
    ...Object.entries(COMPILERS).map(([name, version]) => `${name}@npm:typescript@${version}`),
    "@types/node@24",
  ]);
  for (const file of ["app.mts", "app.cts", "app.ts"]) writeFileSync(join(project, file), typesProgram());
}, { timeout: 600_000 });
after(async () => {
  await esbuild.stop();
  rmSync(folder, { recursive: true, force: true });
});

describe("an app compiles against the npm package", () => {
  for (const [compiler, file, ...args] of PROGRAMS) {
    it(`TypeScript ${COMPILERS[compiler]}, ${file}, ${args.join(" ")}`, async () => {
      const options = ["--noEmit", "--strict", "--target", "es2022", "--types", "node", ...args, file];
      const { ok, output } = await run("node", [`node_modules/${compiler}/bin/tsc`, ...options], { cwd: project });
      assert.ok(ok, output);
    });
  }

  it("publint finds nothing", async () => {
    const { messages, pkg } = await publint({ pack: { tarball: tarball.buffer }, strict: true });
    assert.deepEqual(messages.map((message) => formatMessage(message, pkg)), []);
  });

  it("attw finds nothing else than that require() returns ES modules", async () => {
    const analysis = await checkPackage(createPackageFromTarballData(tarball));
    assert.ok(analysis.types !== false && Object.keys(analysis.entrypoints).length > 10);
    // Every supported Node can require() them; `npm_smoke.mjs` does.
    const problems = analysis.problems.filter(({ kind }) => kind !== "CJSResolvesToESM");
    assert.deepEqual(problems, []);
  });
});

describe("sizes", () => {
  it("an installation has at most 20 MB", () => {
    assert.ok(installedBytes > 1_000_000 && installedBytes <= 20_000_000, `${installedBytes} bytes`);
  });

  it("createApp(), bundled, has nothing but the core and semver", async () => {
    const contents = `export { createApp } from "@b24/onappupdate";`;
    const { outputFiles, metafile } = await esbuild.build({
      stdin: { contents, resolveDir: project },
      ...{ bundle: true, minify: true, format: "esm", platform: "neutral", mainFields: ["module", "main"] },
      ...{ write: false, metafile: true, logLevel: "silent" },
    });
    const [bundle] = outputFiles;
    assert.ok(bundle!.contents.length <= MAX_BUNDLE_BYTES, `${bundle!.contents.length} bytes`);
    const [output] = Object.values(metafile.outputs);
    const packages = Object.entries(output!.inputs).filter(([, { bytesInOutput }]) => bytesInOutput > 0)
      .map(([file]) => /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(file)?.[1]);
    assert.deepEqual([...new Set(packages)].filter((name) => name !== undefined).sort(), [
      "@b24/onappupdate",
      "semver",
    ]);
    // Names of functions are kept: those of plugins, of the tests' fake and of the command line are not in it.
    for (const name of ["operatorConsole", "redisStorage", "telemetry", "fakeBitrix24", "runProcess"]) {
      assert.ok(!bundle!.text.includes(`"${name}"`) && !bundle!.text.includes(`function ${name}`), name);
    }
  });
});
