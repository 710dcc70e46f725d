/** The texts of the page, by language. */

/** The texts of the page in one language. */
export interface Texts {
  readonly title: string;
  readonly installing: string;
  readonly upgrading: string;
  readonly blocked: string;
  readonly parked: string;
  readonly ready: string;
  readonly waitsForAdministrator: string;
  readonly retry: string;
  readonly progress: string;
  readonly offline: string;
  readonly expired: string;
  readonly reload: string;
  readonly input: string;
  readonly notAuthentic: string;
  readonly unavailable: string;
}

const EN: Texts = {
  title: "Getting ready",
  installing: "The app is being installed…",
  upgrading: "The app is being updated…",
  blocked: "The app is waiting for something on your Bitrix24.",
  parked: "The app could not be set up. Its developer has to look into it.",
  ready: "Done. The app opens now…",
  waitsForAdministrator: "The installation is not finished. An administrator of your Bitrix24 has to open the app.",
  retry: "Try again",
  progress: "Progress",
  offline: "No connection. Trying again…",
  expired: "This page has expired. Please reload it.",
  reload: "Done. Please reload the page.",
  input: "Please open this app in Bitrix24.",
  notAuthentic: "Bitrix24 does not confirm that you may open this app. Please reload the page.",
  unavailable: "Bitrix24 cannot be asked now. Please reload the page in a minute.",
};

const DE: Texts = {
  title: "Die App wird vorbereitet",
  installing: "Die App wird installiert …",
  upgrading: "Die App wird aktualisiert …",
  blocked: "Die App wartet auf etwas in Ihrem Bitrix24.",
  parked: "Die App konnte nicht eingerichtet werden. Der Entwickler muss sich darum kümmern.",
  ready: "Fertig. Die App wird geöffnet …",
  waitsForAdministrator:
    "Die Installation ist nicht abgeschlossen. Ein Administrator Ihres Bitrix24 muss die App öffnen.",
  retry: "Erneut versuchen",
  progress: "Fortschritt",
  offline: "Keine Verbindung. Neuer Versuch …",
  expired: "Diese Seite ist abgelaufen. Bitte laden Sie sie neu.",
  reload: "Fertig. Bitte laden Sie die Seite neu.",
  input: "Bitte öffnen Sie diese App in Bitrix24.",
  notAuthentic: "Bitrix24 bestätigt nicht, dass Sie diese App öffnen dürfen. Bitte laden Sie die Seite neu.",
  unavailable: "Bitrix24 ist gerade nicht erreichbar. Bitte laden Sie die Seite in einer Minute neu.",
};

const RU: Texts = {
  title: "Приложение подготавливается",
  installing: "Приложение устанавливается…",
  upgrading: "Приложение обновляется…",
  blocked: "Приложение ожидает действий в вашем Битрикс24.",
  parked: "Не удалось подготовить приложение. Этим должен заняться его разработчик.",
  ready: "Готово. Приложение открывается…",
  waitsForAdministrator: "Установка не завершена. Приложение должен открыть администратор вашего Битрикс24.",
  retry: "Повторить",
  progress: "Ход выполнения",
  offline: "Нет соединения. Повторная попытка…",
  expired: "Страница устарела. Обновите её.",
  reload: "Готово. Обновите страницу.",
  input: "Откройте это приложение в Битрикс24.",
  notAuthentic: "Битрикс24 не подтверждает, что вы можете открыть это приложение. Обновите страницу.",
  unavailable: "Битрикс24 сейчас недоступен. Обновите страницу через минуту.",
};

/** Languages of the page. */
export type Language = "en" | "de" | "ru";

const TEXTS: Readonly<Record<Language, Texts>> = { en: EN, de: DE, ru: RU };

/** Returns the language of the page for a user of Bitrix24. */
export function languageOf(language: string | undefined): Language {
  const code = language?.toLowerCase().slice(0, 2);
  return code === "de" || code === "ru" ? code : "en";
}

/** Returns the texts in a language. */
export function textsIn(language: Language): Texts {
  return TEXTS[language];
}
