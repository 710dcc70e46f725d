/** The first pages of the documentation site in Debian's Chromium. */
import assert from "node:assert/strict";
import { createReadStream, existsSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join } from "node:path";
import axe from "axe-core";
import type { Browser } from "playwright-core";
import { buildSite } from "../../scripts/build_site.ts";
import { after, before, describe, it } from "../support/test.ts";
import { launch, openWindow } from "./_browser.ts";

const BASE = "/onappupdate/";
const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html",
  ".css": "text/css",
  ".js": "text/javascript",
  ".svg": "image/svg+xml",
  ".png": "image/png",
  ".json": "application/json",
  ".woff2": "font/woff2",
};

interface Violation {
  readonly id: string;
  readonly help: string;
  readonly nodes: readonly { readonly html: string }[];
}

describe("the site", () => {
  let server: Server;
  let url = "";
  let browser: Browser;

  before(async () => {
    const site = await buildSite();
    server = createServer((request, response) => {
      const path = new URL(request.url ?? "/", "http://site").pathname.slice(BASE.length) || "index";
      const file = [path, `${path}.html`, join(path, "index.html")].map((name) => join(site, name))
        .find((name) => extname(name) !== "" && existsSync(name));
      if (file === undefined) return void response.writeHead(404).end();
      response.writeHead(200, { "content-type": TYPES[extname(file)] ?? "application/octet-stream" });
      createReadStream(file).pipe(response);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    browser = await launch();
  });

  after(async () => {
    await browser.close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });

  for (const colorScheme of ["light", "dark"] as const) {
    for (const path of ["", "overview", "ru/", "ru/tutorial"]) {
      it(`has no violation that axe-core finds on /${path}, ${colorScheme}`, async () => {
        const { context, page, problems } = await openWindow(browser, url, { colorScheme, reducedMotion: "reduce" });
        await page.goto(`${url}${BASE}${path}`, { waitUntil: "networkidle" });
        await page.addScriptTag({ content: axe.source });
        const violations = await page.evaluate<readonly Violation[]>("axe.run().then(({ violations }) => violations)");
        assert.deepEqual(violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes[0]?.html}`), []);
        assert.deepEqual(problems, []);
        await context.close();
      });
    }
  }
});
