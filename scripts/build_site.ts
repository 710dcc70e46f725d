/**
 * Builds the documentation site from `docs/`, `README.md` and the doc comments, into `site/dist/`.
 *
 *     deno task site [dev]
 *
 * With `dev`, serves the pages and shows changes of the theme at once; start it again after a change in `docs/`.
 */
// deno-lint-ignore-file no-console
import { spawn } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, posix } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { read } from "./run.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const REPOSITORY = "https://github.com/b24/onappupdate";
const SITE = "https://b24.github.io/onappupdate";
const PICTURES = "https://raw.githubusercontent.com/b24/onappupdate/main/";

/** Pages of the site that are not in `docs/`, by their file in the repository. */
const OTHER_PAGES: Readonly<Record<string, string>> = {
  "README.md": "overview.md",
  "README.ru.md": "ru/overview.md",
  "CHANGELOG.md": "changelog.md",
  "SECURITY.md": "security.md",
  "CONTRIBUTING.md": "contributing.md",
};

/** Returns the page or picture of the site that a file of the repository becomes, or `undefined` if it becomes none. */
export function pageOf(file: string): string | undefined {
  return OTHER_PAGES[file] ?? (/^docs\/.+\.(md|png|svg)$/.test(file) ? file.slice("docs/".length) : undefined);
}

/**
 * Returns the text of a page: links between files of the repository lead to pages of the site, or to the repository if the
 * file is no page.
 *
 * @throws {Error} if a link leads to a file that does not exist
 */
export function toPage(file: string, text: string, exists: (file: string) => boolean): string {
  const page = pageOf(file) ?? file;
  const follow = (target: string): string => {
    const [path = "", anchor] = target.split("#", 2);
    const linked = fileOf(path) ?? posix.normalize(posix.join(posix.dirname(file), path));
    if (path === "" || (/^[a-z]+:/.test(path) && fileOf(path) === undefined)) return target;
    if (!exists(linked)) throw new Error(`${file} links to ${target}, which does not exist`);
    const english = pageOf(linked);
    // Each page exists in both languages on the site, in the repository not. A translation may link to its original.
    const to =
      page.startsWith("ru/") && english?.endsWith(".md") && !english.startsWith("ru/") && page !== `ru/${english}`
        ? `ru/${english}`
        : english;
    const suffix = anchor === undefined ? "" : `#${anchor}`;
    if (to === undefined) return `${REPOSITORY}/blob/main/${linked}${suffix}`;
    const relative = posix.relative(posix.dirname(page), to);
    return `${relative.startsWith(".") ? relative : `./${relative}`}${suffix}`;
  };
  return outsideCode(text, (prose) =>
    prose
      .replaceAll(BADGE, "")
      .replaceAll(/(!?\]\()([^()\s]+)(\))/g, (_, open, target, close) => open + follow(target) + close)
      .replaceAll(/^(\[[^\]]+\]: )(\S+)$/gm, (_, name, target) => name + follow(target)));
}

/** Returns the anchor that the site gives to a heading. */
function anchorOf(heading: string): string {
  return heading.normalize("NFKD").replaceAll(/[\u0300-\u036f]/g, "").replaceAll(/[^\p{L}\p{N}—–…]+/gu, "-")
    .replaceAll(/^-+|-+$/g, "").replace(/^(\d)/, "_$1").toLowerCase();
}

/**
 * Returns a translation whose headings have the anchors of its original, so that links fit both. Links within the
 * translation may also have the anchors that GitHub gives to its own headings.
 */
