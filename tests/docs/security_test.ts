import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../support/process.ts";
import { it } from "../support/test.ts";

it("SECURITY.md names tests and sections that exist", () => {
  const page = readFileSync(join(root, "SECURITY.md"), "utf8");
  const tests = [...page.matchAll(/`(tests\/[\w/.]+)`/g)].map(([, path]) => path!);
  assert(tests.length >= 20, `${tests.length} tests`);
  assert.deepEqual(tests.filter((path) => !existsSync(join(root, path))), []);
  for (const [, path, anchor] of page.matchAll(/\]\(([\w/.]+\.md)(?:#([\w-]+))?\)/g)) {
    const headings = readFileSync(join(root, path!), "utf8").matchAll(/^#+ (.*)$/gm);
    const anchors = Array.from(
      headings,
      ([, text]) => text!.toLowerCase().replaceAll(/[^\w -]/g, "").replaceAll(" ", "-"),
    );
    if (anchor !== undefined) assert(anchors.includes(anchor), `${path}#${anchor}`);
  }
});
