import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { run } from "../../scripts/run.ts";
import { sharedRedis } from "../support/redis.ts";
import { after, describe, it, test } from "../support/test.ts";
import { nodeProject } from "./_npm_project.ts";
import { blocks, check, collect, type Outcome, runAll, serve, type Snippet, write } from "./_snippets.ts";

const redis = await sharedRedis();
const project = await nodeProject();
const folders = {
  deno: mkdtempSync(join(tmpdir(), "snippets-")),
  // Packages are looked for in the folders above the module.
  node: mkdtempSync(join(project.folder, "snippets-")),
};
after(async () => {
  for (const folder of Object.values(folders)) rmSync(folder, { recursive: true, force: true });
  project.remove();
  await redis.remove();
});

const modules = collect().map((snippet) => ({
  ...snippet,
  path: write(snippet, folders[snippet.tags.includes("node") ? "node" : "deno"], redis.port),
}));
const servers = modules.filter(({ tags }) => tags.includes("serve"));
const programs = modules.filter(({ tags }) => tags.length === 0);
const onNode = modules.filter(({ tags }) => tags.join() === "node");

function pass(place: string, { problem, output }: Outcome): void {
  assert.ok(problem === undefined, `${place} ${problem}\n${output}`);
}

test("snippets pass the type check", async () => {
  pass("a snippet", await check(modules.map(({ path }) => path)));
});

describe("snippet", () => {
  const running = runAll(programs.map(({ path }) => path));
  running.catch(() => {}); // Reported by each test.
  for (const { place, path } of programs) {
    // The first one waits for the programs of all pages.
    it(`${place} runs to its end`, { timeout: 900_000 }, async () => {
      const { ended, output } = await running;
      pass(place, ended.has(path) ? { output } : { output, problem: "does not run to its end" });
    });
  }

  it("tests pass", async () => pass("a snippet", await running));

  for (const { place, path } of onNode) {
    it(`${place} runs to its end on Node`, async () => {
      const { ok, output } = await run(project.node, ["--disable-warning=ExperimentalWarning", path], {
        cwd: dirname(path),
      });
      pass(place, ok ? { output } : { output, problem: "fails" });
    });
  }

  for (const { place, path, tags } of servers) {
    it(`${place} serves`, async () => {
      pass(place, await serve(path, tags.includes("node") ? project.node : undefined));
    });
  }
});

describe("runAll() and serve() report", () => {
  const module = (code: string): string => write({ place: "x", tags: [], code }, folders.deno, redis.port);

  it("programs that throw, and tests that fail", async () => {
    const good = module("export {};");
    const bad = module("await Promise.reject(new Error('no'));");
    const test = module("import { test } from 'node:test'; test('a', () => { throw new Error('no'); });");
    const { ended, problem } = await runAll([good, bad, test]);
    assert.deepEqual([...ended].sort(), [good, test].sort());
    assert.equal(problem, "has a test that fails");
  });

  it("programs that do not serve, and servers that fail", async () => {
    assert.match((await serve(module("export {};"))).problem!, /^ended before it listened$/);
    assert.match((await serve(module("Deno.serve(() => Promise.reject('x'));"))).problem!, /^answered 500/);
  });
});

describe("blocks()", () => {
  const fence = "```";
  const taken = (text: string): Snippet[] => blocks(text, "x.md");

  it("takes ts blocks with their place and tags, and no others", () => {
    const text =
      `# x\n\n${fence}ts node serve\na\n\nb\n${fence}\n\n${fence}sh\nc\n${fence}\n\n${fence}ts\nd\n${fence}\n`;
    assert.deepEqual(taken(text), [
      { place: "x.md:3", tags: ["node", "serve"], code: "a\n\nb\n" },
      { place: "x.md:13", tags: [], code: "d\n" },
    ]);
  });

  it("removes the indent of a list", () => {
    assert.equal(taken(`- x\n\n  ${fence}ts\n  a {\n    b\n  }\n  ${fence}\n`)[0]?.code, "a {\n  b\n}\n");
  });

  it("puts hidden lines before the block that follows", () => {
    const text = `${fence}ts\na\n${fence}\n\n<!-- before\nhidden\n-->\n${fence}ts\nb\n${fence}\n`;
    assert.deepEqual(taken(text).map(({ place, code }) => [place, code]), [
      ["x.md:1", "a\n"],
      ["x.md:8", "hidden\nb\n"],
    ]);
  });

  it("refuses an unknown tag", () => {
    assert.throws(() => taken(`${fence}ts no-run\n${fence}\n`), {
      name: "SyntaxError",
      message: `cannot run x.md:1: saw tag "no-run", wanted one of node, serve`,
    });
  });
});
