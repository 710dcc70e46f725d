/** The strings that channels add to a notification, by language. */
import type { NotificationLanguage, NotificationMessage } from "./message.ts";

/** The strings in one language. */
export interface Texts {
  readonly severity: Readonly<Record<NotificationMessage["severity"], string>>;
  readonly resolved: string;
  /** Heading of the names of portals. */
  readonly portals: (total: number) => string;
  /** Stands for portals without a name. */
  readonly morePortals: (count: number) => string;
  /** Stands for details that were left out. */
  readonly moreLines: (count: number) => string;
  readonly id: (id: string) => string;
  /** For the customer: the app was updated. */
  readonly updated: (app: string) => string;
  /** For the customer: what the app needs. */
  readonly needs: (app: string) => {
    readonly payment: string;
    readonly scope: string;
    readonly administrator: string;
    readonly confirmation: string;
  };
}

const EN: Texts = {
  severity: { info: "INFO", warning: "WARNING", critical: "CRITICAL" },
  resolved: "RESOLVED",
  portals: (total) => `Portals: ${total}`,
  morePortals: (count) => `and ${count} more`,
  moreLines: (count) => `and ${count} more ${count === 1 ? "line" : "lines"}`,
  id: (id) => `ID: ${id}`,
  updated: (app) => `${app} was updated.`,
  needs: (app) => ({
    payment: `${app} cannot continue its update: your Bitrix24 needs a paid plan, or the app a subscription.`,
    scope: `${app} cannot continue its update: please open the app and grant the permissions that it asks for.`,
    administrator: `${app} cannot continue its update: an administrator has to open the app.`,
    confirmation: `${app} cannot continue its update: an administrator has to confirm its request.`,
  }),
};

const RU: Texts = {
  severity: { info: "СВЕДЕНИЯ", warning: "ВНИМАНИЕ", critical: "АВАРИЯ" },
  resolved: "РЕШЕНО",
  portals: (total) => `Порталов: ${total}`,
  morePortals: (count) => `и ещё ${count}`,
  moreLines: (count) => `и ещё строк: ${count}`,
  id: (id) => `ID: ${id}`,
  updated: (app) => `Приложение «${app}» обновлено.`,
  needs: (app) => ({
    payment: `Обновление приложения «${app}» ждёт оплаты: тарифа Битрикс24 или подписки на приложение.`,
    scope: `Обновление приложения «${app}» ждёт прав: откройте приложение и разрешите то, что оно просит.`,
    administrator: `Обновление приложения «${app}» ждёт: его должен открыть администратор.`,
    confirmation: `Обновление приложения «${app}» ждёт: администратор должен подтвердить запрос приложения.`,
  }),
};

const LANGUAGES: Readonly<Record<NotificationLanguage, Texts>> = { en: EN, ru: RU };

/** Returns the strings of a language. */
export function textsIn(language: NotificationLanguage = "en"): Texts {
  return LANGUAGES[language];
}
