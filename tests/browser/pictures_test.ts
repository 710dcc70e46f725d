import assert from "node:assert/strict";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { consoleScene } from "../support/console_scene.ts";
import { describe, it } from "../support/test.ts";
import { launch, openPort, openWindow, signIn } from "./_browser.ts";

const FOLDER = fileURLToPath(new URL("../../docs/images/", import.meta.url));

/** The pictures of docs/console.md. `UPDATE_PICTURES=1` draws them anew. */
const PICTURES = [
  { name: "console-overview", page: "/", colorScheme: "light" },
  { name: "console-overview-dark", page: "/", colorScheme: "dark" },
  { name: "console-portal", page: "/portals/{parked}", colorScheme: "light" },
] as const;

describe("the pictures of the console", () => {
  it("are drawn from its pages", async () => {
    const port = await openPort();
    const scene = await consoleScene({ prepare: (app, clock) => port.serve(app, { clock }) });
    const browser = await launch();
    try {
      for (const { name, page: path, colorScheme } of PICTURES) {
        const viewport = { width: 1200, height: 800 };
        const window = await openWindow(browser, port.url, { colorScheme, viewport, timezoneId: "Europe/Berlin" });
        await signIn(window, port.url, path.replace("{parked}", scene.parked));
        const picture = await window.page.screenshot({ animations: "disabled" });
        assert.ok(picture.length > 10_000, name);
        const file = `${FOLDER}${name}.png`;
        if (process.env["UPDATE_PICTURES"] === "1") {
          mkdirSync(dirname(file), { recursive: true });
          writeFileSync(file, picture);
        }
        assert.ok(existsSync(file), `${file} is not there`);
        await window.context.close();
      }
    } finally {
      await browser.close();
      await scene.app.close();
      await port.close();
    }
  });
});
