/** Strings of the page on which an operator confirms an action. */
import type { Texts } from "./text.ts";

export const ACTING_TEXTS = {
  "acting.reason": { en: "Reason", ru: "Причина" },
  "acting.reason.hint": {
    en: "Such as a ticket. The audit log shows it with your name.",
    ru: "Например, номер заявки. Попадёт в журнал вместе с вашим именем.",
  },
  "acting.cancel": { en: "Cancel", ru: "Отмена" },
  "acting.confirm": { en: "Confirm: {action}", ru: "Подтвердить: {action}" },
  "acting.batch": {
    en: { one: "{action} ({count} portal)", other: "{action} ({count} portals)" },
    ru: {
      one: "{action} ({count} портал)",
      few: "{action} ({count} портала)",
      many: "{action} ({count} порталов)",
      other: "{action} ({count} портала)",
    },
  },
  "acting.matched": {
    en: { one: "{count} portal matches now.", other: "{count} portals match now." },
    ru: {
      one: "Сейчас подходит {count} портал.",
      few: "Сейчас подходят {count} портала.",
      many: "Сейчас подходят {count} порталов.",
      other: "Сейчас подходит {count} портала.",
    },
  },
  "acting.more": {
    en: {
      one: "Nothing was done: {count} portal matches now, more than were shown.",
      other: "Nothing was done: {count} portals match now, more than were shown.",
    },
    ru: {
      one: "Ничего не сделано: теперь подходит {count} портал, больше, чем было показано.",
      few: "Ничего не сделано: теперь подходят {count} портала, больше, чем было показано.",
      many: "Ничего не сделано: теперь подходят {count} порталов, больше, чем было показано.",
      other: "Ничего не сделано: теперь подходит {count} портала, больше, чем было показано.",
    },
  },
  "acting.nothingDone": { en: "Nothing was done:", ru: "Ничего не сделано:" },
  "acting.signedOut": {
    en: "You are no longer signed in. Nothing was done.",
    ru: "Вы больше не авторизованы. Ничего не сделано.",
  },
  "acting.storage": {
    en: "The storage does not answer. Nothing can be done until it does.",
    ru: "Хранилище не отвечает. Пока оно недоступно, действия невозможны.",
  },
  "acting.field.portal": { en: "Portal", ru: "Портал" },
  "acting.field.id": { en: "Id", ru: "Идентификатор" },
  "acting.field.target": { en: "Version", ru: "Версия" },
  "acting.field.version": { en: "Version", ru: "Версия" },
  "acting.field.upgradeId": { en: "Upgrade", ru: "Обновление" },
  "acting.field.plugin": { en: "Plugin", ru: "Плагин" },
  "acting.field.channel": { en: "Channel", ru: "Канал" },
  "acting.field.action": { en: "Action", ru: "Действие" },
  "acting.field.retryParked": { en: "Also retry its parked portals", ru: "Также повторить её остановленные порталы" },
  "acting.field.stage": { en: "Present stage", ru: "Текущий этап" },
  "acting.field.kinds": { en: "Kinds of notifications", ru: "Виды уведомлений" },
  "acting.field.fingerprint": { en: "Fingerprint of the failure", ru: "Отпечаток сбоя" },
  "acting.field.lasts": { en: "Lasts", ru: "Действует" },
  "acting.field.match.version": { en: "On version", ru: "На версии" },
  "acting.field.match.status": { en: "State", ru: "Состояние" },
  "acting.field.match.domain": { en: "Domain", ru: "Домен" },
  "acting.field.match.formerDomain": { en: "Former domain", ru: "Прежний домен" },
  "acting.field.match.blockedOn": { en: "Blocked on", ru: "Ждёт" },
  "acting.field.match.upgradeId": { en: "Failed in upgrade", ru: "Сбой в обновлении" },
  "acting.field.match.fingerprint": { en: "Failure", ru: "Сбой" },
  "result.back": { en: "Back", ru: "Назад" },
  "result.installed": { en: "Installed version", ru: "Установленная версия" },
  "result.noProblem": { en: "Bitrix24 reports no problem.", ru: "Битрикс24 не сообщает о проблемах." },
  "acting.action.retry": { en: "Retry", ru: "Повторить" },
  "acting.action.skip": { en: "Skip an upgrade", ru: "Пропустить обновление" },
  "acting.action.rollback": { en: "Roll back", ru: "Откатить" },
  "acting.action.setTarget": { en: "Set the target", ru: "Задать целевую версию" },
  "acting.action.setInitialVersion": { en: "Set the initial version", ru: "Задать исходную версию" },
} as const satisfies Texts;
