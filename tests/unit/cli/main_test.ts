import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { main } from "../../../src/cli/main.ts";
import { describe, test } from "../../support/test.ts";

const fixtures = fileURLToPath(new URL("../../fixtures/", import.meta.url));

async function run(args: readonly string[], stdin = ""): Promise<{ code: number; out: string; err: string }> {
  let out = "";
  let err = "";
  const code = await main(args, {
    read: (path) => Promise.resolve(path === "-" ? stdin : readFileSync(path, "utf8")),
    out: (line) => void (out += `${line}\n`),
    err: (line) => void (err += `${line}\n`),
  });
  return { code, out, err };
}

describe("onappupdate decode", () => {
  test("prints the event of a form and of JSON without its tokens", async () => {
    for (const file of ["update-documented.form", "update-documented.json"]) {
      const { code, out, err } = await run(["decode", `${fixtures}${file}`]);
      assert.equal(code, 0, err);
      assert.match(out, /"name": "ONAPPUPDATE"/);
      assert.match(out, /"accessToken": "\[redacted\]"/);
      assert.match(out, /VERSION 2\.1\.0 is 2\.1\.0/);
      assert.doesNotMatch(out, /lh8ze36o|5f1ih5ts|c917d38f/);
    }
  });

  test("prints no secret among the fields of an event that it does not know", async () => {
    const auth = "auth[member_id]=a223c6b3710f85df22e9377d6c4f7553&auth[domain]=a.bitrix24.de&auth[client_secret]=s1";
    const data = "data[AUTH_ID]=s2&data[auth][refresh_token]=s3&data[X][auth]=s4&data[AUTHOR_ID]=7&data[TEXT]=hello";
    const { code, out } = await run(["decode"], `event=ONIMBOTMESSAGEADD&ts=1&APP_SID=s5&${auth}&${data}`);
    assert.equal(code, 0);
    assert.doesNotMatch(out, /"s\d"/);
    assert.match(out, /"AUTHOR_ID": "7",\n.*"TEXT": "hello"/);
    const wrong = await run(["decode"], "event=ONAPPUPDATE&ts=1&data[VERSION]=3&auth=s6");
    assert.match(wrong.err, /^auth: saw a string of 2 characters, wanted an object/m);
  });

  test("reads standard input, and prints what is wrong with a body", async () => {
    const { code, out, err } = await run(["decode"], "event=ONAPPUPDATE&ts=1&data[LANGUAGE_ID]=de");
    assert.equal(code, 1);
    assert.equal(out, "");
    assert.match(err, /^data\.VERSION: saw nothing, wanted a version/m);
    assert.match(err, /^auth: saw nothing, wanted an object/m);
  });

  test("prints an error if a file cannot be read", async () => {
    const { code, err } = await run(["decode", `${fixtures}none`]);
    assert.equal(code, 2);
    assert.match(err, /^cannot read .*none: /);
  });

  for (const args of [[], ["encode"], ["decode", "a", "b"]]) {
    test(`prints its usage for ${JSON.stringify(args)}`, async () => {
      const { code, err } = await run(args);
      assert.equal(code, 2);
      assert.match(err, /^Usage: onappupdate decode/);
    });
  }

  test("--help prints the usage", async () => {
    const { out } = await run(["--help"]);
    assert.match(out, /^Usage/);
    assert.match(out, /2 the command is invalid or FILE\ncannot be read/);
  });
});
