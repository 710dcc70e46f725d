/** Strings of parts that several pages have. */
import type { Texts } from "./text.ts";

export const PART_TEXTS = {
  "parts.ago": { en: "{duration} ago", ru: "{duration} назад" },
  "parts.beforeUpgrade": { en: "before an upgrade", ru: "до обновления" },
  "parts.upgrade": { en: "upgrade {id}", ru: "обновление {id}" },
  "parts.step": { en: "step “{name}”", ru: "шаг «{name}»" },
  "parts.any": { en: "Any", ru: "Любое" },
  "parts.filter": { en: "Filter", ru: "Фильтр" },
  "parts.show": { en: "Show", ru: "Показать" },
  "parts.clear": { en: "Clear", ru: "Сбросить" },
  "parts.export": { en: "Export", ru: "Выгрузка" },
  "parts.unknown": { en: "unknown", ru: "неизвестна" },
  "parts.portal": { en: "Portal", ru: "Портал" },
  "parts.portals": {
    en: { one: "{count} portal", other: "{count} portals" },
    ru: { one: "{count} портал", few: "{count} портала", many: "{count} порталов", other: "{count} портала" },
  },
  "parts.events": {
    en: { one: "{count} event", other: "{count} events" },
    ru: { one: "{count} событие", few: "{count} события", many: "{count} событий", other: "{count} события" },
  },
  "parts.version": { en: "Version", ru: "Версия" },
  "parts.state": { en: "State", ru: "Состояние" },
  "parts.by": { en: "By", ru: "Кто" },
  "parts.reason": { en: "Reason", ru: "Причина" },
  "parts.time": { en: "Time", ru: "Время" },
  "parts.attempts": { en: "Attempts", ru: "Попытки" },
  "parts.error": { en: "Error", ru: "Ошибка" },
  "parts.details": { en: "Details", ru: "Подробности" },
} as const satisfies Texts;
