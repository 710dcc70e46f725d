import assert from "node:assert/strict";
import { runLine } from "../../../../src/cli/dev/commands.ts";
import { describe, it } from "../../../support/test.ts";
import { standInWith } from "./_stand_in.ts";

describe("calls of the app in the transcript", () => {
  it("are listed with their parameters, commands and errors, and without tokens", async () => {
    const { standIn } = standInWith(undefined, { answers: { "crm.deal.list": [{ ID: "1" }], "crm.deal.add": 7 } });
    await runLine(standIn, "install 1");
    const auth = standIn.selected().accessToken();
    const post = (method: string, body: object): Promise<Response> =>
      standIn.answer(
        new Request(`https://portal1.example.com/rest/${method}`, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify({ ...body, auth }),
        }),
      );
    const list = await post("crm.deal.list.json", { filter: { ">ID": 0 } });
    assert.deepEqual((await list.json()).result, [{ ID: "1" }]);
    assert.equal((await (await post("crm.deal.add", { fields: { TITLE: "Chairs" } })).json()).result, 7);
    await post("batch", { cmd: { a: "profile", b: "crm.none?TITLE=%D0%90" } });
    await post("crm.none", {});
    const form = new URLSearchParams({ grant_type: "refresh_token", client_secret: "s3", refresh_token: "r3" });
    await standIn.answer(new Request("https://oauth.bitrix.info/oauth/token/", { method: "POST", body: form }));
    const calls = standIn.transcript.entries().flatMap((entry) => entry.kind === "call" ? [entry] : []);
    assert.deepEqual(calls.map(({ method, status, error, commands }) => [method, status, error, commands]), [
      ["crm.deal.list", 200, undefined, undefined],
      ["crm.deal.add", 200, undefined, undefined],
      ["batch", 200, "1 of its commands failed", ["profile", "crm.none?TITLE=А"]],
      ["crm.none", 404, "ERROR_METHOD_NOT_FOUND", undefined],
      ["oauth/token", 400, "invalid_client", undefined],
    ]);
    assert.equal(calls[0]!.params, '{"filter":{">ID":0}}');
    const shown = JSON.stringify(calls);
    for (const secret of [auth, "s3", "r3"]) assert.ok(!shown.includes(secret), secret);
  });

  it("are listed if there is no answer", async () => {
    const { standIn } = standInWith();
    await assert.rejects(standIn.answer(new Request("https://elsewhere.example.org/rest/profile")));
    const [entry] = standIn.transcript.entries();
    assert.ok(entry?.kind === "call");
    assert.deepEqual([entry.host, entry.method, entry.error], ["elsewhere.example.org", "profile", "no answer"]);
  });
});
