/** Strings of the overview. */
import type { Texts } from "./text.ts";

export const OVERVIEW_TEXTS = {
  "overview.title": { en: "Overview", ru: "Обзор" },
  "overview.counts": { en: "Portals by version and state", ru: "Порталы по версиям и состояниям" },
  "overview.version": { en: "Version", ru: "Версия" },
  "overview.state": { en: "State", ru: "Состояние" },
  "overview.portals": { en: "Portals", ru: "Порталы" },
  "overview.empty": {
    en: "No portal is stored yet. The first one appears with its first event.",
    ru: "Порталов пока нет. Первый появится с первым событием.",
  },
} as const satisfies Texts;
