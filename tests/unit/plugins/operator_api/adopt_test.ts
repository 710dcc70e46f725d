import assert from "node:assert/strict";
import { type App, createApp, memoryStorage } from "@b24/onappupdate";
import { createHandler } from "../../../../plugins/operator_api/handler.ts";
import type { OperatorApp } from "../../../../plugins/operator_api/route.ts";
import { ROUTES } from "../../../../plugins/operator_api/routes.ts";
import { assertNoTokens, type OldPortal, oldProgram } from "../../../support/adoption.ts";
import { quietLogger, trustAll } from "../../../support/app.ts";
import { describe, it } from "../../../support/test.ts";
import { OPERATE, READ, requestOf, TOKENS } from "./_api.ts";

type Json = Awaited<ReturnType<Response["json"]>>;

function apiOf(app: OperatorApp): (request: Request) => Promise<Response> {
  return createHandler({
    ...{ app, tokens: TOKENS, routes: ROUTES, prefix: "/api/v1", bodyBytes: 65_536, logger: quietLogger },
    clock: Date.now,
  });
}

/** Returns a request that adopts. `body`: JSON lines. */
function adoption(body: BodyInit, query = "reason=ticket%2017", token = OPERATE): Request {
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/jsonl" };
  const init = { method: "POST", body, headers, duplex: "half" };
  return new Request(`https://ops.example/api/v1/adopt?${query}`, init);
}

async function linesOf(response: Response): Promise<Json[]> {
  assert.equal(response.status, 200);
  assert.equal(response.headers.get("content-type"), "application/jsonl; charset=utf-8");
  return (await response.text()).trimEnd().split("\n").map((line) => JSON.parse(line));
}

function jsonLines(portals: readonly OldPortal[]): string {
  return portals.map(({ row }) => JSON.stringify(row)).join("\n");
}

