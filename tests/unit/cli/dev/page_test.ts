import assert from "node:assert/strict";
import { runLine } from "../../../../src/cli/dev/commands.ts";
import { maskTokens } from "../../../../src/cli/dev/mask.ts";
import { liveFragment, openingForm, standInPage } from "../../../../src/cli/dev/page.ts";
import { shownEntry } from "../../../../src/cli/dev/transcript.ts";
import { describe, it } from "../../../support/test.ts";
import { standInWith } from "./_stand_in.ts";

const EVIL = `<img src=x onerror="alert('1')">&`;
const ESCAPED = "&lt;img src=x onerror=&quot;alert(&#39;1&#39;)&quot;&gt;&amp;";

describe("page of the stand-in", () => {
  it("escapes answers, values of events, notes, and names in calls", async () => {
    const { standIn } = standInWith(() => new Response(EVIL));
    await runLine(standIn, "install 1");
    await runLine(standIn, `event ONX A=${EVIL.replaceAll(" ", "/")}`);
    standIn.transcript.add({ kind: "note", text: EVIL });
    await standIn.answer(
      new Request("https://portal1.example.com/rest/crm.deal.add", {
        method: "POST",
        body: new URLSearchParams({ TITLE: EVIL, auth: "x" }),
      }),
    );
    const page = standInPage(standIn, ["CLIENT_ID=<b>"], "n0nce");
    assert.doesNotMatch(page, /<img|<b>CLIENT|=<b>/);
    for (const place of [`<pre>${ESCAPED}</pre>`, `</time> ${ESCAPED}`, "CLIENT_ID=&lt;b&gt;"]) {
      assert.ok(page.includes(place), place);
    }
    assert.ok(page.includes(ESCAPED.replaceAll(" ", "/")));
    assert.match(page, /\{&quot;TITLE&quot;:&quot;&lt;img src=x/);
    assert.ok(liveFragment(standIn).includes(ESCAPED));
  });

  it("has scripts and styles with the nonce only, and nothing of other hosts", () => {
    const page = standInPage(standInWith().standIn, [], "n0nce");
    assert.deepEqual(page.match(/<(script|style|link|img|iframe)\b[^>]*>/g), [
      '<style nonce="n0nce">',
      '<script nonce="n0nce">',
    ]);
    assert.doesNotMatch(page, /\son\w+=|\bstyle="|\b(src|href)=/);
    assert.deepEqual([...page.matchAll(/action="([^"]*)"/g)].map(([, action]) => action), ["run", "open", "run"]);
  });

  it("shows the tokens of events, openings and calls masked only", async () => {
    const { standIn, received } = standInWith(({ form }) => new Response(`you sent ${form}`));
    for (const line of ["install 1", "open", "forge token", "update --token"]) await runLine(standIn, line);
    const tokens = new Set(
      received.flatMap(({ form }) =>
        [...form].filter(([name]) => /token\]|_ID$|APP_SID|APPLICATION_TOKEN/.test(name) && name !== "auth[member_id]")
          .map(([, value]) => value)
      ).filter((value) => value.length >= 28),
    );
    assert.ok(tokens.size >= 6);
    const shown = [
      standInPage(standIn, [], "n"),
      JSON.stringify(standIn.transcript.entries().map(shownEntry)),
    ];
    for (const text of shown) {
      for (const token of tokens) assert.ok(!text.includes(token), token);
      assert.match(text, /acce55…/);
    }
  });

  it("opens the app by a form that goes to the app's page only", async () => {
    const { standIn } = standInWith();
    await runLine(standIn, "install 1");
    const form = openingForm(`http://127.0.0.1:8000/page?a="b"`, new URLSearchParams({ A: EVIL }).toString(), "n0nce");
    assert.match(form, /<form method="post" action="http:\/\/127\.0\.0\.1:8000\/page\?a=&quot;b&quot;">/);
    assert.ok(form.includes(`<input type="hidden" name="A" value="${ESCAPED}">`));
  });
});

describe("maskTokens()", () => {
  const id = "de40ec88c1e0eb2e6e57026f2addb89c";
  const cases: readonly (readonly [text: string, field: string, masked: string])[] = [
    [`acce550001${id}`, "", "acce55…"],
    [`fe5fe50001${id}`, "auth[refresh_token]", "fe5fe5…"],
    ["s3cret", "client_secret", "[redacted]"],
    ["s3cret", "auth[application_token]", "[redacted]"],
    [id, "auth[member_id]", id],
    ["portal1.example.com", "auth[domain]", "portal1.example.com"],
    ["", "auth[access_token]", ""],
    [`{"refresh_token":"x1"}`, "", `{"refresh_token":"[redacted]"}`],
  ];
  for (const [text, field, masked] of cases) {
    it(`shows ${JSON.stringify(masked)} for ${field === "" ? text : field}`, () => {
      assert.equal(maskTokens(text, field), masked);
    });
  }
});
