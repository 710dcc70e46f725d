import assert from "node:assert/strict";
import plugin from "../../scripts/lint_rules.ts";
import { describe, it } from "../support/test.ts";

/** The messages of both rules for a module. */
function messages(file: string, text: string): string[] {
  return Deno.lint.runPlugin(plugin, `/project/${file}`, text).map(({ message }) => message);
}

describe("the rules for the core accept", () => {
  const cases: Readonly<Record<string, readonly [file: string, text: string]>> = {
    "names of runtimes in strings, comments, keys and members": [
      "src/logger.ts",
      `// Deno\nexport const b = "process"; export const c = { process: 1 }; c.process; /Deno/;`,
    ],
    "a type with a member named like a runtime": ["src/a.ts", "export interface Runtime { readonly Deno?: object }"],
    "a runtime in the command line": ["src/cli/cli.ts", `import process from "node:process"; process.exit(Deno.pid);`],
    "a runtime in the one module that looks at it": ["src/net/runtime.ts", "export const p = globalThis.process;"],
    "time from the runtime of the app": ["src/worker/tick.ts", "time.setTimer(() => {}, time.monotonic());"],
    "the system's time where it becomes Time": ["src/async/time.ts", "setTimeout(() => {}, performance.now());"],
    "an import by an expression in the module that loads modules of users": [
      "src/cli/load_module.ts",
      "await import(path);",
    ],
    "anything in a plugin": ["plugins/a.ts", "setTimeout(() => Deno.exit(), 1);"],
  };
  for (const [name, [file, text]] of Object.entries(cases)) {
    it(name, () => assert.deepEqual(messages(file, text), []));
  }
});

describe("the rules for the core refuse", () => {
  const cases: Readonly<Record<string, readonly [text: string, message: RegExp]>> = {
    "a runtime": ["\nDeno.pid;", /^names Deno/],
    "a runtime by globalThis": ["globalThis.process", /^names process/],
    "a runtime in a template": ["`${process.pid}`", /^names process/],
    "a builtin": [`import "node:fs";`, /^names node:fs/],
    "a builtin in a string": [`export const name = "node:fs";`, /^names node:fs/],
    "an import by an expression": ["await import(path);", /^imports by an expression/],
    "a timer": ["setTimeout(() => {}, 1);", /^uses setTimeout/],
    "a timer by globalThis": ["globalThis.setInterval(() => {}, 1);", /^uses setInterval/],
    "a clock": ["export const now = Date.now;", /^uses Date\.now/],
    "a digest": [`await crypto.subtle.digest("SHA-256", x);`, /^uses crypto\.subtle/],
    "a random string": ["crypto.randomUUID()", /^uses crypto\.randomUUID/],
  };
  for (const [name, [text, message]] of Object.entries(cases)) {
    it(name, () => {
      const found = messages("src/worker/tick.ts", text);
      assert.ok(found.length === 1 && message.test(found[0]!), JSON.stringify(found));
    });
  }
});
