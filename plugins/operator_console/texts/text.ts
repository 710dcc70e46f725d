/** A string of the console. */

/** The languages, by their code. */
export const LANGUAGES = { en: "English", ru: "Русский" } as const;

/** A language of the console. */
export type Language = keyof typeof LANGUAGES;

/** A string, or its forms by the plural rules of the language for `{count}`. `{name}` stands for a value. */
export type Text = string | PluralForms;

/** Forms of a string. `other` is used for what has none of its own. */
export type PluralForms = Readonly<Partial<Record<Intl.LDMLPluralRule, string>> & { readonly other: string }>;

/** Strings in all languages: the compiler refuses a missing one. */
export type Texts = Readonly<Record<string, Readonly<Record<Language, Text>>>>;
