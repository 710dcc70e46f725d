import assert from "node:assert/strict";
import { EventEmitter } from "node:events";
import type { WriteStream } from "node:tty";
import { outputOf, processTerminal } from "../../../src/cli/process_terminal.ts";
import { progressBar } from "../../../src/cli/progress.ts";
import { describe, test } from "../../support/test.ts";

/** A stream of a process that records what is written. */
function stream(facts: { readonly isTTY?: boolean; readonly columns?: number }): {
  readonly stream: WriteStream;
  readonly written: () => string;
} {
  let written = "";
  const write = (text: string): boolean => {
    written += text;
    return true;
  };
  const cursor = { cursorTo: () => true, clearLine: () => true, moveCursor: () => true };
  const stream = Object.assign(new EventEmitter(), { write, ...cursor, ...facts });
  return { stream: stream as unknown as WriteStream, written: () => written };
}

describe("outputOf()", () => {
  const cases: Readonly<Record<string, readonly [facts: object, isColorless: boolean, expected: readonly unknown[]]>> =
    {
      "a pipe": [{ columns: 40 }, false, [false, false, 80]],
      "a terminal": [{ isTTY: true, columns: 40 }, false, [true, true, 40]],
      "a terminal with NO_COLOR": [{ isTTY: true, columns: 40 }, true, [true, false, 40]],
      "a terminal of unknown width": [{ isTTY: true, columns: 0 }, false, [true, true, 80]],
    };
  for (const [name, [facts, isColorless, expected]] of Object.entries(cases)) {
    test(`of ${name}`, () => {
      const { isTerminal, hasColor, columns } = outputOf(stream(facts).stream, isColorless);
      assert.deepEqual([isTerminal, hasColor, columns], expected);
    });
  }

  test("throws errors of the stream, but not that its reader has ended", () => {
    const { stream: broken } = stream({});
    outputOf(broken, false);
    assert.throws(() => broken.emit("error", new Error("disk full")), /disk full/);
  });
});

describe("progressBar()", () => {
  test("draws on a terminal, and prints nothing in a pipe", () => {
    for (const [facts, isDrawn] of [[{ isTTY: true, columns: 80 }, true], [{}, false]] as const) {
      const { stream: output, written } = stream(facts);
      const bar = progressBar(output, "comparing", 10);
      bar.update(5);
      bar.update(10, 20);
      bar.stop();
      assert.equal(written().includes("comparing"), isDrawn, written());
      assert.equal(written().includes("10 of 20"), isDrawn, written());
    }
  });
});

describe("processTerminal()", () => {
  test("reads the environment and the user name without asking, if it may", () => {
    const { variable, userName, now } = processTerminal();
    assert.equal(variable("ONAPPUPDATE_NO_SUCH_VARIABLE"), undefined);
    assert.match(userName() ?? "nobody", /\S/);
    assert.ok(now() > 1_700_000_000_000);
  });
});
