import assert from "node:assert/strict";
import axe from "axe-core";
import type { Browser } from "playwright-core";
import { ACTIONS } from "../../plugins/operator_console/actions.ts";
import { PAGES } from "../../plugins/operator_console/pages.ts";
import { after, before, describe, it } from "../support/test.ts";
import { type ConsoleScene, consoleScene } from "../support/console_scene.ts";
import { launch, openWindow, serveConsole, type ServedConsole, signIn } from "./_browser.ts";
import { type Incident, incident } from "./_incident.ts";

/** Addresses of each page, with a filter, and of errors. */
function pathsOf(portal: string): readonly string[] {
  return [
    ...PAGES.map(({ path }) => path.replace("{portal}", portal)),
    ...["/portals?status=parked", "/portals?domain=nobody.example", "/rollout?target=9.0.0", "/audit?by=nobody"],
    ...[`/portals/${"f".repeat(32)}`, "/nothing", "/portals?status=wrong"],
  ];
}

/** The query of the page of an action. */
function queryOf(id: string, portal: string): string {
  if (id === "startBatch") return "action=skip&match.status=parked";
  if (id === "addSilence") return "kinds=portal_parked&upgradeId=3.0.0";
  if (id === "removeSilence") return "id=x";
  if (id === "stopBatch") return "id=x";
  if (id === "retryOutbox") return "plugin=mail";
  if (/Rollout$/.test(id)) return "target=3.0.0";
  return /^(pause|resume|recount)$/.test(id) ? "" : `portal=${portal}`;
}

/** The pages on which an operator confirms an action. */
function actPathsOf(portal: string): readonly string[] {
  return Object.keys(ACTIONS).map((id) => `/act/${id}?${queryOf(id, portal)}`);
}

const LOOKS = [
  { language: "en", colorScheme: "light" },
  { language: "en", colorScheme: "dark" },
  { language: "ru", colorScheme: "light" },
  { language: "ru", colorScheme: "dark" },
] as const;

/** A portal of the incident. */
const PORTAL = "1".padStart(32, "0");

interface Violation {
  readonly id: string;
  readonly help: string;
  readonly nodes: readonly { readonly html: string; readonly failureSummary?: string }[];
}

