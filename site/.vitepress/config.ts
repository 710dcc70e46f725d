import { type DefaultTheme, defineConfig } from "vitepress";
import { GROUPS } from "./sidebar.ts";

const REPOSITORY = "https://github.com/b24/onappupdate";

function sidebar(language: "en" | "ru"): DefaultTheme.SidebarItem[] {
  const folder = language === "en" ? "" : "/ru";
  return GROUPS.map((group) => ({
    text: group[language],
    items: group.pages.map(([page, en, ru]) => ({ text: { en, ru }[language], link: `${folder}/${page}` })),
  }));
}

export default defineConfig({
  title: "onappupdate",
  srcDir: "generated",
  outDir: "dist",
  base: "/onappupdate/",
  cleanUrls: true,
  lastUpdated: false,
  markdown: { theme: { light: "github-light-high-contrast", dark: "github-dark-high-contrast" } },
  // The theme's home page has no main landmark.
  transformHtml: (html) => html.replace('<div class="VPContent is-home"', '<div role="main" class="VPContent is-home"'),
  head: [["link", { rel: "icon", href: "/onappupdate/icon.svg", type: "image/svg+xml" }]],
  themeConfig: {
    logo: "/icon.svg",
    search: {
      provider: "local",
      options: {
        locales: {
          ru: {
            translations: {
              button: { buttonText: "Поиск", buttonAriaLabel: "Поиск" },
              modal: {
                noResultsText: "Ничего не найдено:",
                resetButtonTitle: "Очистить",
                footer: { selectText: "выбрать", navigateText: "перейти", closeText: "закрыть" },
              },
            },
          },
        },
      },
    },
    socialLinks: [{ icon: "github", link: REPOSITORY }],
  },
  locales: {
    root: {
      label: "English",
      lang: "en",
      description: "Bring every customer's Bitrix24 portal to the current version of your app",
      themeConfig: {
        nav: [
          { text: "Guide", link: "/overview", activeMatch: "^/(?!ru/|reference/).+" },
          { text: "Reference", link: `/reference/`, target: "_self" },
          { text: "Changelog", link: "/changelog" },
        ],
        sidebar: sidebar("en"),
        outline: { level: [2, 3] },
      },
    },
    ru: {
      label: "Русский",
      lang: "ru",
      description: "Переведите портал Битрикс24 каждого клиента на текущую версию вашего приложения",
      themeConfig: {
        nav: [
          { text: "Руководство", link: "/ru/overview", activeMatch: "^/ru/.+" },
          { text: "Справочник", link: `/reference/`, target: "_self" },
          { text: "Изменения", link: "/ru/changelog" },
        ],
        sidebar: sidebar("ru"),
        outline: { level: [2, 3], label: "На этой странице" },
        docFooter: { prev: "Назад", next: "Дальше" },
        darkModeSwitchLabel: "Тема",
        lightModeSwitchTitle: "Светлая тема",
        darkModeSwitchTitle: "Тёмная тема",
        sidebarMenuLabel: "Меню",
        returnToTopLabel: "Наверх",
        langMenuLabel: "Язык",
        skipToContentLabel: "К содержанию",
      },
    },
  },
});
