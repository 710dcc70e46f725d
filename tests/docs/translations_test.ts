/**
 * Holds `README.ru.md` and `docs/ru/` against their originals: a translation of each page, with the same headings in the
 * same order, and the same code.
 */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, it } from "../support/test.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const read = (file: string): string => readFileSync(join(root, file), "utf8");

const TRANSLATIONS: readonly (readonly [translation: string, original: string])[] = [
  ...(existsSync(join(root, "README.ru.md")) ? [["README.ru.md", "README.md"] as const] : []),
  ...readdirSync(join(root, "docs/ru")).sort().map((file) => [`docs/ru/${file}`, `docs/${file}`] as const),
];

/** Returns the blocks of code of a Markdown text. */
const codeOf = (text: string): readonly string[] => text.match(/^ *```[\s\S]*?^ *```$/gm) ?? [];

/** Returns the levels of the headings. */
const levelsOf = (text: string): readonly string[] =>
  text.replaceAll(/^ *```[\s\S]*?^ *```$/gm, "").match(/^#+(?= )/gm) ?? [];

describe("translations", () => {
  it("each page has one, except the generated reference of options", () => {
    const pages = (folder: string): string[] =>
      readdirSync(join(root, folder)).filter((name) => name.endsWith(".md")).sort();
    assert.deepEqual(pages("docs/ru"), pages("docs").filter((name) => name !== "options.md"));
  });

  for (const [translation, original] of TRANSLATIONS) {
    it(`${translation} has the headings and the code of ${original}`, () => {
      assert.deepEqual(levelsOf(read(translation)), levelsOf(read(original)));
      assert.deepEqual(codeOf(read(translation)), codeOf(read(original)));
    });

    it(`${translation} is in Russian`, () => {
      const prose = read(translation).replaceAll(/^ *```[\s\S]*?^ *```$/gm, "").replaceAll(/`[^`]*`|\]\([^)]*\)/g, "");
      const letters = (script: RegExp): number => prose.match(script)?.length ?? 0;
      assert.ok(letters(/[а-яё]/gi) > 2 * letters(/[a-z]/gi));
    });
  }
});
