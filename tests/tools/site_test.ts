import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join, posix } from "node:path";
import { fileURLToPath } from "node:url";
import { buildSite, pageOf, toPage, withAnchors } from "../../scripts/build_site.ts";
import { GROUPS } from "../../site/.vitepress/sidebar.ts";
import { before, describe, it } from "../support/test.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const BASE = "/onappupdate/";

describe("toPage()", () => {
  const exists = (file: string): boolean =>
    ["README.md", "SECURITY.md", "docs/rest.md", "docs/ru/rest.md", "docs/pages.png", "examples/_app.ts"].includes(
      file,
    );

  it("leads links to the pages of the site, and others to the repository", () => {
    const cases = [
      ["docs/rest.md", "[a](../README.md#steps)", "[a](./overview.md#steps)"],
      ["docs/ru/faq.md", "[a](../rest.md) ![b](../pages.png)", "[a](./rest.md) ![b](../pages.png)"],
      ["docs/ru/rest.md", "[the original](../rest.md#steps)", "[the original](../rest.md#steps)"],
      ["README.ru.md", "[the original](README.md)", "[the original](../overview.md)"],
      [
        "docs/rest.md",
        "[a](../examples/_app.ts)",
        "[a](https://github.com/b24/onappupdate/blob/main/examples/_app.ts)",
      ],
      ["README.md", "[a](https://github.com/b24/onappupdate/blob/main/docs/rest.md#x)", "[a](./rest.md#x)"],
      ["README.md", "[a](https://b24.github.io/onappupdate/rest#x)", "[a](./rest.md#x)"],
      ["README.md", "[a](https://b24.github.io/onappupdate/)", "[a](https://b24.github.io/onappupdate/)"],
      ["README.md", "[a](#x) [b](https://example.com/README.md)", "[a](#x) [b](https://example.com/README.md)"],
      ["README.md", "# a\n\n[![b](https://example.com/b.svg)](https://example.com)\n\n[c](#c)\n", "# a\n\n\n[c](#c)\n"],
      ["README.md", "[a]: SECURITY.md", "[a]: ./security.md"],
      ["README.md", "```md\n[a](missing.md)\n```\n", "```md\n[a](missing.md)\n```\n"],
    ] as const;
    for (const [file, text, page] of cases) assert.equal(toPage(file, text, exists), page);
  });

  it("refuses a link to a file that does not exist", () => {
    assert.throws(() => toPage("docs/rest.md", "[a](missing.md#x)", exists), {
      message: "docs/rest.md links to missing.md#x, which does not exist",
    });
  });
});

it("withAnchors() gives headings of a translation the anchors of the original", () => {
  const original = "# `tick()`\n\n## 1. What now?\n\n```sh\n# no heading\n```\n\n### A\n";
  const translation =
    "# tick\n\n[а](#1-что-теперь) [b](#a)\n\n## 1. Что теперь?\n\n```sh\n# no heading\n```\n\n### А\n";
  assert.equal(
    withAnchors(translation, original),
    "# tick {#tick}\n\n[а](#_1-what-now) [b](#a)\n\n## 1. Что теперь? {#_1-what-now}\n\n```sh\n# no heading\n```\n\n### А {#a}\n",
  );
});

describe("the site", () => {
  let site = "";
  let files: string[] = [];

  before(async () => {
    site = await buildSite();
    files = readdirSync(site, { recursive: true, encoding: "utf8" }).map((file) => file.replaceAll("\\", "/"));
  });

  it("lists each page once", () => {
    const listed = GROUPS.flatMap(({ pages }) => pages.map(([page]) => page));
    assert.deepEqual(listed.filter((page, i) => listed.indexOf(page) !== i), []);
    const docs = readdirSync(join(root, "docs")).map((file) => pageOf(`docs/${file}`))
      .filter((page) => page?.endsWith(".md"));
    const others = ["overview.md", "changelog.md", "security.md", "contributing.md"];
    assert.deepEqual(listed.map((page) => `${page}.md`).sort(), [...docs, ...others].sort());
    for (const page of listed) assert.ok(files.includes(`${page}.html`) && files.includes(`ru/${page}.html`), page);
  });

  it("has no link to a page or heading that does not exist", () => {
    const pages = new Map(
      files.filter((file) => file.endsWith(".html") && !file.startsWith("reference/"))
        .map((file) => [file, readFileSync(join(site, file), "utf8")]),
    );
    const ids = (file: string): ReadonlySet<string> =>
      new Set([...pages.get(file)?.matchAll(/\sid="([^"]+)"/g) ?? []].map(([, id]) => id!));
    const dead: string[] = [];
    for (const [file, html] of pages) {
      for (const [, href = ""] of html.matchAll(/<a\b[^>]*\shref="([^"]+)"/g)) {
        if (/^[a-z]+:/.test(href)) continue;
        const [path = "", anchor] = href.replaceAll("&amp;", "&").split("#", 2);
        const target = path === ""
          ? file
          : path.startsWith(BASE)
          ? path.slice(BASE.length)
          : posix.join(posix.dirname(file), path);
        const found = [target, `${target}.html`, posix.join(target, "index.html")].find((name) =>
          existsSync(join(site, name)) && statSync(join(site, name)).isFile()
        );
        if (found === undefined) dead.push(`${file}: ${href}`);
        else if (anchor !== undefined && pages.has(found) && !ids(found).has(decodeURIComponent(anchor))) {
          dead.push(`${file}: ${href}`);
        }
      }
    }
    assert.deepEqual([...new Set(dead)], []);
  });

  it("has a reference of every export path", () => {
    const { exports } = JSON.parse(readFileSync(join(root, "deno.json"), "utf8")) as { exports: object };
    const html = readFileSync(join(site, "reference/index.html"), "utf8");
    for (const name of ["createApp", "operatorApi", "redisStorage", "rest", "storageConformance"]) {
      assert.ok(files.some((file) => file.startsWith("reference/") && file.endsWith(`~/${name}.html`)), name);
    }
    assert.ok(Object.keys(exports).length > 10 && html.includes("@b24/onappupdate"));
  });

  it("has Russian guides without a note that they are not translated", () => {
    const english = ["changelog", "contributing", "options", "security"];
    for (const page of GROUPS.flatMap(({ pages }) => pages.map(([page]) => page))) {
      const html = readFileSync(join(site, `ru/${page}.html`), "utf8");
      assert.equal(html.includes("только на английском"), english.includes(page), page);
      assert.ok(!html.includes("Skip to content"), page);
    }
  });

  it("loads nothing from elsewhere", () => {
    for (const file of files.filter((file) => file.endsWith(".html"))) {
      const html = readFileSync(join(site, file), "utf8");
      assert.doesNotMatch(html, /<(?:script|img|iframe)\b[^>]*\ssrc="(?:https?:)?\/\//, file);
      assert.doesNotMatch(html, /<link\b[^>]*rel="(?:stylesheet|preload)"[^>]*href="(?:https?:)?\/\//, file);
    }
  });
});
