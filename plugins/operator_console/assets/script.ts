/** The script of the console. It is part of every page, and allowed by its hash. Pages work without it. */

export const SCRIPT = `
(() => {
  const language = document.documentElement.lang;
  // As the viewer writes it: the browser knows the country.
  const locale = navigator.languages.find((one) => one.split("-")[0] === language) ?? language;
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const year = new Date().getFullYear();
  const formats = new Map();
  const written = (time, isDay) => {
    const isOtherYear = time.getFullYear() !== year;
    const key = String([isDay, isOtherYear]);
    if (!formats.has(key)) {
      formats.set(key, new Intl.DateTimeFormat(locale, {
        month: "short", day: "numeric",
        ...(isOtherYear && { year: "numeric" }),
        ...(!isDay && { hour: "2-digit", minute: "2-digit", second: "2-digit" }),
      }));
    }
    return formats.get(key).format(time);
  };
  const localize = (root) => {
    for (const element of root.querySelectorAll("time[datetime]")) {
      const time = new Date(element.dateTime);
      if (Number.isNaN(time.getTime())) continue;
      element.title = element.textContent + ", " + zone;
      element.textContent = written(time, "day" in element.dataset);
    }
  };
  localize(document);
  document.querySelector(".pages [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });

  // A form that takes a while says so, and is not sent twice.
  addEventListener("submit", ({ submitter }) => {
    submitter?.setAttribute("aria-busy", "true");
    setTimeout(() => submitter && (submitter.disabled = true));
  });
  addEventListener("pageshow", () => {
    for (const button of document.querySelectorAll("button[aria-busy]")) {
      button.removeAttribute("aria-busy");
      button.disabled = false;
    }
  });

  // Parts with data-live are fetched anew when the stream tells of a change, at most every five seconds.
  const address = document.body.dataset.stream;
  if (address === undefined) return;
  let stream, timer, isBehind = false, fetchedAt = Date.now();
  const isBusy = (element) => element.contains(document.activeElement) && document.activeElement !== document.body;
  const update = async () => {
    timer = undefined;
    isBehind = false;
    fetchedAt = Date.now();
    let response;
    try {
      response = await fetch(location.href, { headers: { "x-console-live": "1" }, cache: "no-store" });
    } catch {
      return;
    }
    // Signed out: the page to sign in returns here; a single sign-on refuses the page.
    if (response.redirected || response.status === 403) return location.reload();
    if (!response.ok && response.status !== 503) return;
    const next = new DOMParser().parseFromString(await response.text(), "text/html");
    const wanted = next.querySelectorAll("[data-live][id]");
    for (const element of wanted) {
      const shown = document.getElementById(element.id);
      if (shown === null) continue;
      // It is left alone while somebody is in it.
      if (isBusy(shown)) {
        isBehind = true;
        continue;
      }
      localize(element);
      if (shown.innerHTML !== element.innerHTML) shown.replaceChildren(...element.childNodes);
    }
  };
  const plan = () => {
    timer ??= setTimeout(update, Math.max(0, fetchedAt + 5000 - Date.now()));
  };
  const close = () => {
    stream?.close();
    clearTimeout(timer);
    stream = timer = undefined;
  };
  const open = () => {
    if (document.hidden || stream !== undefined) return;
    stream = new EventSource(address);
    for (const name of ["totals", "portal", "outage"]) stream.addEventListener(name, plan);
    // Refused: the session has ended, too many pages are open, or the storage is down.
    stream.addEventListener("error", () => {
      if (stream?.readyState !== EventSource.CLOSED) return;
      stream = undefined;
      plan();
      setTimeout(open, 30000);
    });
  };
  addEventListener("focusout", () => isBehind && plan());
  document.addEventListener("visibilitychange", () => document.hidden ? close() : (open(), plan()));
  addEventListener("pagehide", close);
  addEventListener("pageshow", open);
  open();
})();
`;
