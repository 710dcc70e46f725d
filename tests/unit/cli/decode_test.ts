import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { cli, type Outcome } from "../../support/cli.ts";
import { describe, test } from "../../support/test.ts";

const fixtures = fileURLToPath(new URL("../../fixtures/", import.meta.url));

const decode = (stdin: string): Promise<Outcome> => cli(["decode"], { stdin });

describe("onappupdate decode", () => {
  test("prints the event of a form and of JSON without its tokens", async () => {
    for (const file of ["update-documented.form", "update-documented.json"]) {
      const { code, out, err } = await cli(["decode", `${fixtures}${file}`]);
      assert.equal(code, 0, err);
      assert.match(out, /"name": "ONAPPUPDATE"/);
      assert.match(out, /"accessToken": "\[redacted\]"/);
      assert.match(out, /VERSION 2\.1\.0 is 2\.1\.0/);
      assert.doesNotMatch(out, /lh8ze36o|5f1ih5ts|c917d38f/);
    }
  });

  test("--json prints the event and nothing else", async () => {
    const { out } = await cli(["decode", `${fixtures}update-documented.form`, "--json"]);
    const { name, data, auth } = JSON.parse(out);
    assert.deepEqual([name, data.version, auth.accessToken], ["ONAPPUPDATE", "2.1.0", "[redacted]"]);
  });

  test("prints no secret among the fields of an event that it does not know", async () => {
    const auth = "auth[member_id]=a223c6b3710f85df22e9377d6c4f7553&auth[domain]=a.bitrix24.de&auth[client_secret]=s1";
    const data = "data[AUTH_ID]=s2&data[auth][refresh_token]=s3&data[X][auth]=s4&data[AUTHOR_ID]=7&data[TEXT]=hello";
    const { code, out } = await decode(`event=ONIMBOTMESSAGEADD&ts=1&APP_SID=s5&${auth}&${data}`);
    assert.equal(code, 0);
    assert.doesNotMatch(out, /"s\d"/);
    assert.match(out, /"AUTHOR_ID": "7",\n.*"TEXT": "hello"/);
    const wrong = await decode("event=ONAPPUPDATE&ts=1&data[VERSION]=3&auth=s6");
    assert.match(wrong.err, /auth: saw a string of 2 characters, wanted an object/m);
  });

  test("prints an event whose VERSION is not a version", async () => {
    const auth =
      "auth[member_id]=a223c6b3710f85df22e9377d6c4f7553&auth[domain]=a.bitrix24.de&auth[application_token]=t";
    const { code, out } = await decode(`event=ONAPPUPDATE&ts=1&${auth}&data[VERSION]=spring&data[LANGUAGE_ID]=de`);
    assert.equal(code, 0);
    assert.match(out, /"name": "ONAPPUPDATE"[^]*^VERSION spring is no version, unless the option versions/m);
  });

  test("prints nothing that a terminal obeys", async () => {
    const auth = "auth[member_id]=a223c6b3710f85df22e9377d6c4f7553&auth[domain]=a.bitrix24.de";
    const { code, out } = await decode(`event=ONIMBOTMESSAGEADD&ts=1&${auth}&data[TEXT]=%C2%9B31m%E2%80%AE%1B[2J`);
    assert.equal(code, 0);
    assert.match(out, /"TEXT": "\\u009b31m\\u202e\\u001b\[2J"/);
  });

  test("exits with 1 and prints what is wrong with a body", async () => {
    const { code, out, err } = await decode("event=ONAPPUPDATE&ts=1&data[LANGUAGE_ID]=de");
    assert.deepEqual({ code, out }, { code: 1, out: "" });
    assert.match(err, /data\.VERSION: saw nothing, wanted a version/m);
    assert.match(err, /^auth: saw nothing, wanted an object/m);
  });

  test("exits with 2 if a file cannot be read", async () => {
    const { code, err } = await cli(["decode", `${fixtures}none`]);
    assert.equal(code, 2);
    assert.match(err, /^error: cannot read .*none: /);
  });
});