describe("each page of the console", () => {
  let browser: Browser;
  /** Portals in all states, with much of everything. */
  let full: ConsoleScene;
  let port: ServedConsole;
  let paths: readonly string[];
  let actPaths: readonly string[];
  /** Portals with tokens, and with errors that contain markup. */
  let scene: Incident;
  let served: ServedConsole;
  before(async () => {
    browser = await launch();
    full = await consoleScene({
      prepare: async (app, clock) => {
        port = await serveConsole(app, { clock });
      },
    });
    [paths, actPaths] = [pathsOf(full.parked), actPathsOf(full.parked)];
    scene = incident();
    served = await serveConsole(scene.app);
    await scene.app.start();
    await scene.begin();
    await scene.app.admin.batches.start({
      ...{ action: "retry", match: { status: "parked" }, expect: 100, by: "ada", reason: 'ticket <img src=x> "17"' },
    });
  });
  after(async () => {
    await browser.close();
    await Promise.all([full, scene].map(({ app }) => app.close()));
    await Promise.all([port, served].map(({ close }) => close()));
  });

  for (const [i, { language, colorScheme }] of LOOKS.entries()) {
    const isFirst = i === 0;
    it(`can be used by everybody: ${language}, ${colorScheme}`, async () => {
      const { url } = port;
      const window = await openWindow(browser, url, {
        ...{ colorScheme, locale: language, reducedMotion: "reduce" as const },
        // axe-core is put into the page, which refuses scripts that are not its own.
        bypassCSP: true,
      });
      const { page } = window;
      const found: string[] = [];
      const look = async (path: string): Promise<void> => {
        assert.equal(await page.locator("html").getAttribute("lang"), language, path);
        await page.addScriptTag({ content: axe.source });
        const violations = await page.evaluate<readonly Violation[]>("axe.run().then(({ violations }) => violations)");
        for (const { id, help, nodes } of violations) {
          found.push(
            `${path}: ${id}: ${help}: ${
              nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`).join("; ")
            }`,
          );
        }
      };
      await page.goto(`${url}/login`);
      await look("/login");
      await signIn(window, url);
      for (const path of [...paths, ...(isFirst ? actPaths : actPaths.slice(0, 2))]) {
        await page.goto(`${url}${path}`);
        await look(path);
      }
      assert.deepEqual(found, []);
      assert.deepEqual(window.problems, []);
      await window.context.close();
    });
  }

  it("has its name above what it says, and the languages below, also before a sign-on", async () => {
    const { url } = port;
    for (const viewport of [{ width: 1200, height: 1000 }, { width: 360, height: 700 }]) {
      const window = await openWindow(browser, url, { locale: "ru", viewport });
      const { page, context } = window;
      const look = async (path: string): Promise<void> => {
        await page.goto(`${url}${path}`);
        const [top, main, foot] = await Promise.all(
          [".bar-top", "main", "footer"].map((part) => page.locator(part).boundingBox()),
        );
        const place = `${path} ${viewport.width}: ${JSON.stringify({ top, main, foot })}`;
        assert.deepEqual([top!.x, top!.y, top!.width], [0, 0, viewport.width], place);
        assert.ok(main!.y >= top!.y + top!.height && foot!.y >= main!.y + main!.height, place);
      };
      await look("/login");
      await signIn(window, url);
      await look("/");
      await context.close();
    }
  });

  it("is as wide as a phone, in both languages", async () => {
    const { url } = port;
    const wide: string[] = [];
    for (const locale of ["en-GB", "ru"]) {
      const window = await openWindow(browser, url, { locale, viewport: { width: 360, height: 700 } });
      const { page, context } = window;
      await signIn(window, url);
      for (const path of [...paths, ...actPaths]) {
        await page.goto(`${url}${path}`);
        const width = await page.evaluate<number>("document.documentElement.scrollWidth - innerWidth");
        if (width > 0) wide.push(`${path}: ${width} pixels`);
      }
      await context.close();
    }
    assert.deepEqual(wide, []);
  });

  it("breaks the long words of portals, errors and reasons on a phone, instead of cutting them off", async () => {
    let long: ServedConsole;
    const { app, parked } = await consoleScene({
      ...{ portals: 300, mark: "x".repeat(140), error: "y".repeat(1000) },
      prepare: async (app, clock) => {
        long = await serveConsole(app, { clock });
      },
    });
    const window = await openWindow(browser, long!.url, { viewport: { width: 360, height: 700 } });
    const { page, context } = window;
    await signIn(window, long!.url);
    const cut: string[] = [];
    for (const path of pathsOf(parked)) {
      await page.goto(`${long!.url}${path}`);
      // Tables that are no cards scroll.
      const found = await page.evaluate<readonly string[]>(
        `[...document.querySelectorAll("main :is(p, li, dd, h1, h2, h3, pre, code, td > div, tbody th, .cards, .card)")]
          .filter((element) => element.clientWidth > 0 && element.scrollWidth > element.clientWidth + 1)
          .filter((element) => element.closest(".scroll:not(.cards)") === null)
          .map((element) => element.tagName + "." + element.className)`,
      );
      if (found.length > 0) cut.push(`${path}: ${[...new Set(found)].join(", ")}`);
    }
    // On a desktop, nothing has to be scrolled for.
    await page.setViewportSize({ width: 1280, height: 800 });
    for (const path of ["/audit", "/batches", "/silences", "/rollout"]) {
      await page.goto(`${long!.url}${path}`);
      const wide = await page.evaluate<number>(
        `Math.max(0, ...[...document.querySelectorAll(".scroll")].map((one) => one.scrollWidth - one.clientWidth))`,
      );
      if (wide > 1) cut.push(`${path} at 1280: ${wide} pixels`);
    }
    assert.deepEqual(cut, []);
    await context.close();
    await app.close();
    await long!.close();
  });

  it("loads nothing from elsewhere, is smaller than 100 KB, and has no token", async () => {
    const secrets = scene.secrets();
    assert.ok(secrets.length > 50);
    for (const [url, portal] of [[port.url, full.parked], [served.url, PORTAL]] as const) {
      const window = await openWindow(browser, url);
      const { page, problems } = window;
      await signIn(window, url);
      for (const path of [...pathsOf(portal), ...actPathsOf(portal)]) {
        const response = await page.goto(`${url}${path}`);
        const text = await response!.text();
        assert.ok(text.length < 100_000, `${path} has ${text.length} bytes`);
        assert.deepEqual(secrets.filter((secret) => text.includes(secret)), [], path);
        assert.doesNotMatch(text, /<script>alert|<img src=x/, path);
      }
      for (const path of ["portals?format=csv", "portals?format=jsonl", "audit?format=csv", "audit?format=jsonl"]) {
        const text = await (await page.request.get(`${url}/export/${path}`)).text();
        assert.ok(text.length > 1000, path);
        assert.deepEqual(secrets.filter((secret) => text.includes(secret)), [], path);
      }
      assert.deepEqual(problems, []);
      await window.context.close();
    }
  });

  it("shows times in the zone of the browser; without JavaScript in UTC, and says so", async () => {
    const { url } = served;
    const [local, utc] = await Promise.all([true, false].map(async (javaScriptEnabled) => {
      const window = await openWindow(browser, url, { javaScriptEnabled, timezoneId: "Asia/Vladivostok" });
      await signIn(window, url, `/portals/${PORTAL}`);
      const shown = window.page.locator("main time").first();
      const times = { text: await shown.innerText(), iso: await shown.getAttribute("datetime") };
      await window.context.close();
      return times;
    }));
    const hour = (new Date(local!.iso!).getUTCHours() + 10) % 24;
    assert.match(local!.text, new RegExp(`\\b0?${hour}:`));
    assert.doesNotMatch(local!.text, /UTC/);
    assert.match(utc!.text, /UTC$/);
  });

  it("stops following while it is hidden, and goes on when it is shown", async () => {
    const { url } = served;
    const window = await openWindow(browser, url);
    const { page } = window;
    const streams: string[] = [];
    page.on("request", (request) => request.url().includes("/live") && streams.push("opened"));
    page.on("requestfailed", (request) => request.url().includes("/live") && streams.push("closed"));
    await signIn(window, url);
    const hide = (isHidden: boolean): Promise<unknown> =>
      page.evaluate(`Object.defineProperty(document, "hidden", { value: ${isHidden}, configurable: true });
document.dispatchEvent(new Event("visibilitychange"))`);
    const until = async (wanted: readonly string[]): Promise<void> => {
      while (streams.length < wanted.length) await page.waitForTimeout(20);
      assert.deepEqual(streams, wanted);
    };
    await until(["opened"]);
    await hide(true);
    await until(["opened", "closed"]);
    await hide(false);
    await until(["opened", "closed", "opened"]);
    await window.context.close();
  });
});
