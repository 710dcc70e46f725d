import assert from "node:assert/strict";
import { describe, it } from "../../../support/test.ts";
import { apiRig, READ } from "./_api.ts";

const NOW = 1_785_300_000_000;
const HOUR = 60 * 60 * 1000;
const REASON = { reason: "ticket 17" };

describe("operatorApi() silences", () => {
  it("are added, listed and removed in the name of the token", async () => {
    const { app, call } = apiRig({ clock: () => NOW });
    const match = { kinds: ["portal_parked"], target: "2.0.0", upgradeId: "2", fingerprint: "0123456789abcdef" };
    const added = await call("POST /silences", { ...match, until: NOW + HOUR, ...REASON });
    assert.equal(added.status, 201);
    const { id, ...silence } = added.body;
    assert.deepEqual(silence, { ...match, by: "ada", reason: "ticket 17", since: NOW, until: NOW + HOUR });
    assert.deepEqual((await call("GET /silences", undefined, { token: READ })).body, { items: [added.body] });
    assert.deepEqual((await call(`POST /silences/${id}/remove`, REASON)).body, {});
    assert.deepEqual((await call("GET /silences")).body, { items: [] });
    const again = await call(`POST /silences/${id}/remove`, REASON);
    assert.deepEqual([again.status, again.body.error.code], [404, "unknown_silence"]);
    const { items } = (await call("GET /audit?action=silence.add")).body;
    assert.deepEqual(items[0].details, { id, ...match, until: NOW + HOUR });
    await app.close();
  });

  it("are refused if they match everything, have ended, or the token may only read", async () => {
    const { app, call } = apiRig({ clock: () => NOW });
    for (const body of [{ until: NOW + HOUR }, { target: "2", until: NOW - 1 }, { kinds: [], until: NOW + HOUR }]) {
      const { status, body: { error } } = await call("POST /silences", { ...body, ...REASON });
      assert.deepEqual([status, error.code], [400, "invalid"]);
      assert.match(error.message, /cannot add a silence/);
    }
    const read = await call("POST /silences", { target: "2", until: NOW + HOUR, ...REASON }, { token: READ });
    assert.equal(read.status, 403);
    await app.close();
  });
});
