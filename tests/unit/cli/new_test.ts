import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { combinations } from "../../../src/cli/templates/choice.ts";
import { projectFiles } from "../../../src/cli/templates/project.ts";
import { cli } from "../../support/cli.ts";
import { after, describe, it } from "../../support/test.ts";

const folder = mkdtempSync(join(tmpdir(), "onappupdate-new-"));
after(() => rmSync(folder, { recursive: true, force: true }));

describe("onappupdate new", () => {
  it("writes a project into a new folder, asks nothing, and says what is next", async () => {
    const dir = join(folder, "My Rating");
    const args = ["new", dir, "--runtime", "node", "--storage", "redis", "--framework", "fastify"];
    const { code, out, err } = await cli(args);
    assert.equal(code, 0, err);
    const written = readdirSync(dir).sort();
    assert.deepEqual(written, out.trim().split("\n").map((line) => line.slice(dir.length + 1)).sort());
    for (
      const name of ["app.ts", "main.ts", "upgrades.test.ts", "Dockerfile", "README.md", ".gitignore", ".env.example"]
    ) {
      assert.ok(written.includes(name), name);
    }
    const { name, type } = JSON.parse(readFileSync(join(dir, "package.json"), "utf8"));
    assert.deepEqual([name, type], ["my-rating", "module"]);
    assert.ok(err.includes(`  cd "${dir}"\n`), err);
    assert.match(err, /npm install\n +npm run dev\n +npm run bitrix24\n\nRedis has to run before: see README\.md/);
  });

  it("--json lists what was written", async () => {
    const { out, err } = await cli(["new", join(folder, "json"), "--runtime", "deno", "--json"]);
    assert.equal(err, "");
    const { runtime, storage, framework, files } = JSON.parse(out);
    assert.deepEqual([runtime, storage, framework], ["deno", "file", "none"]);
    assert.deepEqual([...files].sort(), readdirSync(join(folder, "json")).sort());
  });

  it("exits with 2 if there is anything in the folder, and writes nothing", async () => {
    const dir = join(folder, "full");
    mkdirSync(dir);
    writeFileSync(join(dir, ".keep"), "");
    const { code, err } = await cli(["new", dir]);
    assert.equal(code, 2);
    assert.match(err, /cannot make a project in .*full: it is not empty; name a new folder/);
    assert.deepEqual(readdirSync(dir), [".keep"]);
    const file = await cli(["new", join(dir, ".keep")]);
    assert.equal(file.code, 2, file.err);
  });

  it("takes an empty folder", async () => {
    mkdirSync(join(folder, "empty"));
    assert.equal((await cli(["new", join(folder, "empty"), "--runtime", "deno"])).code, 0);
  });

  const mistakes: readonly (readonly [args: readonly string[], error: RegExp])[] = [
    [
      ["x", "--runtime", "deno", "--framework", "express"],
      /express serves on Node; use --runtime node, or --framework hono/,
    ],
    [["x", "--runtime", "deno", "--framework", "fastify"], /fastify serves on Node/],
    [["x", "--storage", "mysql"], /Allowed choices are kv, redis, postgres, file, memory/],
    [["x", "--runtime", "bun"], /Allowed choices are deno, node/],
    [["x", "--framwork", "hono"], /unknown option '--framwork'/],
    [["..."], /wanted a folder whose name has Latin letters or digits/],
    [["рейтинг"], /wanted a folder whose name has Latin letters or digits/],
    [[], /missing required argument 'dir'/],
    [["x", "y"], /too many arguments/],
  ];
  for (const [args, error] of mistakes) {
    it(`exits with 2 for ${args.join(" ") || "no folder"}, and writes nothing`, async () => {
      const before = readdirSync(folder);
      const { code, err } = await cli(["new", ...args.map((arg) => arg === "x" ? join(folder, "x") : arg)]);
      assert.equal(code, 2);
      assert.match(err, error);
      assert.deepEqual(readdirSync(folder), before);
    });
  }
});

