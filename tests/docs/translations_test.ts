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

/** Returns a Markdown text without blocks of code and comments. */
const proseOf = (text: string): string =>
  text.replaceAll(/^ *```[\s\S]*?^ *```$/gm, "").replaceAll(/<!--[\s\S]*?-->/g, "");

/** Returns the names in code of the prose, such as options and commands. Plain words in code may be translated. */
const namesOf = (text: string): readonly string[] =>
  Array.from(
    proseOf(text).matchAll(/(?<!`)(`+)(?!`)([\s\S]*?[^`])\1(?!`)/g),
    ([, , name]) => name!.replaceAll(/\s+/g, " "),
  ).filter((name) => /[^a-z' ]/.test(name));

/** Returns the pages, with anchors, that a text links to. */
const linksOf = (text: string): readonly string[] =>
  Array.from(proseOf(text).matchAll(/\]\(([^)#\s][^)\s]*)\)/g), ([, link]) => link!.split("/").at(-1)!)
    .filter((link) => !link.startsWith("README"));

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

    it(`${translation} has the names and the links of ${original}`, () => {
      const lacks = (of: (text: string) => readonly string[]): readonly string[] => {
        const translated = new Set(of(read(translation)));
        return of(read(original)).filter((item) => !translated.has(item));
      };
      assert.deepEqual([...lacks(namesOf), ...lacks(linksOf)], []);
    });

    it(`${translation} is in Russian`, () => {
      const prose = proseOf(read(translation)).replaceAll(/`[^`]*`|\]\([^)]*\)/g, "");
      const letters = (script: RegExp): number => prose.match(script)?.length ?? 0;
      assert.ok(letters(/[а-яё]/gi) > 2 * letters(/[a-z]/gi));
    });
  }
});
