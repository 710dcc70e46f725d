import assert from "node:assert/strict";
import { memoryStorage, type Storage } from "@b24/onappupdate";
import { StorageError } from "@b24/onappupdate/errors";
import { csvLine, exportResponse } from "../../../../plugins/operator_api/export.ts";
import { PORTAL } from "../../../../plugins/operator_api/portal_shapes.ts";
import { portalKey } from "../../../../src/portal/keys.ts";
import { MEMBER_ID, OTHER_MEMBER_ID } from "../../../support/app.ts";
import { describe, it } from "../../../support/test.ts";
import { type ApiRig, apiRig, OPERATE, READ, requestOf } from "./_api.ts";

const FORMULA = '=HYPERLINK("https://evil.example";"click"), please';

/** Returns an API with one parked portal, whose failure has a text that a spreadsheet would run, and one that is current. */
async function twoPortals(storage: Storage = memoryStorage()): Promise<ApiRig> {
  const api = apiRig({ retry: { maxAttempts: 1 }, storage });
  api.app.upgrade("3", () => {
    throw new Error(FORMULA);
  });
  const other = api.bitrix24.portal({ memberId: OTHER_MEMBER_ID, domain: "other.bitrix24.example" });
  for (const body of [other.install(2), api.portal.install(2), api.portal.update(3)]) await api.send(body);
  return api;
}

describe("operatorApi() exports", () => {
  it("stream portals as CSV without formulas", async () => {
    const { app, fetch } = await twoPortals();
    const response = await fetch(requestOf("GET /export/portals?format=csv&status=parked", undefined, { token: READ }));
    assert.equal(response.status, 200);
    assert.deepEqual(
      ["content-type", "content-disposition", "cache-control", "x-content-type-options"].map((name) =>
        response.headers.get(name)
      ),
      [
        "text/csv; charset=utf-8; header=present",
        'attachment; filename="portals.csv"',
        ...["no-store", "nosniff"],
      ],
    );
    const [head, row, ...rest] = (await response.text()).split("\r\n");
    assert.deepEqual(rest, [""]);
    assert.match(head!, /^member_id,domain,state,version,target,/);
    assert.match(row!, new RegExp(`^${MEMBER_ID},[^,]+,parked,2\\.0\\.0,3\\.0\\.0,1,`));
    assert.equal(row!.slice(row!.indexOf("'")), `'${FORMULA.replaceAll('"', '""')}"`);
    const { items: [entry] } = await app.admin.audit();
    assert.deepEqual([entry?.action, entry?.by, entry?.outcome, entry?.details], [
      ...["export", "viewer", "done"],
      { list: "portals", format: "csv", filter: { status: "parked" } },
    ]);
    await app.close();
  });

  it("stream portals and the audit log as JSON lines, with the fields of the API", async () => {
    const { app, call, fetch } = await twoPortals();
    const lines = async (route: string): Promise<unknown[]> => {
      const text = await (await fetch(requestOf(route))).text();
      assert.ok(text.endsWith("\n"));
      return text.trimEnd().split("\n").map((line) => JSON.parse(line));
    };
    assert.deepEqual(await lines("GET /export/portals?format=jsonl"), (await call("GET /portals")).body.items);
    const entries = await lines("GET /export/audit?format=jsonl&action=export&reason=ticket%2017");
    assert.deepEqual(entries, (await call("GET /audit?action=export")).body.items);
    assert.deepEqual((await app.admin.audit({ limit: 1 })).items[0]?.reason, "ticket 17");
    const csv = await (await fetch(requestOf("GET /export/audit?format=csv"))).text();
    assert.match(csv, /^id,at,finished_at,action,by,reason,/);
    await app.close();
  });

  it("name portals that newer code wrote, instead of leaving them out", async () => {
    const storage = memoryStorage();
    const { app, call, fetch } = await twoPortals(storage);
    const { value } = (await storage.get<object>(portalKey(MEMBER_ID)))!;
    await storage.put(portalKey(MEMBER_ID), { ...value, format: 999 });
    assert.deepEqual((await call("GET /portals")).body.unreadable, [MEMBER_ID]);
    const csv = await (await fetch(requestOf("GET /export/portals?format=csv"))).text();
    assert.match(csv, new RegExp(`^${MEMBER_ID},,unreadable,`, "m"));
    const jsonl = await (await fetch(requestOf("GET /export/portals?format=jsonl"))).text();
    assert.ok(jsonl.includes(`{"memberId":"${MEMBER_ID}","isUnreadable":true}\n`), jsonl);
    const { status, body } = await call(`GET /portals/${MEMBER_ID}`);
    assert.deepEqual([status, body.error.code], [500, "format"]);
    await app.close();
  });

  it("are limited for each token, so that the audit log has all of them and cannot be filled", async () => {
    let now = 1_785_400_000_000;
    const { app, fetch, call } = apiRig({}, { clock: () => now });
    const status = async (list: string, token: string): Promise<number> => {
      const response = await fetch(requestOf(`GET /export/${list}?format=csv`, undefined, { token }));
      await response.text();
      return response.status;
    };
    for (let i = 0; i < 30; i++) assert.equal(await status("portals", READ), 200);
    now += 40 * 60_000;
    const refused = await call("GET /export/portals?format=csv", undefined, { token: READ });
    assert.deepEqual([refused.status, refused.headers.get("retry-after"), refused.body.error.code], [
      ...[429, "1200", "too_many_requests"],
    ]);
    assert.match(refused.body.error.message, /^token "viewer" may call this route 30 times an hour/);
    assert.deepEqual([await status("audit", READ), await status("portals", OPERATE)], [200, 200]);
    const { items } = await app.admin.audit({ limit: 1000 });
    assert.equal(items.filter(({ action }) => action === "export").length, 32);
    now += 20 * 60_000;
    for (let i = 0; i < 30; i++) assert.equal(await status("portals", READ), 200);
    assert.equal(await status("portals", READ), 429);
    now -= 24 * 60 * 60_000;
    assert.equal(await status("portals", READ), 200, "a clock that was put back refuses nobody for longer");
    await app.close();
  });

  it("refuse another format, and record nothing", async () => {
    const { app, call } = await twoPortals();
    for (const query of ["", "?format=xlsx", "?format=csv&limit=1"]) {
      assert.equal((await call(`GET /export/portals${query}`)).status, 400);
    }
    assert.deepEqual((await app.admin.audit()).items, []);
    await app.close();
  });

  it("break off if the storage fails in the middle, and log it", async () => {
    const inner = memoryStorage();
    let isDown = false;
    const storage: Storage = {
      ...inner,
      list: (prefix, options) => {
        if (isDown && prefix[0] !== "audit") throw new StorageError("cannot list");
        return inner.list(prefix, options);
      },
    };
    const { app, fetch, apiLines } = await twoPortals(storage);
    isDown = true;
    const response = await fetch(requestOf("GET /export/portals?format=jsonl"));
    await assert.rejects(response.text(), /the export has failed/);
    assert.match(apiLines.join(), /"event":"operator.failed".*cannot list/);
    isDown = false;
    await app.close();
  });

  it("stop to read when the client goes away", async () => {
    const steps: string[] = [];
    async function* endless(): AsyncGenerator<readonly unknown[], void> {
      try {
        for (let i = 0;; i++) {
          steps.push("read");
          yield [{ memberId: String(i) }];
          await Promise.resolve();
        }
      } finally {
        steps.push("ended");
      }
    }
    const { body } = exportResponse({
      ...{ name: "portals", format: "jsonl", item: PORTAL, columns: {}, pages: endless() } as const,
      onError: (thrown) => assert.fail(String(thrown)),
    });
    const reader = body!.getReader();
    await reader.read();
    await reader.cancel();
    assert.equal(steps.at(-1), "ended");
    assert.ok(steps.length <= 3, steps.join());
  });
});

