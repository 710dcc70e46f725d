import assert from "node:assert/strict";
import { createApp, memoryStorage, type Plugin, type VerificationPolicy } from "@b24/onappupdate";
import { verificationSettings } from "../../../src/plugin/verification_policy.ts";
import { trustAll } from "../../support/app.ts";
import { describe, it } from "../../support/test.ts";

describe("verificationSettings()", () => {
  it("has defaults, also for members that are undefined", () => {
    const { budget, bounds, isTrusted } = verificationSettings({ bounds: { maxEvents: undefined as never } });
    assert.deepEqual(budget, { perMinute: 600, perPortal: 6 });
    assert.deepEqual(bounds, { maxEvents: 32, maxCharacters: 262_144, maxUnknownCharacters: 67_108_864 });
    assert.equal(isTrusted("192.0.2.1"), false);
  });

  it("trusts the listed addresses only, and no client whose address is not known", () => {
    const { isTrusted } = verificationSettings({ trustedAddresses: ["192.0.2.0/24", "2001:db8::/32"] });
    for (const address of ["192.0.2.1", "2001:db8::5"]) assert.equal(isTrusted(address), true, address);
    for (const address of [undefined, "", "unknown", "198.51.100.1"]) {
      assert.equal(isTrusted(address), false, String(address));
    }
  });
});

describe("app.use() refuses the policy of a custom plugin with", () => {
  const wrong: readonly (readonly [policy: unknown, message: RegExp])[] = [
    [
      { budget: { perMinute: NaN, perPortal: 6 } },
      /with verificationPolicy\.budget\.perMinute NaN, wanted a number from 4$/,
    ],
    [{ bounds: { maxEvents: 1.5 } }, /with verificationPolicy\.bounds\.maxEvents 1\.5, wanted a whole number from 1$/],
    [
      { trustedAddresses: ["*"] },
      /with verificationPolicy\.trustedAddresses\.0 "\*", wanted an IP address or a range such as/,
    ],
    [{ perMinute: 600 }, /the option verificationPolicy\.perMinute that does not exist/],
  ];
  for (const [policy, message] of wrong) {
    it(JSON.stringify(policy), () => {
      const plugin: Plugin = { ...trustAll, verificationPolicy: policy as VerificationPolicy };
      const app = createApp({ storage: memoryStorage() });
      assert.throws(() => app.use(plugin), { name: "TypeError", message });
    });
  }
});
