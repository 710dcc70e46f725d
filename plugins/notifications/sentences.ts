/** The strings of notifications, by language. */
import type { BlockedReason } from "../../mod.ts";
import type { GroupLabels } from "./group.ts";
import type { NotificationKind, NotificationLanguage } from "./message.ts";

/** The values in the title of a notification. */
export interface Facts extends GroupLabels {
  /** Number of portals, events or messages. */
  readonly count: number;
  /** There may be more. */
  readonly isAtLeast?: boolean;
  /** A time, as text. */
  readonly since?: string;
}

type Title = (facts: Facts) => string;

/** The sentences in one language. */
export interface Sentences {
  /** Titles for operators. `resolved` is never used of kinds without an end. */
  readonly titles: Readonly<Record<NotificationKind, { readonly firing: Title; readonly resolved: Title }>>;
  /** Titles for customers, with the name of the app if it is known: they get no ids, errors or numbers. */
  readonly customer: {
    readonly upgraded: (app?: string) => string;
    readonly blocked: (on: BlockedReason, app?: string) => string;
  };
  readonly lines: {
    readonly error: (message: string) => string;
    readonly target: (version: string) => string;
    readonly operator: (by: string, reason: string) => string;
    /** A rollout that is no longer under way: `aborted`, `superseded` or `finished`. */
    readonly ended: (state: string) => string;
    readonly failures: (count: number, message: string) => string;
    readonly since: (time: string) => string;
  };
}

const portals = ({ count, isAtLeast = false }: Facts): string =>
  `${isAtLeast ? "at least " : ""}${count} ${count === 1 ? "portal" : "portals"}`;
const are = ({ count }: Facts): string => count === 1 ? "is" : "are";
const upper = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);
const events = ({ count, isAtLeast = false }: Facts): string =>
  `${isAtLeast ? "at least " : ""}${count} ${count === 1 ? "event" : "events"}`;
const messages = ({ count }: Facts): string => `${count} ${count === 1 ? "message" : "messages"}`;
const place = ({ upgradeId, step }: Facts): string =>
  upgradeId === undefined
    ? "before an upgrade"
    : `in upgrade ${upgradeId}${step === undefined ? "" : `, step ${step}`}`;

const EN: Sentences = {
  titles: {
    portal_parked: {
      firing: (facts) => upper(`${portals(facts)} ${are(facts)} parked ${place(facts)}`),
      resolved: (facts) => upper(`${portals(facts)} ${are(facts)} no longer parked ${place(facts)}`),
    },
    portal_blocked: {
      firing: (facts) => upper(`${portals(facts)} ${are(facts)} blocked on ${facts.blockedOn}`),
      resolved: (facts) => upper(`${portals(facts)} ${are(facts)} no longer blocked on ${facts.blockedOn}`),
    },
    portal_upgraded: {
      firing: (facts) => upper(`${portals(facts)} ${are(facts)} upgraded`),
      resolved: (facts) => upper(`${portals(facts)} ${are(facts)} upgraded`),
    },
    rollout_paused: {
      firing: ({ target }) => `The rollout of ${target} is paused`,
      resolved: ({ target }) => `The rollout of ${target} is no longer paused`,
    },
    rollout_finished: {
      firing: ({ target }) => `The rollout of ${target} is finished`,
      resolved: ({ target }) => `The rollout of ${target} is finished`,
    },
    verification_refused: {
      firing: (facts) => `${events(facts)} refused as not authentic`,
      resolved: () => "Events are no longer refused as not authentic",
    },
    verification_delayed: {
      firing: (facts) => upper(`${events(facts)} ${facts.count === 1 ? "waits" : "wait"} for verification`),
      resolved: () => "Events no longer wait for verification",
    },
    registrations_drifted: {
      firing: (facts) => `Registrations of ${portals(facts)} differed from the declaration`,
      resolved: () => "Registrations are as declared",
    },
    storage_failing: {
      firing: () => "The storage fails",
      resolved: () => "The storage works again",
    },
    oauth_failing: {
      firing: (facts) => `The OAuth servers of Bitrix24 do not answer: ${events(facts)} cannot be verified`,
      resolved: () => "The OAuth servers of Bitrix24 answer again",
    },
    nothing_received: {
      firing: ({ since = "?" }) => `No event has been received since ${since}`,
      resolved: () => "Events are received again",
    },
    messages_dropped: {
      firing: (facts) => `${messages(facts)} of plugin ${facts.plugin} dropped`,
      resolved: ({ plugin }) => `Messages of plugin ${plugin} are no longer dropped`,
    },
    channel_failing: {
      firing: (facts) => `${messages(facts)} could not be sent by channel ${facts.channel}`,
      resolved: ({ channel }) => `Channel ${channel} has no undelivered messages`,
    },
  },
  customer: {
    upgraded: (app = "The app") => `${app} was updated`,
    blocked: (on, app = "The app") => {
      const needs: Partial<Record<BlockedReason, string>> = {
        payment: ": it needs a payment",
        scope: ": it needs permissions",
        administrator: ": an administrator has to open it",
        confirmation: ": an administrator has to confirm its request",
      };
      return `${app} cannot continue its update${needs[on] ?? ""}`;
    },
  },
  lines: {
    error: (message) => `Error: ${message}`,
    target: (version) => `Target version: ${version}`,
    operator: (by, reason) => `${by}: ${reason}`,
    ended: (state) => `The rollout is ${state}`,
    failures: (count, message) => `${count} × ${message}`,
    since: (time) => `Since ${time}`,
  },
};

