/** Strings of signing in and out. */
import type { Texts } from "./text.ts";

export const SIGN_IN_TEXTS = {
  "signIn.title": { en: "Sign in", ru: "Вход" },
  "signIn.name": { en: "Name", ru: "Имя" },
  "signIn.password": { en: "Password", ru: "Пароль" },
  "signIn.button": { en: "Sign in", ru: "Войти" },
  "signIn.logOut": { en: "Sign out", ru: "Выйти" },
  "signIn.wrong": { en: "Wrong name or password.", ru: "Неверное имя или пароль." },
  "signIn.tooMany": {
    en: "Too many attempts. Try again in {seconds} seconds.",
    ru: "Слишком много попыток. Повторите через {seconds} с.",
  },
} as const satisfies Texts;
