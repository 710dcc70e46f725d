import assert from "node:assert/strict";
import { PACKAGE_VERSION } from "../../../src/cli/templates/versions.ts";
import { cli } from "../../support/cli.ts";
import { describe, test } from "../../support/test.ts";

/** The names of all commands, or of those of a group, as the help lists them. */
async function commandNames(group: readonly string[] = []): Promise<string[]> {
  const { out } = await cli([...group, "--help"]);
  return [...out.matchAll(/^ {2}([a-z][a-z-]*) {2,}\S/gm)].map(([, name]) => name!);
}

describe("onappupdate", () => {
  for (const args of [[], ["nope"], ["decode", "--nope"], ["decode", "a", "b"], ["token"]]) {
    test(`exits with 2 and says why on standard error for ${JSON.stringify(args)}`, async () => {
      const { code, out, err } = await cli(args);
      assert.deepEqual({ code, out }, { code: 2, out: "" });
      assert.match(err, args.length === 0 ? /^Usage: onappupdate/ : /^error: [^]*--help/);
    });
  }

  test("--help exits with 0 and prints the commands and exit codes", async () => {
    const { code, out, err } = await cli(["--help"]);
    assert.deepEqual({ code, err }, { code: 0, err: "" });
    assert.match(out, /^Usage: onappupdate/);
    assert.match(out, /^3 the app, the operator API, the storage or Bitrix24 does not answer\.$/m);
  });

  test("--version prints the version of the package, and only before a command", async () => {
    for (const option of ["--version", "-V"]) {
      assert.deepEqual(await cli([option]), { code: 0, out: `${PACKAGE_VERSION}\n`, err: "" });
    }
    const { code, out } = await cli(["portals", "--version", "2"]);
    assert.deepEqual({ code, out }, { code: 2, out: "" });
  });

  test("help is the same as --help", async () => {
    for (const command of [[], ["status"], ["rollout"], ["rollout", "pause"]]) {
      assert.deepEqual(await cli(["help", ...command]), await cli([...command, "--help"]));
    }
  });

  test("an unknown command is refused with --help, too", async () => {
    for (const args of [["nope", "--help"], ["help", "nope"], ["rollout", "nope", "--help"]]) {
      const { code, out, err } = await cli(args);
      assert.deepEqual({ code, out }, { code: 2, out: "" });
      assert.match(err, /^error: unknown command 'nope'/);
    }
  });

  test("each command has help of less than 80 columns, with examples and --json", async () => {
    const names = await commandNames();
    assert.ok(names.length >= 24, names.join());
    const ofRollout = (await commandNames(["rollout"])).map((name) => `rollout ${name}`);
    assert.equal(ofRollout.length, 6, ofRollout.join());
    for (const name of ["", ...names, ...ofRollout]) {
      const { code, out } = await cli([...name === "" ? [] : name.split(" "), "--help"]);
      assert.equal(code, 0);
      for (const line of out.split("\n")) assert.ok(line.length < 80, `${name}: ${line}`);
      if (name === "" || name === "rollout") continue;
      assert.match(out, new RegExp(`^Examples:\\n {2}\\$ .*onappupdate ${name}\\b`, "m"), name);
      assert.match(out, /^ {2}--json /m, name);
    }
  });

  test("colors errors on a terminal only", async () => {
    assert.ok((await cli(["decode", "/none"], { isTerminal: true })).err.startsWith("\u001b[31merror:\u001b"));
    assert.match((await cli(["decode", "/none"])).err, /^error: cannot read \/none/);
  });
});
