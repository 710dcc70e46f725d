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

  test("usual events and calls have lines under 80 columns, and long names are whole", () => {
    const at = { id: 128, at: 0 };
    const host = "customer-17.bitrix24.de";
    const call = { ...at, kind: "call", host, params: "{}", status: 200, ms: 140 } as const;
    const event = { ...refused(""), name: "ONAPPUNINSTALL", detail: "", domain: host, status: 200, ms: 140, id: 128 };
    const lines = [event as Entry, { ...call, method: "user.current" }].flatMap((entry) =>
      entryLines(entry, (_, text) => text)
    );
    for (const line of lines) assert.ok(line.length < 80, line);
    const [long] = entryLines({ ...call, method: "crm.timeline.bindings.list.of.all" }, (_, text) => text);
    assert.match(long!, / crm\.timeline\.bindings\.list\.of\.all customer-17\.bitrix24\.de 200 in 140 ms$/);
  });

  for (const answer of ["<h1>Bad Request</h1>", '{"error":"no detail"}', '{"detail":""}', "null"]) {
    test(`a refusal without a detail shows its body: ${answer}`, () => {
      assert.equal(entryLines(refused(answer), (_, text) => text)[1]?.trim(), answer);
    });
  }
});
