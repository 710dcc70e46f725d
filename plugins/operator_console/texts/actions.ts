/** Strings of actions. */
import type { Texts } from "./text.ts";

export const ACTION_TEXTS = {
  "act.retryPortal": { en: "Retry", ru: "Повторить" },
  "act.retryPortal.about": {
    en: "The portal continues now, with its attempts counted from zero.",
    ru: "Портал продолжит сейчас же, попытки считаются заново.",
  },
  "act.retryPortal.done": { en: "The portal is retried.", ru: "Портал запущен повторно." },
  "act.skipUpgrade": { en: "Skip an upgrade", ru: "Пропустить обновление" },
  "act.skipUpgrade.about": {
    en: "The upgrade is marked as done without running it, and the portal continues with the next one.",
    ru: "Обновление отмечается выполненным без запуска, портал переходит к следующему.",
  },
  "act.skipUpgrade.done": { en: "The upgrade is skipped.", ru: "Обновление пропущено." },
  "act.rollBackPortal": { en: "Roll back", ru: "Откатить" },
  "act.rollBackPortal.about": {
    en: "The finished steps of its last run are undone, the last step first. The portal is parked afterwards.",
    ru: "Выполненные шаги последнего запуска отменяются с конца. После этого портал остановлен.",
  },
  "act.rollBackPortal.done": { en: "The portal is rolled back.", ru: "Портал откачен." },
  "act.setTarget": { en: "Set the target", ru: "Задать целевую версию" },
  "act.setTarget.about": {
    en: "The portal goes to this version. A later event that confirms a higher one raises it again.",
    ru: "Портал перейдёт на эту версию. Событие, которое подтвердит более высокую, снова её поднимет.",
  },
  "act.setTarget.done": { en: "The target is set.", ru: "Целевая версия задана." },
  "act.setInitialVersion": { en: "Set the initial version", ru: "Задать исходную версию" },
  "act.setInitialVersion.about": {
    en: "Says which version the data of the portal is on. Its upgrades continue from there.",
    ru: "Указывает версию данных портала. Обновления продолжатся с неё.",
  },
  "act.setInitialVersion.done": { en: "The initial version is set.", ru: "Исходная версия задана." },
  "act.forgetPortal": { en: "Forget the portal", ru: "Забыть портал" },
  "act.forgetPortal.about": {
    en: "Erases the portal with its tokens, events and runs. This cannot be undone.",
    ru: "Удаляет портал вместе с токенами, событиями и запусками. Отменить нельзя.",
  },
  "act.forgetPortal.done": { en: "The portal is forgotten.", ru: "Портал забыт." },
  "act.checkPortal": { en: "Check", ru: "Проверить" },
  "act.checkPortal.about": {
    en: "Asks Bitrix24 which version the portal has, and raises its target to it.",
    ru: "Запрашивает у Битрикс24 версию портала и поднимает до неё целевую.",
  },
  "act.rehearsePortal": { en: "Rehearse", ru: "Отрепетировать" },
  "act.rehearsePortal.about": {
    en: "Runs the due upgrades and changes nothing. Takes up to a minute.",
    ru: "Выполняет предстоящие обновления, ничего не меняя. Занимает до минуты.",
  },
  "act.startBatch": { en: "Act on all that match", ru: "Действие над всеми подходящими" },
  "act.startBatch.about": {
    en: "Acts on each portal that matches now, one after the other. If more match than shown here, nothing is done.",
    ru:
      "Выполняется над каждым подходящим порталом по очереди. Если подойдёт больше, чем показано, не будет сделано ничего.",
  },
  "act.startBatch.done": {
    en: { one: "Started for {count} portal.", other: "Started for {count} portals." },
    ru: {
      one: "Запущено для {count} портала.",
      few: "Запущено для {count} порталов.",
      many: "Запущено для {count} порталов.",
      other: "Запущено для {count} портала.",
    },
  },
  "act.stopBatch": { en: "Stop", ru: "Остановить" },
  "act.stopBatch.about": {
    en: "Ends the batch operation after the portals that it is acting on.",
    ru: "Завершает групповую операцию после порталов, которые сейчас в работе.",
  },
  "act.stopBatch.done": { en: "The batch operation is stopped.", ru: "Групповая операция остановлена." },
  "act.pause": { en: "Pause all work", ru: "Приостановить всю работу" },
  "act.pause.about": {
    en: "No upgrade begins and running ones are suspended at their next step. Events are still received.",
    ru: "Новые обновления не начнутся, текущие остановятся на следующем шаге. События принимаются.",
  },
  "act.pause.done": { en: "All work is paused.", ru: "Вся работа приостановлена." },
  "act.resume": { en: "Resume all work", ru: "Возобновить работу" },
  "act.resume.about": { en: "Ends the pause.", ru: "Снимает паузу." },
  "act.resume.done": { en: "Work continues.", ru: "Работа продолжается." },
  "act.recount": { en: "Recount", ru: "Пересчитать" },
  "act.recount.about": {
    en: "Counts all portals anew, and repairs what crashes have left wrong in lists and counts.",
    ru: "Заново считает порталы и исправляет списки и счётчики после сбоев.",
  },
  "act.recount.done": { en: "All portals are counted.", ru: "Порталы пересчитаны." },
  "act.retryOutbox": { en: "Deliver again", ru: "Доставить повторно" },
  "act.retryOutbox.about": { en: "Delivers dead letters again.", ru: "Повторно доставляет недоставленные сообщения." },
  "act.retryOutbox.done": {
    en: { one: "{count} message is delivered again.", other: "{count} messages are delivered again." },
    ru: {
      one: "{count} сообщение доставляется повторно.",
      few: "{count} сообщения доставляются повторно.",
      many: "{count} сообщений доставляются повторно.",
      other: "{count} сообщения доставляется повторно.",
    },
  },
  "act.addSilence": { en: "Add a silence", ru: "Включить тишину" },
  "act.addSilence.about": {
    en: "Operators get no notification that matches, until the silence ends. Customers are notified all the same.",
    ru: "Пока тишина действует, операторы не получают подходящих уведомлений. Клиенты получают их как обычно.",
  },
  "act.addSilence.done": { en: "The silence holds.", ru: "Тишина включена." },
  "act.removeSilence": { en: "Remove", ru: "Снять" },
  "act.removeSilence.about": {
    en: "Ends the silence now. Operators are notified of what is still wrong.",
    ru: "Снимает тишину сейчас. Операторы получат уведомления о том, что всё ещё не так.",
  },
  "act.removeSilence.done": { en: "The silence has ended.", ru: "Тишина снята." },
  "act.pauseRollout": { en: "Pause the rollout", ru: "Приостановить выпуск" },
  "act.pauseRollout.about": {
    en: "No upgrade of this rollout begins and none is retried.",
    ru: "Обновления этого выпуска не начинаются и не повторяются.",
  },
  "act.pauseRollout.done": { en: "The rollout is paused.", ru: "Выпуск приостановлен." },
  "act.resumeRollout": { en: "Resume the rollout", ru: "Возобновить выпуск" },
  "act.resumeRollout.about": {
    en: "Ends the pause, and counts failures from zero.",
    ru: "Снимает паузу, сбои считаются заново.",
  },
  "act.resumeRollout.done": { en: "The rollout continues.", ru: "Выпуск продолжается." },
  "act.promoteRollout": { en: "Begin the next stage", ru: "Начать следующий этап" },
  "act.promoteRollout.about": {
    en: "More portals receive the new version now.",
    ru: "Новую версию сейчас получат ещё порталы.",
  },
  "act.promoteRollout.done": { en: "The next stage has begun.", ru: "Следующий этап начат." },
  "act.abortRollout": { en: "Abort the rollout", ru: "Прервать выпуск" },
  "act.abortRollout.about": {
    en: "Ends the rollout for good. Portals whose upgrade has not begun keep their version.",
    ru: "Завершает выпуск навсегда. Порталы, чьё обновление не началось, остаются на своей версии.",
  },
  "act.abortRollout.done": { en: "The rollout is aborted.", ru: "Выпуск прерван." },
} as const satisfies Texts;
