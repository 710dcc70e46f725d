import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { STORAGE_REQUIREMENTS } from "@b24/onappupdate/testing";
import { root } from "../support/process.ts";
import { test } from "../support/test.ts";

test("docs/storage-contract.md states each requirement as the conformance suite does", () => {
  const page = readFileSync(join(root, "docs/storage-contract.md"), "utf8");
  const stated = [...page.matchAll(/^- \*\*(\d+\.\d+)\*\* ([\s\S]*?)\.$(?=\n\n|\n- |\n$)/gm)]
    .map(([, number, says]) => [number, says!.replaceAll(/\s+/g, " ")]);
  assert.deepEqual(stated, Object.entries(STORAGE_REQUIREMENTS));
});
