import assert from "node:assert/strict";
import { memoryStorage } from "@b24/onappupdate";
import { MEMBER_ID, post } from "../../../support/app.ts";
import { describe, it } from "../../../support/test.ts";
import { consoleRig } from "./_console.ts";

/** Returns a page without the content of its live parts, which an open page fetches anew, and without its times. */
function fixedOf(page: string): string {
  const main = page.slice(page.indexOf("<main"), page.indexOf("</main>"));
  let fixed = "";
  let depth = 0;
  for (const part of main.split(/(?=<\/?div\b)/)) {
    const isOpening = part.startsWith("<div");
    if (depth === 0) fixed += part;
    if (isOpening && (depth > 0 || /^<div id="[^"]+"[^>]* data-live>/.test(part))) depth++;
    else if (part.startsWith("</div") && depth > 0 && --depth === 0) fixed += part;
  }
  // The content of a live part follows its opening tag.
  return fixed.replace(/( data-live>)[^]*?(?=<\/div>)/g, "$1").replace(/<time[^]*?<\/time>/g, "");
}

describe("an open page of the console", () => {
  it("shows everything that changes while an upgrade fails, is retried and succeeds in its live parts", async () => {
    const { app, portal, open, send } = consoleRig({ retry: { maxAttempts: 1 }, storage: memoryStorage() });
    let isBroken = true;
    app.upgrade("3", async ({ step }) => {
      await step("convert", () => isBroken ? Promise.reject(new Error("no list")) : "done");
    });
    const paths = [`/portals/${MEMBER_ID}`, "/health", "/"];
    const looks = async (): Promise<string[]> => {
      await app.settled();
      return await Promise.all(paths.map(async (path) => (await open(path)).text));
    };
    await app.fetch(post(portal.install(2)));
    const installed = await looks();
    await app.fetch(post(portal.update(3)));
    const parked = await looks();
    isBroken = false;
    await send("/act/pause", { reason: "ticket 17", back: "/" });
    await send("/act/resume", { reason: "ticket 17", back: "/" });
    await send("/act/retryPortal", { portal: MEMBER_ID, reason: "ticket 17", back: "/" });
    const current = await looks();
    await send("/act/pause", { reason: "ticket 17", back: "/" });
    const paused = await looks();

    assert.match(parked[0]!, /no list/);
    assert.match(current[0]!, /3\.0\.0/);
    for (const [i, path] of paths.entries()) {
      const [first, ...others] = [installed, parked, current, paused].map((pages) => fixedOf(pages[i]!));
      assert.ok(first!.length > 100, path);
      for (const other of others) assert.equal(other, first, path);
    }
    await app.close();
  });
});
