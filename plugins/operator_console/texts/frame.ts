/** Strings of the frame around all pages, and of errors. */
import type { Texts } from "./text.ts";

export const FRAME_TEXTS = {
  "frame.name": { en: "Console", ru: "Консоль" },
  "frame.skip": { en: "Skip to the content", ru: "К содержимому" },
  "frame.nav": { en: "Pages", ru: "Страницы" },
  "frame.role.read": { en: "may read", ru: "просмотр" },
  "frame.role.operate": { en: "may act", ru: "управление" },
  "frame.language": { en: "Language", ru: "Язык" },
  "frame.asOf": { en: "As of", ru: "По состоянию на" },
  "frame.stale": {
    en: "The storage does not answer. This is what was last known, as of",
    ru: "Хранилище не отвечает. Показано последнее известное состояние на",
  },
  "frame.next": { en: "Next page", ru: "Следующая страница" },
  "frame.pager": { en: "Pages of the list", ru: "Страницы списка" },
  "frame.first": { en: "First page", ru: "Первая страница" },
  "error.back": { en: "Back to the overview", ru: "К обзору" },
  "error.details": { en: "Details", ru: "Подробности" },
  "error.400": { en: "This request is not valid", ru: "Неверный запрос" },
  "error.403": { en: "This is not allowed", ru: "Нет доступа" },
  "error.403.signOn": {
    en: "Your sign-on does not give you access to this console.",
    ru: "У вашей учётной записи нет доступа к этой консоли.",
  },
  "error.403.origin": {
    en: "The request did not come from a page of this console. Its address is {origin}.",
    ru: "Запрос пришёл не со страницы этой консоли. Её адрес: {origin}.",
  },
  "error.404": { en: "There is nothing here", ru: "Здесь ничего нет" },
  "error.405": { en: "This method is not supported", ru: "Метод не поддерживается" },
  "error.408": { en: "The request took too long", ru: "Запрос шёл слишком долго" },
  "error.409": { en: "Something has changed meanwhile", ru: "За это время что-то изменилось" },
  "error.413": { en: "The request is too large", ru: "Слишком большой запрос" },
  "error.415": { en: "This type of request is not supported", ru: "Такой тип запроса не поддерживается" },
  "error.429": { en: "Too many requests", ru: "Слишком много запросов" },
  "error.500": { en: "The console has failed", ru: "Сбой консоли" },
  "error.502": { en: "Bitrix24 does not answer", ru: "Битрикс24 не отвечает" },
  "error.not_set_up": { en: "The app cannot be set up", ru: "Приложение не удаётся подготовить" },
  "error.not_set_up.text": { en: "The log of the app has the reason.", ru: "Причина — в журнале приложения." },
  "error.503": { en: "The storage does not answer", ru: "Хранилище не отвечает" },
} as const satisfies Texts;
