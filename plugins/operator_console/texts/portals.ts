/** Strings of the list of portals. */
import type { Texts } from "./text.ts";

export const PORTALS_TEXTS = {
  "portals.title": { en: "Portals", ru: "Порталы" },
  "portals.search": { en: "Find a portal", ru: "Найти портал" },
  "portals.search.hint": {
    en: "Its domain, such as acme.bitrix24.com or just acme, its address, or its member_id.",
    ru: "Домен, например acme.bitrix24.ru или просто acme, адрес или member_id.",
  },
  "portals.find": { en: "Find", ru: "Найти" },
  "portals.list": {
    en: { one: "{count} portal on this page", other: "{count} portals on this page" },
    ru: {
      one: "{count} портал на странице",
      few: "{count} портала на странице",
      many: "{count} порталов на странице",
      other: "{count} портала на странице",
    },
  },
  "portals.to": { en: "to be on", ru: "должен быть на" },
  "portals.waitsFor": { en: "waits for {what}", ru: "ждёт {what}" },
  "portals.progress": { en: "{done} of {total}", ru: "{done} из {total}" },
  "portals.in": { en: "in {duration}", ru: "через {duration}" },
  "portals.now": { en: "at the next tick", ru: "при следующем тике" },
  "portals.reason": { en: "What stops it", ru: "Что мешает" },
  "portals.next": { en: "Goes on", ru: "Продолжит" },
  "portals.blockedOn": { en: "Blocked on", ru: "Ждёт" },
  "portals.upgradeId": { en: "Failed in upgrade", ru: "Сбой в обновлении" },
  "portals.fingerprint": { en: "Fingerprint of the failure", ru: "Отпечаток сбоя" },
  "portals.batch": { en: "All that match:", ru: "Все подходящие:" },
  "portals.noMatch": { en: "No portal matches", ru: "Ничего не найдено" },
  "portals.noMatch.text": {
    en: "Domains of one's own are compared as a whole. Clear the filter to see all portals.",
    ru: "Собственные домены сравниваются целиком. Сбросьте фильтр, чтобы увидеть все порталы.",
  },
  "portals.emptyPage": { en: "Nothing on this page", ru: "На этой странице пусто" },
  "portals.emptyPage.text": {
    en: "None of the portals read for this page matches. The next page may have some.",
    ru: "Среди прочитанных для этой страницы порталов подходящих нет. Они могут быть на следующей.",
  },
  "portals.unreadable": {
    en: {
      one: "{count} portal cannot be read: newer code wrote it, or its encryption key is missing.",
      other: "{count} portals cannot be read: newer code wrote them, or their encryption key is missing.",
    },
    ru: {
      one: "{count} портал не читается: его записал более новый код, или нет его ключа шифрования.",
      few: "{count} портала не читаются: их записал более новый код, или нет их ключа шифрования.",
      many: "{count} порталов не читаются: их записал более новый код, или нет их ключа шифрования.",
      other: "{count} портала не читаются: их записал более новый код, или нет их ключа шифрования.",
    },
  },
} as const satisfies Texts;
