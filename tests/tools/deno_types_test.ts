import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { run } from "../../scripts/run.ts";
import { root } from "../support/process.ts";
import { after, describe, it } from "../support/test.ts";
import { typesProgram } from "./_types_program.ts";

const STRICTEST = {
  exactOptionalPropertyTypes: true,
  noUncheckedIndexedAccess: true,
  noImplicitOverride: true,
  noImplicitReturns: true,
  noFallthroughCasesInSwitch: true,
  noUnusedLocals: true,
  noUnusedParameters: true,
  verbatimModuleSyntax: true,
  erasableSyntaxOnly: true,
};

/** Compiler options of projects. JSR serves the sources, which each project checks by its own options. */
const OPTIONS: Readonly<Record<string, object | undefined>> = {
  "without compilerOptions": undefined,
  "with empty compilerOptions": {},
  "with exactOptionalPropertyTypes alone": { exactOptionalPropertyTypes: true },
  "with noUncheckedIndexedAccess alone": { noUncheckedIndexedAccess: true },
  "with the types of browsers": { lib: ["dom", "dom.iterable", "dom.asynciterable", "esnext", "deno.ns"] },
  "with the strictest options": STRICTEST,
};

describe("an app compiles against the sources", () => {
  const folder = mkdtempSync(join(tmpdir(), "onappupdate-deno-types-"));
  after(() => rmSync(folder, { recursive: true, force: true }));
  const { version } = JSON.parse(readFileSync(join(root, "deno.json"), "utf8"));
  writeFileSync(join(folder, "app.ts"), typesProgram());

  for (const [name, compilerOptions] of Object.entries(OPTIONS)) {
    it(name, async () => {
      const config = join(folder, `${name.replaceAll(" ", "-")}.json`);
      // As a link, the package is checked as a local file is; what comes from JSR is trusted.
      const imports = { "@b24/onappupdate": `jsr:@b24/onappupdate@^${version}` };
      writeFileSync(config, JSON.stringify({ links: [root], imports, nodeModulesDir: "none", compilerOptions }));
      const { ok, output } = await run(process.execPath, ["check", "--config", config, "app.ts"], { cwd: folder });
      assert.ok(ok, output);
    });
  }
});
