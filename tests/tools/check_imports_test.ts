import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { describe, it } from "node:test";
import { checkImports } from "../../scripts/check_imports.ts";

/** What is wrong in a tree of these files, beside a small one in which all is well. */
function problems(files: Readonly<Record<string, string>>): string[] {
  const root = mkdtempSync(join(tmpdir(), "onappupdate-imports-"));
  const all = {
    "deno.json": JSON.stringify({ name: "@b24/onappupdate", imports: { zod: "npm:zod", redis: "npm:redis" } }),
    "mod.ts": `export { a } from "./src/errors.ts";`,
    "src/errors.ts": "export const a = 1;",
    ...files,
  };
  try {
    for (const [path, text] of Object.entries(all)) {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      writeFileSync(join(root, path), text);
    }
    return checkImports(root);
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

describe("checkImports() lets through", () => {
  const cases: Readonly<Record<string, Readonly<Record<string, string>>>> = {
    "imports of a lower layer, the same one, and a package of the core": {
      "src/app.ts": `import "./http.ts"; import "./wire/form.ts";`,
      "src/http.ts": "",
      "src/wire/form.ts": `import { z } from "zod"; import "./tree.ts"; import "../version.ts"; import "../errors.ts";`,
      "src/wire/tree.ts": "",
      "src/version.ts": "",
    },
    "a plugin with its library, and builtins": {
      "plugins/redis.ts": `import { a } from "../mod.ts"; import redis from "redis"; import "node:fs"; process.exit();`,
    },
    "a plugin in several modules": {
      "plugins/a1.ts": `import "./a1/b.ts";`,
      "plugins/a1/b.ts": `import "./c.ts"; import "../../mod.ts";`,
      "plugins/a1/c.ts": "",
    },
    "the command line, which knows a runtime": {
      "src/cli/cli.ts": `import process from "node:process"; import "../../mod.ts"; process.exit(Deno.pid);`,
    },
    "tests of internals, scripts and the package by its name": {
      "tests/app_test.ts": `import "../src/errors.ts"; import "../scripts/run.ts"; import "@b24/onappupdate/cli";`,
      "scripts/run.ts": "",
    },
    "the names of runtimes in text, in keys and as members": {
      "src/log.ts": `// Deno\nexport const b = "process"; export const c = { process: 1 }; c.process; /Deno/;`,
    },
  };
  for (const [name, files] of Object.entries(cases)) it(name, () => assert.deepEqual(problems(files), []));
});

describe("checkImports() refuses", () => {
  const cases: Readonly<Record<string, readonly [files: Readonly<Record<string, string>>, problem: RegExp]>> = {
    "a layer above": [
      { "src/wire/form.ts": `\nimport type { App } from "../app.ts";`, "src/app.ts": "" },
      /^src\/wire\/form\.ts:2: imports src\/app\.ts, which is a layer above$/,
    ],
    "the entry in the core": [{ "src/app.ts": `import "../mod.ts";` }, /^src\/app\.ts:1: imports mod\.ts, .* above$/],
    "testing in the entry": [
      { "mod.ts": `export * from "./src/testing/mod.ts";`, "src/testing/mod.ts": "" },
      /^mod\.ts:1: imports src\/testing\/mod\.ts, which is a layer above$/,
    ],
    "a part without a layer": [{ "src/utils.ts": "" }, /^src\/utils\.ts: has no layer/],
    "a file that is not there": [{ "src/app.ts": `import "./gone.ts";` }, /^src\/app\.ts:1: .* which is not there$/],
    "a cycle": [
      { "src/wire/a.ts": `import "./b.ts";`, "src/wire/b.ts": `import type {} from "./a.ts";` },
      /^src\/wire\/a\.ts -> src\/wire\/b\.ts -> src\/wire\/a\.ts: a cycle of imports$/,
    ],
    "a plugin in a plugin": [
      { "plugins/a.ts": `import "./b.ts";`, "plugins/b.ts": "" },
      /^plugins\/a\.ts:1: imports plugins\/b\.ts, wanted/,
    ],
    "the inside of a plugin in another": [
      { "plugins/a.ts": `import "./ab/c.ts";`, "plugins/ab/c.ts": "" },
      /^plugins\/a\.ts:1: imports plugins\/ab\/c\.ts, wanted/,
    ],
    "another plugin in the inside of a plugin": [
      { "plugins/a/c.ts": `import "../ab.ts";`, "plugins/ab.ts": "" },
      /^plugins\/a\/c\.ts:1: imports plugins\/ab\.ts, wanted/,
    ],
    "the entry of a plugin in its inside": [
      { "plugins/a.ts": `import "./a/b.ts";`, "plugins/a/b.ts": `import type {} from "../a.ts";` },
      /^plugins\/a\.ts -> plugins\/a\/b\.ts -> plugins\/a\.ts: a cycle of imports$/,
    ],
    "the inside of the core in a plugin": [
      { "plugins/a.ts": `import "../src/errors.ts";` },
      /^plugins\/a\.ts:1: imports src\/errors\.ts, wanted/,
    ],
    "the package's own name in what ships": [
      { "plugins/a.ts": `import "@b24/onappupdate";` },
      /^plugins\/a\.ts:1: imports @b24\/onappupdate, wanted/,
    ],
    "a plugin in the core": [
      { "src/app.ts": `import "../plugins/a.ts";`, "plugins/a.ts": "" },
      /^src\/app\.ts:1: imports plugins\/a\.ts, wanted/,
    ],
    "a plugin's library in the core": [{ "src/app.ts": `import "redis";` }, /^src\/app\.ts:1: imports redis, wanted/],
    "a package that deno.json does not name": [
      { "plugins/a.ts": `import "left-pad";` },
      /^plugins\/a\.ts:1: imports left-pad, wanted a key of "imports" in deno\.json$/,
    ],
    "an npm specifier": [{ "tests/a.ts": `import "npm:zod";` }, /^tests\/a\.ts:1: imports npm:zod, wanted a key/],
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
    "a builtin in the core": [{ "src/log.ts": `import "node:fs";` }, /^src\/log\.ts:1: imports node:fs, wanted/],
    "a runtime in the core": [{ "src/log.ts": "\nDeno.pid;" }, /^src\/log\.ts:2: names Deno, and the core/],
    "a runtime by globalThis": [{ "src/log.ts": "globalThis.process" }, /^src\/log\.ts:1: names process/],
    "a runtime in a template": [{ "src/log.ts": "`${process.pid}`" }, /^src\/log\.ts:1: names process/],
    "a computed builtin in the core": [
      { "src/log.ts": `const name = "node:fs"; await import(name);` },
      /^src\/log\.ts:1: names node:fs/,
    ],
  };
  for (const [name, [files, problem]] of Object.entries(cases)) {
    it(name, () => {
      const found = problems(files);
      assert.ok(found.some((line) => problem.test(line)), `wanted ${problem}, saw ${JSON.stringify(found)}`);
    });
  }
});
