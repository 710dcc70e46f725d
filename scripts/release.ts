/**
 * The checks of a release besides the tests. The workflow of releases calls it.
 *
 *     deno run --allow-read scripts/release.ts check v1.2.3    fails unless deno.json and CHANGELOG.md have this version
 *     deno run --allow-read scripts/release.ts notes           prints the part of CHANGELOG.md about this version
 *     deno run -A scripts/release.ts sbom npm                  prints the bill of materials of the package built in npm/
 */
// deno-lint-ignore-file no-console
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { read } from "./run.ts";

const root = fileURLToPath(new URL("..", import.meta.url));

/**
 * Returns the text under the heading of `version` in a changelog.
 *
 * @throws {Error} if there is no such heading, or nothing under it
 */
export function changesOf(version: string, changelog: string): string {
  const [, ...sections] = changelog.split(/^## /m);
  const section = sections.find((text) => text.split("\n", 1)[0]?.split(" ")[0] === version);
  if (section === undefined) throw new Error(`CHANGELOG.md has no heading "## ${version}"`);
  const changes = section.slice(section.indexOf("\n") + 1).trim();
  if (changes === "") throw new Error(`CHANGELOG.md has nothing under "## ${version}"`);
  return changes;
}

/** @throws {Error} if `tag` is not that of `version`, or the changelog has nothing about it */
export function checkRelease(tag: string, version: string, changelog: string): void {
  if (tag !== `v${version}`) throw new Error(`the tag is "${tag}", but deno.json has version "${version}"`);
  changesOf(version, changelog);
}

/** Returns a CycloneDX bill of materials of the package that `buildNpm` has built in `folder`: it and what it installs. */
async function billOfMaterials(folder: string): Promise<string> {
  const cwd = join(folder, "package");
  const production = ["--package-lock-only", "--omit=dev", "--omit=peer"];
  await read("npm", ["install", "--no-audit", "--no-fund", "--prefer-offline", ...production], { cwd });
  try {
    return await read("npm", ["sbom", "--sbom-format=cyclonedx", "--sbom-type=library", ...production], { cwd });
  } finally {
    rmSync(join(cwd, "package-lock.json"), { force: true });
  }
}

if (import.meta.main) {
  const { version } = JSON.parse(readFileSync(join(root, "deno.json"), "utf8")) as { version: string };
  const changelog = readFileSync(join(root, "CHANGELOG.md"), "utf8");
  const [, , command, argument = ""] = process.argv;
  if (command === "check") checkRelease(argument, version, changelog);
  else if (command === "notes") console.log(changesOf(version, changelog));
  else if (command === "sbom") console.log(await billOfMaterials(argument));
  else throw new Error(`unknown command "${command ?? ""}", wanted check, notes or sbom`);
}
