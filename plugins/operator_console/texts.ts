/** The strings of the console, in all its languages. */
import { ACTING_TEXTS } from "./texts/acting.ts";
import { ACTION_TEXTS } from "./texts/actions.ts";
import { FRAME_TEXTS } from "./texts/frame.ts";
import { LIST_TEXTS } from "./texts/lists.ts";
import { OVERVIEW_TEXTS } from "./texts/overview.ts";
import { PART_TEXTS } from "./texts/parts.ts";
import { PORTAL_TEXTS } from "./texts/portal.ts";
import { PORTALS_TEXTS } from "./texts/portals.ts";
import { ROLLOUT_TEXTS } from "./texts/rollout.ts";
import { SIGN_IN_TEXTS } from "./texts/sign_in.ts";
import { SILENCE_TEXTS } from "./texts/silences.ts";
import { STATE_TEXTS } from "./texts/states.ts";
import { type Language, LANGUAGES, type Text } from "./texts/text.ts";

export { type Language, LANGUAGES };

/** All strings. Each part is one file under `texts/`. */
export const TEXTS = {
  ...FRAME_TEXTS,
  ...SIGN_IN_TEXTS,
  ...ACTION_TEXTS,
  ...ACTING_TEXTS,
  ...STATE_TEXTS,
  ...PART_TEXTS,
  ...OVERVIEW_TEXTS,
  ...PORTALS_TEXTS,
  ...PORTAL_TEXTS,
  ...ROLLOUT_TEXTS,
  ...LIST_TEXTS,
  ...SILENCE_TEXTS,
} as const;

/** The key of a string. */
export type TextKey = keyof typeof TEXTS;

/** Values for the names in braces. Numbers are written as the language does. */
export type TextValues = Readonly<Record<string, string | number>>;

/** Returns the function that returns strings in a language. */
export function textsIn(language: Language): (key: TextKey, values?: TextValues) => string {
  const plurals = new Intl.PluralRules(language);
  const numbers = new Intl.NumberFormat(language);
  return (key, values = {}) => {
    const text: Text = TEXTS[key][language];
    const form = formOf(text, () => plurals.select(Number(values.count)));
    return form.replaceAll(/\{(\w+)\}/g, (_, name: string) => {
      const value = values[name];
      return typeof value === "number" ? numbers.format(value) : value ?? "";
    });
  };
}

/** Returns the language that a viewer has chosen, or that the browser prefers. */
export function languageOf(chosen: string | undefined, acceptLanguage: string | null): Language {
  if (chosen !== undefined && Object.hasOwn(LANGUAGES, chosen)) return chosen as Language;
  const preferred = (acceptLanguage ?? "").slice(0, 200).split(",").map((part, i) => {
    const [tag = "", ...parameters] = part.trim().toLowerCase().split(";");
    const quality = parameters.map((parameter) => /^\s*q=([\d.]+)\s*$/.exec(parameter)?.[1]).find(Boolean);
    return { language: tag.split("-")[0]!, quality: Number(quality ?? 1), i };
  });
  const [best] = preferred.filter(({ language, quality }) => Object.hasOwn(LANGUAGES, language) && quality > 0)
    .sort((a, b) => b.quality - a.quality || a.i - b.i);
  return (best?.language ?? "en") as Language;
}

function formOf(text: Text, rule: () => Intl.LDMLPluralRule): string {
  return typeof text === "string" ? text : text[rule()] ?? text.other;
}

/** Returns whether a value is the key of a string. */
export function isTextKey(key: unknown): key is TextKey {
  return typeof key === "string" && Object.hasOwn(TEXTS, key);
}