describe("POST /adopt of the operator API", () => {
  it("streams the outcome of each line by its number, and the report", async () => {
    const old = oldProgram();
    const portals = [old.add(1), old.add(2)];
    const app = old.app();
    const [first, second] = jsonLines(portals).split("\n");
    const response = await apiOf(app)(adoption(`${first}\r\n\n{"memberId":1}\n${second}`));
    const lines = await linesOf(response);
    const { report, ...others } = lines.pop();
    assert.deepEqual(others, {});
    assert.deepEqual(
      lines.map(({ line: { line, outcome, reason, version } }) => [line, outcome, reason, version])
        .sort(([a], [b]) => a - b),
      [[1, "adopted", undefined, "1.0.0"], [3, "not_adopted", "invalid", undefined], [
        ...[4, "adopted", undefined, "2.0.0"],
      ]],
    );
    assert.deepEqual([report.lines, report.adopted, report.notAdopted, report.reasons], [3, 2, 1, { invalid: 1 }]);
    assert.equal(report.problems[0].line, 3);
    assertNoTokens([lines, report]);
    const { items: [entry] } = await app.admin.audit();
    assert.deepEqual([entry?.action, entry?.by, entry?.reason, entry?.outcome, entry?.details], [
      ...["adopt", "ada", "ticket 17", "done"],
      { dryRun: false, refresh: false },
    ]);
    await app.close();
  });

  it("passes dryRun, refresh and perMinute on", async () => {
    const old = oldProgram();
    const portal = old.add(1);
    const app = old.app();
    const api = apiOf(app);
    const dry = await linesOf(await api(adoption(jsonLines([portal]), "reason=x&dryRun=true")));
    assert.equal(dry.at(-1).report.adopted, 1);
    assert.equal(await app.portal(portal.portal.memberId), undefined);
    portal.portal.expireTokens();
    const expired = await linesOf(await api(adoption(jsonLines([portal]), "reason=x&perMinute=1000")));
    assert.deepEqual(expired.at(-1).report.reasons, { expired: 1 });
    const refreshed = await linesOf(await api(adoption(jsonLines([portal]), "reason=x&refresh=true")));
    assert.equal(refreshed.at(-1).report.adopted, 1);
    const audit = await (await api(requestOf("GET /audit"))).json();
    assert.deepEqual(audit.items.map(({ details }: Json) => details), [
      { dryRun: false, refresh: true },
      { dryRun: false, refresh: false },
      { dryRun: true, refresh: false },
    ]);
    await app.close();
  });

  it("refuses what cannot begin with a status", async () => {
    const app = createApp({ storage: memoryStorage(), clientId: "app.5f3a", logger: quietLogger }).use(trustAll);
    const api = apiOf(app);
    for (const query of ["", "reason=x&perMinute=0", "reason=x&dryRun=1", "reason=x&by=grace"]) {
      assert.equal((await api(adoption("{}", query))).status, 400, query);
    }
    assert.equal((await api(adoption("{}", "reason=ticket", READ))).status, 403);
    const { items: [entry] } = await app.admin.audit();
    assert.deepEqual([entry?.action, entry?.by, entry?.reason, entry?.outcome], [
      ...["adopt", "viewer", "ticket", "refused"],
    ]);
    const response = await api(adoption("{}", "reason=x&refresh=true"));
    const { error } = await response.json();
    assert.deepEqual([response.status, error.code], [409, "not_possible"]);
    assert.match(error.message, /clientSecret/);
    await app.close();
  });

  it("answers before the last line has come", async () => {
    const old = oldProgram();
    const [first, second] = [old.add(1), old.add(2)];
    const app = old.app();
    const body = new TransformStream<Uint8Array, Uint8Array>();
    const sender = body.writable.getWriter();
    const send = (portal: OldPortal): Promise<void> =>
      sender.write(new TextEncoder().encode(`${JSON.stringify(portal.row)}\n`));
    const sent = send(first);
    const response = await apiOf(app)(adoption(body.readable));
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
    assert.equal(JSON.parse((await reader.read()).value!).line.memberId, first.portal.memberId);
    await sent;
    await send(second);
    await sender.close();
    assert.equal(JSON.parse((await reader.read()).value!).line.memberId, second.portal.memberId);
    assert.equal(JSON.parse((await reader.read()).value!).report.adopted, 2);
    await app.close();
  });

  it("ends if the client goes away, and says what has ended it otherwise", async () => {
    const old = oldProgram();
    const portals = [old.add(1), old.add(2)];
    const app = old.app();
    const body = new TransformStream<Uint8Array, Uint8Array>();
    const sender = body.writable.getWriter();
    const sent = sender.write(new TextEncoder().encode(`${jsonLines(portals)}\n`));
    const controller = new AbortController();
    const response = await apiOf(app)(new Request(adoption(body.readable), { signal: controller.signal }));
    await sent;
    controller.abort();
    const last = (await linesOf(response)).at(-1);
    assert.equal(last.error.code, "stopped");
    const { items: [entry] } = await app.admin.audit();
    assert.equal(entry?.outcome, "failed");
    await sender.abort();

    const tooLong = await linesOf(await apiOf(app)(adoption(`{"memberId":"${"x".repeat(70_000)}"}`)));
    assert.equal(tooLong.at(-1).error.code, "too_large");
    await app.close();
  });

  it("reads the body ahead of the adoption, so that it arrives in time", async () => {
    const app = oldProgram().app();
    const finished = Promise.withResolvers<void>();
    const adopt: App["admin"]["adopt"] = async (source, { signal: _, ...options }) => {
      const texts = source as AsyncIterable<string>;
      for await (const _ of texts) await finished.promise;
      return await app.admin.adopt([], options);
    };
    let pulled = 0;
    const all = Promise.withResolvers<void>();
    const body = new ReadableStream<Uint8Array>({
      pull: (controller) => {
        if (++pulled <= 5000) return controller.enqueue(new TextEncoder().encode(`{"memberId":"${pulled}"}\n`));
        controller.close();
        all.resolve();
      },
    });
    const response = await apiOf({ ...app, admin: { ...app.admin, adopt } })(adoption(body));
    await all.promise;
    finished.resolve();
    assert.equal((await linesOf(response)).at(-1).report.lines, 0);
    await app.close();
  });
});
