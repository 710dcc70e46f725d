/** Names of states and reasons. */
import type { BlockedReason, PortalState } from "../../../mod.ts";
import type { Texts } from "./text.ts";

type Named = `state.${PortalState | "held"}` | `blocked.${BlockedReason}`;

export const STATE_TEXTS = {
  "state.current": { en: "Current", ru: "Актуален" },
  "state.upgrading": { en: "Upgrading", ru: "Обновляется" },
  "state.blocked": { en: "Blocked", ru: "Заблокирован" },
  "state.parked": { en: "Parked", ru: "Остановлен" },
  "state.held": { en: "Held", ru: "Ждёт выпуска" },
  "state.uninstalled": { en: "Uninstalled", ru: "Удалён" },
  "blocked.scope": { en: "a permission of the app", ru: "право приложения" },
  "blocked.payment": { en: "a payment", ru: "оплату" },
  "blocked.confirmation": { en: "a confirmation of REST methods", ru: "подтверждение методов REST" },
  "blocked.administrator": { en: "an administrator", ru: "администратора" },
  "blocked.authorization": { en: "an authorization", ru: "авторизацию" },
  "blocked.installation": { en: "the installation", ru: "установку" },
  "blocked.configuration": { en: "the configuration of the app", ru: "настройку приложения" },
  "blocked.version": { en: "its initial version", ru: "исходную версию" },
  "blocked.rollout": { en: "the rollout", ru: "выпуск" },
} as const satisfies Texts & Readonly<Record<Named, unknown>>;
