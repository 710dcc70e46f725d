import assert from "node:assert/strict";
import { languageOf, type TextKey, TEXTS, textsIn } from "../../../../plugins/operator_console/texts.ts";
import type { Text } from "../../../../plugins/operator_console/texts/text.ts";
import { describe, it } from "../../../support/test.ts";

const formsOf = (text: Text): Readonly<Record<string, string>> => typeof text === "string" ? { other: text } : text;

describe("the strings of the console", () => {
  for (const [key, languages] of Object.entries<Readonly<Record<string, Text>>>(TEXTS)) {
    it(`have ${key} in English and Russian, with the same values`, () => {
      assert.deepEqual(Object.keys(languages).sort(), ["en", "ru"]);
      const names = Object.entries(languages).map(([language, text]) => {
        const forms = formsOf(text);
        const wanted = typeof text === "string"
          ? ["other"]
          : new Intl.PluralRules(language).resolvedOptions().pluralCategories;
        assert.deepEqual(Object.keys(forms).sort(), [...wanted].sort(), language);
        return Object.values(forms).map((form) => {
          assert.ok(form.trim() !== "");
          return [...form.matchAll(/\{(\w+)\}/g)].map(([, name]) => name).sort().join();
        });
      });
      assert.equal(new Set(names.flat()).size, 1, JSON.stringify(names));
    });
  }

  it("count as the language does", () => {
    const key: TextKey = "acting.matched";
    const [en, ru] = [textsIn("en"), textsIn("ru")];
    assert.deepEqual([1, 2, 1234].map((count) => en(key, { count })), [
      ...["1 portal matches now.", "2 portals match now.", "1,234 portals match now."],
    ]);
    assert.deepEqual([1, 2, 5, 21].map((count) => ru(key, { count }).replaceAll("\u00a0", " ")), [
      ...["Сейчас подходит 1 портал.", "Сейчас подходят 2 портала."],
      ...["Сейчас подходят 5 порталов.", "Сейчас подходит 21 портал."],
    ]);
  });

  it("are in the language that the browser prefers", () => {
    const cases: readonly (readonly [string | undefined, string | null, string])[] = [
      [undefined, null, "en"],
      [undefined, "de-DE,de;q=0.9", "en"],
      [undefined, "de, ru;q=0.5, en;q=0.4", "ru"],
      [undefined, "ru;q=0, en;q=0.1", "en"],
      [undefined, "EN-us", "en"],
      ["ru", "en", "ru"],
      ["__proto__", "ru", "ru"],
      [undefined, ";;;,,q=,ru;q=x", "ru"],
    ];
    for (const [chosen, header, language] of cases) assert.equal(languageOf(chosen, header), language, `${header}`);
  });
});
