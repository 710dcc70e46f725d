/**
 * Tests of the packed npm package, in plain JavaScript. test_npm.ts runs them in a project with only the package and its
 * peers, on every supported version of Node.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";

const project = new URL("../", import.meta.url);
const require = createRequire(import.meta.url);
const manifest = JSON.parse(readFileSync(new URL("node_modules/@b24/onappupdate/package.json", project), "utf8"));

// Not the command line and what writes a project, which run when they are imported.
const paths = Object.keys(manifest.exports).filter((path) => path !== "./cli" && path !== "./create");

// Before the import() of the same module, after which require() would return the loaded one.
for (const path of paths) {
  const name = join(manifest.name, path);
  test(`require("${name}")`, () => {
    assert.notEqual(Object.keys(require(name)).length, 0);
  });
}

for (const path of paths) {
  const name = join(manifest.name, path);
  test(`import("${name}")`, async () => {
    assert.deepEqual(Object.keys(await import(name)).sort(), Object.keys(require(name)).sort());
  });
}

test("classes have their names, which are those of errors", async () => {
  for (const path of paths) {
    for (const [name, value] of Object.entries(await import(join(manifest.name, path)))) {
      const isClass = typeof value === "function" && /^class\b/.test(Function.prototype.toString.call(value));
      if (isClass) assert.equal(value.name, name);
    }
  }
  const { StorageError } = await import(join(manifest.name, "errors"));
  assert.equal(String(new StorageError("down")), "StorageError: down");
});

test("the command prints its usage", () => {
  const [name] = Object.keys(manifest.bin);
  const bin = new URL(`node_modules/.bin/${name}`, project);
  assert.match(execFileSync(process.execPath, [bin.pathname, "--help"], { encoding: "utf8" }), new RegExp(name));
});

test("createApp() runs an upgrade", async () => {
  const { createApp, memoryStorage } = await import("@b24/onappupdate");
  const upgraded = [];
  const app = createApp({ storage: memoryStorage(), acknowledge: "handled" })
    .use({ name: "trust-all", phase: "verify", around: (_context, next) => next() })
    .upgrade("2.0.0", (context) => void upgraded.push(context.memberId));
  const post = (event, version) =>
    app.fetch(
      new Request("http://localhost/", {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({
          event,
          data: { VERSION: version, LANGUAGE_ID: "en" },
          ts: `${1_700_000_000 + version}`,
          auth: {
            domain: "portal.example",
            member_id: "a223c6b3710f85df22e9377d6c4f7553",
            application_token: "t".repeat(32),
          },
        }),
      }),
    );
  assert.equal((await post("ONAPPINSTALL", 1)).status, 200);
  assert.equal((await post("ONAPPUPDATE", 2)).status, 200);
  assert.deepEqual(upgraded, ["a223c6b3710f85df22e9377d6c4f7553"]);
  await app.close();
});

test("fileStorage() stores an entry", async () => {
  const { fileStorage } = await import("@b24/onappupdate/file-storage");
  const folder = mkdtempSync(join(tmpdir(), "onappupdate-smoke-"));
  const storage = fileStorage({ path: join(folder, "state.sqlite") });
  try {
    await storage.put(["a"], 1);
    assert.equal((await storage.get(["a"])).value, 1);
  } finally {
    await storage.close();
    rmSync(folder, { recursive: true, force: true });
  }
});
