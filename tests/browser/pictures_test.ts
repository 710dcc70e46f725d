import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, it } from "../support/test.ts";
import { launch } from "./_browser.ts";
import { PICTURES, takePictures } from "./_pictures.ts";

const docs = fileURLToPath(new URL("../../docs/", import.meta.url));

/** Size of a picture that pages of the documentation can bear. */
const MAX_BYTES = 150_000;

/** Returns the width and the height in the head of a PNG file. */
function sizeOf(png: Uint8Array): { readonly width: number; readonly height: number } {
  const view = new DataView(png.buffer, png.byteOffset);
  return { width: view.getUint32(16), height: view.getUint32(20) };
}

describe("the pictures of the console", () => {
  it("can be taken as docs/ has them, without an error on any page", async () => {
    const browser = await launch();
    const taken = await takePictures(browser);
    await browser.close();
    const page = readFileSync(join(docs, "console.md"), "utf8");
    for (const [name, { viewport }] of Object.entries(PICTURES)) {
      const { png, problems } = taken.get(name)!;
      assert.deepEqual(problems, [], name);
      assert.ok(existsSync(join(docs, name)), `docs/${name} is missing: deno run -A tests/browser/take_pictures.ts`);
      for (const one of [png, readFileSync(join(docs, name))]) {
        assert.deepEqual(sizeOf(one), viewport, name);
        assert.ok(one.length < MAX_BYTES, `${name} has ${one.length} bytes`);
      }
      assert.ok(page.includes(`](${name})`), `docs/console.md does not show ${name}`);
    }
  });
});
