/** The pages of the site in reading order, for both languages. A test holds them against `docs/`. */

/** Pages under one heading. */
export interface Group {
  readonly en: string;
  readonly ru: string;
  /** Paths of pages without `.md`, with their names in both languages. */
  readonly pages: readonly (readonly [page: string, en: string, ru: string])[];
}

export const GROUPS: readonly Group[] = [
  {
    en: "Start",
    ru: "Начало",
    pages: [
      ["overview", "Overview", "Обзор"],
      ["tutorial", "Tutorial", "Первый проект"],
      ["comparison", "Comparison", "Сравнение"],
      ["faq", "Questions and answers", "Вопросы и ответы"],
      ["glossary", "Glossary", "Словарь"],
    ],
  },
  {
    en: "Write upgrades",
    ru: "Обновления",
    pages: [
      ["upgrades", "Upgrades", "Обработчики обновлений"],
      ["events", "Events and answers", "События и ответы"],
      ["rest", "Calling the portal", "Вызовы портала"],
      ["registrations", "Registrations", "Регистрации"],
      ["openings", "Openings and install wizards", "Открытия и мастер установки"],
      ["b24jssdk", "With the official SDK", "С официальным SDK"],
    ],
  },
  {
    en: "Test",
    ru: "Проверка",
    pages: [
      ["local-development", "Local development", "Локальная разработка"],
      ["testing-upgrades", "Testing upgrades", "Тесты обновлений"],
      ["fake-bitrix24", "The fake Bitrix24", "Имитация Битрикс24"],
      ["rehearsal", "Rehearsal", "Репетиция"],
    ],
  },
  {
    en: "Deploy",
    ru: "Запуск",
    pages: [
      ["frameworks", "In your framework", "В вашем фреймворке"],
      ["deno-deploy", "Deno Deploy", "Deno Deploy"],
      ["node-server", "Node on a server", "Node на сервере"],
      ["health", "Health checks", "Проверки работоспособности"],
      ["storage", "Storage", "Хранилище"],
      ["verification", "Verification", "Проверка подлинности"],
      ["permissions", "Permissions on Deno", "Разрешения Deno"],
      ["security-checklist", "Security checklist", "Проверка перед запуском"],
      ["self-hosted-portals", "Self-hosted portals", "Коробочные порталы"],
      ["adoption", "You already have customers", "Клиенты уже есть"],
    ],
  },
  {
    en: "Operate",
    ru: "Эксплуатация",
    pages: [
      ["rollout", "Rollout control", "Поэтапный выпуск"],
      ["notifications", "Notifications", "Уведомления"],
      ["logging", "Logging", "Журнал"],
      ["notification-channels", "Notification channels", "Каналы уведомлений"],
      ["operators", "For operators", "Операторам"],
      ["telemetry", "Telemetry", "Телеметрия"],
      ["incident", "An incident", "Если что-то сломалось"],
      ["troubleshooting", "Troubleshooting", "Поиск неисправностей"],
      ["command-line", "Command line", "Командная строка"],
      ["console", "Console", "Консоль"],
      ["operator-api", "Operator API", "API оператора"],
      ["performance", "Performance", "Производительность"],
    ],
  },
  {
    en: "Extend",
    ru: "Расширение",
    pages: [
      ["writing-a-plugin", "Writing a plugin", "Свой плагин"],
      ["writing-a-storage", "Writing a storage", "Своё хранилище"],
      ["storage-contract", "The storage contract", "Контракт хранилища"],
      ["architecture", "Architecture", "Архитектура"],
      ["contributing", "Contributing", "Участие в разработке"],
    ],
  },
  {
    en: "Reference",
    ru: "Справочник",
    pages: [
      ["guarantees", "Guarantees and limits", "Гарантии и пределы"],
      ["options", "Options", "Параметры"],
      ["security", "Security", "Безопасность"],
      ["changelog", "Changelog", "Изменения"],
    ],
  },
];
