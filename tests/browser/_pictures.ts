/** Pictures of the console for `docs/`: `deno run -A tests/browser/take_pictures.ts` takes them. */
import type { Browser } from "playwright-core";
import { consoleScene } from "../support/console_scene.ts";
import { openWindow, serveConsole, type ServedConsole } from "./_browser.ts";

const DESKTOP = { width: 1280, height: 720 };
const PHONE = { width: 390, height: 844 };

/** The pictures by the names of their files in `docs/`. `{portal}` is a parked portal. */
export const PICTURES = {
  "console-overview.png": { path: "/", colorScheme: "light", viewport: DESKTOP },
  "console-portal.png": { path: "/portals/{portal}", colorScheme: "dark", viewport: DESKTOP },
  "console-portals.png": { path: "/portals?status=parked", colorScheme: "light", viewport: DESKTOP },
  "console-phone.png": { path: "/", colorScheme: "dark", viewport: PHONE },
} as const;

/** A picture, and what went wrong while it was taken. */
export interface Picture {
  readonly png: Uint8Array;
  readonly problems: readonly string[];
}

/** Takes the pictures, of the same moment each time. */
export async function takePictures(browser: Browser): Promise<ReadonlyMap<string, Picture>> {
  let served: ServedConsole | undefined;
  const { app, parked } = await consoleScene({
    prepare: async (app, clock) => {
      served = await serveConsole(app, { clock, guard: () => ({ name: "ada", role: "operate" }) });
    },
  });
  const { url, close } = served!;
  const pictures = new Map<string, Picture>();
  for (const [name, { path, ...look }] of Object.entries(PICTURES)) {
    const options = { ...look, locale: "en-US", timezoneId: "Europe/Berlin", reducedMotion: "reduce" as const };
    const { context, page, problems } = await openWindow(browser, url, options);
    await page.clock.setFixedTime("2026-11-30T09:42:17Z");
    await page.goto(url + path.replace("{portal}", parked));
    pictures.set(name, { png: await page.screenshot(), problems });
    await context.close();
  }
  await app.close();
  await close();
  return pictures;
}
