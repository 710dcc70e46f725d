import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { cli } from "../support/cli.ts";
import { root } from "../support/process.ts";
import { describe, it } from "../support/test.ts";

const page = readFileSync(join(root, "docs/command-line.md"), "utf8");
const readme = readFileSync(join(root, "README.md"), "utf8");

/** The command lines in blocks of a shell, each as its words. */
function commandLines(markdown: string): string[][] {
  const blocks = [...markdown.matchAll(/^```sh\n([^]*?)^```/gm)].map(([, text]) => text!.replaceAll("\\\n", " "));
  return blocks.flatMap((text) => text.split("\n")).flatMap((line) => line.split(/[|<>]/))
    .map((line) =>
      line.trim().replace(/^(npx @b24\/onappupdate|deno run .*@b24\/onappupdate\/cli)(?= |$)/, "onappupdate")
    )
    .filter((line) => line.startsWith("onappupdate "))
    .map((line) => [...line.matchAll(/"[^"]*"|\S+/g)].map(([word]) => word).slice(1));
}

describe("docs/command-line.md", () => {
  it("has commands and options that exist", async () => {
    const lines = [...commandLines(page), ...commandLines(readme)];
    assert.ok(lines.length >= 30, `${lines.length} command lines`);
    for (const words of lines) {
      if (words[0] === "--help") continue;
      // The second word of a group such as `rollout` is the command.
      const name = words.slice(0, words[0] === "rollout" ? 2 : 1).join(" ");
      const { code, out } = await cli([...name.split(" "), "--help"]);
      assert.equal(code, 0, name);
      for (const option of words.filter((word) => word.startsWith("--"))) {
        assert.match(out, new RegExp(`^ {2}${option}\\b`, "m"), `${name} ${option}`);
      }
    }
  });

  it("names every command", async () => {
    const { out } = await cli(["--help"]);
    const names = [...out.matchAll(/^ {2}([a-z][a-z-]*) {2,}\S/gm)].map(([, name]) => name!);
    assert.deepEqual(names.filter((name) => !page.includes(`\`${name}\``)), []);
  });
});
