/** Strings of the overview. */
import type { Texts } from "./text.ts";

export const OVERVIEW_TEXTS = {
  "overview.title": { en: "Overview", ru: "Обзор" },
  "overview.counts": { en: "Portals by version and state", ru: "Порталы по версиям и состояниям" },
  "overview.versions": { en: "Versions and states", ru: "Версии и состояния" },
  "overview.states": { en: "Portals by state", ru: "Порталы по состояниям" },
  "overview.installed": {
    en: { one: "portal with the app", other: "portals with the app" },
    ru: {
      one: "портал с приложением",
      few: "портала с приложением",
      many: "порталов с приложением",
      other: "портала с приложением",
    },
  },
  "overview.stuck": { en: "Needs attention", ru: "Требует внимания" },
  "overview.stuck.empty": { en: "Nothing is stuck", ru: "Всё идёт своим чередом" },
  "overview.stuck.empty.text": {
    en: "No portal is parked or blocked, and none is being retried.",
    ru: "Нет остановленных и заблокированных порталов, и ничего не повторяется.",
  },
  "overview.waitsFor": { en: "waits for {what}", ru: "ждёт {what}" },
  "overview.retryAll": { en: "Retry all {count}", ru: "Повторить все ({count})" },
  "overview.noMessage": { en: "There is no message.", ru: "Сообщения нет." },
  "overview.suchAs": { en: "such as", ru: "например," },
  "overview.chart": { en: "Portals by version over time", ru: "Порталы по версиям во времени" },
  "overview.chart.text": {
    en: "A stacked area chart. Latest numbers: {versions}.",
    ru: "Диаграмма с накоплением. Последние значения: {versions}.",
  },
  "overview.chart.empty": { en: "No history yet", ru: "Истории пока нет" },
  "overview.chart.empty.text": {
    en: "The numbers are stored once an hour. The chart appears after the second hour.",
    ru: "Значения сохраняются раз в час. Диаграмма появится после второго часа.",
  },
  "overview.others": { en: "Others", ru: "Прочие" },
  "overview.range": { en: "Range of the chart", ru: "Период диаграммы" },
  "overview.range.day": { en: "24 h", ru: "24 ч" },
  "overview.range.week": { en: "7 days", ru: "7 дней" },
  "overview.range.quarter": { en: "90 days", ru: "90 дней" },
  "overview.range.years": { en: "2 years", ru: "2 года" },
  "overview.empty": { en: "No portal is stored yet", ru: "Порталов пока нет" },
  "overview.empty.text": {
    en: "The first one appears with its first event. “onappupdate simulate” sends one to an app that you develop.",
    ru: "Первый появится с первым событием. «onappupdate simulate» отправит его приложению, которое вы разрабатываете.",
  },
} as const satisfies Texts;
