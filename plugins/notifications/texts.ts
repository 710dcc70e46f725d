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
}

const EN: Texts = {
  severity: { info: "INFO", warning: "WARNING", critical: "CRITICAL" },
  resolved: "RESOLVED",
  portals: (total) => `Portals: ${total}`,
  morePortals: (count) => `and ${count} more`,
  moreLines: (count) => `and ${count} more ${count === 1 ? "line" : "lines"}`,
  id: (id) => `ID: ${id}`,
};

const RU: Texts = {
  severity: { info: "СВЕДЕНИЯ", warning: "ВНИМАНИЕ", critical: "АВАРИЯ" },
  resolved: "РЕШЕНО",
  portals: (total) => `Порталов: ${total}`,
  morePortals: (count) => `и ещё ${count}`,
  moreLines: (count) => `и ещё строк: ${count}`,
  id: (id) => `ID: ${id}`,
};

const LANGUAGES: Readonly<Record<NotificationLanguage, Texts>> = { en: EN, ru: RU };

/** Returns the strings of a language. */
export function textsIn(language: NotificationLanguage = "en"): Texts {
  return LANGUAGES[language];
}
