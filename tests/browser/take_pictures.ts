/** Takes the pictures of the console in `docs/`, with Debian's Chromium: `deno run -A tests/browser/take_pictures.ts`. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { launch } from "./_browser.ts";
import { takePictures } from "./_pictures.ts";

const docs = fileURLToPath(new URL("../../docs/", import.meta.url));

const browser = await launch();
for (const [name, { png }] of await takePictures(browser)) {
  writeFileSync(join(docs, name), png);
  process.stdout.write(`docs/${name}: ${png.length} bytes\n`);
}
await browser.close();
