import assert from "node:assert/strict";
import { bar, counted, csv, cut, duration, painter, safe, table, time, wrapped } from "../../../src/cli/text.ts";
import { describe, test } from "../../support/test.ts";

describe("text of the command line", () => {
  test("safe() shows what a terminal would obey", () => {
    assert.equal(safe("a\u001b[2J\u009b1m\u202eb\nc\td\u2066"), "a\\u001b[2J\\u009b1m\\u202eb c d\\u2066");
  });

  test("csv() makes text of formulas, and quotes", () => {
    assert.equal(
      csv(["a", "b"], [["=1+1", "+7"], ["-1", "@x"], ["\tx", "\ry"], ["a,b", 'say "hi"'], [-1, undefined], [
        "x\ny",
        "ok",
      ]]),
      'a,b\r\n\'=1+1,\'+7\r\n\'-1,\'@x\r\n\'\tx,"\'\ry"\r\n"a,b","say ""hi"""\r\n-1,\r\n"x\ny",ok\r\n',
    );
  });

  test("table() aligns columns, and cuts the last one", () => {
    const text = table(["NAME", ">COUNT", "MESSAGE"], [["a", "1", "a long message"], ["bcdef", "100", "b\u001b"]], {
      ...{ hasColor: false, isTerminal: true, columns: 24 },
    });
    assert.equal(text, ["NAME   COUNT  MESSAGE", "a          1  a long me…", "bcdef    100  b\\u001b"].join("\n"));
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
