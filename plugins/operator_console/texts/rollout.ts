/** Strings of rollouts. */
import type { Texts } from "./text.ts";

export const ROLLOUT_TEXTS = {
  "rollout.title": { en: "Rollout", ru: "Раскатка" },
  "rollout.of": { en: "Rollout of {target}", ru: "Раскатка {target}" },
  "rollout.empty": { en: "No rollout", ru: "Раскатки нет" },
  "rollout.empty.text": {
    en:
      "With the option “rollout” of createApp(), a new version reaches portals in stages. It appears here once one begins.",
    ru:
      "С опцией «rollout» в createApp() новая версия доходит до порталов поэтапно. Раскатка появится здесь, когда начнётся.",
  },
  "rollout.state.running": { en: "Running", ru: "Идёт" },
  "rollout.state.paused": { en: "Paused", ru: "На паузе" },
  "rollout.state.finished": { en: "Finished", ru: "Завершена" },
  "rollout.state.aborted": { en: "Aborted", ru: "Прервана" },
  "rollout.state.superseded": { en: "Superseded", ru: "Заменена" },
  "rollout.wait.resume": { en: "Paused by {by}: {reason}.", ru: "Приостановил(а) {by}: {reason}." },
  "rollout.wait.failures": {
    en: "Too many failures of upgrade {upgrades} have paused it. Resume it once the cause is fixed, or abort it.",
    ru:
      "Слишком много сбоев обновления {upgrades}: раскатка встала на паузу. Исправьте причину и возобновите или прервите.",
  },
  "rollout.wait.window": { en: "Waits for its window, which opens at", ru: "Ждёт окна, которое откроется" },
  "rollout.wait.time": {
    en: "The portals of this stage are done. The next stage begins at",
    ru: "Порталы этого этапа готовы. Следующий этап начнётся",
  },
  "rollout.wait.promote": {
    en: "The portals of this stage are done. Promote it to begin the next one.",
    ru: "Порталы этого этапа готовы. Начните следующий этап.",
  },
  "rollout.wait.set": {
    en: "The portals of the last stage are done, and it does not have all portals. Add a stage.",
    ru: "Порталы последнего этапа готовы, но он охватывает не все порталы. Добавьте этап.",
  },
  "rollout.wait.portals": { en: "Portals of this stage are under way.", ru: "Порталы этого этапа обновляются." },
  "rollout.done": { en: "{done} of {all} on the new version", ru: "{done} из {all} на новой версии" },
  "rollout.pace": { en: "Throughput", ru: "Скорость" },
  "rollout.perMinute": { en: "{pace} a minute", ru: "{pace} в минуту" },
  "rollout.noPace": { en: "none in the last ten minutes", ru: "ни одного за десять минут" },
  "rollout.remaining": { en: "Remaining", ru: "Осталось" },
  "rollout.about": { en: "about {duration}", ru: "около {duration}" },
  "rollout.stages": { en: "Stages", ru: "Этапы" },
  "rollout.stage.over": { en: "done", ru: "пройден" },
  "rollout.stage.present": { en: "now", ru: "сейчас" },
  "rollout.stage.later": { en: "to come", ru: "впереди" },
  "rollout.untilPromote": { en: "until promoted", ru: "до решения" },
  "rollout.lasts": { en: "lasts {duration}", ru: "длится {duration}" },
  "rollout.breakers": { en: "Upgrades", ru: "Обновления" },
  "rollout.breakers.empty": { en: "No upgrade has begun", ru: "Обновления ещё не начались" },
  "rollout.upgrade": { en: "Upgrade", ru: "Обновление" },
  "rollout.inFlight": { en: "In flight", ru: "В работе" },
  "rollout.finished": { en: "Finished", ru: "Готово" },
  "rollout.failed": { en: "Failed", ru: "Сбои" },
  "rollout.pausesAt": { en: "Pauses at", ru: "Пауза при" },
  "rollout.tripped": { en: "paused it", ru: "вызвало паузу" },
  "rollout.failures": { en: "Failures", ru: "Сбои" },
  "rollout.failures.empty": { en: "No failures", ru: "Сбоев нет" },
  "rollout.options": { en: "Options", ru: "Настройки" },
  "rollout.pauseWhen": { en: "Pauses itself at", ru: "Сама встаёт на паузу при" },
  "rollout.pauseWhen.value": {
    en: "{failed} failed portals, or {percent} % of the finished ones if that is more",
    ru: "{failed} порталах со сбоем или {percent} % готовых, если это больше",
  },
  "rollout.concurrency": { en: "At most at a time", ru: "Не более одновременно" },
  "rollout.window": { en: "Window", ru: "Окно" },
  "rollout.window.always": { en: "at any time", ru: "в любое время" },
  "rollout.first": { en: "First", ru: "Первые" },
  "rollout.hold": { en: "Held back", ru: "Удержаны" },
  "rollout.began": { en: "Began", ru: "Начало" },
  "rollout.target": { en: "Version", ru: "Версия" },
  "rollout.target.hint": {
    en: "Empty: the highest version that is not aborted.",
    ru: "Пусто: самая высокая версия, которая не прервана.",
  },
} as const satisfies Texts;
