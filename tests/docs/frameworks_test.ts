// deno-lint-ignore-file no-console -- replaces it
/** The route handlers of `docs/frameworks.md`, called as their frameworks call them. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { read } from "../../scripts/run.ts";
import { root } from "../support/process.ts";
import { after, before, describe, it } from "../support/test.ts";
import { type NodeProject, nodeProject } from "./_npm_project.ts";
import { blocks, write } from "./_snippets.ts";

const FORM = "application/x-www-form-urlencoded";
const EVENT = new URLSearchParams({
  event: "ONAPPTEST",
  ts: "1700000000",
  "auth[member_id]": "a223c6b3710f85df22e9377d6c4f7553",
  "auth[domain]": "portal.bitrix24.com",
  "auth[application_token]": "t".repeat(32),
}).toString();

const folder = mkdtempSync(join(tmpdir(), "frameworks-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const page = readFileSync(join(root, "docs/frameworks.md"), "utf8");

/** Returns the first block below a heading. */
function block(heading: string): ReturnType<typeof blocks>[number] {
  const [, section = ""] = page.split(`## ${heading}\n`);
  const [found] = blocks(section, `docs_frameworks_${heading}`);
  assert.ok(found !== undefined, heading);
  return found;
}

async function load<T>(heading: string): Promise<T> {
  const snippet = block(heading);
  // The database of the tests takes the place of the server.
  const code = snippet.code.replace(/^import postgres .*$|^const sql = .*$/gm, "")
    .replace(/^import \{ postgresStorage \}.*$/m, `import { memoryStorage } from "@b24/onappupdate";`)
    .replace("postgresStorage(sql)", "memoryStorage()");
  return await import(pathToFileURL(write({ ...snippet, code }, folder, 6379)).href) as T;
}

const request = (body: string): Request =>
  new Request("https://app.example.com/b24/events", { method: "POST", headers: { "content-type": FORM }, body });

/** An event that nobody can verify is refused; one that was read before is named as that, and Bitrix24 would not repeat it. */
async function assertRoute(post: (request: Request) => Promise<Response>): Promise<void> {
  assert.equal((await post(request(EVENT))).status, 403);
  assert.equal((await post(request("event="))).status, 400);
  const consumed = request(EVENT);
  await consumed.text();
  const errors: string[] = [];
  const { error } = console;
  console.error = (line: string) => void errors.push(line);
  try {
    assert.equal((await post(consumed)).status, 503);
  } finally {
    console.error = error;
  }
  assert.match(errors.join("\n"), /it was read before it was passed to the app/);
}

describe("docs/frameworks.md", () => {
  it("Next", async () => {
    const { POST, runtime } = await load<{ POST: (request: Request) => Promise<Response>; runtime: string }>("Next");
    assert.equal(runtime, "nodejs");
    await assertRoute(POST);
  });

  it("SvelteKit", async () => {
    const { POST } = await load<{ POST: (event: { request: Request }) => Promise<Response> }>("SvelteKit");
    await assertRoute((request) => POST({ request }));
  });

  it("AWS Lambda", async () => {
    interface Answer {
      readonly statusCode: number;
    }
    const { handler, tick } = await load<{ handler: (event: object) => Promise<Answer>; tick: () => Promise<void> }>(
      "AWS Lambda",
    );
    const call = (body: string): Promise<Answer> =>
      handler({
        version: "2.0",
        rawPath: "/b24/events",
        rawQueryString: "",
        headers: { "content-type": FORM, host: "app.example.com" },
        requestContext: { domainName: "app.example.com", http: { method: "POST", path: "/b24/events" } },
        isBase64Encoded: true,
        body: btoa(body),
      });
    assert.equal((await call(EVENT)).statusCode, 403);
    assert.equal((await call("event=")).statusCode, 400);
    await tick();
  });

  describe("Bun", () => {
    let project: NodeProject;
    before(async () => void (project = await nodeProject()));
    after(() => project.remove());

    it("serves the app", async () => {
      const bun = await read("npx", ["-y", "--prefer-offline", "-p", "bun@1", "bun", "-p", "process.execPath"]);
      const snippet = block("Bun");
      const inProject = mkdtempSync(join(project.folder, "bun-"));
      const path = write({ ...snippet, code: snippet.code.replace("port: 8000", "port: 0") }, inProject, 6379);
      const child = spawn(bun, [path], { cwd: dirname(path), stdio: ["ignore", "pipe", "pipe"] });
      try {
        const url = await new Promise<string>((resolve, reject) => {
          let output = "";
          for (const stream of [child.stdout, child.stderr]) {
            stream.setEncoding("utf8").on("data", (text: string) => {
              output += text;
              const [found] = /http:\/\/[\w.]+:\d+/.exec(output) ?? [];
              if (found !== undefined) resolve(found);
            });
          }
          child.once("exit", () => reject(new Error(output)));
        });
        for (const [body, status] of [[EVENT, 403], ["event=", 400]] as const) {
          const response = await fetch(`${url}/`, { method: "POST", headers: { "content-type": FORM }, body });
          await response.body?.cancel();
          assert.equal(response.status, status);
        }
      } finally {
        child.kill("SIGKILL");
      }
    });
  });
});
