import assert from "node:assert/strict";
import {
  bar,
  counted,
  cut,
  duration,
  painter,
  safe,
  safeLines,
  safeStyled,
  table,
  time,
  toJson,
  wrapped,
} from "../../../src/cli/text.ts";
import { describe, test } from "../../support/test.ts";

describe("text of the command line", () => {
  test("safe() shows what a terminal would obey", () => {
    assert.equal(safe("a\u001b[2J\u009b1m\u202eb\nc\td\u2066"), "a\\u001b[2J\\u009b1m\\u202eb c d\\u2066");
  });

  test("safeLines() keeps lines and tabs", () => {
    assert.equal(safeLines("a,\u001b[2J\tb\r\nc\u202e"), "a,\\u001b[2J\tb\r\nc\\u202e");
  });

  test("safeStyled() keeps lines, tabs and styles", () => {
    assert.equal(safeStyled("\u001b[1;31ma\tb\nc\u001b[39m"), "\u001b[1;31ma\tb\nc\u001b[39m");
    assert.equal(
      safeStyled("\u001b[2J\r\u009b31m\u202e\u001b]0;x\u0007"),
      "\\u001b[2J\\u000d\\u009b31m\\u202e\\u001b]0;x\\u0007",
    );
  });

  test("toJson() is JSON that a terminal does not obey, over several lines or on one", () => {
    const value = { text: "\u009b1m\u202e\u001b[2J\n" };
    for (const onOneLine of [false, true]) {
      const json = toJson(value, { onOneLine });
      assert.deepEqual(JSON.parse(json), value);
      assert.equal(json.split("\n").length, onOneLine ? 1 : 3);
      assert.ok(!["\u009b", "\u202e", "\u001b"].some((char) => json.includes(char)), json);
    }
  });

  test("table() aligns columns, and cuts the last one", () => {
    const text = table(["NAME", ">COUNT", "MESSAGE"], [["a", "1", "a long message"], ["bcdef", "100", "b\u001b"]], {
      ...{ hasColor: false, isTerminal: true, columns: 24 },
    });
    assert.equal(text, ["NAME   COUNT  MESSAGE", "a          1  a long me…", "bcdef    100  b\\u001b"].join("\n"));
  });

  test("table() shows columns that do not fit into a terminal below their row", () => {
    const rows = [["2023-11-14", "done", "a reason of several words"], ["2023-11-15", "", "b\u001b"]];
    const heads = ["TIME", "OUTCOME", "REASON"];
    const shown = (columns: number, isTerminal = true): string[] =>
      table(heads, rows, { hasColor: false, isTerminal, columns }, ["", "a note"]).split("\n");
    assert.deepEqual(shown(26), [
      ...["TIME        OUTCOME", "2023-11-14  done", "  reason a reason of", "  several words"],
      ...["2023-11-15", "  reason b\\u001b", "  a note"],
    ]);
    assert.deepEqual(shown(12), [
      ...["TIME", "2023-11-14", "  outcome", "  done,", "  reason a", "  reason of", "  several", "  words"],
      ...["2023-11-15", "  reason", "  b\\u001b", "  a note"],
    ]);
    assert.deepEqual(shown(26, false).slice(1), [
      ...["2023-11-14  done     a reason of several words", "2023-11-15           b\\u001b", "  a note"],
    ]);
  });

  test("painter() colors only where colors are shown", () => {
    assert.equal(painter({ hasColor: false })("red", "x"), "x");
    assert.equal(painter({ hasColor: true })("red", "x"), "\u001b[31mx\u001b[39m");
  });

  test("times, durations and bars", () => {
    assert.equal(time(1_700_000_000_123), "2023-11-14 22:13:20Z");
    assert.deepEqual([0, 999, 1000, 61_000, 60_000, 3_660_000, 90_000_000].map(duration), [
      ...["0 ms", "999 ms", "1 s", "1 min 1 s", "1 min", "1 h 1 min", "1 d 1 h"],
    ]);
    assert.deepEqual([0, 0.001, 0.5, 1].map((share) => bar(share, 4)), ["░░░░", "█░░░", "██░░", "████"]);
    assert.deepEqual([0, 1, 1204].map((count) => counted(count, "portal")), ["0 portals", "1 portal", "1,204 portals"]);
    assert.equal(cut("abcdef", 4), "abc…");
    assert.equal(wrapped("one two three four", 10, "  "), "  one two\n  three\n  four");
  });
});