describe("csvLine()", () => {
  for (
    const [cell, written] of [
      ...[["=1+1", "'=1+1"], ["+1", "'+1"], ["-1", "'-1"], ["@A1", "'@A1"], ["\tx", `"'\tx"`], ["\rx", `"'\rx"`]],
      ...[["a,b", '"a,b"'], ['a"b', '"a""b"'], ["a\nb", '"a\nb"'], ["1=1", "1=1"], ["", ""], ["'x", "'x"]],
      ...[[" =1", "' =1"], ["\u00a0=1", "'\u00a0=1"], ["＝1", "'＝1"], ["\nx", `"'\nx"`], ['"=1', `"'""=1"`]],
      // A spreadsheet in German or Russian separates cells at semicolons, and knows no quotes in the middle of a line.
      ...[["a;=1", `"a;'=1"`], ["a; @x", `"a;' @x"`], ["a\n=1", `"a\n'=1"`], ["a\t+1", `"a\t'+1"`]],
      ...[["a;b", '"a;b"'], ["a\nb - c", '"a\nb - c"'], ['a;"=1', `"a;'""=1"`], ["\t=1", `"'\t'=1"`]],
    ] as const
  ) {
    it(`writes ${JSON.stringify(cell)} as ${JSON.stringify(written)}`, () => {
      assert.equal(csvLine([cell]), `${written}\r\n`);
    });
  }
  it("writes numbers as they are, and nothing for what is absent", () => {
    assert.equal(csvLine([-1, undefined, "x"]), "-1,,x\r\n");
  });
});
