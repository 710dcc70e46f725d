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
  // A member of `limits`, which is Partial<Limits>, and one of `checks`.
  assert.match(stored, /\| `retentionMs` +\| `2592000000 \(30 days\)` +\|/);
  assert.doesNotMatch(stored, /\| `afterContactMs` +\| required/);
  assert.match(stored, /\| `storage` +\| required +\|/);
  assert.match(stored, /\| `concurrency` +\| `64` +\|/);
  // Members of options have names of their own, and no markup of doc comments is left.
  assert.match(stored, /### QuietHours/);
  assert.match(stored, /Besides, those of `B24Options`\s+without `repeatable`/);
  assert.doesNotMatch(stored, /@link|`Omit`/);
});
