import assert from "node:assert/strict";
import { memoryStorage, type NewSilence } from "@b24/onappupdate";
import { rig } from "../../support/app.ts";
import { OPERATOR } from "../../support/operator.ts";
import { describe, it } from "../../support/test.ts";

const HOUR = 60 * 60 * 1000;
const DAY = 24 * HOUR;
const NOW = 1_785_300_000_000;

describe("admin.silences", () => {
  it("holds until it ends or is removed, and the audit log shows who and why", async () => {
    let now = NOW;
    const { app } = rig({ storage: memoryStorage({ clock: () => now }), clock: () => now });
    const silences = app.admin.silences;
    const match = { kinds: ["portal_parked"], upgradeId: "3" };
    const first = await silences.add({ ...match, until: NOW + HOUR, by: "ada", reason: "ticket 17" });
    const second = await silences.add({ target: "2", until: NOW + DAY, ...OPERATOR });
    assert.equal(second.target, "2.0.0", "it is compared with portal.target");
    const { id, ...silence } = first;
    assert.deepEqual(silence, { ...match, until: NOW + HOUR, by: "ada", reason: "ticket 17", since: NOW });
    assert.deepEqual((await silences.list()).map(({ id }) => id).sort(), [id, second.id].sort());
    now += HOUR;
    assert.deepEqual(await silences.list(), [second]);
    await silences.remove(second.id, { by: "eve", reason: "done" });
    assert.deepEqual(await silences.list(), []);
    await assert.rejects(silences.remove(second.id, OPERATOR), { code: "unknown_silence" });
    assert.deepEqual(
      (await app.admin.audit()).items.map(({ action, by, details, outcome }) => [action, by, details?.["id"], outcome]),
      [
        ["silence.remove", "ada", second.id, "refused"],
        ["silence.remove", "eve", second.id, "done"],
        ["silence.add", "ada", second.id, "done"],
        ["silence.add", "ada", id, "done"],
      ],
    );
    await app.close();
  });

  for (
    const [what, wanted, silence] of [
      ["all notifications", /wanted kinds, target, upgradeId or fingerprint/, {}],
      ["no end", /until undefined/, { target: "2.0.0", until: undefined }],
      ["the past", /until 1785300000000, wanted milliseconds since 1970 in the future/, { target: "2", until: NOW }],
      ["100 days", /at most 90 days/, { target: "2", until: NOW + 100 * DAY }],
      ["a target that is no version", /target "next", wanted a version such as "3"/, { target: "next" }],
      ["no kinds", /kinds a list, wanted a list of 1 to 32 kinds/, { kinds: [] }],
      ["a blank upgrade", /upgradeId " ", wanted the id of an upgrade/, { upgradeId: " " }],
      ["no reason", /reason ""|reason an empty string/, { target: "2", reason: "" }],
      ["a misspelled member", /kind that does not exist, wanted kinds/, { kind: "x" }],
    ] as const
  ) {
    it(`refuses ${what}`, async () => {
      const { app } = rig({ clock: () => NOW });
      const invalid = { until: NOW + HOUR, ...OPERATOR, ...silence } as NewSilence;
      await assert.rejects(app.admin.silences.add(invalid), (error) => {
        assert(error instanceof TypeError);
        assert.match(error.message, wanted);
        return true;
      });
      assert.deepEqual(await app.admin.silences.list(), []);
      await app.close();
    });
  }
});