export function withAnchors(translation: string, original: string): string {
  const anchors: string[] = [];
  outsideCode(original, (prose) => {
    anchors.push(...[...prose.matchAll(/^#+ (.+)$/gm)].map(([, heading]) => anchorOf(heading!)));
    return prose;
  });
  const ofTranslation = new Map<string, string>(); // by GitHub's anchor
  const withHeadings = outsideCode(translation, (prose) =>
    prose.replaceAll(/^#+ (.+)$/gm, (line, heading: string) => {
      const anchor = anchors.shift()!;
      ofTranslation.set(heading.toLowerCase().replaceAll(/[^\p{L}\p{N}\s_-]/gu, "").replaceAll(/\s/g, "-"), anchor);
      return `${line} {#${anchor}}`;
    }));
  return outsideCode(
    withHeadings,
    (prose) =>
      prose.replaceAll(/\]\(#([^)\s]+)\)/g, (_, anchor: string) => `](#${ofTranslation.get(anchor) ?? anchor})`),
  );
}

/** Returns the file of the repository that an absolute link leads to, on GitHub or on the site; `undefined` for any other link. */
function fileOf(link: string): string | undefined {
  for (const folder of [`${REPOSITORY}/blob/main/`, PICTURES]) {
    if (link.startsWith(folder)) return link.slice(folder.length);
  }
  const [, page] = /^(?:ru\/)?([\w-]+)$/.exec(link.startsWith(`${SITE}/`) ? link.slice(SITE.length + 1) : "") ?? [];
  return page === undefined ? undefined : `docs/${page}.md`;
}

/** A badge: a picture of another host that is a link. The site loads nothing from elsewhere. */
const BADGE = /^\[!\[[^\]]*\]\(https:[^)]*\)\]\([^)]*\)\n/gm;

/** Replaces in a Markdown text what is not in fenced code. */
function outsideCode(text: string, replace: (prose: string) => string): string {
  return text.split(/^( *```[\s\S]*?^ *```)$/m).map((part, i) => i % 2 === 0 ? replace(part) : part).join("");
}

/** Says on a Russian page that it is not translated. */
const NOT_TRANSLATED = "> Эта страница пока только на английском.";

/** Writes the pages of the site into `folder`, which is emptied first. Pages that are not translated are Russian ones, too. */
function writePages(folder: string): void {
  const exists = (file: string): boolean => existsSync(join(root, file));
  const docs = readdirSync(join(root, "docs"), { recursive: true, encoding: "utf8" }).map((name) => `docs/${name}`);
  const pages = new Map<string, string | Uint8Array>();
  for (const file of [...docs, ...Object.keys(OTHER_PAGES).filter(exists)]) {
    const page = pageOf(file);
    if (page === undefined) continue;
    const content = readFileSync(join(root, file));
    pages.set(page, page.endsWith(".md") ? toPage(file, content.toString("utf8"), exists) : content);
  }
  for (const [page, content] of [...pages]) {
    if (page.startsWith("ru/")) continue;
    const translation = pages.get(`ru/${page}`);
    pages.set(
      `ru/${page}`,
      typeof content !== "string"
        ? content
        : typeof translation === "string"
        ? withAnchors(translation, content)
        : content.replace(/^# .+$/m, (title) => `${title}\n\n${NOT_TRANSLATED}`),
    );
  }
  rmSync(folder, { recursive: true, force: true });
  for (const [page, content] of pages) {
    mkdirSync(join(folder, dirname(page)), { recursive: true });
    writeFileSync(join(folder, page), content);
  }
  cpSync(join(root, "site/pages"), folder, { recursive: true });
}

/** Builds the site, and returns its folder. @throws {Error} if a link leads nowhere, or a tool fails */
export async function buildSite(): Promise<string> {
  const site = join(root, "site");
  writePages(join(site, "generated"));
  if (!existsSync(join(site, "node_modules"))) {
    await read("npm", ["ci", "--no-audit", "--no-fund", "--prefer-offline"], { cwd: site });
  }
  await read("npm", ["run", "--silent", "build"], { cwd: site });
  const { exports } = JSON.parse(readFileSync(join(root, "deno.json"), "utf8")) as { exports: Record<string, string> };
  const modules = Object.entries(exports).filter(([path]) => path !== "./cli" && path !== "./create");
  await read(process.execPath, [
    ...["doc", "--html", "--name=@b24/onappupdate", `--output=${join(site, "dist/reference")}`],
    ...modules.map(([, file]) => file),
  ], { cwd: root });
  return join(site, "dist");
}

if (import.meta.main) {
  if (process.argv[2] === "dev") {
    const site = join(root, "site");
    writePages(join(site, "generated"));
    spawn("npm", ["run", "dev"], { cwd: site, stdio: "inherit" });
  } else console.log(await buildSite());
}
