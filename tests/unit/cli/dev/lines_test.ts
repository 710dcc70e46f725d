import assert from "node:assert/strict";
import { entryLines } from "../../../../src/cli/dev/lines.ts";
import type { Entry } from "../../../../src/cli/dev/transcript.ts";
import { describe, test } from "../../../support/test.ts";

const refused = (answer: string): Entry => ({
  ...{ kind: "sent", id: 8, at: 0, name: "opening", detail: "admin", domain: "portal1.example.com" } as const,
  ...{ memberId: "a".repeat(32), url: "http://127.0.0.1:8000/", body: "", fields: {}, ms: 6 },
  ...{ outcome: "answered", status: 400, answer } as const,
});

describe("lines of the stand-in", () => {
  test("a refusal shows what the app says is wrong, whole", () => {
    const detail = "body: saw the POST of a browser that opens the app's page, wanted an event; pass openings to " +
      "app.open() or openingPage()";
    const [, reason] = entryLines(
      refused(JSON.stringify({ type: "about:blank", status: 400, detail })),
      (_, text) => text,
    );
    assert.equal(reason?.trim(), detail);
  });

  for (const answer of ["<h1>Bad Request</h1>", '{"error":"no detail"}', '{"detail":""}', "null"]) {
    test(`a refusal without a detail shows its body: ${answer}`, () => {
      assert.equal(entryLines(refused(answer), (_, text) => text)[1]?.trim(), answer);
    });
  }
});
