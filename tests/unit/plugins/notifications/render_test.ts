import assert from "node:assert/strict";
import { type RenderOptions, renderText } from "@b24/onappupdate/notifications";
import { escapeBbCode, escapeHtml, escapeMarkdown, escapeSlack } from "../../../../plugins/notifications/escape.ts";
import { describe, it } from "../../../support/test.ts";
import { notification } from "./_channel.ts";

const HOSTILE = "a&b <b>\"*_~`[url=http://x]y[/url](z)' @all 😀";

describe("renderText()", () => {
  it("has title, details, portals, link and id", () => {
    const text = renderText(notification({ link: "https://ops.example.com/p?a=1&b=2" }), { id: "n-1" });
    assert.deepEqual(text.split("\n"), [
      "WARNING: 3 portals are parked",
      "upgrade 2.0.0: the field is missing",
      "Portals: 3",
      "one.bitrix24.de (a223)",
      "b334",
      "and 1 more",
      "https://ops.example.com/p?a=1&b=2",
      "ID: n-1",
    ]);
  });

  it("says that a problem is resolved, in the language of the notification", () => {
    const portals = { shown: [], total: 0 };
    const text = renderText(
      notification({ status: "resolved", language: "ru", lines: [], portals, title: "40 порталов" }),
    );
    assert.equal(text, "РЕШЕНО: 40 порталов");
  });

  it("names the number of portals if none is shown", () => {
    const text = renderText(notification({ lines: [], portals: { shown: [], total: 7 } }));
    assert.equal(text, "WARNING: 3 portals are parked\nPortals: 7");
  });

  it("makes one line of each line, without control characters and marks of direction", () => {
    const text = renderText(notification({
      title: "a\r\nBcc: x@example.com",
      lines: ["b\u001b[2Jc", "d\u2028e", "f\u202e\u061cg", "lone \ud800 surrogate"],
      portals: { shown: [{ memberId: "a\n223", domain: "one\u0000.example" }], total: 1 },
    }));
    assert.deepEqual(text.split("\n"), [
      "WARNING: a Bcc: x@example.com",
      ...["b [2Jc", "d e", "f g", "lone \ufffd surrogate"],
      "Portals: 1",
      "one .example (a 223)",
    ]);
  });

  it("leaves out portals first, then details, and says how many", () => {
    const message = notification({
      lines: ["1".repeat(20), "2".repeat(20), "3".repeat(20)],
      link: "https://x.example",
    });
    const lines = (maxLength: number): string[] => renderText(message, { maxLength, id: "n" }).split("\n");
    const [title, link, id] = ["WARNING: 3 portals are parked", "https://x.example", "ID: n"];
    const whole = renderText(message, { id: "n" });
    assert.equal(renderText(message, { maxLength: whole.length, id: "n" }), whole);
    const details = message.lines;
    const one = "one.bitrix24.de (a223)";
    assert.deepEqual(lines(whole.length - 1), [title, ...details, "Portals: 3", one, "and 2 more", link, id]);
    assert.deepEqual(lines(140), [title, ...details, "Portals: 3", link, id]);
    assert.deepEqual(lines(110), [title, details[0], "and 2 more lines", "Portals: 3", link, id]);
    assert.deepEqual(lines(60), [title, link, id]);
    assert.deepEqual(lines(40), [title, id]);
    assert.deepEqual(lines(10), ["WARNING:…"]);
  });

  const escapes: Readonly<Record<string, RenderOptions>> = {
    HTML: { escape: escapeHtml, title: (line) => `<b>${line}</b>` },
    Slack: { escape: escapeSlack },
    Markdown: { escape: escapeMarkdown },
    "BB code": { escape: escapeBbCode },
  };
  for (const [name, options] of Object.entries(escapes)) {
    it(`splits no character, escape sequence or line of ${name} at any length`, () => {
      const message = notification({
        title: HOSTILE,
        lines: [HOSTILE, "short", HOSTILE],
        portals: {
          shown: Array.from({ length: 5 }, (_, i) => ({ memberId: `m${i}`, domain: `${i}${HOSTILE}` })),
          total: 40,
        },
        link: "https://x.example/?a=1&b=2",
      });
      const whole = new Set(renderText(message, { ...options, id: "n-1" }).split("\n"));
      const length = renderText(message, { ...options, id: "n-1" }).length;
      const more = /^and \d+ more( lines?)?$/;
      for (let maxLength = 1; maxLength <= length + 1; maxLength++) {
        const text = renderText(message, { ...options, maxLength, id: "n-1" });
        assert.ok(text.length <= maxLength, `${text.length} of ${maxLength}`);
        assert.ok(text.isWellFormed(), text);
        const [title, ...lines] = text.split("\n");
        for (const line of lines) assert.ok(whole.has(line) || more.test(line), `${maxLength}: ${line}`);
        if (whole.has(title!)) continue;
        // The title was cut between two characters, before they were escaped.
        const characters = Array.from(`WARNING: ${HOSTILE}`);
        const cuts = characters.map((_, i) => `${characters.slice(0, i).join("").trimEnd()}…`);
        const rendered = cuts.map((cut) => (options.title ?? String)(options.escape!(cut)));
        assert.ok([...rendered, "…"].includes(title!), `${maxLength}: ${title}`);
      }
    });
  }

  it("counts each portal once, whatever is left out", () => {
    const shown = Array.from({ length: 30 }, (_, i) => ({ memberId: `m${i}` }));
    const message = notification({ lines: [], portals: { shown, total: 40 } });
    for (let maxLength = 60; maxLength < 250; maxLength++) {
      const lines = renderText(message, { maxLength }).split("\n").slice(2);
      const rest = Number(/^and (\d+) more$/.exec(lines.at(-1) ?? "")?.[1] ?? NaN);
      assert.equal(lines.length - 1 + rest, 40, `${maxLength}: ${lines}`);
    }
  });
});

describe("escape functions", () => {
  it("make HTML of markup, with entities that Telegram knows", () => {
    assert.equal(escapeHtml(`<a href="x">&amp;'`), "&lt;a href=&quot;x&quot;&gt;&amp;amp;&#39;");
  });

  it("leave Slack no control sequence and no mention", () => {
    assert.equal(
      escapeSlack("<!channel> & <http://x|y> @here"),
      "&lt;!channel&gt; &amp; &lt;http://x|y&gt; @\u200bhere",
    );
  });

  it("escape Markdown, its images, links, mentions and emoji", () => {
    assert.equal(escapeMarkdown("![a](b) *c* `d` :e:"), "\\!\\[a\\]\\(b\\) \\*c\\* \\`d\\` \\:e\\:");
    assert.equal(escapeMarkdown("@all\\"), "@\u200ball\\\\");
    assert.equal(escapeMarkdown("1. # - > | ~"), "1\\. \\# \\- \\> \\| \\~");
  });

  it("break all codes of Bitrix24", () => {
    assert.equal(escapeBbCode("[USER=all]x[/USER]#BR#y"), "[\u200bUSER=all]x[\u200b/USER]#\u200bBR#y");
    assert.equal(escapeBbCode(">>quote"), "\u200b>>quote");
    assert.equal(escapeBbCode("------"), "\u200b------");
    assert.equal(escapeBbCode("a > b #1"), "a > b #1");
  });
});
