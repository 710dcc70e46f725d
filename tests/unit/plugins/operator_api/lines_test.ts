import assert from "node:assert/strict";
import { createHandler } from "../../../../plugins/operator_api/handler.ts";
import type { InputLine } from "../../../../plugins/operator_api/lines.ts";
import { line } from "../../../../plugins/operator_api/parameters.ts";
import { route } from "../../../../plugins/operator_api/route.ts";
import { object } from "../../../../plugins/operator_api/schema.ts";
import { quietLogger, rig } from "../../../support/app.ts";
import { describe, it } from "../../../support/test.ts";
import { type Answer, answerOf, OPERATE, READ, requestOf, TOKENS } from "./_api.ts";

const JSON_LINES = { "content-type": "application/jsonl" };

/** An API with one route that takes lines. */
function linesRig(): {
  readonly app: ReturnType<typeof rig>["app"];
  readonly seen: InputLine[];
  readonly send: (body: string, query?: string, headers?: Record<string, string>, token?: string) => Promise<Answer>;
} {
  const { app } = rig();
  const seen: InputLine[] = [];
  const routes = [route<{ readonly reason: string }>({
    ...{ method: "POST", path: "/import", id: "import", role: "operate", action: "recount" },
    summary: "For this test",
    lines: object<{ readonly id: string }>({ id: line(10) }),
    answer: object<{ readonly count: number; readonly by: string }>({
      count: { type: "number" },
      by: { type: "string" },
    }),
    run: async ({ lines, attribution: { by, reason } }) => {
      for await (const one of lines) seen.push(one);
      return { count: seen.length, by: `${by}: ${reason}` };
    },
  })];
  const fetch = createHandler({
    ...{ app, tokens: TOKENS, routes, prefix: "/api/v1", bodyBytes: 1024, logger: quietLogger, clock: Date.now },
  });
  return {
    app,
    seen,
    send: async (body, query = "?reason=x", headers = JSON_LINES, token = OPERATE) =>
      await answerOf(await fetch(requestOf(`POST /import${query}`, body, { token, headers }))),
  };
}

describe("a route of the operator API that takes lines", () => {
  it("receives each line with its number, valid or not", async () => {
    const { seen, send } = linesRig();
    const { status, body } = await send('{"id":"a"}\r\n\n{"id":1}\n{"ix":"b"}\n{\n{"id":"é"}');
    assert.deepEqual([status, body], [200, { count: 5, by: "ada: x" }]);
    assert.deepEqual(seen.map(({ number, value, issues }) => [number, value, issues.map(({ path }) => path)]), [
      [1, { id: "a" }, []],
      [3, undefined, ["id"]],
      [4, undefined, ["ix", "id"]],
      [5, undefined, [""]],
      [6, { id: "é" }, []],
    ]);
  });

  it("receives none of an empty body, and more than a body may have", async () => {
    const { seen, send } = linesRig();
    assert.equal((await send("")).body.count, 0);
    assert.equal((await send('{"id":"a"}\n'.repeat(1000))).body.count, 1000);
    assert.equal(seen.at(-1)?.number, 1000);
  });

  it("answers 413 to a line that is too long, 415 to another type, and 400 without a reason", async () => {
    const { send } = linesRig();
    assert.equal((await send(`{"id":"${"x".repeat(1100)}"}`)).status, 413);
    assert.equal((await send("{}", "?reason=x", { "content-type": "application/json" })).status, 415);
    const { status, body } = await send("{}", "");
    assert.deepEqual([status, body.error.issues[0].path], [400, "reason"]);
  });

  it("records attempts without the role, with the reason of the query", async () => {
    const { app, seen, send } = linesRig();
    assert.equal((await send('{"id":"a"}', "?reason=ticket", JSON_LINES, READ)).status, 403);
    const { items: [entry] } = await app.admin.audit();
    assert.deepEqual([entry?.by, entry?.reason, entry?.outcome, seen], ["viewer", "ticket", "refused", []]);
  });
});
