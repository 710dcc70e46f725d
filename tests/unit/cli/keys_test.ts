import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { passwordHash } from "../../../src/cli/password.ts";
import { cli } from "../../support/cli.ts";
import { describe, test } from "../../support/test.ts";

describe("onappupdate password", () => {
  test("prints the scrypt hash of the line", async () => {
    const { code, out, err } = await cli(["password"], { stdin: "correct horse battery\n" });
    assert.deepEqual({ code, err }, { code: 0, err: "" });
    const [, salt] = /^\$scrypt\$ln=15,r=8,p=1\$([\w+/]{22})\$[\w+/]{43}\n$/.exec(out) ?? [];
    assert.equal(out, `${await passwordHash("correct horse battery", Buffer.from(salt!, "base64"))}\n`);
    const { hash } = JSON.parse((await cli(["password", "--json"], { stdin: "correct horse battery" })).out);
    assert.match(hash, /^\$scrypt\$/);
    assert.notEqual(`${hash}\n`, out);
  });

  test("refuses short passwords and several lines, and does not print them", async () => {
    for (
      const [stdin, reason] of [["hunter2", /saw 7 characters/], ["first line 123\nsecond", /several lines/]] as const
    ) {
      const { code, out, err } = await cli(["password"], { stdin });
      assert.deepEqual({ code, out }, { code: 2, out: "" });
      assert.match(err, reason);
      assert.doesNotMatch(err, /hunter2|second/);
    }
  });
});

describe("onappupdate token", () => {
  test("prints a token of 32 bytes once, and its digest for the configuration", async () => {
    const { code, out } = await cli(["token", "ada", "--role", "operate", "--json"]);
    assert.equal(code, 0);
    const { token, entry } = JSON.parse(out);
    assert.equal(Buffer.from(token, "base64url").length, 32);
    const sha256 = createHash("sha256").update(token).digest("hex");
    assert.deepEqual(entry, { name: "ada", role: "operate", sha256 });
    const text = (await cli(["token", "ada", "--role", "read"])).out;
    assert.match(text, /\{ name: "ada", role: "read", sha256: "[0-9a-f]{64}" \}/);
  });

  test("refuses a name that the audit log refuses, and a missing or unknown role", async () => {
    for (const args of [["ada"], ["ada", "--role", "root"], ["a\nb", "--role", "read"], [" ", "--role", "read"]]) {
      const { code, out, err } = await cli(["token", ...args]);
      assert.deepEqual({ code, out }, { code: 2, out: "" }, err);
    }
  });
});
