import assert from "node:assert/strict";
import type { Browser, Page } from "playwright-core";
import { after, before, describe, it } from "../support/test.ts";
import { until } from "../support/until.ts";
import { launch, openWindow, serveConsole, signIn, type Window } from "./_browser.ts";
import { incident } from "./_incident.ts";

/** An operator's use of a page. */
interface Hands {
  /** Follows a link, or presses a button, by its name. */
  readonly press: (page: Page, name: string | RegExp) => Promise<void>;
  /** Writes into the field with the focus, or into that with this label. */
  readonly write: (page: Page, label: string, text: string) => Promise<void>;
}

const mouse: Hands = {
  press: async (page, name) => {
    const target = page.getByRole("link", { name, exact: true }).or(page.getByRole("button", { name, exact: true }));
    await target.first().click();
  },
  write: async (page, label, text) => {
    await page.getByLabel(label).click();
    await page.keyboard.type(text);
  },
};

/** Runs in the page: describes the element with the focus. */
const FOCUSED = `(() => {
  const element = document.activeElement;
  const label = element?.id ? document.querySelector(\`label[for="\${element.id}"]\`)?.textContent : undefined;
  const outline = element === null ? "none" : getComputedStyle(element).outlineStyle;
  return { text: (label ?? element?.textContent ?? "").trim(), outline };
})()`;

/** Moves the focus by the tab key until `isThere`, and fails if that never comes or the focus cannot be seen. */
async function tabTo(page: Page, what: string, isThere: (text: string) => boolean): Promise<void> {
  for (let i = 0; i < 400; i++) {
    await page.keyboard.press("Tab");
    const { text, outline } = await page.evaluate<{ readonly text: string; readonly outline: string }>(FOCUSED);
    if (!isThere(text)) continue;
    assert.notEqual(outline, "none", `the focus on ${what} cannot be seen`);
    return;
  }
  throw new Error(`the tab key does not reach ${what}`);
}

const keyboard: Hands = {
  press: async (page, name) => {
    await tabTo(page, `${name}`, (text) => typeof name === "string" ? text === name : name.test(text));
    await page.keyboard.press("Enter");
  },
  write: async (page, label, text) => {
    await tabTo(page, label, (shown) => shown === label);
    await page.keyboard.type(text);
  },
};

const REASON = "OPS-217: the list is there again";

/** An operator finds out why a rollout has paused, retries all portals that failed, and resumes it. */
async function handleIncident(
  { page }: Window,
  url: string,
  { press, write }: Hands,
  repair: () => void,
): Promise<void> {
  assert.match(await page.locator("main").innerText(), /paused/i);
  await press(page, "40 portals");
  await page.waitForURL(/\/portals\?/);
  assert.match(await page.locator("main").innerText(), /customer-\d+\.bitrix24\.example/);

  await press(page, /^customer-\d+\.bitrix24\.example$/);
  await page.waitForURL(/\/portals\/[\da-f]{32}$/);
  const portal = await page.locator("main").innerText();
  assert.match(portal, /list "orders <script>alert\(1\)<\/script>" is not there/);
  assert.match(portal, /ONAPPINSTALL/);
  assert.match(portal, /ONAPPUPDATE/);
  assert.match(portal, /convert lists/);

  repair();
  await press(page, "all portals with it");
  await page.waitForURL(/\/portals\?fingerprint=/);
  await press(page, "Retry");
  await page.waitForURL(/\/act\/startBatch/);
  assert.match(await page.locator("main").innerText(), /40 portals match now/);
  await write(page, "Reason", REASON);
  await press(page, "Confirm: Retry (40 portals)");
  await page.waitForURL(/\/portals\?fingerprint=/);
  assert.match(await page.locator("main").innerText(), /Started for 40 portals/);

  await press(page, "Rollout");
  await page.waitForURL(`${url}/rollout`);
  await press(page, "Resume");
  await page.waitForURL(/\/act\/resumeRollout/);
  await write(page, "Reason", REASON);
  await press(page, "Confirm: Resume the rollout");
  await page.waitForURL(`${url}/rollout`);
  assert.match(await page.locator("main").innerText(), /The rollout continues/);
}

describe("an incident in the console", () => {
  let browser: Browser;
  before(async () => {
    browser = await launch();
  });
  after(() => browser.close());

  const ways = [
    { name: "by mouse, and the page follows by itself", hands: mouse, javaScriptEnabled: true },
    { name: "by keyboard", hands: keyboard, javaScriptEnabled: true },
    { name: "without JavaScript", hands: mouse, javaScriptEnabled: false },
  ];
  for (const { name, hands, javaScriptEnabled } of ways) {
    it(`is handled ${name}`, async () => {
      const { app, begin, repair, count } = incident();
      const { url, close } = await serveConsole(app);
      try {
        await app.start();
        await begin();
        assert.equal((await app.admin.rollout.status())?.waitsFor?.on, "failures");
        const window = await openWindow(browser, url, { javaScriptEnabled });
        await signIn(window, url);
        await handleIncident(window, url, hands, repair);
        const isDone = async (): Promise<boolean> => {
          if (!javaScriptEnabled) await window.page.reload();
          return /Current\s*45|45\s*Current|45 of 45/.test(await window.page.locator("#state").innerText());
        };
        await until("all portals are current", isDone);
        assert.deepEqual((await app.admin.counts()).map(({ version, count }) => [version, count]), [["3.0.0", count]]);
        const { items } = await app.admin.audit({ by: "ada" });
        assert.deepEqual(
          items.filter(({ memberId }) => memberId === undefined).map(({ action, reason }) => [action, reason]),
          [["rollout.resume", REASON], ["batch", REASON]],
        );
        assert.deepEqual(window.problems, []);
        await window.context.close();
      } finally {
        await app.close();
        await close();
      }
    });
  }
});
