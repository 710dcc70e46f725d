import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { after, describe, it, test } from "node:test";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { tmpdir } from "node:os";
import { run } from "../../scripts/run.ts";
import { blocks, collect, denoBinary, execute, moduleOf, type Outcome, type Snippet } from "../../scripts/snippets.ts";

const project = fileURLToPath(new URL("../..", import.meta.url));
/** Where documentation and sources are: on Node the tests run beside the packed package, which has neither. */
const root = process.env["SOURCE_DIR"] ?? project;
// On Node, packages are looked for in the folders above the module.
const folder = mkdtempSync(join(process.versions.deno === undefined ? project : tmpdir(), "snippets-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const SIMULTANEOUS = 4;

/** Starts all, a few at a time. */
function start(snippets: readonly Snippet[]): Promise<Outcome>[] {
  const lanes = Array.from({ length: SIMULTANEOUS }, (): Promise<unknown> => Promise.resolve());
  return snippets.map((snippet, i) => {
    const outcome = lanes[i % SIMULTANEOUS]!.then(() => execute(snippet, folder, root));
    lanes[i % SIMULTANEOUS] = outcome;
    return outcome;
  });
}

const snippets = collect(root);
const outcomes = start(snippets);

describe("snippet", () => {
  for (const [i, { place, tags }] of snippets.entries()) {
    it([place, ...tags].join(" "), async () => {
      const { problem, output } = await outcomes[i]!;
      assert.ok(problem === undefined, `${place} ${problem}\n${output}`);
    });
  }
});

test("snippets pass the type check", async () => {
  const paths = snippets.map((snippet) => moduleOf(snippet, folder));
  const { ok, output } = await run(denoBinary(), ["check", "--config", join(root, "deno.json"), ...paths]);
  assert.ok(ok, output);
});

describe("execute() tells", () => {
  const cases: Readonly<Record<string, readonly [tags: Snippet["tags"], code: string, problem: RegExp | undefined]>> = {
    "a program that ends well": [[], "export {};", undefined],
    "a program that throws": [[], "throw new Error('x');", /^ended with exit code 1$/],
    "a failed assertion": [[], "import assert from 'node:assert/strict'; assert.equal(1, 2);", /exit code 1$/],
    "a Deno program": [["deno"], "Deno.mainModule;", undefined],
    "a server on Deno": [
      ["deno", "serve"],
      "Deno.serve({ port: 1 }, () => new Response('', { status: 400 }));",
      undefined,
    ],
    "a server on Deno that fails": [["deno", "serve"], "Deno.serve(() => Promise.reject('x'));", /^answered 500/],
    "a server on Node": [
      ["node", "serve"],
      `import { createServer } from "node:http";
       const server = createServer((_, response) => response.end("x"));
       server.listen(1);`,
      undefined,
    ],
    "no server": [["serve"], "export {};", /^ended before it listened$/],
  };
  for (const [name, [tags, code, problem]] of Object.entries(cases)) {
    it(name, async () => {
      const outcome = await execute({ place: name, tags, code }, folder, root);
      if (problem === undefined) assert.equal(outcome.problem, undefined, outcome.output);
      else assert.match(outcome.problem ?? "", problem);
    });
  }
});

describe("blocks()", () => {
  const fence = "```";
  it("takes ts blocks with their place and tags, and no others", () => {
    const text =
      `# x\n\n${fence}ts deno serve\na\n\nb\n${fence}\n\n${fence}sh\nc\n${fence}\n\n${fence}ts\nd\n${fence}\n`;
    assert.deepEqual(blocks(text, "x.md"), [
      { place: "x.md:3", tags: ["deno", "serve"], code: "a\n\nb\n" },
      { place: "x.md:13", tags: [], code: "d\n" },
    ]);
  });
  it("takes the indent of a list away", () => {
    assert.equal(blocks(`- x\n\n  ${fence}ts\n  a {\n    b\n  }\n  ${fence}\n`, "x.md")[0]?.code, "a {\n  b\n}\n");
  });
  it("puts hidden lines before the block that follows", () => {
    const text = `${fence}ts\na\n${fence}\n\n<!-- before\nhidden\n-->\n${fence}ts\nb\n${fence}\n`;
    assert.deepEqual(blocks(text, "x.md").map(({ place, code }) => [place, code]), [
      ["x.md:1", "a\n"],
      ["x.md:8", "hidden\nb\n"],
    ]);
  });
  it("refuses a tag that is none", () => {
    assert.throws(() => blocks(`${fence}ts no-run\n${fence}\n`, "x.md"), {
      name: "SyntaxError",
      message: `cannot run x.md:1: saw tag "no-run", wanted one of deno, node, redis, serve`,
    });
  });
});