const atLeast = ({ count, isAtLeast = false }: Facts): string => isAtLeast ? `не менее ${count}` : `${count}`;
const russianPlace = ({ upgradeId, step }: Facts): string =>
  upgradeId === undefined ? "до обновления" : `обновление ${upgradeId}${step === undefined ? "" : `, шаг ${step}`}`;

const RU: Sentences = {
  titles: {
    portal_parked: {
      firing: (facts) => `Остановлено порталов: ${atLeast(facts)} (${russianPlace(facts)})`,
      resolved: (facts) => `Порталы больше не остановлены: ${atLeast(facts)} (${russianPlace(facts)})`,
    },
    portal_blocked: {
      firing: (facts) => `Заблокировано порталов: ${atLeast(facts)} (${facts.blockedOn})`,
      resolved: (facts) => `Порталы больше не заблокированы: ${atLeast(facts)} (${facts.blockedOn})`,
    },
    portal_upgraded: {
      firing: (facts) => `Обновлено порталов: ${atLeast(facts)}`,
      resolved: (facts) => `Обновлено порталов: ${atLeast(facts)}`,
    },
    rollout_paused: {
      firing: ({ target }) => `Выпуск ${target} приостановлен`,
      resolved: ({ target }) => `Выпуск ${target} больше не приостановлен`,
    },
    rollout_finished: {
      firing: ({ target }) => `Выпуск ${target} завершён`,
      resolved: ({ target }) => `Выпуск ${target} завершён`,
    },
    verification_refused: {
      firing: (facts) => `Отклонено неподлинных событий: ${atLeast(facts)}`,
      resolved: () => "Неподлинные события больше не приходят",
    },
    verification_delayed: {
      firing: (facts) => `Ждут проверки подлинности событий: ${atLeast(facts)}`,
      resolved: () => "События больше не ждут проверки подлинности",
    },
    registrations_drifted: {
      firing: (facts) => `Регистрации отличались от объявленных, порталов: ${atLeast(facts)}`,
      resolved: () => "Регистрации соответствуют объявленным",
    },
    storage_failing: {
      firing: () => "Хранилище недоступно",
      resolved: () => "Хранилище снова работает",
    },
    oauth_failing: {
      firing: (facts) => `Серверы OAuth Битрикс24 не отвечают, событий без проверки: ${atLeast(facts)}`,
      resolved: () => "Серверы OAuth Битрикс24 снова отвечают",
    },
    nothing_received: {
      firing: ({ since = "?" }) => `Нет событий с ${since}`,
      resolved: () => "События снова приходят",
    },
    messages_dropped: {
      firing: (facts) => `Потеряно сообщений плагина ${facts.plugin}: ${facts.count}`,
      resolved: ({ plugin }) => `Сообщения плагина ${plugin} больше не теряются`,
    },
    channel_failing: {
      firing: (facts) => `Не отправлено сообщений в канал ${facts.channel}: ${facts.count}`,
      resolved: ({ channel }) => `В канале ${channel} не осталось неотправленных сообщений`,
    },
  },
  customer: {
    upgraded: (app) => `Приложение${quoted(app)} обновлено`,
    blocked: (on, app) => {
      const needs: Partial<Record<BlockedReason, string>> = {
        payment: "ждёт оплаты",
        scope: "ждёт разрешений",
        administrator: "ждёт: его должен открыть администратор",
        confirmation: "ждёт: администратор должен подтвердить запрос приложения",
      };
      return `Обновление приложения${quoted(app)} ${needs[on] ?? "не может продолжиться"}`;
    },
  },
  lines: {
    error: (message) => `Ошибка: ${message}`,
    target: (version) => `Целевая версия: ${version}`,
    operator: (by, reason) => `${by}: ${reason}`,
    ended: (state) =>
      ({
        aborted: "Выпуск прекращён",
        superseded: "Выпуск заменён более новым",
        finished: "Выпуск завершён",
      } as Partial<Record<string, string>>)[state] ?? `Состояние выпуска: ${state}`,
    failures: (count, message) => `${count} × ${message}`,
    since: (time) => `С ${time}`,
  },
};

/** The sentences of all languages. */
export const SENTENCES: Readonly<Record<NotificationLanguage, Sentences>> = { en: EN, ru: RU };

function quoted(app: string | undefined): string {
  return app === undefined ? "" : ` «${app}»`;
}
