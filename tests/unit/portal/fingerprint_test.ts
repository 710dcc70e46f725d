import assert from "node:assert/strict";
import { B24Error } from "@b24/onappupdate/errors";
import { digest } from "../../../src/net/digest.ts";
import { fingerprintOf } from "../../../src/portal/fingerprint.ts";
import { redactError } from "../../../src/redact.ts";
import { describe, it } from "../../support/test.ts";

const of = (message: string, more: { readonly upgradeId?: string; readonly step?: string } = {}): Promise<string> =>
  fingerprintOf(digest, { error: new Error(message), ...more });

/** Messages of one cause on two portals. */
const SAME: readonly (readonly [string, string])[] = [
  ["deal 17 is locked", "deal 4711 is locked"],
  ['field "UF_CRM_A" is missing', 'field "UF_CRM_B" is missing'],
  ["no answer from a.bitrix24.de", "no answer from shop.example.com:8443"],
  ["request 5f3a2b1c9d8e is gone", "request 0011223344ff is gone"],
  ["task 123e4567-e89b-12d3-a456-426614174000", "task 00000000-e89b-12d3-a456-426614174fff"],
  ["took 1.5 s", "took 12,7 s"],
];

describe("fingerprintOf()", () => {
  for (const [a, b] of SAME) {
    it(`is the same for "${a}" and "${b}"`, async () => {
      assert.equal(await of(a), await of(b));
      assert.match(await of(a), /^[0-9a-f]{16}$/);
    });
  }

  it("differs by message, upgrade, step, name and code", async () => {
    const all = [
      await of("a is locked"),
      await of("a is missing"),
      await of("a is locked", { upgradeId: "3" }),
      await of("a is locked", { upgradeId: "4" }),
      await of("a is locked", { upgradeId: "3", step: "one" }),
      await fingerprintOf(digest, { error: new TypeError("a is locked") }),
      await fingerprintOf(digest, { error: Object.assign(new Error("a is locked"), { code: "ENOENT" }) }),
      ...await Promise.all(["A_B", "A_C"].map((code) => {
        const error = new B24Error({ code, description: "", status: 400, method: "profile" });
        return fingerprintOf(digest, { error: Object.assign(error, { message: "a is locked" }) });
      })),
    ];
    assert.equal(new Set(all).size, all.length);
  });

  it("accepts the redacted copy of an error of the runtime", async () => {
    const error = redactError(new DOMException("it took longer than 5 ms", "TimeoutError"), []);
    assert.equal(await fingerprintOf(digest, { error }), await fingerprintOf(digest, { error }));
  });
});