describe("projectFiles()", () => {
  it("fails with express if it cannot listen, instead of saying that it does", () => {
    const main = projectFiles({ name: "rating", runtime: "node", storage: "file", framework: "express" }).get(
      "main.ts",
    )!;
    assert.match(main, /site\.listen\(port, hostname, \(error\) => \{\n {2}if \(error\) throw error;/);
  });

  it("closes PostgreSQL with a timeout: without one, a process whose server is down never ends", () => {
    const app = projectFiles({ name: "rating", runtime: "deno", storage: "postgres", framework: "none" }).get(
      "app.ts",
    )!;
    assert.match(app, /close: \(\) => sql\.end\(\{ timeout: 5 \}\),/);
  });

  it("has 30 combinations", () => assert.equal(combinations().length, 30));

  for (const combination of combinations()) {
    const { runtime, storage, framework } = combination;
    it(`imports only what it installs: ${runtime}, ${storage}, ${framework}`, () => {
      const files = projectFiles({ name: "rating", ...combination });
      const manifest = JSON.parse(files.get(runtime === "deno" ? "deno.json" : "package.json")!);
      const installed = Object.keys(runtime === "deno" ? manifest.imports : manifest.dependencies);
      const imported = new Set<string>();
      for (const [name, text] of files) {
        if (!name.endsWith(".ts")) continue;
        for (const [, specifier = ""] of text.matchAll(/^import .*? from "([^"]+)";$/gm)) {
          if (specifier.startsWith("./")) assert.ok(files.has(specifier.slice(2)), specifier);
          else if (!specifier.startsWith("node:")) {
            imported.add(/^(@[^/]+\/)?[^/]+/.exec(specifier)![0]);
          }
        }
        // `serve()` and `toNodeHandler()` use it.
        if (text.includes("@b24/onappupdate/node-server")) imported.add("@hono/node-server");
      }
      assert.deepEqual([...imported].sort(), installed.sort());
    });

    it(`has a stand-in that keeps its portals if the storage does: ${runtime}, ${storage}, ${framework}`, () => {
      const files = projectFiles({ name: "rating", ...combination });
      const { tasks, scripts } = JSON.parse(files.get(runtime === "deno" ? "deno.json" : "package.json")!);
      assert.equal(/ --file portals\.json$/.test((tasks ?? scripts).bitrix24), storage !== "memory");
      assert.equal(files.get("README.md")!.includes("`portals.json`"), storage !== "memory");
      assert.match(files.get(".gitignore")!, /^portals\.json$/m);
    });

    it(`has a README that moves both addresses of the stand-in to another port: ${runtime}, ${storage}, ${framework}`, () => {
      const readme = projectFiles({ name: "rating", ...combination }).get("README.md")!;
      assert.match(
        readme,
        /stand-in with\n`.* dev http:\/\/127\.0\.0\.1:PORT\/b24\/events( --file portals\.json)?`\.\n/,
      );
      assert.ok(!readme.includes("--events"));
    });

    it(`takes an empty variable for one that is not set: ${runtime}, ${storage}, ${framework}`, () => {
      for (const [name, text] of projectFiles({ name: "rating", ...combination })) {
        // An empty HOST is all addresses, an empty PORT is any port.
        assert.doesNotMatch(text, /(process\.env\.\w+|Deno\.env\.get\(["']\w+["']\)) \?\?/, name);
        assert.doesNotMatch(text, /\(Deno\.env\.get\("\w+"\)\)/, name);
      }
    });

    it(`reads only variables that .env.example lists: ${runtime}, ${storage}, ${framework}`, () => {
      const files = projectFiles({ name: "rating", ...combination });
      const code = `${files.get("app.ts")}${files.get("main.ts")}`;
      const read = [...code.matchAll(/(?:process\.env\.|Deno\.env\.get\(")([A-Z0-9_]+)/g)].map(([, name]) => name!);
      const known = [...files.get(".env.example")!.matchAll(/^(?:# )?([A-Z0-9_]+)=/gm)].map(([, name]) => name!);
      // These have defaults for those who share a server, or are set by the host.
      const others = ["REDIS_PREFIX", "DATABASE_TABLE", "DENO_DEPLOYMENT_ID"];
      assert.deepEqual([...new Set(read)].filter((name) => !known.includes(name) && !others.includes(name)), []);
      assert.doesNotMatch(files.get("Dockerfile")!, /ONAPPUPDATE_DEV/);
      // `docker run --env-file` would replace what the Dockerfile sets.
      for (const [, name] of files.get("Dockerfile")!.matchAll(/(?:^ENV | )(HOST|DATABASE|KV_PATH)=/gm)) {
        assert.doesNotMatch(files.get(".env.example")!, new RegExp(`^${name}=`, "m"));
      }
      const [, command] = /^HEALTHCHECK CMD (.*)$/m.exec(files.get("Dockerfile")!)!;
      assert.match(JSON.parse(command!).at(-1), /\/healthz'/);
      for (const name of [".gitignore", ".dockerignore"]) assert.match(files.get(name)!, /^\.env$/m);
    });
  }

  it("on Deno, the cron job stands before everything that could wait, and before Deno.serve()", () => {
    for (const framework of ["none", "hono"] as const) {
      const main = projectFiles({ name: "rating", runtime: "deno", storage: "kv", framework }).get("main.ts")!;
      assert.match(main, /^Deno\.cron\(/m);
      assert.ok(main.indexOf("Deno.cron(") < main.indexOf("await app.start()"));
      assert.ok(main.indexOf("await app.start()") < main.indexOf("= Deno.serve("));
      assert.match(main, /"SIGINT"/);
    }
  });
});
