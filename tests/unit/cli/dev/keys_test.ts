import assert from "node:assert/strict";
import { createKeyReader, type KeyAction, keyBindings } from "../../../../src/cli/dev/keys.ts";
import { STAND_IN_COMMANDS } from "../../../../src/cli/dev/commands.ts";
import { describe, it } from "../../../support/test.ts";

function pressed(...input: string[]): KeyAction[] {
  const read = createKeyReader();
  return input.flatMap(read);
}

/** The commands that ran, without the typing. */
const run = (...input: string[]): string[] =>
  pressed(...input).flatMap((action) => action.kind === "run" ? [action.line] : []);

describe("createKeyReader()", () => {
  it("runs the command of a key", () => {
    for (const [key, line] of keyBindings()) assert.deepEqual(run(key), [line]);
    assert.deepEqual(run("i", "u", "x"), ["install", "update", "uninstall"]);
    assert.deepEqual(run("a", "o"), ["open", "open user"]);
    assert.deepEqual(run("z", "I", "\t", "1"), []);
    for (const [, line] of keyBindings()) assert.ok(STAND_IN_COMMANDS.some(({ name }) => name === line.split(" ")[0]));
  });

  it("runs the same command with the Russian layout", () => {
    assert.deepEqual(run("ш", "г", "ч", "а"), ["install", "update", "uninstall", "finish"]);
    assert.deepEqual(run("ф", "щ", "п", "р"), ["open", "open user", "forge", "oauth"]);
    assert.deepEqual(run("в", "к", "д", "т", "з", "ы", "у"), [
      ...["duplicate", "reorder", "lose", "rename", "payment", "slow", "expire"],
    ]);
    assert.deepEqual(run("я", "э", "ё"), []);
    assert.deepEqual([pressed("й"), pressed(",")], [[{ kind: "quit" }], [{ kind: "help" }]]);
    assert.deepEqual(run("Ж", "event ONCRMDEALADD TITLE=шаг", "\r"), ["event ONCRMDEALADD TITLE=шаг"]);
  });

  it("runs a line that is typed after : or Enter", () => {
    assert.deepEqual(run(":", "update 7", "\r"), ["update 7"]);
    assert.deepEqual(run("\r", "u", "p", "x", "\x7f", "date 8", "\n"), ["update 8"]);
    assert.deepEqual(run(":", "nonsense", "\x15", "oauth down", "\r", "u"), ["oauth down", "update"]);
    assert.deepEqual(run(":update 9\r"), ["update 9"]); // pasted
  });

  it("shows the line while it is typed, and nothing once it is given up", () => {
    assert.deepEqual(pressed(":", "qi", "\x1b", "i"), [
      { kind: "typing", line: "" },
      { kind: "typing", line: "q" },
      { kind: "typing", line: "qi" },
      { kind: "typing", line: undefined },
      { kind: "run", line: "install" },
    ]);
    assert.deepEqual(run(":", "  ", "\r"), []);
  });

  it("types no control characters, and ignores arrow keys", () => {
    assert.deepEqual(run(":", "up", "\x1b[A", "\x07", "date", "\r"), ["update"]);
    assert.deepEqual(run("\x1b[D", "\x1bOP"), []);
  });

  it("ends by q, Ctrl+D and Ctrl+C, the last also while a line is typed", () => {
    assert.deepEqual(pressed("q"), [{ kind: "quit" }]);
    assert.deepEqual(pressed("\x04"), [{ kind: "quit" }]);
    assert.deepEqual(pressed(":", "a", "\x03").at(-1), { kind: "quit" });
    assert.deepEqual(pressed("?"), [{ kind: "help" }]);
  });
});
