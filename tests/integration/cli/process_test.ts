/** The command line as users run it: in processes of its own, with pipes, on the runtime of the tests. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { serve } from "@b24/onappupdate/node-server";
import { operatorApi } from "@b24/onappupdate/operator";
import { MEMBER_ID, post, quietLogger } from "../../support/app.ts";
import { root, runArgs } from "../../support/process.ts";
import { after, before, describe, test } from "../../support/test.ts";
import { createTestApp } from "./_test_app.ts";

const CLI = fileURLToPath(import.meta.resolve("@b24/onappupdate/cli"));
const APP = "tests/integration/cli/app_child.ts";
const TOKEN = "secret-of-the-test".padEnd(43, "x");
const isDeno = "Deno" in globalThis;

interface Outcome {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** Runs a command of a shell, in which `onappupdate` is the command line with these arguments of the runtime. */
async function shell(command: string, env: Readonly<Record<string, string>> = {}, args = runArgs): Promise<Outcome> {
  const quoted = [process.execPath, ...args, CLI].map((word) => `'${word}'`).join(" ");
  const { NO_COLOR: _, ...inherited } = process.env;
  const child = spawn("/bin/sh", ["-c", `onappupdate() { ${quoted} "$@"; }; ${command}`], {
    cwd: root,
    // Colors are a matter of the terminal alone. With NO_COLOR, too, Node would print a warning.
    env: { ...inherited, FORCE_COLOR: "1", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const code = new Promise<number | null>((resolve, reject) => child.on("error", reject).on("close", resolve));
  const [out, err] = await Promise.all([text(child.stdout), text(child.stderr)]);
  return { code: await code, out, err };
}

describe("the command onappupdate", () => {
  let folder: string;
  let env: Readonly<Record<string, string>>;
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "onappupdate-cli-"));
    env = { TEST_STORAGE: join(folder, "a.sqlite"), TEST_STORAGE_TO: join(folder, "b.sqlite") };
    // A version of the code that parks the portal.
    const app = createTestApp(env["TEST_STORAGE"]!, false);
    for (const [event, VERSION] of [["ONAPPINSTALL", "1"], ["ONAPPUPDATE", "2"]]) {
      const auth = { member_id: MEMBER_ID, domain: "a.bitrix24.de", application_token: "t".repeat(32) };
      const body = JSON.stringify({ event, ts: "1700000000", data: { VERSION, LANGUAGE_ID: "en" }, auth });
      assert.equal((await app.fetch(post(body, "application/json"))).status, 200);
    }
    await app.settled();
    await app.close();
  });
  after(() => rmSync(folder, { recursive: true }));

  test("simulate keeps 2.10 in a pipe", async () => {
    const { code, out } = await shell(
      "onappupdate simulate update --to 2.10 --print | grep -F 'data%5BVERSION%5D=2.10'",
    );
    assert.equal(code, 0, out);
  });

  test("an unknown command exits with 2, and --help with 0", async () => {
    assert.equal((await shell("onappupdate nope; test $? = 2")).code, 0);
    assert.equal((await shell("onappupdate --help > /dev/null")).code, 0);
  });

  test("decode reads a pipe, and password prints a hash", async () => {
    const { code, out } = await shell("onappupdate simulate test --print | onappupdate decode --json");
    assert.deepEqual([code, JSON.parse(out).name], [0, "ONAPPTEST"]);
    assert.match((await shell("echo 'correct horse battery' | onappupdate password")).out, /^\$scrypt\$ln=15/);
  });

  test("a reader that ends early is no error", async () => {
    const { code, out, err } = await shell("onappupdate simulate update --to 3 --duplicate 1000 --print | head -n 1");
    assert.deepEqual([code, err], [0, ""]);
    assert.match(out, /^event=ONAPPUPDATE/);
  });

  test("status in a pipe has no escape sequences, and what the module logs goes to standard error", async () => {
    const { out, err } = await shell(`onappupdate status --app ${APP} | cat`, env);
    assert.match(out, /^1\.0\.0 +parked +1 /m, err);
    assert.ok(!out.includes("\u001b"), out);
    assert.match(err, /^the module is loaded$/m);
    const json = await shell(`onappupdate status --app ${APP} --json`, env);
    assert.equal(JSON.parse(json.out).totals.parked, 1);
  });

  test("needs no permission of Deno but those that the app needs, and no environment", async () => {
    const none = isDeno ? ["run", "--no-prompt", "--no-check"] : [];
    for (const command of ["token ada --role read", "--help", "simulate update --print", "status --help"]) {
      const { code, err } = await shell(`onappupdate ${command}`, {}, none);
      assert.deepEqual([code, err], [0, ""], command);
    }
    const some = isDeno ? [...none, "--allow-read", "--allow-write", "--allow-env=TEST_STORAGE"] : [];
    const { code, err } = await shell(`onappupdate status --app ${APP}`, env, some);
    assert.equal(code, 0, err);
    const nameless = await shell(`onappupdate pause --app ${APP} --yes --reason x --by ada`, env, some);
    assert.equal(nameless.code, 0, nameless.err);
    assert.equal((await shell(`onappupdate resume --app ${APP} --yes --reason x --by ada`, env, some)).code, 0);
  });

  test("a module that starts, listens or throws while it is imported exits with 2 and says what to do", async () => {
    const mistakes = {
      "starts": /cannot start the app: the command line has loaded this module.*main\.ts/,
      "listens": /the module calls server\.listen\(\).*main\.ts/,
      "serves on Deno": /the module calls (Deno\.serve|server\.listen)\(\).*main\.ts/,
      "throws": /cannot load .*: CLIENT_SECRET is not set/,
      "throws with a connection open": /cannot load .*: CLIENT_SECRET is not set/,
      "nothing but a memory storage": /the storage "memory" belongs to one process.*use --url/,
    };
    for (const [mistake, reason] of Object.entries(mistakes)) {
      const command = "onappupdate status --app tests/integration/cli/bad_app_child.ts";
      const { code, out, err } = await shell(command, { TEST_MISTAKE: mistake });
      assert.deepEqual([code, out], [2, ""], err);
      assert.match(err, reason);
    }
    const { code, err } = await shell("onappupdate status --app ./none.ts");
    assert.equal(code, 2);
    assert.match(err, /^error: cannot load \.\/none\.ts: /m);
    // Deno colors the place of the import.
    const outer = join(folder, "outer.ts");
    writeFileSync(outer, 'import "./none.ts";\n');
    const inner = await shell(`onappupdate status --app ${outer}`);
    assert.equal(inner.code, 2);
    assert.match(inner.err, /^error: cannot load .*none\.ts/m);
    assert.doesNotMatch(inner.err, /\\u001b/);
  });

  test("a storage that never answers or closes does not end the command without a word", async () => {
    const command = "onappupdate status --app tests/integration/cli/bad_app_child.ts";
    const closing = await shell(command, { TEST_MISTAKE: "never closes" });
    assert.equal(closing.code, 0, closing.err);
    assert.match(closing.out, /No portal is known yet/);
    const silent = await shell(command, { TEST_MISTAKE: "never answers" });
    assert.deepEqual([silent.code, silent.out], [3, ""]);
    assert.match(silent.err, /the command has not ended: what it waits for, .*, never answers/);
  });

  test("a module that waits for a storage that is down exits with 3 and says what to do", async () => {
    const outages = {
      "redis": /cannot load .*(ECONNREFUSED|[Cc]onnection refused)/,
      "postgres": /cannot load .*(ECONNREFUSED|[Cc]onnection refused)/,
      "pg": /cannot load .*(ECONNREFUSED|[Cc]onnection refused)/,
      "fetch": /cannot load /,
      "a name that does not exist": /cannot load /,
      "two addresses": /cannot load .*connect 127\.0\.0\.1:2/,
      "a cause": /cannot load .*cannot set up/,
      "a socket without a listener": /(ECONNREFUSED|[Cc]onnection refused)/,
      "set-up": /./,
    };
    for (const [outage, reason] of Object.entries(outages)) {
      const command = "onappupdate status --app tests/integration/cli/bad_app_child.ts";
      const { code, out, err } = await shell(command, { TEST_MISTAKE: outage });
      assert.deepEqual([code, out], [3, ""], `${outage}: ${err}`);
      assert.match(err, reason, outage);
      assert.match(err, /Is (its|the) storage (of the app )?running, and can it be reached from (t?here)\?/, outage);
      assert.doesNotMatch(err, /^ +at /m, outage);
    }
  });

  test("acts without a terminal with --yes only, and a started app carries out what is stored", async () => {
    const refused = await shell(`onappupdate retry a.bitrix24.de --app ${APP} --reason 'ticket 17'`, env);
    assert.deepEqual([refused.code, refused.out], [2, ""], refused.err);
    const done = await shell(`onappupdate retry a.bitrix24.de --app ${APP} --reason 'ticket 17' --yes --by ada`, env);
    assert.equal(done.code, 0, done.err);
    const app = createTestApp(env["TEST_STORAGE"]!, true);
    await app.settled();
    assert.equal((await app.portal(MEMBER_ID))?.version, "2.0.0");
    assert.equal((await app.admin.audit()).items[0]?.by, "ada");
    await app.close();
  });

  test("reaches a running app by its operator API, with a token that is never printed", async () => {
    const app = createTestApp(env["TEST_STORAGE"]!, true);
    const sha256 = createHash("sha256").update(TOKEN).digest("hex");
    const api = operatorApi({ app, tokens: [{ name: "ada", role: "read", sha256 }], logger: quietLogger });
    const server = await serve({ fetch: (request) => api.fetch(request), close: app.close }, { port: 0, signals: [] });
    try {
      const command = `onappupdate portals --url ${server.url} --json`;
      const { code, out, err } = await shell(command, { ONAPPUPDATE_TOKEN: TOKEN });
      assert.equal(code, 0, err);
      assert.equal(JSON.parse(out).items[0].memberId, MEMBER_ID);
      for (
        const [token, status, message] of [[TOKEN.replace("test", "past"), 1, /refuses the token/], [
          "",
          2,
          /wanted a token/,
        ]]
      ) {
        const refused = await shell(command, { ONAPPUPDATE_TOKEN: String(token) });
        assert.equal(refused.code, status, refused.err);
        assert.match(refused.err, message as RegExp);
        assert.doesNotMatch(refused.err, /secret-/);
      }
      const action = `onappupdate pause --url ${server.url} --yes --reason x`;
      assert.match(
        (await shell(action, { ONAPPUPDATE_TOKEN: TOKEN })).err,
        /role of token "ada" is "read"/,
      );
    } finally {
      await server.close();
    }
    const { code } = await shell(`onappupdate status --url ${server.url}`, { ONAPPUPDATE_TOKEN: TOKEN });
    assert.equal(code, 3);
  });

  test("copies a storage, and again what is missing", async () => {
    const command =
      "onappupdate copy tests/integration/cli/from_storage_child.ts tests/integration/cli/storage_child.ts";
    const first = await shell(command, env);
    assert.match(first.out, /^[1-9]\d* copied, 0 were there already, 0 only in the target\n$/, first.err);
    assert.ok(!first.err.includes("█"), first.err);
    assert.match((await shell(command, env)).out, /^0 copied, [1-9]/);
  });
});
