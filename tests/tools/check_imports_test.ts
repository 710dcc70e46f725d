import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { checkImports } from "../../scripts/check_imports.ts";
import { describe, it } from "../support/test.ts";

/** Returns the problems of a tree of these files and a few correct ones. */
async function problems(files: Readonly<Record<string, string>>): Promise<string[]> {
  const root = mkdtempSync(join(tmpdir(), "onappupdate-imports-"));
  const all = {
    "deno.json": JSON.stringify({
      name: "@b24/onappupdate",
      imports: { semver: "npm:semver", redis: "npm:redis", commander: "npm:commander" },
    }),
    "mod.ts": `export { a } from "./src/errors.ts";`,
    "errors.ts": `export { a } from "./src/errors.ts";`,
    "src/errors.ts": "export const a = 1;",
    ...files,
  };
  try {
    for (const [path, text] of Object.entries(all)) {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      writeFileSync(join(root, path), text);
    }
    return await checkImports(root);
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

describe("checkImports() accepts", () => {
  const cases: Readonly<Record<string, Readonly<Record<string, string>>>> = {
    "imports of a lower rank, the same part, and a package of the core": {
      "src/app/app.ts": `import "./options.ts"; import "../bitrix24/form.ts";`,
      "src/app/options.ts": "",
      "src/bitrix24/form.ts":
        `import { parse } from "semver"; import "./tree.ts"; import "../version.ts"; import "../errors.ts";`,
      "src/bitrix24/tree.ts": "",
      "src/version.ts": "",
    },
    "a plugin with its library, and builtins": {
      "plugins/redis.ts":
        `import { a } from "../mod.ts"; import "../errors.ts"; import redis from "redis"; import "node:fs";`,
    },
    "a plugin in several modules": {
      "plugins/a1.ts": `import "./a1/b.ts";`,
      "plugins/a1/b.ts": `import "./c.ts"; import "../../mod.ts";`,
      "plugins/a1/c.ts": "",
    },
    "the command line": {
      "src/cli/cli.ts": `import process from "node:process"; import "../../mod.ts"; import "commander";
import "../../plugins/operator_api.ts"; import "../testing/mod.ts";`,
      "plugins/operator_api.ts": "",
      "src/testing/mod.ts": "",
    },
    "tests of internals, scripts and the package by its name": {
      "tests/app_test.ts": `import "../src/errors.ts"; import "../scripts/run.ts"; import "@b24/onappupdate/cli";`,
      "scripts/run.ts": "",
    },
    "what looks like an import in a string or a comment": {
      "src/logger.ts": `// import "../mod.ts";\nexport const b = 'import "../mod.ts"';`,
    },
  };
  for (const [name, files] of Object.entries(cases)) {
    it(name, async () => assert.deepEqual(await problems(files), []));
  }
});

describe("checkImports() refuses", () => {
  const cases: Readonly<Record<string, readonly [files: Readonly<Record<string, string>>, problem: RegExp]>> = {
    "a higher rank, also of a type": [
      {
        "src/bitrix24/form.ts": `\nimport type { App } from "../app/app.ts";`,
        "src/app/app.ts": "export type App = 1;",
      },
      /^src\/bitrix24\/form\.ts:2: imports src\/app\/app\.ts, which has a higher rank$/,
    ],
    "another part of the same rank": [
      { "src/upgrade/run.ts": `import "../intake/http.ts";`, "src/intake/http.ts": "" },
      /^src\/upgrade\/run\.ts:1: imports src\/intake\/http\.ts, another part of the same rank$/,
    ],
    "intake in the worker": [
      { "src/worker/tick.ts": `import "../intake/http.ts";`, "src/intake/http.ts": "" },
      /^src\/worker\/tick\.ts:1: imports src\/intake\/http\.ts, which is forbidden$/,
    ],
    "the entry in the core": [
      { "src/app/app.ts": `import "../../mod.ts";` },
      /^src\/app\/app\.ts:1: imports mod\.ts, wanted a path/,
    ],
    "testing in the entry": [
      { "mod.ts": `export * from "./src/testing/mod.ts";`, "src/testing/mod.ts": "" },
      /^mod\.ts:1: imports src\/testing\/mod\.ts, which has a higher rank$/,
    ],
    "a part without a rank": [{ "src/utils.ts": "" }, /^src\/utils\.ts: has no rank/],
    "a file that does not exist": [
      { "src/app/app.ts": `import "./gone.ts";` },
      /^src\/app\/app\.ts:1: .* which does not exist$/,
    ],
    "a cycle": [
      { "src/bitrix24/a.ts": `import "./b.ts";`, "src/bitrix24/b.ts": `import type {} from "./a.ts";` },
      /^src\/bitrix24\/a\.ts -> src\/bitrix24\/b\.ts -> src\/bitrix24\/a\.ts: a cycle of imports$/,
    ],
    "a plugin in a plugin": [
      { "plugins/a.ts": `import "./b.ts";`, "plugins/b.ts": "" },
      /^plugins\/a\.ts:1: imports plugins\/b\.ts, wanted/,
    ],
    "internals of a plugin in another": [
      { "plugins/a.ts": `import "./ab/c.ts";`, "plugins/ab/c.ts": "" },
      /^plugins\/a\.ts:1: imports plugins\/ab\/c\.ts, wanted/,
    ],
    "another plugin in the internals of a plugin": [
      { "plugins/a/c.ts": `import "../ab.ts";`, "plugins/ab.ts": "" },
      /^plugins\/a\/c\.ts:1: imports plugins\/ab\.ts, wanted/,
    ],
    "the entry of a plugin in its internals": [
      { "plugins/a.ts": `import "./a/b.ts";`, "plugins/a/b.ts": `import type {} from "../a.ts";` },
      /^plugins\/a\.ts -> plugins\/a\/b\.ts -> plugins\/a\.ts: a cycle of imports$/,
    ],
    "internals of the core in a plugin": [
      { "plugins/a.ts": `import "../src/errors.ts";` },
      /^plugins\/a\.ts:1: imports src\/errors\.ts, wanted/,
    ],
    "the package's own name in what ships": [
      { "plugins/a.ts": `import "@b24/onappupdate";` },
      /^plugins\/a\.ts:1: imports @b24\/onappupdate, wanted/,
    ],
    "a plugin in the core": [
      { "src/app/app.ts": `import "../../plugins/a.ts";`, "plugins/a.ts": "" },
      /^src\/app\/app\.ts:1: imports plugins\/a\.ts, wanted/,
    ],
    "a plugin's library in the core": [
      { "src/app/app.ts": `import "redis";` },
      /^src\/app\/app\.ts:1: imports redis, wanted/,
    ],
    "a plugin but the operator API in the command line, and its packages elsewhere": [
      { "src/cli/cli.ts": `import "../../plugins/a.ts"; import "redis";`, "plugins/a.ts": "" },
      /^src\/cli\/cli\.ts:1: imports plugins\/a\.ts, wanted/,
    ],
    "a package of the command line elsewhere": [
      { "src/testing/mod.ts": `import "commander";` },
      /^src\/testing\/mod\.ts:1: imports commander, wanted/,
    ],
    "the command line in a plugin": [
      { "plugins/a.ts": `import "../src/cli/main.ts";`, "src/cli/main.ts": "" },
      /^plugins\/a\.ts:1: imports src\/cli\/main\.ts, wanted/,
    ],
    "a package that deno.json does not name": [
      { "plugins/a.ts": `import "left-pad";` },
      /^plugins\/a\.ts:1: imports left-pad, wanted a key of "imports" in deno\.json$/,
    ],
    "an npm specifier": [{ "tests/a.ts": `import "npm:semver";` }, /^tests\/a\.ts:1: imports npm:semver, wanted a key/],
    "a literal dynamic import in what ships": [
      { "plugins/a.ts": `await import("redis");` },
      /^plugins\/a\.ts:1: imports redis dynamically by a literal/,
    ],
    "tests in scripts": [
      { "scripts/a.ts": `import "../tests/b.ts";`, "tests/b.ts": "" },
      /^scripts\/a\.ts:1: imports tests\/b\.ts, wanted/,
    ],
    "the sources in an example": [
      { "examples/a.ts": `import "../mod.ts";` },
      /^examples\/a\.ts:1: imports mod\.ts, wanted/,
    ],
    "a builtin in the core": [{ "src/logger.ts": `import "node:fs";` }, /^src\/logger\.ts:1: imports node:fs, wanted/],
  };
  for (const [name, [files, problem]] of Object.entries(cases)) {
    it(name, async () => {
      const found = await problems(files);
      assert.ok(found.some((line) => problem.test(line)), `wanted ${problem}, saw ${JSON.stringify(found)}`);
    });
  }
});
