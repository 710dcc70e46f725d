import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { optionsDocument } from "../../scripts/options_document.ts";
import { it } from "../support/test.ts";

/** Cells without the padding and the line breaks of the formatter. */
const normal = (markdown: string): string =>
  markdown.replaceAll(/\|[ -]+(?=\|)/g, (cell) => cell.includes("---") ? "|---" : cell).replaceAll(/\s+/g, " ")
    .replaceAll(/-{3,}/g, "---");

it("docs/options.md is what scripts/options_document.ts writes", async () => {
  const stored = readFileSync(new URL("../../docs/options.md", import.meta.url), "utf8");
  const written = await optionsDocument();
  assert.equal(normal(stored), normal(written));
  assert.match(stored, /\| `concurrency` +\| `64` +\|/);
});
