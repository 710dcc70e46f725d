/** Debian's Chromium, and a console that it opens. */
import { existsSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { App } from "@b24/onappupdate";
import { type OperatorConsole, operatorConsole, type OperatorConsoleOptions } from "@b24/onappupdate/operator-console";
import { getRequestListener } from "@hono/node-server";
import { type Browser, type BrowserContext, type BrowserContextOptions, chromium, type Page } from "playwright-core";
import { passwordHash as hashOf } from "../../src/cli/password.ts";
import { quietLogger } from "../support/app.ts";

const CHROMIUM = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

/** The password of `ada`, who may operate. */
const PASSWORD = "correct horse battery";

/** A console that listens on this machine. */
export interface ServedConsole {
  readonly url: string;
  readonly close: () => Promise<void>;
}

/** Serves a console of an app that has not started yet. */
export async function serveConsole(app: App, options: Partial<OperatorConsoleOptions> = {}): Promise<ServedConsole> {
  // The origin of the console has the port of its server.
  const served: Partial<OperatorConsole> = {};
  const listener = getRequestListener((request, platform) => served.fetch!(request, platform), {
    overrideGlobalObjects: false,
  });
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const passwordHash = await hashOf(PASSWORD, new Uint8Array(16).fill(7));
  const guard = { users: [{ name: "ada", passwordHash, role: "operate" as const }] };
  Object.assign(served, operatorConsole({ app, origin: url, logger: quietLogger, guard, ...options }));
  return {
    url,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Launches Chromium. */
export async function launch(): Promise<Browser> {
  const executablePath = CHROMIUM.find((path) => existsSync(path));
  if (executablePath === undefined) throw new Error("no Chromium is installed, wanted `apt-get install chromium`");
  return await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-dev-shm-usage"] });
}

/** A window of the browser, and what went wrong in it. */
export interface Window {
  readonly context: BrowserContext;
  readonly page: Page;
  /** Errors of the script, refusals of the content security policy, and requests to other hosts. */
  readonly problems: string[];
}

/** Opens a window that knows no cookies. */
export async function openWindow(browser: Browser, url: string, options: BrowserContextOptions = {}): Promise<Window> {
  const context = await browser.newContext({ locale: "en-GB", ...options });
  const page = await context.newPage();
  const problems: string[] = [];
  page.on("pageerror", ({ message }) => problems.push(message));
  page.on("console", (message) => {
    // Refused pages are logged as errors, too.
    if (message.type() === "error" && !/status of 4\d\d|status of 503/.test(message.text())) {
      problems.push(message.text());
    }
  });
  page.on("request", (request) => {
    if (!request.url().startsWith(url) && !request.url().startsWith("data:")) problems.push(request.url());
  });
  return { context, page, problems };
}

/** Signs in as `ada`. */
export async function signIn({ page }: Window, url: string, path = "/"): Promise<void> {
  await page.goto(`${url}${path}`);
  await page.fill('input[name="name"]', "ada");
  await page.fill('input[name="password"]', PASSWORD);
  await Promise.all([page.waitForURL(`${url}${path}`), page.press('input[name="password"]', "Enter")]);
}
