import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { imports, lineOf, scan } from "../../scripts/source_scan.ts";

/** Words that are left in the code. */
const words = (text: string): string[] => scan(text).code.match(/[A-Za-z_]\w*/g) ?? [];

describe("scan() blanks", () => {
  const cases: Readonly<Record<string, readonly [text: string, left: string[]]>> = {
    "a line comment": ["a // Deno\nb", ["a", "b"]],
    "a block comment over lines": ["a /* Deno\n Deno */ b", ["a", "b"]],
    "an unclosed block comment": ["a /* Deno", ["a"]],
    "both kinds of strings": [`a "Deno" 'Deno' b`, ["a", "b"]],
    "a string with escapes": [String.raw`a "\"Deno\\" b`, ["a", "b"]],
    "a comment sign in a string": [`a "//" b`, ["a", "b"]],
    "a quotation mark in a comment": [`a // don't\nb`, ["a", "b"]],
    "a template but not what it computes": ["a `Deno ${b} Deno` c", ["a", "b", "c"]],
    "a template in a template": ["a `x ${b + `Deno ${c} Deno`} Deno` d", ["a", "b", "c", "d"]],
    "an object in a template": ["a `Deno ${{ b: 1 }.b} Deno` c", ["a", "b", "b", "c"]],
    "an escaped template": ["a `\\${Deno} \\` Deno` b", ["a", "b"]],
    "a regular expression": [String.raw`a = /Deno["'\/]/g; b`, ["a", "b"]],
    "a slash in a class of one": ["a = /[/]Deno/; b", ["a", "b"]],
    "a regular expression after return": ["return /Deno/.test(b)", ["return", "test", "b"]],
    "no division": ["a = b / c / d", ["a", "b", "c", "d"]],
    "no division of a bracket": [`a = (b) / c; "Deno" / d`, ["a", "b", "c", "d"]],
  };
  for (const [name, [text, left]] of Object.entries(cases)) {
    it(name, () => {
      assert.deepEqual(words(text), left);
      assert.equal(scan(text).code.length, text.length, "positions are kept");
    });
  }
});

describe("imports() finds", () => {
  const cases: Readonly<Record<string, readonly [text: string, found: [specifier: string, dynamic: boolean][]]>> = {
    "an import": [`import { a } from "x";`, [["x", false]]],
    "an import over lines": [`import {\n  a,\n  b,\n} from\n  'x';`, [["x", false]]],
    "a type import": [`import type { a } from "x";`, [["x", false]]],
    "an import for its effects": [`import "x";`, [["x", false]]],
    "a re-export": [`export * from "x"; export { a } from "y";`, [["x", false], ["y", false]]],
    "a dynamic import": [`const a = await import("x");`, [["x", true]]],
    "a dynamic import by a template": ["import(`x`)", [["x", true]]],
    "the type of a module": [`let a: typeof import("x");`, [["x", false]]],
    "a type of a module": [`let a: import("x").Type;`, [["x", false]]],
    "no computed import": [`const name = "x"; import(name);`, []],
    "no import in a comment": [`/** import { a } from "x"; */ // import "y"`, []],
    "no import in a string": [`const a = 'import { b } from "x"';`, []],
    "no call of another from": [`Array.from("x")`, []],
  };
  for (const [name, [text, found]] of Object.entries(cases)) {
    it(name, () => {
      assert.deepEqual(imports(scan(text)).map(({ specifier, dynamic }) => [specifier, dynamic]), found);
    });
  }
});

it("lineOf() counts from 1", () => {
  assert.deepEqual([0, 1, 2, 3].map((position) => lineOf("a\nb\n", position)), [1, 1, 2, 2]);
});
