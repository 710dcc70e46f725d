import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { read } from "../../scripts/run.ts";
import { root } from "../support/process.ts";
import { describe, it } from "../support/test.ts";
import { blocks, write } from "./_snippets.ts";

const readme = readFileSync(join(root, "README.md"), "utf8");

describe("README.md", () => {
  it("has at most 200 lines", () => {
    assert.ok(readme.trimEnd().split("\n").length <= 200);
  });

  it("has a table of contents with all of its sections", () => {
    const sections = [...readme.matchAll(/^## (.+)$/gm)].map(([, name]) => name!);
    const listed = [...readme.matchAll(/\[([^\]]+)\]\(#([^)]+)\)/g)].map(([, name, anchor]) => [name!, anchor!]);
    assert.deepEqual(listed, sections.map((name) => [name, name.toLowerCase().replaceAll(" ", "-")]));
  });

  it("has absolute links, so that npm and JSR show them", () => {
    const targets = [...readme.matchAll(/\]\(([^)]+)\)/g)].map(([, target]) => target!);
    assert.deepEqual(targets.filter((target) => !/^(https:\/\/|#)/.test(target)), []);
  });

  it("shows what its first program prints", async () => {
    const folder = mkdtempSync(join(tmpdir(), "readme-"));
    try {
      const path = write(blocks(readme, "README.md")[0]!, folder, 6379);
      const printed = await read(process.execPath, ["run", "-A", "--config", join(root, "deno.json"), path]);
      const shown = /^```\n\n```\n([\s\S]*?)\n```$/m.exec(readme);
      assert.equal(shown?.[1], printed);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
