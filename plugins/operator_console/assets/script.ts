/** The script of the console. It is part of every page, and allowed by its hash. Pages work without it. */

export const SCRIPT = `
(() => {
  const language = document.documentElement.lang;
  const zoned = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "medium" });
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const localize = (root) => {
    for (const element of root.querySelectorAll("time[datetime]")) {
      const time = new Date(element.dateTime);
      if (Number.isNaN(time.getTime())) continue;
      element.title = element.textContent + ", " + zone;
      element.textContent = zoned.format(time);
    }
  };
  localize(document);
})();
`;
