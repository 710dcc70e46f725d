import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { DENO_VERSION, NODE_VERSION, PACKAGE_RANGE, RANGES } from "../../src/cli/templates/versions.ts";
import { describe, it } from "../support/test.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const manifest = JSON.parse(readFileSync(join(root, "deno.json"), "utf8"));

describe("versions of new projects", () => {
  it("are those that this package is tested with", () => {
    for (const [name, range] of Object.entries(RANGES)) assert.equal(manifest.imports[name], `npm:${name}@${range}`);
  });

  it("are that of this package, and of the runtimes that its documentation names", () => {
    assert.equal(PACKAGE_RANGE, `^${manifest.version}`);
    assert.match(
      readFileSync(join(root, "README.md"), "utf8"),
      new RegExp(`deno@${DENO_VERSION.replaceAll(".", "\\.")}`),
    );
    assert.match(readFileSync(join(root, "scripts/test_npm.ts"), "utf8"), new RegExp(`NODES.*"${NODE_VERSION}"`));
  });
});
