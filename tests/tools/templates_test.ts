import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import {
  DENO_VERSION,
  NODE_VERSION,
  PACKAGE_RANGE,
  PACKAGE_VERSION,
  RANGES,
} from "../../src/cli/templates/versions.ts";
import { combinations } from "../../src/cli/templates/choice.ts";
import { projectFiles } from "../../src/cli/templates/project.ts";
import { run } from "../../scripts/run.ts";
import { after, describe, it } from "../support/test.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const manifest = JSON.parse(readFileSync(join(root, "deno.json"), "utf8"));

describe("versions of new projects", () => {
  it("are those that this package is tested with", () => {
    for (const [name, range] of Object.entries(RANGES)) assert.equal(manifest.imports[name], `npm:${name}@${range}`);
  });

  it("are that of this package, and of the runtimes that its documentation names", () => {
    assert.deepEqual([PACKAGE_VERSION, PACKAGE_RANGE], [manifest.version, `^${manifest.version}`]);
    assert.match(
      readFileSync(join(root, "README.md"), "utf8"),
      new RegExp(`deno@${DENO_VERSION.replaceAll(".", "\\.")}`),
    );
    assert.match(readFileSync(join(root, "scripts/test_npm.ts"), "utf8"), new RegExp(`NODES.*"${NODE_VERSION}"`));
  });
});

describe("files of new projects", () => {
  const folder = mkdtempSync(join(tmpdir(), "onappupdate-templates-"));
  after(() => rmSync(folder, { recursive: true, force: true }));

  it("are formatted, and pass the linter, with every choice of options", async () => {
    for (const choice of combinations()) {
      const dir = join(folder, Object.values(choice).join("-"));
      mkdirSync(dir);
      for (const [name, text] of projectFiles({ name: "rating", ...choice })) {
        // The manifests of the others would be workspaces of their own.
        if (/\.(ts|md)$/.test(name)) writeFileSync(join(dir, name), text);
        if (name === "deno.json") writeFileSync(join(folder, name), text);
      }
    }
    for (const args of [["fmt", "--check"], ["lint"]]) {
      const { ok, output } = await run(process.execPath, args, { cwd: folder });
      assert.ok(ok, output);
    }
  });
});
